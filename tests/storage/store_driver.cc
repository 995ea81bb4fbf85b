#include "tests/storage/store_driver.h"

#include <gtest/gtest.h>
#include <poll.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <tuple>
#include <utility>

namespace kdn::storage::test {

ObjectId IdOf(const TestObject& object) {
  const ObjectHeader& header = object.header;
  return {header.tenant, header.key, header.part.number, header.put_id};
}

ReadRequest WholeRead(const TestObject& object, LevelSet levels) {
  return {IdOf(object), levels, kEverything, kEverything};
}

std::vector<TestObject> MakeChain(std::size_t count, std::size_t size_bytes, std::uint64_t seed) {
  std::vector<TestObject> chain;
  for (std::size_t i = 0; i < count; ++i) {
    ObjectOptions options{.seed = seed * 1000 + i, .size_bytes = size_bytes};
    if (i > 0) {
      options.header.parent = chain.back().header.key;
      options.header.chain_root = chain.front().header.key;
    }
    chain.push_back(MakeObject(options));
  }
  return chain;
}

namespace {

// The naive answer: all wanted tiles, sorted.
std::vector<std::pair<TileEntry, ConstBytes>> ExpectedTiles(const TestObject& object,
                                                            const ReadRequest& request,
                                                            LevelSet levels) {
  std::vector<std::pair<TileEntry, ConstBytes>> tiles;
  for (const LevelInfo& info : Levels()) {
    if (!levels.Has(info.level)) continue;
    const ConstBytes segment = SegmentOf(object, info.level);
    const SegmentIndex index = DecodeIndex(segment, TagOf(object.header)).value();
    for (const TileEntry& entry : index.tiles) {
      if (!entry.at.layers.Intersects(request.layers) ||
          !entry.at.kv_heads.Intersects(request.kv_heads)) {
        continue;
      }
      tiles.emplace_back(entry,
                         segment.subspan(index.IndexBytes() + entry.offset, entry.size_bytes));
    }
  }
  std::stable_sort(tiles.begin(), tiles.end(), [](const auto& a, const auto& b) {
    return std::tuple(a.first.at.layers.first, a.first.at.level) <
           std::tuple(b.first.at.layers.first, b.first.at.level);
  });
  return tiles;
}

}  // namespace

std::string Wrong(const ReadResult& result, const TestObject& object, const ReadRequest& request) {
  if (!(result.header == object.header)) return "header differs";
  const auto expected = ExpectedTiles(object, request, result.levels);
  std::vector<TileEntry> entries;
  std::vector<std::byte> bytes;
  std::size_t expected_entry = 0;
  for (const ReadResult::Group& group : result.groups) {
    std::size_t group_bytes = 0;
    for (const ConstBytes run : group.runs) {
      bytes.insert(bytes.end(), run.begin(), run.end());
      group_bytes += run.size();
    }
    if (group_bytes != group.size_bytes) return "group size differs";
    for (const TileEntry& entry : group.entries) {
      if (entry.at.layers != group.entries.front().at.layers) return "group of two layer groups";
      if (expected_entry >= expected.size()) return "too many tiles";
      if (!(entry == expected[expected_entry++].first)) return "entry differs";
    }
  }
  if (expected_entry != expected.size()) return "tiles are missing";
  if (result.entries.size() != expected.size()) return "entries outside groups";
  if (bytes.size() != result.size_bytes) return "size differs";
  std::size_t at = 0;
  for (const auto& [entry, tile] : expected) {
    if (at + tile.size() > bytes.size()) return "bytes are missing";
    if (std::memcmp(bytes.data() + at, tile.data(), tile.size()) != 0) return "bytes differ";
    at += tile.size();
  }
  return at == bytes.size() ? "" : "too many bytes";
}

StoreDriver::StoreDriver(const StoreOptions& options, DiskTier* disk, ShardOf shard)
    : options_(options), disk_(disk), shard_(shard) {}

Status StoreDriver::Open() {
  store_.reset();
  kept_.clear();
  auto opened = OpenObjectStore(options_, shard_, disk_, {clock_, log_, metrics_});
  if (!opened) return opened.error();
  store_ = *std::move(opened);
  return {};
}

Result<std::optional<ObjectDigest>> StoreDriver::Fill(const TestObject& object) {
  const std::size_t size_bytes = object.bytes.size();
  KDN_ASSIGN_OR_RETURN(const PutSlot slot, store_->BeginPut(IdOf(object), size_bytes, Soon()));
  KDN_ASSIGN_OR_RETURN(const auto memory, store_->PutMemory(slot, 0, size_bytes));
  std::size_t at = 0;
  for (const MutableBytes run : memory) {
    std::memcpy(run.data(), object.bytes.data() + at, run.size());
    at += run.size();
  }
  return store_->PutReceived(slot, 0, size_bytes);
}

Code StoreDriver::Put(const TestObject& object, LevelSet* on_disk) {
  const auto digest = Fill(object);
  if (!digest) return digest.error().code();
  EXPECT_TRUE(digest->has_value());
  EXPECT_EQ(**digest, object.digest);
  const std::uint64_t tag = NextTag();
  store_->Commit(IdOf(object), object.digest, tag);
  const Completion done = Wait(tag);
  EXPECT_EQ(done.kind, Completion::Kind::kCommit);
  if (on_disk != nullptr) *on_disk = done.on_disk;
  return done.code;
}

Result<std::unique_ptr<ReadResult>> StoreDriver::Read(const ReadRequest& request) {
  const std::uint64_t tag = NextTag();
  KDN_ASSIGN_OR_RETURN(auto result, store_->StartRead(request, tag));
  if (result != nullptr) return result;
  Completion done = Wait(tag);
  EXPECT_EQ(done.kind, Completion::Kind::kRead);
  if (done.code != Code::kOk) return Error(done.code);
  return std::move(done.read);
}

bool StoreDriver::Has(const TestObject& object) {
  const ReadRequest request = WholeRead(object);
  const auto result = Read(request);
  if (!result) {
    EXPECT_EQ(result.error().code(), Code::kNotFound) << result.error().ToString();
    return false;
  }
  EXPECT_EQ(Wrong(**result, object, request), "");
  store_->ReleaseRead((*result)->slot);
  return true;
}

bool StoreDriver::PollFor(std::uint64_t tag) {
  std::array<Completion, 16> completions;
  const std::size_t count = store_->Poll(completions);
  std::move(completions.begin(), completions.begin() + static_cast<std::ptrdiff_t>(count),
            std::back_inserter(kept_));
  return std::any_of(kept_.begin(), kept_.end(), [&](const auto& c) { return c.tag == tag; });
}

Completion StoreDriver::Wait(std::uint64_t tag) {
  for (int round = 0; !PollFor(tag); ++round) {
    if (pump_) pump_();
    pollfd waiting{store_->WaitFd(), POLLIN, 0};
    const bool stuck = ::poll(&waiting, 1, pump_ ? 0 : 30'000) == 0;
    if (stuck && (!pump_ || round > 1000)) {
      ADD_FAILURE() << "no completion of tag " << tag;
      Completion none;
      none.code = Code::kDeadlineExceeded;
      return none;
    }
  }
  const auto found =
      std::find_if(kept_.begin(), kept_.end(), [&](const auto& c) { return c.tag == tag; });
  Completion done = std::move(*found);
  kept_.erase(found);
  return done;
}

}  // namespace kdn::storage::test

// Objects for tests of launches: encoded out of memory in any layout, opened, and decoded by the
// CPU's codec and by a launch of the same tiles, on whatever machine. Knows no test framework: GPU
// programs use it where there is none.
//
// Thread-safety: not safe; caller synchronises.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "codec/codec_scratch.h"
#include "codec/lane/decode_planner.h"
#include "codec/lane/host_encode.h"
#include "codec/lane/host_launch.h"
#include "codec/object_codec.h"
#include "proto/object/object.h"
#include "tests/codec/paged_memory.h"
#include "tests/codec/values.h"

namespace kdn::codec {

// Bytes at a multiple of 16 with no byte to spare behind them.
class AlignedBytes {
 public:
  explicit AlignedBytes(ConstBytes bytes) : size_(bytes.size()) {
    data_.reset(new (std::align_val_t{16}) std::byte[bytes.size()]);
    std::copy(bytes.begin(), bytes.end(), data_.get());
  }
  [[nodiscard]] std::byte* data() { return data_.get(); }
  [[nodiscard]] ConstBytes bytes() const { return {data_.get(), size_}; }

 private:
  struct Free {
    void operator()(std::byte* p) const { operator delete[](p, std::align_val_t{16}); }
  };
  std::unique_ptr<std::byte[], Free> data_;
  std::size_t size_;
};

// A model, the memory of an engine and what one chunk in it was coded to.
struct LaneCase {
  ModelSpec spec;
  std::vector<MemoryShape> shapes = std::vector<MemoryShape>(1);
  std::uint32_t tokens = 64;
  std::uint32_t wanted = 0;  // decoded; 0: all
  std::int64_t moved = 0;
  LevelSet levels = Level::kExact;
  std::size_t decoded_levels = 1;
  Pattern pattern = Pattern::kGaussian;
  const Profile* profile = nullptr;
  std::uint64_t seed = 1;
  std::uint8_t flags = 0;
};

inline ObjectHeader HeaderOf(const LaneCase& c) {
  ObjectHeader header;
  header.key.bytes[0] = std::byte{1};
  header.dtype = c.spec.dtype;
  header.token_count = c.tokens;
  header.levels_encoded = c.levels;
  header.first_position = 1000;
  header.flags = c.flags;
  header.part.layers = {0, static_cast<std::uint16_t>(LayerCount(c.spec))};
  header.part.kv_heads = {0, c.spec.groups[0].kv_heads};
  header.layers_per_group = 2;
  header.heads_per_group = 2;
  if (c.profile != nullptr) header.profile = c.profile->id();
  return header;
}

// Memory full of the pattern, and where in it the chunk stands.
struct LaneSource {
  explicit LaneSource(const LaneCase& c)
      : place{.first_token = 3, .token_count = c.tokens},
        shapes(WholeShapes(c)),
        memory(c.spec, shapes),
        tables(shapes, place, 5) {
    for (std::size_t g = 0; g < memory.group_count(); ++g) {
      for (auto& tensor : memory.group(g).tensors()) {
        const std::size_t count = tensor.size() / DTypeBytes(c.spec.dtype);
        const auto values = MakeValues(c.spec.dtype, c.pattern, count, c.seed + g);
        std::copy(values.begin(), values.end(), tensor.begin());
      }
    }
  }
  // Everything is held where it is encoded.
  static std::vector<MemoryShape> WholeShapes(const LaneCase& c) {
    std::vector<MemoryShape> whole = c.shapes;
    for (MemoryShape& shape : whole) {
      shape.first_head = shape.head_count = 0;
      shape.layers.clear();
    }
    return whole;
  }

  ChunkPlace place;
  std::vector<MemoryShape> shapes;
  TestMemory memory;
  TestTables tables;
};

// Encodes the chunk that stands there; empty if that fails.
inline std::vector<std::byte> EncodeCase(const LaneCase& c, const LaneSource& source,
                                         std::string_view kernels = {}) {
  CodecScratch scratch;
  std::vector<std::byte> object;
  const Status status = ObjectCodec::Make(c.spec, kernels)
                            ->Encode(HeaderOf(c), source.memory.kv(), source.tables.tables(),
                                     source.place, c.profile, object, scratch);
  if (!status.ok()) object.clear();
  return object;
}
inline std::vector<std::byte> EncodeCase(const LaneCase& c) {
  return EncodeCase(c, LaneSource(c));
}

// Memory of the same layout that a chunk is decoded into, full of other values, and its tables.
struct LaneTarget {
  explicit LaneTarget(const LaneCase& c)
      : place{.first_token = 5,
              .token_count = c.wanted == 0 ? c.tokens : c.wanted,
              .moved = c.moved},
        memory(c.spec, c.shapes),
        tables(c.shapes, place, 7) {}

  ChunkPlace place;
  TestMemory memory;
  TestTables tables;
};

// Tiles of an object by place, draft first. Requires: a good object.
struct OpenedPlaces {
  ObjectHeader header;
  std::vector<std::vector<TileBytes>> places;
};
inline OpenedPlaces OpenPlaces(ConstBytes object) {
  OpenedPlaces opened;
  opened.header = DecodeHeader(object).value();
  std::size_t at = kObjectHeaderBytes;
  for (const LevelInfo& info : Levels()) {
    if (!opened.header.levels_encoded.Has(info.level)) continue;
    const ConstBytes segment = object.subspan(at);
    const SegmentIndex index = DecodeIndex(segment, TagOf(opened.header)).value();
    opened.places.resize(index.tiles.size());
    for (std::size_t i = 0; i < index.tiles.size(); ++i) {
      const TileEntry& entry = index.tiles[i];
      opened.places[i].push_back(
          {entry, segment.subspan(index.IndexBytes() + entry.offset, entry.size_bytes)});
    }
    at += index.IndexBytes() + index.TileBytes();
  }
  return opened;
}

// Where launches run: keeps what they read, has the memory that they write.
class LaunchMachine {
 public:
  virtual ~LaunchMachine() = default;
  // A copy of the bytes at a multiple of 16, where a launch reads it.
  virtual const std::byte* Keep(ConstBytes bytes) = 0;
  // The memory as a launch sees it, with its contents as they are now.
  virtual PagedKv Lend(TestMemory& memory) = 0;
  virtual std::vector<std::uint32_t> Launch(const DecodePlan& plan) = 0;
  virtual HostEncoded Encode(const EncodePlan& plan) = 0;
  // Brings back what launches have written.
  virtual void Return(TestMemory& memory) = 0;
};

// Alters the copy of a tile or profile that a launch is given.
using ChangeCopy = std::function<void(AlignedBytes&)>;

class HostMachine final : public LaunchMachine {
 public:
  explicit HostMachine(ChangeCopy change = {}) : change_(std::move(change)) {}
  const std::byte* Keep(ConstBytes bytes) override {
    AlignedBytes& copy = copies_.emplace_back(bytes);
    if (change_) change_(copy);
    return copy.data();
  }
  PagedKv Lend(TestMemory& memory) override { return memory.kv(); }
  std::vector<std::uint32_t> Launch(const DecodePlan& plan) override {
    return LaunchOnHost(plan, backwards);
  }
  HostEncoded Encode(const EncodePlan& plan) override { return EncodeOnHost(plan, backwards); }
  void Return(TestMemory& /*memory*/) override {}

  bool backwards = false;

 private:
  ChangeCopy change_;
  std::vector<AlignedBytes> copies_;
};

// What a launch made of the tiles.
struct LaneOutcome {
  Status planned;
  std::vector<std::uint32_t> verdicts;
  [[nodiscard]] bool good() const {
    return planned.ok() && std::all_of(verdicts.begin(), verdicts.end(),
                                       [](std::uint32_t verdict) { return verdict == 0; });
  }
};

// Decodes the places' first `levels` tiles.
inline LaneOutcome LaunchCase(const LaneCase& c, const OpenedPlaces& opened, std::size_t levels,
                              LaneTarget& target, LaunchMachine& machine) {
  std::optional<ProfileImage> image;
  std::optional<LaunchProfile> profile;
  if (c.profile != nullptr) {
    image.emplace(c.spec, *c.profile);
    profile.emplace(LaunchProfile{*image, machine.Keep(image->bytes())});
  }
  std::vector<std::vector<LaunchTile>> tiles;
  for (const std::vector<TileBytes>& place : opened.places) {
    auto& mine = tiles.emplace_back();
    for (std::size_t l = 0; l < std::min(levels, place.size()); ++l) {
      mine.push_back({place[l].entry, place[l].bytes, machine.Keep(place[l].bytes)});
    }
  }
  const std::vector<std::span<const LaunchTile>> places(tiles.begin(), tiles.end());
  DecodePlanner planner = DecodePlanner::Make(c.spec).value();
  LaneOutcome outcome;
  outcome.planned =
      planner.Add(opened.header, places, machine.Lend(target.memory), target.tables.tables(),
                  target.place, profile ? &*profile : nullptr);
  if (!outcome.planned.ok()) return outcome;
  outcome.verdicts = machine.Launch(planner.Take());
  machine.Return(target.memory);
  return outcome;
}

// The CPU's decoder, by its specification; the first error, if there is one.
inline Status DecodeOnCpu(const LaneCase& c, const OpenedPlaces& opened, std::size_t levels,
                          LaneTarget& target) {
  CodecScratch scratch;
  const ObjectCodec codec = ObjectCodec::Make(c.spec, "scalar").value();
  Status first;
  for (const std::vector<TileBytes>& place : opened.places) {
    Status status =
        codec.DecodeTile(opened.header, std::span(place).first(levels), target.memory.kv(),
                         target.tables.tables(), target.place, c.profile, scratch);
    if (first.ok()) first = status;
  }
  return first;
}

// Encodes, decodes on the CPU and by a launch into equal memory, and compares every byte of it;
// empty if all is well, else what is not.
inline std::string CompareWithCpu(const LaneCase& c, LaunchMachine& machine) {
  const std::vector<std::byte> object = EncodeCase(c);
  if (object.empty()) return "it was not encoded";
  const OpenedPlaces opened = OpenPlaces(object);
  LaneTarget want(c);
  LaneTarget got(c);
  const Status status = DecodeOnCpu(c, opened, c.decoded_levels, want);
  if (!status.ok()) return "the CPU: " + status.ToString();
  const LaneOutcome outcome = LaunchCase(c, opened, c.decoded_levels, got, machine);
  if (!outcome.planned.ok()) return "the planner: " + outcome.planned.ToString();
  if (outcome.verdicts.empty()) return "nothing was decoded";
  if (!outcome.good()) return "a unit did not decode";
  return got.memory.Snapshot() == want.memory.Snapshot() ? "" : "the bits are not the CPU's";
}

// What a launch encodes the chunk to; empty, and why, if it does not.
inline std::vector<std::byte> EncodeByLaunch(const LaneCase& c, LaneSource& source,
                                             LaunchMachine& machine, std::string& why) {
  std::optional<EncodeImage> image;
  std::optional<EncodeProfile> profile;
  if (c.profile != nullptr) {
    image.emplace(c.spec, *c.profile);
    profile.emplace(EncodeProfile{*image, machine.Keep(image->bytes())});
  }
  EncodePlanner planner = EncodePlanner::Make(c.spec).value();
  const Status planned =
      planner.Add(HeaderOf(c), machine.Lend(source.memory), source.tables.tables(), source.place,
                  profile ? &*profile : nullptr);
  if (!planned.ok()) why = "the planner: " + planned.ToString();
  if (!planned.ok()) return {};
  const EncodePlan plan = planner.Take();
  const HostEncoded encoded = machine.Encode(plan);
  std::vector<std::byte> object;
  const Status made = AppendObject(plan, 0, encoded.sizes, encoded.out, object);
  if (!made.ok()) why = "the object: " + made.ToString();
  return object;
}

// Encodes on the CPU and by a launch out of the same memory, and compares every byte of the
// objects; empty if all is well, else what is not.
inline std::string CompareEncodedWithCpu(const LaneCase& c, LaunchMachine& machine) {
  LaneSource source(c);
  const std::vector<std::byte> want = EncodeCase(c, source, "scalar");
  if (want.empty()) return "the CPU did not encode it";
  std::string why;
  const std::vector<std::byte> got = EncodeByLaunch(c, source, machine, why);
  if (!why.empty()) return why;
  if (got.size() != want.size()) {
    return std::to_string(got.size()) + " bytes, the CPU's are " + std::to_string(want.size());
  }
  const auto at = std::mismatch(got.begin(), got.end(), want.begin()).first - got.begin();
  return got == want ? "" : "byte " + std::to_string(at) + " is not the CPU's";
}

}  // namespace kdn::codec

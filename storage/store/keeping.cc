// Truncation, and looking again at what is stored.
#include <algorithm>
#include <functional>
#include <utility>

#include "storage/disk_tier.h"
#include "storage/object_check.h"
#include "storage/store/store.h"

namespace kdn::storage {
namespace {

// A look reads a whole object, and a report costs nothing.
constexpr std::size_t kSuspectsMax = 8;
constexpr Duration kSuspectAgain = std::chrono::minutes(1);
// Of scrubbing: how far it may lag behind its rate and still make up for it, how many objects are
// looked at together, and how long it rests between two passes.
constexpr Duration kScrubBehindMax = std::chrono::milliseconds(200);
constexpr std::size_t kScrubsUnderWayMax = 2;
constexpr Duration kScrubPause = std::chrono::seconds(1);

// What is left must be the coarsest of the levels encoded, without a gap.
bool IsPrefix(LevelSet left, LevelSet encoded) {
  bool ended = false;
  for (const LevelInfo& info : Levels()) {
    if (!encoded.Has(info.level)) continue;
    if (left.Has(info.level) && ended) return false;
    if (!left.Has(info.level)) ended = true;
  }
  return true;
}

LevelSet WithFiner(LevelSet levels) {
  bool seen = false;
  for (const LevelInfo& info : Levels()) {
    seen = seen || levels.Has(info.level);
    if (seen) levels.Add(info.level);
  }
  return levels;
}

}  // namespace

// One look at an object in both tiers. Runs on any thread over what it was given.
struct Store::Check {
  ObjectSlot slot{};
  std::uint64_t number = 0;
  ObjectId id;
  ObjectHeader header;
  std::array<LevelCopy, kLevelCount> copies;
  LevelSet on_disk;

  LevelSet bad_in_dram;
  LevelSet bad_on_disk;
  Status failed;  // what could not be looked at

  Status Run(DiskTier* disk) {
    for (const LevelInfo& info : Levels()) {
      const LevelCopy& copy = copies[static_cast<std::size_t>(info.level)];
      if (copy.block != nullptr &&
          !CheckSegment(header, info.level, *copy.block, copy.offset, false)) {
        bad_in_dram.Add(info.level);
      }
      if (on_disk.Has(info.level)) RunOnDisk(*disk, info.level);
    }
    return {};
  }

  void RunOnDisk(DiskTier& disk, Level level) {
    std::vector<std::byte> bytes(header.level_bytes[static_cast<std::size_t>(level)]);
    const MutableBytes whole(bytes);
    const Status read = disk.Read(id, level, 0, std::span(&whole, 1));
    if (read.code() == Code::kUnavailable) {
      failed = read;
    } else if (!read.ok() || !VerifySegment(header, level, bytes, /*index_only=*/false).ok()) {
      bad_on_disk.Add(level);
    }
  }
};

// A copy that is bad is read again from a disk that has it. A level that is in neither tier any
// more takes the finer ones with it: they decode over it.
void Store::DropBad(Record& record, LevelSet in_dram, LevelSet on_disk) {
  on_disk = WithFiner(on_disk);
  const LevelSet left = (record.in_dram() - in_dram) | (record.on_disk - on_disk);
  const LevelSet lost = WithFiner(record.header.levels_encoded - left);
  RemoveLevels(record, in_dram | lost, on_disk | lost);
}

void Store::LogBad(const ObjectId& id, Level level, const Status& status) {
  metrics_.corrupt.Add();
  env_.log.Write(LogLevel::kWarning, "stored segment is bad",
                 {{"key", ToHex(id.key)},
                  {"level", std::string(LevelName(level))},
                  {"status", status.ToString()}});
}

Status Store::Truncate(const ObjectId& id, LevelSet levels) {
  Record* const record = objects_.Find(id);
  if (record == nullptr) return Status(Code::kNotFound);
  const LevelSet present = record->in_dram() | record->on_disk | record->writing;
  const LevelSet left = present - levels;
  if (!IsPrefix(left, record->header.levels_encoded)) {
    return Status(Code::kInvalidArgument, "a coarser level cannot go before a finer one");
  }
  if (left.empty()) {
    Drop(*record);
  } else if (!(left == present)) {
    RemoveLevels(*record, levels, levels);
  }
  return {};
}

Store::Check Store::CheckOf(const Record& record) {
  Check check;
  check.slot = record.slot;
  check.number = record.number;
  check.id = record.id;
  check.header = record.header;
  check.copies = record.copies;
  check.on_disk = record.on_disk;
  return check;
}

Status Store::ApplyCheck(Check& check) {
  check.copies = {};
  Record* const record = objects_.Get(check.slot, check.number);
  if (record == nullptr) return Status(Code::kNotFound);
  if (check.bad_in_dram.empty() && check.bad_on_disk.empty()) return check.failed;
  for (const LevelInfo& info : Levels()) {
    const Status bad(Code::kDataLoss, check.bad_in_dram.Has(info.level) ? "in DRAM" : "on disk");
    if ((check.bad_in_dram | check.bad_on_disk).Has(info.level)) {
      LogBad(record->id, info.level, bad);
    }
  }
  DropBad(*record, check.bad_in_dram, check.bad_on_disk);
  return Status(Code::kDataLoss, "what does not verify was dropped");
}

Status Store::Verify(const ObjectId& id) {
  const Record* const record = objects_.Find(id);
  if (record == nullptr || record->evicting) return Status(Code::kNotFound);
  Check check = CheckOf(*record);
  KDN_RETURN_IF_ERROR(check.Run(disk_));
  return ApplyCheck(check);
}

void Store::Suspect(const ObjectId& id) {
  Record* const record = objects_.Find(id);
  const TimePoint now = env_.clock.Now();
  if (record == nullptr || now < record->suspect_from) return;
  if (suspects_looked_at_ + suspects_.size() >= kSuspectsMax) return;
  record->suspect_from = now + kSuspectAgain;
  if (disk_ == nullptr) {
    suspects_.push_back(id);
    jobs_.Wake();
    return;
  }
  ++suspects_looked_at_;
  StartCheck(*record, [this] { --suspects_looked_at_; });
}

void Store::StartCheck(const Record& record, std::function<void()> done) {
  auto check = std::make_unique<Check>(CheckOf(record));
  Check* const running = check.get();
  jobs_.Change(
      record.id, [running, disk = disk_] { return running->Run(disk); },
      [this, checked = std::move(check), done = std::move(done)](const Status&) {
        static_cast<void>(ApplyCheck(*checked));
        done();
      });
}

// One at a turn: the shard's other work comes between.
void Store::LookAtSuspect() {
  if (suspects_.empty()) return;
  static_cast<void>(Verify(suspects_.front()));
  suspects_.pop_front();
  if (!suspects_.empty()) jobs_.Wake();
}

void Store::ScrubOne(const Record& record) {
  metrics_.scrubbed_bytes.Add(record.BytesIn(record.in_dram()) + record.BytesIn(record.on_disk));
  if (disk_ == nullptr) {
    static_cast<void>(Verify(record.id));
    return;
  }
  ++scrubs_under_way_;
  StartCheck(record, [this] { --scrubs_under_way_; });
}

// Object after object in order of slots: what comes meanwhile is met in this pass or in the next.
void Store::Scrub() {
  if (options_.scrub_bytes_per_second == 0 || closing_) return;
  const TimePoint now = env_.clock.Now();
  scrub_from_ = std::max(scrub_from_, now - kScrubBehindMax);
  while (scrub_from_ <= now && scrubs_under_way_ < kScrubsUnderWayMax) {
    const Record* const record = objects_.NextFrom(scrub_next_);
    if (record == nullptr) {
      if (static_cast<std::size_t>(scrub_next_) > 0) metrics_.scrub_passes.Add();
      scrub_next_ = {};
      scrub_from_ = now + kScrubPause;
      return;
    }
    scrub_next_ = ObjectSlot{static_cast<std::size_t>(record->slot) + 1};
    if (record->evicting) continue;
    const double bytes =
        static_cast<double>(record->BytesIn(record->in_dram()) + record->BytesIn(record->on_disk));
    scrub_from_ += std::chrono::duration_cast<Duration>(std::chrono::duration<double>(
        bytes / static_cast<double>(options_.scrub_bytes_per_second)));
    ScrubOne(*record);
  }
}

}  // namespace kdn::storage

// From disk to DRAM: a read's hit promotes the whole segment, which is checked tile by tile on the
// way, on the disk's threads.
#include <utility>

#include "storage/disk_tier.h"
#include "storage/object_check.h"
#include "storage/store/store.h"

namespace kdn::storage {

// What one load brings. Filled by a thread of the disk tier while the shard only keeps it.
struct Store::Load {
  ObjectSlot slot{};
  std::uint64_t number = 0;
  ObjectId id;
  ObjectHeader header;
  struct Segment {
    Level level = Level::kExact;
    BlockRef block;
    std::vector<MutableBytes> runs;
    Result<SegmentIndex> index = Error(Code::kUnavailable);
  };
  std::vector<Segment> segments;

  Status Run(DiskTier& disk) {
    for (Segment& segment : segments) {
      if (Status read = disk.Read(id, segment.level, 0, segment.runs); !read.ok()) {
        segment.index = std::unexpected(std::move(read));
      } else {
        segment.index = CheckSegment(header, segment.level, *segment.block, 0, false);
      }
    }
    return {};
  }
};

Status Store::StartLoad(Record& record, LevelSet levels) {
  if (record.evicting) return Status(Code::kNotFound);
  auto load = std::make_unique<Load>();
  load->slot = record.slot;
  load->number = record.number;
  load->id = record.id;
  load->header = record.header;
  Hold(record, true);  // making room must not evict what it already has in DRAM
  for (const LevelInfo& info : Levels()) {
    const auto number = static_cast<std::size_t>(info.level);
    if (!levels.Has(info.level) || record.copies[number].block != nullptr) continue;
    Load::Segment& segment = load->segments.emplace_back();
    segment.level = info.level;
    segment.block = MakeBlock(record.header.level_bytes[number]);
    if (segment.block == nullptr) {
      Hold(record, false);
      return Status(Code::kResourceExhausted, "no room in DRAM: all of it is in use");
    }
    segment.block->Append(0, segment.block->size(), segment.runs);
  }
  Load* const running = load.get();
  const bool posted =
      jobs_.Read([running, disk = disk_] { return running->Run(*disk); },
                 [this, loaded = std::move(load)](const Status&) { Loaded(*loaded); });
  if (!posted) {
    Hold(record, false);
    return Status(Code::kUnavailable, "too much waits for the disk");
  }
  record.loading = true;
  return {};
}

void Store::Loaded(Load& load) {
  Record* const record = objects_.Get(load.slot, load.number);
  if (record == nullptr) return;  // dropped meanwhile, and its reads told so
  record->loading = false;
  LevelSet bad;
  Code failed = Code::kOk;
  UntrackDram(*record);
  for (Load::Segment& segment : load.segments) {
    if (!record->on_disk.Has(segment.level)) continue;  // truncated meanwhile
    if (segment.index) {
      record->copies[static_cast<std::size_t>(segment.level)] = {segment.block, 0};
      indices_.Insert(record->number, segment.level, *std::move(segment.index));
    } else if (segment.index.error().code() == Code::kUnavailable) {
      failed = Code::kUnavailable;
      metrics_.disk_errors.Add();
    } else {
      bad.Add(segment.level);
    }
    if (!segment.index) LogBad(record->id, segment.level, segment.index.error());
    segment.block.reset();
  }
  if (!record->in_dram().empty()) TrackDram(*record);
  std::vector<WaitingRead> waiting = std::exchange(record->waiting, {});
  Note(*record);
  if (!bad.empty()) DropBad(*record, {}, bad);
  for (WaitingRead& read : waiting) {
    --reads_waiting_;
    Resume(std::move(read), failed);
  }
  if (Record* const left = objects_.Get(load.slot, load.number)) Hold(*left, false);
}

// Takes up a read again after a load, from whatever is there now.
void Store::Resume(WaitingRead read, Code failed) {
  Record* const record = objects_.Find(read.request.id);
  if (record == nullptr) return CompleteRead(read.tag, Error(Code::kNotFound));
  const LevelSet levels = read.request.levels & (record->in_dram() | record->on_disk);
  if (levels.empty()) return CompleteRead(read.tag, Error(Code::kNotFound));
  if ((levels & record->in_dram()) == levels) {
    return CompleteRead(read.tag, Serve(*record, read.request, levels, /*from_disk=*/true));
  }
  if (failed != Code::kOk) return CompleteRead(read.tag, Error(failed));
  if (!record->loading) {
    if (Status status = StartLoad(*record, levels); !status.ok()) {
      return CompleteRead(read.tag, Error(status.code()));
    }
  }
  record->waiting.push_back(std::move(read));
  ++reads_waiting_;
}

void Store::CompleteRead(std::uint64_t tag, Result<std::unique_ptr<ReadResult>> result) {
  Completion& done = completions_.emplace_back();
  done.kind = Completion::Kind::kRead;
  done.tag = tag;
  if (result) {
    done.read = *std::move(result);
  } else {
    done.code = result.error().code();
  }
  jobs_.Wake();
}

}  // namespace kdn::storage

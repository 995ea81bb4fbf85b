// From DRAM to disk: puts whose commit waits for it, and dirty objects of write-back.
#include <utility>

#include "storage/disk_tier.h"
#include "storage/store/store.h"

namespace kdn::storage {
namespace {

// Enough to keep the disk busy, few enough that room for the next can still be judged.
constexpr std::size_t kWritesUnderWayMax = 8;
// How often a write goes round again because other shards took the room that was made for it.
constexpr int kRoomAttemptsMax = 8;
constexpr Duration kWriteBackRetry = std::chrono::seconds(1);

}  // namespace

void Store::QueueWrite(const DiskWrite& write) {
  writes_.push_back(write);
  PumpWrites();
}

void Store::PumpWrites() {
  const std::size_t under_way_max = writes_held_ ? 1 : kWritesUnderWayMax;
  while (!writes_.empty() && writes_under_way_ < under_way_max) {
    const DiskWrite write = writes_.front();
    writes_.pop_front();
    if (StartWrite(write)) continue;
    writes_.push_front(write);
    return;
  }
}

// What there is to write; nullopt if it is gone meanwhile or has given way.
std::optional<Store::DiskImage> Store::ImageOf(const DiskWrite& write) {
  const ObjectHeader* header = nullptr;
  std::array<LevelCopy, kLevelCount> copies;
  if (write.is_put) {
    Put* const put = puts_.Find(write.id);
    if (put == nullptr || put->commits.empty() || !GivesWay(*put)) return std::nullopt;
    header = &put->whole->header;
    copies = CopiesOf(*put);
  } else {
    const Record* const record = objects_.Get(write.slot, write.number);
    if (record == nullptr) return std::nullopt;
    header = &record->header;
    copies = record->copies;
  }
  DiskImage image;
  image.header = EncodeHeader(*header);
  image.bytes = image.header.size();
  for (const LevelInfo& info : Levels()) {
    const auto number = static_cast<std::size_t>(info.level);
    const LevelCopy& copy = copies[number];
    if (copy.block == nullptr) continue;
    copy.block->Append(copy.offset, header->level_bytes[number], image.segments[number]);
    image.levels.Add(info.level);
    image.bytes += header->level_bytes[number];
    image.kept.push_back(copy.block);
  }
  return image;
}

Store::Room Store::MakeRoomOnDisk(std::size_t bytes) {
  if (disk_->crowded()) return Room::kThere;  // as below
  const std::uint64_t bytes_max = disk_->bytes_max();
  if (bytes > bytes_max) return Room::kThere;  // nothing helps: the tier looks again, or refuses
  const std::uint64_t taken = disk_->bytes_used() + writing_bytes_ + bytes;
  if (taken <= bytes_max) return Room::kThere;
  // Room that comes with deletes under way is not made twice.
  if (deletes_under_way_ > 0) return Room::kComing;
  // Whoever waited for room that did not come hears of it; the next one tries anew.
  if (!eviction_status_.ok()) return Room::kRefused;
  if (EvictFromDisk(taken - bytes_max)) return Room::kComing;
  return writing_bytes_ > 0 ? Room::kComing : Room::kThere;  // as above
}

bool Store::StartWrite(const DiskWrite& write) {
  std::optional<DiskImage> image = ImageOf(write);
  if (!image) return true;
  const std::size_t bytes = image->bytes;
  switch (MakeRoomOnDisk(bytes)) {
    case Room::kThere:
      break;
    case Room::kComing:
      return false;
    case Room::kRefused:
      Written(write, 0, std::exchange(eviction_status_, {}));
      return true;
  }
  if (!write.is_put) objects_.At(write.slot).writing = image->levels;
  ++writes_under_way_;
  writing_bytes_ += bytes;
  // The job holds views alone; the blocks stay with the shard, which alone may free them.
  auto work = [disk = disk_, id = write.id, header = image->header,
               segments = std::move(image->segments)] {
    DiskTier::Segments views;
    for (std::size_t i = 0; i < kLevelCount; ++i) views[i] = segments[i];
    return disk->Write(id, header, views);
  };
  jobs_.Change(write.id, std::move(work),
               [this, write, bytes, kept = std::move(image->kept)](const Status& status) mutable {
                 kept.clear();
                 --writes_under_way_;
                 writing_bytes_ -= bytes;
                 Written(write, bytes, status);
               });
  return true;
}

void Store::Written(DiskWrite write, std::size_t bytes, const Status& status) {
  if (status.code() == Code::kOutOfRange && bytes <= disk_->bytes_max() &&
      ++write.attempts < kRoomAttemptsMax && EvictFromDisk(bytes)) {
    writes_.push_front(write);
    return;
  }
  if (!status.ok()) {
    metrics_.disk_errors.Add();
    env_.log.Write(LogLevel::kWarning, "object not written to disk",
                   {{"key", ToHex(write.id.key)}, {"status", status.ToString()}});
  }
  if (write.is_put) {
    PutWritten(write, status);
  } else {
    RecordWritten(write, status);
  }
}

void Store::PutWritten(const DiskWrite& write, const Status& status) {
  Put& put = *puts_.Find(write.id);  // stays: its commit waits
  if (status.code() == Code::kOutOfRange) return CompletePut(put, Code::kResourceExhausted);
  if (!status.ok()) return CompletePut(put, status.code());
  const LevelSet levels = put.whole->levels;
  if (GivesWay(put)) {
    MakeVisible(put, levels);
  } else {
    DeleteOnDisk(write.id, kAllLevels);
  }
}

void Store::RecordWritten(const DiskWrite& write, const Status& status) {
  Record* const record = objects_.Get(write.slot, write.number);
  if (record == nullptr) return;  // dropped meanwhile: its delete waits behind this write
  const LevelSet written = std::exchange(record->writing, LevelSet());
  write_back_status_ = status;
  if (!status.ok()) {
    retries_.emplace_back(env_.clock.Now() + kWriteBackRetry, write);
    return;
  }
  dirty_bytes_ -= std::exchange(record->dirty_bytes, 0);
  record->on_disk = written;
  TrackDisk(*record);
  Hold(*record, false);
  TrimUnused(*record);
  Note(*record);
}

void Store::RetryWrites() {
  const TimePoint now = env_.clock.Now();
  while (!retries_.empty() && retries_.front().first <= now) {
    writes_.push_back(retries_.front().second);
    writes_.back().attempts = 0;
    retries_.pop_front();
  }
}

}  // namespace kdn::storage

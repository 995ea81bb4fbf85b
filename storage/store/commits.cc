// The second phase: from a verified put to a visible object, and from DRAM to disk.
#include <utility>

#include "storage/store/store.h"

namespace kdn::storage {

void Store::Complete(std::uint64_t tag, Code code, LevelSet on_disk) {
  completions_.push_back({Completion::Kind::kCommit, tag, code, on_disk, nullptr});
  jobs_.Wake();
}

void Store::CompletePut(Put& put, Code code, LevelSet on_disk) {
  for (const std::uint64_t tag : put.commits) Complete(tag, code, on_disk);
  put.commits.clear();
}

void Store::Commit(const ObjectId& id, const ObjectDigest& digest, std::uint64_t tag) {
  if (closing_) return Complete(tag, Code::kCancelled);
  if (const Record* const visible = objects_.Find(id)) {
    return Complete(tag, Code::kAlreadyExists, visible->on_disk);
  }
  Put* const put = puts_.Find(id);
  if (put == nullptr || !put->whole || !(put->whole->digest == digest)) {
    return Complete(tag, Code::kNotFound);
  }
  put->commits.push_back(tag);
  if (put->commits.size() > 1) return;  // told twice: both hear of the first
  if (!GivesWay(*put)) return;
  switch (options_.write_mode) {
    case WriteMode::kDramOnly:
      MakeVisible(*put, {});
      return;
    case WriteMode::kWriteThrough:
      QueueWrite({.id = id, .is_put = true});
      return;
    case WriteMode::kWriteBack:
      waiting_commits_.push_back(id);
      PumpCommits();
      return;
  }
}

bool Store::GivesWay(Put& put) {
  const Record* const visible = objects_.Find(NameOf(put.id));
  if (visible == nullptr ||
      ProvenanceRank(visible->header.provenance) <= ProvenanceRank(put.whole->header.provenance)) {
    return true;
  }
  CompletePut(put, Code::kAlreadyExists, visible->on_disk);
  puts_.End(put);
  return false;
}

std::array<LevelCopy, kLevelCount> Store::CopiesOf(const Put& put) {
  std::array<LevelCopy, kLevelCount> copies;
  std::size_t offset = kObjectHeaderBytes;
  for (const LevelInfo& info : Levels()) {
    const auto number = static_cast<std::size_t>(info.level);
    if (!put.whole->levels.Has(info.level)) continue;
    copies[number] = {put.block, offset};
    offset += put.whole->header.level_bytes[number];
  }
  return copies;
}

Record& Store::MakeVisible(Put& put, LevelSet on_disk) {
  if (Record* const older = objects_.Find(NameOf(put.id))) Drop(*older);
  Record& record = objects_.Insert(put.id, put.whole->header);
  record.copies = CopiesOf(put);
  record.on_disk = on_disk;
  TrackDram(record);
  if (!on_disk.empty()) TrackDisk(record);
  Note(record);
  CompletePut(put, Code::kOk, on_disk);
  puts_.End(put);
  return record;
}

// Write-back: commits are visible at once while the dirty bytes stay within their bound, and wait
// in order beyond it.
void Store::PumpCommits() {
  while (!waiting_commits_.empty()) {
    const ObjectId id = waiting_commits_.front();
    Put* const put = puts_.Find(id);
    if (put == nullptr || !put->whole || put->commits.empty() || !GivesWay(*put)) {
      waiting_commits_.pop_front();
      continue;
    }
    const std::size_t bytes = put->block->size();
    // One object may exceed the bound alone, or it could never be stored.
    if (dirty_bytes_ > 0 && dirty_bytes_ + bytes > options_.dirty_bytes_max) {
      if (put->expires > env_.clock.Now()) return;
      CompletePut(*put, Code::kResourceExhausted);
      waiting_commits_.pop_front();
      continue;
    }
    waiting_commits_.pop_front();
    Record& record = MakeVisible(*put, {});
    record.dirty_bytes = bytes;
    dirty_bytes_ += bytes;
    Hold(record, true);
    QueueWrite({.id = id, .number = record.number, .slot = record.slot});
  }
}

}  // namespace kdn::storage

// Space that deleted values still take. RocksDB counts garbage per blob file as compaction meets
// deletions, lets go of files that have nothing else, and rewrites the others only if told to.
#include <algorithm>
#include <cstdint>
#include <limits>

#include "storage/rocks/database.h"

namespace kdn::storage::rocks {
namespace {

// What is live in the files that one pass rewrites, which needs as much room beside them.
constexpr std::uint64_t kRewrittenBytesMax = std::uint64_t{1} << 30;
// So that passes end whatever RocksDB makes of them; what is left is for the next time.
constexpr int kPassesMax = 64;

struct Garbage {
  std::uint64_t bytes = 0;
  std::uint64_t total_bytes = 0;

  // What has to go for `share_max` of what is left to be garbage.
  [[nodiscard]] std::uint64_t Excess(double share_max) const {
    const auto live = static_cast<double>(total_bytes - bytes);
    const double allowed =
        share_max >= 1 ? std::numeric_limits<double>::max() : live * share_max / (1 - share_max);
    const auto garbage = static_cast<double>(bytes);
    return garbage > allowed ? static_cast<std::uint64_t>(garbage - allowed) : 0;
  }
};

Garbage GarbageIn(const rocksdb::ColumnFamilyMetaData& family) {
  Garbage garbage;
  for (const rocksdb::BlobMetaData& file : family.blob_files) {
    garbage.bytes += file.garbage_blob_bytes;
    garbage.total_bytes += file.total_blob_bytes;
  }
  return garbage;
}

// How many of the oldest files to rewrite: until `excess` has gone or there is no more room.
std::size_t FilesToRewrite(const rocksdb::ColumnFamilyMetaData& family, std::uint64_t excess,
                           std::uint64_t live_max) {
  std::size_t count = 0;
  std::uint64_t garbage = 0;
  std::uint64_t live = 0;
  for (const rocksdb::BlobMetaData& file : family.blob_files) {
    live += file.total_blob_bytes - file.garbage_blob_bytes;
    if (live > live_max || garbage >= excess) break;
    garbage += file.garbage_blob_bytes;
    ++count;
  }
  return count;
}

}  // namespace

// All keys, and with them the values in the oldest `rewritten_share` of the files.
Status Database::CompactAll(Family family, double rewritten_share) {
  using rocksdb::BlobGarbageCollectionPolicy;
  const bool rewrites = rewritten_share > 0;
  rocksdb::CompactRangeOptions options;
  options.exclusive_manual_compaction = false;
  options.allow_write_stall = false;
  options.bottommost_level_compaction = rocksdb::BottommostLevelCompaction::kForceOptimized;
  options.blob_garbage_collection_policy =
      rewrites ? BlobGarbageCollectionPolicy::kForce : BlobGarbageCollectionPolicy::kDisable;
  if (rewrites) options.blob_garbage_collection_age_cutoff = rewritten_share;
  options.canceled = &closing_;
  const rocksdb::Status status = db_->CompactRange(options, Handle(family), nullptr, nullptr);
  if (closing_.load()) return Status(Code::kCancelled);
  if (status.IsCorruption()) {
    damaged_ = true;
    write_failed_ = true;
  }
  return FromRocks(status);
}

Status Database::Reclaim(Family family, double garbage_share_max) {
  const std::shared_lock lock(open_);
  if (db_ == nullptr || closing_.load()) return Status(Code::kCancelled);
  if (write_failed_.load() || to_mend_.load()) {
    return Status(Code::kUnavailable, "the disk takes no writes");
  }
  KDN_RETURN_IF_ERROR(FlushTables());
  KDN_RETURN_IF_ERROR(CompactAll(family, 0));
  for (int pass = 0; pass < kPassesMax; ++pass) {
    rocksdb::ColumnFamilyMetaData metadata;
    db_->GetColumnFamilyMetaData(Handle(family), &metadata);
    const std::uint64_t excess = GarbageIn(metadata).Excess(garbage_share_max);
    if (excess == 0) return {};
    const std::uint64_t live_max = std::min(kRewrittenBytesMax, FileSystemSpace().bytes_free / 2);
    const std::size_t files = FilesToRewrite(metadata, excess, live_max);
    if (files == 0) return Status(Code::kResourceExhausted, "no room to rewrite files in");
    // Between two files' shares, so that rounding takes neither one more nor one less.
    const double share =
        (static_cast<double>(files) + 0.5) / static_cast<double>(metadata.blob_files.size());
    KDN_RETURN_IF_ERROR(CompactAll(family, std::min(share, 1.0)));
  }
  return {};
}

}  // namespace kdn::storage::rocks

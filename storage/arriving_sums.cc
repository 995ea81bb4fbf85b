#include "storage/arriving_sums.h"

#include <algorithm>

#include "base/limits.h"

namespace kdn::storage {

void ArrivingSums::GiveUp() {
  given_up_ = true;
  tiles_ = {};
  next_ = 0;
  header_.reset();
  runs_ = {};
  scratch_ = {};
}

void ArrivingSums::Advance(const Block& block, std::size_t bytes) {
  if (given_up_ || bytes <= seen_) return;
  seen_ = bytes;
  Step step = Step::kGoOn;
  while (step == Step::kGoOn) {
    if (!header_) {
      step = ReadHeader(block);
    } else if (!in_tiles_) {
      step = ReadIndex(block);
    } else {
      step = SumTile(block);
    }
  }
  if (step == Step::kGiveUp) GiveUp();
}

ArrivingSums::Step ArrivingSums::ReadHeader(const Block& block) {
  if (seen_ < kObjectHeaderBytes) return Step::kWait;
  auto header = DecodeHeader(block.Gather(0, kObjectHeaderBytes, scratch_));
  if (!header) return Step::kGiveUp;
  header_ = *std::move(header);
  segment_ = kObjectHeaderBytes;
  return Step::kGoOn;
}

ArrivingSums::Step ArrivingSums::ReadIndex(const Block& block) {
  while (level_ < kLevelCount && header_->level_bytes[level_] == 0) ++level_;
  if (level_ == kLevelCount || segment_ >= block.size()) return Step::kWait;  // that was all
  if (seen_ < segment_ + kIndexHeadBytes) return Step::kWait;
  const auto tile_count = PeekTileCount(block.Gather(segment_, kIndexHeadBytes, scratch_));
  if (!tile_count) return Step::kGiveUp;
  const std::size_t index_bytes = kIndexHeadBytes + *tile_count * kTileEntryBytes + kIndexTailBytes;
  const std::size_t segment_bytes = header_->level_bytes[level_];
  if (index_bytes > segment_bytes || segment_bytes > block.size() - segment_) {
    return Step::kGiveUp;
  }
  if (seen_ < segment_ + index_bytes) return Step::kWait;
  const auto index = DecodeIndex(block.Gather(segment_, index_bytes, scratch_), TagOf(*header_));
  if (!index || index_bytes + index->TileBytes() != segment_bytes) return Step::kGiveUp;
  const std::size_t tiles = segment_ + index_bytes;
  for (const TileEntry& entry : index->tiles) {
    tiles_.push_back({tiles + entry.offset, tiles + entry.offset + entry.size_bytes, {}});
  }
  summed_ = tiles;
  stream_.Reset();
  in_tiles_ = true;
  return Step::kGoOn;
}

ArrivingSums::Step ArrivingSums::SumTile(const Block& block) {
  Tile& tile = tiles_[next_];
  const std::size_t until = std::min(seen_, tile.end);
  runs_.clear();
  block.Append(summed_, until - summed_, runs_);
  for (const ConstBytes run : runs_) stream_.Add(run);
  summed_ = until;
  if (until < tile.end) return Step::kWait;
  tile.sum = stream_.Sum();
  stream_.Reset();
  if (++next_ == tiles_.size()) {
    in_tiles_ = false;
    segment_ += header_->level_bytes[level_++];
  }
  return Step::kGoOn;
}

std::optional<Checksum> ArrivingSums::Find(std::size_t offset, std::size_t size_bytes) const {
  const auto end = tiles_.begin() + static_cast<std::ptrdiff_t>(next_);
  const auto found =
      std::lower_bound(tiles_.begin(), end, offset,
                       [](const Tile& tile, std::size_t at) { return tile.begin < at; });
  if (found == end || found->begin != offset || found->end - offset != size_bytes) {
    return std::nullopt;
  }
  return found->sum;
}

}  // namespace kdn::storage

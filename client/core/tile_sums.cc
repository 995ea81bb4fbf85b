#include "client/core/tile_sums.h"

#include <algorithm>

#include "proto/object/checksum.h"
#include "proto/object/segment.h"

namespace kdn::client {

void TileSums::OnArrived(std::size_t offset, std::size_t size_bytes) {
  if (given_up_) return;
  if (offset != arrived_ || size_bytes > window_.size() - arrived_) {
    given_up_ = true;
    return;
  }
  arrived_ += size_bytes;
  if (sums_.empty() && !Plan()) {
    given_up_ = true;
    return;
  }
  SumTiles();
}

// False if the front makes no sense: whoever reads it says what is wrong.
bool TileSums::Plan() {
  if (front_bytes_ == 0) {
    if (arrived_ < kObjectHeaderBytes) return true;
    const auto header = DecodeHeader(window_.first(kObjectHeaderBytes));
    const std::size_t entries = header ? count_entries_(*header) : 0;
    if (entries == 0 || entries > window_.size() / kTileEntryBytes) return false;
    front_bytes_ = kObjectHeaderBytes + entries * kTileEntryBytes;
    if (front_bytes_ > window_.size()) return false;
  }
  return arrived_ < front_bytes_ || PlanTiles();
}

bool TileSums::PlanTiles() {
  const ConstBytes entries = window_.subspan(kObjectHeaderBytes, front_bytes_ - kObjectHeaderBytes);
  const std::size_t count = entries.size() / kTileEntryBytes;
  ByteReader reader(entries);
  std::size_t end = front_bytes_;
  ends_.reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    end += DecodeTileEntry(reader).size_bytes;
    if (!reader.ok() || end > window_.size()) return false;
    ends_.push_back(end);
  }
  summed_ = front_bytes_;
  sums_.resize(count);
  return true;
}

void TileSums::SumTiles() {
  for (; tile_ < sums_.size(); ++tile_) {
    const std::size_t begin = tile_ == 0 ? front_bytes_ : ends_[tile_ - 1];
    const std::size_t until = std::min(arrived_, ends_[tile_]);
    const ConstBytes bytes = window_.subspan(summed_, until - summed_);
    if (summed_ == begin && until == ends_[tile_]) {
      sums_[tile_] = ChecksumOf(bytes);
      summed_ = until;
      continue;
    }
    if (summed_ == begin) stream_.Reset();
    stream_.Add(bytes);
    summed_ = until;
    if (until < ends_[tile_]) return;
    sums_[tile_] = stream_.Sum();
  }
}

}  // namespace kdn::client

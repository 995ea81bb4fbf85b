#include "storage/block.h"

#include <algorithm>
#include <cassert>
#include <cstring>
#include <utility>

namespace kdn::storage {

std::shared_ptr<Block> Block::Make(Arena& arena, std::size_t size_bytes, Runs wanted) {
  std::vector<MutableBytes> runs;
  if (!arena.Allocate(size_bytes, runs, wanted)) return nullptr;
  return std::shared_ptr<Block>(new Block(arena, std::move(runs), size_bytes));
}

Block::Block(Arena& arena, std::vector<MutableBytes> runs, std::size_t size_bytes)
    : arena_(arena), runs_(std::move(runs)), size_bytes_(size_bytes) {
  begins_.reserve(runs_.size());
  std::size_t begin = 0;
  for (const MutableBytes run : runs_) {
    begins_.push_back(begin);
    begin += run.size();
  }
}

std::size_t Block::RunAt(std::size_t offset) const {
  const auto after = std::upper_bound(begins_.begin(), begins_.end(), offset);
  return static_cast<std::size_t>(after - begins_.begin()) - 1;
}

ConstBytes Block::Gather(std::size_t offset, std::size_t size_bytes,
                         std::vector<std::byte>& scratch) const {
  assert(offset + size_bytes <= size_bytes_);
  if (size_bytes == 0) return {};
  const std::size_t run = RunAt(offset);
  const std::size_t skipped = offset - begins_[run];
  if (runs_[run].size() - skipped >= size_bytes) return runs_[run].subspan(skipped, size_bytes);
  std::vector<ConstBytes> pieces;
  Append(offset, size_bytes, pieces);
  scratch.resize(size_bytes);
  std::size_t at = 0;
  for (const ConstBytes piece : pieces) {
    std::memcpy(scratch.data() + at, piece.data(), piece.size());
    at += piece.size();
  }
  return scratch;
}

void Block::Trim(std::size_t size_bytes) {
  assert(size_bytes > 0 && size_bytes <= size_bytes_);
  arena_.Trim(runs_, size_bytes);
  begins_.resize(runs_.size());
  size_bytes_ = size_bytes;
}

}  // namespace kdn::storage

// A tile that is appended to a buffer of tiles while its directory, which stands in front, is still
// being made.
//
// Thread-safety: values that borrow.
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>
#include <vector>

#include "codec/aligned_vector.h"
#include "codec/rans_blocks.h"

namespace kdn::codec {

// Where a tile lies in its buffer.
struct TileExtent {
  std::size_t begin = 0;
  std::size_t bytes = 0;
};

class OpenTile {
 public:
  // Leaves room for a directory of at most `directory_max` bytes. `to` outlives this object and
  // holds a multiple of kBlockAlignment bytes.
  OpenTile(AlignedVector<std::byte>& to, std::size_t directory_max)
      : to_(&to), data_(to.size() + RoundUp(directory_max, kBlockAlignment)) {
    to.resize(data_);
  }
  // What is appended to it follows the directory.
  [[nodiscard]] AlignedVector<std::byte>& data() { return *to_; }
  // Puts the directory, and zeros to a multiple of kBlockAlignment, just in front of the data. What
  // is left of its room, in front of the tile, is no part of any. Requires: data of a multiple of
  // kBlockAlignment bytes.
  TileExtent Finish(std::span<const std::byte> directory) {
    const std::size_t begin = data_ - RoundUp(directory.size(), kBlockAlignment);
    std::byte* at = to_->data() + begin;
    at = std::copy(directory.begin(), directory.end(), at);
    std::fill(at, to_->data() + data_, std::byte{0});
    return {begin, to_->size() - begin};
  }

 private:
  AlignedVector<std::byte>* to_;
  std::size_t data_;
};

}  // namespace kdn::codec

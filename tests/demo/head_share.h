// A rank's share of a paged KV cache: the same memory, seen by some of its KV heads only, as each
// process of a tensor-parallel engine sees its own.
//
// Thread-safety: immutable after construction.
#pragma once

#include <array>
#include <cstddef>
#include <vector>

#include "codec/paged_kv.h"
#include "proto/object/header.h"

namespace kdn::demo {

class HeadShare {
 public:
  // Borrows the memory. Requires: one pool that holds `heads`.
  HeadShare(const codec::PagedKv& whole, Range heads) : heads_(heads), pools_{whole.pools[0]} {
    codec::KvPool& pool = pools_[0];
    for (std::size_t plane = 0; plane < bases_.size(); ++plane) {
      codec::PlaneMap& map = pool.planes[plane];
      bases_[plane].assign(map.base.begin(), map.base.end());
      for (std::byte*& base : bases_[plane])
        base += (heads.first - pool.first_head) * map.head_stride;
      map.base = bases_[plane];
    }
    pool.first_head = heads.first;
    pool.head_count = heads.count;
  }
  HeadShare(HeadShare&&) = default;

  [[nodiscard]] Range heads() const { return heads_; }
  // Valid as long as this is not moved.
  [[nodiscard]] codec::PagedKv view() const { return {pools_}; }

 private:
  Range heads_;
  std::array<std::vector<std::byte*>, 2> bases_;  // by plane; a moved vector keeps its memory
  std::array<codec::KvPool, 1> pools_;
};

// The model's heads in `ranks` equal shares.
[[nodiscard]] inline std::vector<HeadShare> SharesOf(const codec::PagedKv& whole,
                                                     std::uint16_t ranks) {
  const auto count = static_cast<std::uint16_t>(whole.pools[0].head_count / ranks);
  std::vector<HeadShare> shares;
  for (std::uint16_t rank = 0; rank < ranks; ++rank) {
    shares.emplace_back(whole, Range{static_cast<std::uint16_t>(rank * count), count});
  }
  return shares;
}

}  // namespace kdn::demo

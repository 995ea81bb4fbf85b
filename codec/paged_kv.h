// An engine's paged KV memory, as the affine map that covers every layout in use (docs/codec.md):
//
//   address = base[layer] + plane·s_plane + block·s_block + slot·s_slot + head·s_head + dim·s_dim
//
// with the block of token t read from a block table at t / block_tokens, and slot t % block_tokens.
// K and V that live in separate tensors have one base each instead of s_plane.
//
// Thread-safety: values that borrow; whoever passes one keeps the memory alive.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "proto/object/model_spec.h"

namespace kdn::codec {

// Strides in bytes; they may be negative for reversed layouts.
struct PlaneMap {
  std::span<std::byte* const> base;  // one address per layer of the group, in KvGroup::layers order
  std::ptrdiff_t block_stride = 0;
  std::ptrdiff_t slot_stride = 0;
  std::ptrdiff_t head_stride = 0;
  std::ptrdiff_t dim_stride = 0;
};

// One KV group's pool. `planes` holds k and v (or latent and rope, or state alone) in the order of
// the Plane enumeration.
struct KvPool {
  std::array<PlaneMap, 2> planes;
  std::uint32_t block_tokens = 0;  // tokens per block
  std::uint32_t block_count = 0;   // blocks in the pool: a block id at or above it is refused
  // The KV heads that this memory holds, in the model's absolute numbers: a tensor-parallel rank
  // holds a share. head_stride counts from the first of them.
  std::uint16_t first_head = 0;
  std::uint16_t head_count = 0;
};

// All groups of a model, in ModelSpec::groups order. A pipeline-parallel rank holds a share of the
// layers: absent layers have a null base.
struct PagedKv {
  std::span<const KvPool> pools;
};

// Which blocks hold a sequence's tokens: one table per KV group, block ids in token order.
struct BlockTables {
  std::span<const std::span<const std::uint32_t>> tables;
};

}  // namespace kdn::codec

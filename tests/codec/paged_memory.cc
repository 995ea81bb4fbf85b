#include "tests/codec/paged_memory.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <numeric>
#include <random>

#include "tests/codec/values.h"

namespace kdn::codec {
namespace {

// Strides in elements of the axes in `axes`, and the elements of one tensor.
struct Strides {
  std::map<char, std::ptrdiff_t> of;
  std::size_t elements = 1;
};

Strides StridesOf(std::string_view axes, std::map<char, std::size_t> sizes) {
  Strides strides;
  for (std::size_t i = axes.size(); i-- > 0;) {
    strides.of[axes[i]] = static_cast<std::ptrdiff_t>(strides.elements);
    strides.elements *= sizes[axes[i]];
  }
  return strides;
}

// Bytes that repeat after 4,093, so that rows and blocks differ.
std::vector<std::byte> Poison(std::size_t size) {
  static const std::vector<std::byte> pattern =
      MakeValues(DType::kFp8E4M3, Pattern::kRandomBits, 4093, 100);
  std::vector<std::byte> bytes(size);
  for (std::size_t at = 0; at < size; at += pattern.size()) {
    std::memcpy(&bytes[at], pattern.data(), std::min(pattern.size(), size - at));
  }
  return bytes;
}

bool Has(std::string_view axes, char axis) {
  return axes.find(axis) != std::string_view::npos;
}

}  // namespace

std::uint16_t HeadSize(const KvGroup& group, std::size_t plane) {
  return plane == 0 ? group.k_head_size : group.v_head_size;
}

std::size_t PlaneCount(const KvGroup& group) {
  return group.attention == AttentionKind::kState ? 1 : 2;
}

GroupMemory::GroupMemory(const ModelSpec& spec, const KvGroup& group, const MemoryShape& shape) {
  const std::size_t planes = PlaneCount(group);
  const std::size_t layers = group.layers.size();
  const std::uint16_t heads = shape.head_count == 0 ? group.kv_heads : shape.head_count;
  const bool fused = shape.axes.ends_with("PD");
  const bool plane_axis = Has(shape.axes, 'P');
  const bool layer_axis = Has(shape.axes, 'L');
  const auto element = static_cast<std::ptrdiff_t>(DTypeBytes(spec.dtype));
  std::vector<std::byte*> tensor_of_plane_layer;
  pool_.block_tokens = shape.block_tokens;
  pool_.block_count = shape.block_count;
  pool_.first_head = shape.first_head;
  pool_.head_count = heads;
  const std::size_t dims_together =
      planes == 2 ? std::size_t{group.k_head_size} + group.v_head_size : group.k_head_size;

  std::size_t next_tensor = 0;
  tensors_.reserve(planes * layers);
  for (std::size_t p = 0; p < planes; ++p) {
    const std::size_t dims = fused ? dims_together : HeadSize(group, p);
    const Strides strides = StridesOf(shape.axes, {{'N', shape.block_count},
                                                   {'L', layers},
                                                   {'P', fused ? 1 : planes},
                                                   {'S', shape.block_tokens},
                                                   {'H', heads},
                                                   {'D', dims}});
    const auto stride = [&](char axis) {
      return strides.of.contains(axis) ? strides.of.at(axis) * element : 0;
    };
    for (std::size_t l = 0; l < layers; ++l) {
      // A tensor is shared along the axes it has.
      const bool first_of_tensor = (!plane_axis || p == 0) && (!layer_axis || l == 0);
      if (first_of_tensor) {
        tensors_.push_back(Poison(strides.elements * static_cast<std::size_t>(element)));
      }
      next_tensor = (plane_axis ? 0 : p * (layer_axis ? 1 : layers)) + (layer_axis ? 0 : l);
      const std::ptrdiff_t plane_offset =
          static_cast<std::ptrdiff_t>(p) *
          (fused ? static_cast<std::ptrdiff_t>(group.k_head_size) * element : stride('P'));
      std::byte* base = tensors_[next_tensor].data() + plane_offset +
                        static_cast<std::ptrdiff_t>(l) * stride('L');
      const bool held = shape.layers.empty() || shape.layers[l];
      bases_[p].push_back(held ? base : nullptr);
    }
    pool_.planes[p] = PlaneMap{.base = bases_[p],
                               .block_stride = stride('N'),
                               .slot_stride = stride('S'),
                               .head_stride = stride('H'),
                               .dim_stride = stride('D')};
  }
}

bool GroupMemory::Holds(std::size_t layer, std::uint32_t head) const {
  return bases_[0][layer] != nullptr && head >= pool_.first_head &&
         head < std::uint32_t{pool_.first_head} + pool_.head_count;
}

std::byte* GroupMemory::At(std::size_t plane, std::size_t layer, std::uint32_t head,
                           std::uint32_t block, std::uint32_t slot, std::uint32_t dim) {
  const PlaneMap& map = pool_.planes[plane];
  return map.base[layer] + static_cast<std::ptrdiff_t>(block) * map.block_stride +
         static_cast<std::ptrdiff_t>(slot) * map.slot_stride +
         static_cast<std::ptrdiff_t>(head - pool_.first_head) * map.head_stride +
         static_cast<std::ptrdiff_t>(dim) * map.dim_stride;
}

TestMemory::TestMemory(const ModelSpec& spec, const std::vector<MemoryShape>& shapes) {
  for (std::size_t g = 0; g < spec.groups.size(); ++g) {
    groups_.emplace_back(spec, spec.groups[g], shapes[g]);
    pools_.push_back(groups_.back().pool());
  }
}

std::vector<std::vector<std::byte>> TestMemory::Snapshot() {
  std::vector<std::vector<std::byte>> all;
  for (GroupMemory& group : groups_) {
    all.insert(all.end(), group.tensors().begin(), group.tensors().end());
  }
  return all;
}

TestTables::TestTables(const std::vector<MemoryShape>& shapes, const ChunkPlace& place,
                       std::uint64_t seed) {
  for (const MemoryShape& shape : shapes) {
    std::vector<std::uint32_t> blocks(shape.block_count);
    std::iota(blocks.begin(), blocks.end(), 0U);
    std::mt19937_64 random(seed++);
    std::shuffle(blocks.begin(), blocks.end(), random);
    const std::uint64_t tokens = place.first_token + place.token_count;
    blocks.resize((tokens + shape.block_tokens - 1) / shape.block_tokens);
    tables_.push_back(std::move(blocks));
  }
  spans_.assign(tables_.begin(), tables_.end());
}

TestChunk::TestChunk(const ModelSpec& spec, std::uint32_t tokens, const MakePlane& make)
    : spec_(spec), tokens_(tokens) {
  for (std::size_t g = 0; g < spec.groups.size(); ++g) {
    for (std::size_t p = 0; p < PlaneCount(spec.groups[g]); ++p) {
      values_[{g, p}] = make(spec.groups[g], p);
    }
  }
}

TestChunk::TestChunk(const ModelSpec& spec, std::uint32_t tokens, std::uint64_t seed)
    : TestChunk(spec, tokens, [&](const KvGroup& group, std::size_t plane) {
        const std::size_t rows = group.layers.size() * group.kv_heads * tokens;
        return MakeValues(spec.dtype, Pattern::kGaussian, rows * HeadSize(group, plane), seed++);
      }) {}

const std::byte* TestChunk::At(std::size_t group, std::size_t plane, std::size_t layer,
                               std::uint32_t head, std::uint32_t token) const {
  const KvGroup& shape = spec_.groups[group];
  const std::size_t row = (layer * shape.kv_heads + head) * tokens_ + token;
  return values_.at({group, plane}).data() + row * HeadSize(shape, plane) * DTypeBytes(spec_.dtype);
}

void TestChunk::WriteTo(TestMemory& memory, const TestTables& tables, const ChunkPlace& place,
                        const PartShape& part) const {
  const std::size_t element = DTypeBytes(spec_.dtype);
  for (std::size_t g = 0; g < spec_.groups.size(); ++g) {
    const KvGroup& group = spec_.groups[g];
    GroupMemory& target = memory.group(g);
    const std::uint32_t block_tokens = target.pool().block_tokens;
    for (std::size_t l = 0; l < group.layers.size(); ++l) {
      if (!part.layers.Contains(Range{group.layers[l], 1})) continue;
      for (std::uint32_t h = 0; h < group.kv_heads; ++h) {
        if (!part.kv_heads.Contains(Range{static_cast<std::uint16_t>(h), 1})) continue;
        if (!target.Holds(l, h)) continue;
        for (std::size_t p = 0; p < PlaneCount(group); ++p) {
          for (std::uint32_t t = 0; t < place.token_count; ++t) {
            const std::uint64_t at = place.first_token + t;
            const std::uint32_t block = tables.of(g)[at / block_tokens];
            const auto slot = static_cast<std::uint32_t>(at % block_tokens);
            std::byte* to = target.At(p, l, h, block, slot, 0);
            const std::ptrdiff_t stride = target.pool().planes[p].dim_stride;
            const std::byte* from = At(g, p, l, h, t);
            const std::byte* end = from + HeadSize(group, p) * element;
            for (; from != end; from += element, to += stride) std::memcpy(to, from, element);
          }
        }
      }
    }
  }
}

}  // namespace kdn::codec

#include "codec/paged_rows.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "base/limits.h"
#include "codec/plane_layout.h"

namespace kdn::codec {
namespace {

constexpr std::size_t kElementBytesMax = 4;
constexpr std::size_t kLineBytes = 64;
using RowBuffer = std::array<std::byte, limits::kHeadSizeMax * kElementBytesMax>;

template <class Pointers>
void Advance(Pointers& planes, std::size_t count, DType dtype) {
  for (std::size_t p = 0; p < PlanesOf(dtype).size(); ++p) planes[p] += count;
}

bool IsDense(const PlaneMap& map, const RowFormat& format) {
  return map.dim_stride == static_cast<std::ptrdiff_t>(DTypeBytes(format.dtype));
}

void GatherRow(const std::byte* from, std::ptrdiff_t stride, const RowFormat& format,
               std::byte* row) {
  const std::size_t size = DTypeBytes(format.dtype);
  for (std::size_t d = 0; d < format.head_size; ++d, from += stride, row += size) {
    std::memcpy(row, from, size);
  }
}

// What lies `ahead` of a row, in another allocation perhaps: a number is no pointer into the row's.
void Prefetch(const std::byte* row, std::ptrdiff_t ahead, std::size_t bytes) {
  constexpr int kSecondCache = 2;
  const std::uintptr_t first =
      reinterpret_cast<std::uintptr_t>(row) + static_cast<std::uintptr_t>(ahead);
  for (std::size_t at = 0; at < bytes; at += kLineBytes) {
    __builtin_prefetch(reinterpret_cast<const void*>(first + at), 0, kSecondCache);
  }
}

void ScatterRow(const std::byte* row, const RowFormat& format, std::byte* to,
                std::ptrdiff_t stride) {
  const std::size_t size = DTypeBytes(format.dtype);
  for (std::size_t d = 0; d < format.head_size; ++d, to += stride, row += size) {
    std::memcpy(to, row, size);
  }
}

}  // namespace

bool StripRows::Next(RowRun& run) {
  if (left_ == 0) return false;
  const std::uint64_t slot = token_ % pool_.block_tokens;
  const auto block = static_cast<std::ptrdiff_t>(blocks_[token_ / pool_.block_tokens]);
  run.first =
      head_ + (block * map_.block_stride + static_cast<std::ptrdiff_t>(slot) * map_.slot_stride);
  run.rows = static_cast<std::size_t>(std::min<std::uint64_t>(left_, pool_.block_tokens - slot));
  token_ += run.rows;
  left_ -= static_cast<std::uint32_t>(run.rows);
  return true;
}

Status CheckPlace(const KvPool& pool, std::span<const std::uint32_t> blocks,
                  const ChunkPlace& place) {
  if (place.token_count == 0) return Status();
  if (pool.block_tokens == 0) return Status(Code::kInvalidArgument, "block_tokens must be > 0");
  const std::uint64_t covered = std::uint64_t{blocks.size()} * pool.block_tokens;
  if (place.first_token > covered || covered - place.first_token < place.token_count) {
    return Status(Code::kInvalidArgument, "the block table ends before the chunk's last token");
  }
  const std::uint64_t last = place.first_token + place.token_count - 1;
  const auto first_block = static_cast<std::size_t>(place.first_token / pool.block_tokens);
  const auto last_block = static_cast<std::size_t>(last / pool.block_tokens);
  for (std::size_t b = first_block; b <= last_block; ++b) {
    if (blocks[b] >= pool.block_count) {
      return Status(Code::kInvalidArgument, "a block id is outside the pool");
    }
  }
  return Status();
}

void GatherPlanes(const Kernels& kernels, const RowFormat& format, StripRows rows,
                  PlanePointers planes) {
  const auto split = kernels.split[static_cast<std::size_t>(format.dtype)];
  const PlaneMap& map = rows.map();
  RowRun run;
  while (rows.Next(run)) {
    if (IsDense(map, format)) {
      split(run.first, map.slot_stride, run.rows, format.head_size, planes.data());
      Advance(planes, run.rows * format.head_size, format.dtype);
      continue;
    }
    for (std::size_t r = 0; r < run.rows; ++r, run.first += map.slot_stride) {
      RowBuffer row;
      GatherRow(run.first, map.dim_stride, format, row.data());
      split(row.data(), 0, 1, format.head_size, planes.data());
      Advance(planes, format.head_size, format.dtype);
    }
  }
}

void ScatterPlanes(const Kernels& kernels, const RowFormat& format, ConstPlanePointers planes,
                   StripRows rows) {
  const auto merge = kernels.merge[static_cast<std::size_t>(format.dtype)];
  const PlaneMap& map = rows.map();
  RowRun run;
  while (rows.Next(run)) {
    if (IsDense(map, format)) {
      merge(planes.data(), run.rows, format.head_size, run.first, map.slot_stride);
      Advance(planes, run.rows * format.head_size, format.dtype);
      continue;
    }
    for (std::size_t r = 0; r < run.rows; ++r, run.first += map.slot_stride) {
      RowBuffer row;
      merge(planes.data(), 1, format.head_size, row.data(), 0);
      ScatterRow(row.data(), format, run.first, map.dim_stride);
      Advance(planes, format.head_size, format.dtype);
    }
  }
}

void GatherRows(const RowFormat& format, const PlaneMap& map, RowRun run, std::byte* values,
                std::ptrdiff_t ahead) {
  const std::size_t row_bytes = format.head_size * DTypeBytes(format.dtype);
  for (std::size_t r = 0; r < run.rows; ++r, run.first += map.slot_stride) {
    if (IsDense(map, format)) {
      if (ahead != 0) Prefetch(run.first, ahead, row_bytes);
      std::memcpy(values, run.first, row_bytes);
    } else {
      GatherRow(run.first, map.dim_stride, format, values);
    }
    values += row_bytes;
  }
}

void GatherValues(const RowFormat& format, StripRows rows, std::byte* values) {
  const std::size_t row_bytes = format.head_size * DTypeBytes(format.dtype);
  RowRun run;
  while (rows.Next(run)) {
    GatherRows(format, rows.map(), run, values, 0);
    values += run.rows * row_bytes;
  }
}

void ScatterValues(const RowFormat& format, const std::byte* values, StripRows rows) {
  const std::size_t row_bytes = format.head_size * DTypeBytes(format.dtype);
  const PlaneMap& map = rows.map();
  RowRun run;
  while (rows.Next(run)) {
    for (std::size_t r = 0; r < run.rows; ++r, run.first += map.slot_stride) {
      if (IsDense(map, format)) {
        std::memcpy(run.first, values, row_bytes);
      } else {
        ScatterRow(values, format, run.first, map.dim_stride);
      }
      values += row_bytes;
    }
  }
}

}  // namespace kdn::codec

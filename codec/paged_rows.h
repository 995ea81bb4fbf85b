// Rows of an engine's paged memory: where the values of one layer, head and plane lie, token by
// token, and how to bring them into value order and back.
//
// Knows nothing of tiles' bytes. Thread-safety: values that borrow.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/status.h"
#include "codec/byte_planes.h"
#include "codec/kernels/kernels.h"
#include "codec/object_codec.h"
#include "codec/paged_kv.h"
#include "proto/object/model_spec.h"

namespace kdn::codec {

// Consecutive tokens of one block.
struct RowRun {
  std::byte* first = nullptr;
  std::size_t rows = 0;
};

// The rows of one strip in token order, block by block.
class StripRows {
 public:
  // `head` is the address of the strip's head in block 0, slot 0. Requires: CheckPlace().
  StripRows(const KvPool& pool, const PlaneMap& map, std::span<const std::uint32_t> blocks,
            const ChunkPlace& place, std::byte* head)
      : pool_(pool),
        map_(map),
        blocks_(blocks),
        token_(place.first_token),
        left_(place.token_count),
        head_(head) {}

  // False when no token is left.
  bool Next(RowRun& run);

  [[nodiscard]] const PlaneMap& map() const { return map_; }
  [[nodiscard]] std::byte* head() const { return head_; }

 private:
  const KvPool& pool_;
  const PlaneMap& map_;
  std::span<const std::uint32_t> blocks_;
  std::uint64_t token_;
  std::uint32_t left_;
  std::byte* head_;
};

// kInvalidArgument unless the table names a block inside the pool for each of the place's tokens.
[[nodiscard]] Status CheckPlace(const KvPool& pool, std::span<const std::uint32_t> blocks,
                                const ChunkPlace& place);

// How values of one type and head size are moved.
struct RowFormat {
  DType dtype = DType::kBf16;
  std::size_t head_size = 0;
};

// Reads a strip and cuts it into planes.
void GatherPlanes(const Kernels& kernels, const RowFormat& format, StripRows rows,
                  PlanePointers planes);
// Merges planes and writes the strip's rows; planes may hold more tokens than there are rows.
void ScatterPlanes(const Kernels& kernels, const RowFormat& format, ConstPlanePointers planes,
                   StripRows rows);

// The same with values as they are.
void GatherValues(const RowFormat& format, StripRows rows, std::byte* values);
// Of a run of rows. `ahead`: bytes from a row to that of the strip which is read next, which is
// fetched meanwhile; 0: none is.
void GatherRows(const RowFormat& format, const PlaneMap& map, RowRun run, std::byte* values,
                std::ptrdiff_t ahead);
void ScatterValues(const RowFormat& format, const std::byte* values, StripRows rows);

}  // namespace kdn::codec

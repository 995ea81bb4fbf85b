// How many values a tile has and how they are ordered: [layer][head][token][dim]. The values of one
// layer and one head are a strip; strips are coded apart, so that a reader decodes those it holds.
//
// Thread-safety: values.
#pragma once

#include <cstddef>
#include <cstdint>

#include "proto/object/model_spec.h"

namespace kdn::codec {

struct TileShape {
  DType dtype = DType::kBf16;
  std::uint32_t layers = 0;
  std::uint32_t heads = 0;
  std::uint32_t tokens = 0;
  std::uint32_t head_size = 0;

  [[nodiscard]] std::size_t strips() const { return std::size_t{layers} * heads; }
  [[nodiscard]] std::size_t strip_values() const { return std::size_t{tokens} * head_size; }
  [[nodiscard]] std::size_t strip_bytes() const { return strip_values() * DTypeBytes(dtype); }
  [[nodiscard]] std::size_t values() const { return strips() * strip_values(); }
  [[nodiscard]] std::size_t raw_bytes() const { return strips() * strip_bytes(); }
};

}  // namespace kdn::codec

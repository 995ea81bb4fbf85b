// Into which windows of tokens a strip is cut: each is a unit of a launch, decoded alone.
//
// Thread-safety: pure functions.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "codec/rans_blocks.h"

namespace kdn::codec {

// Bytes of symbols that a window should keep to.
inline constexpr std::uint32_t kWindowBytes = 32 * 1024;

// The ends of windows that cover tokens 0 to `wanted` of a strip of `tokens`, ascending. `widths`:
// of the runs that are rANS-coded, symbols per token; `token_bytes`: symbols kept of one token.
// Where a border of blocks of all runs is near enough a window ends there; else windows end within
// blocks, and each window that touches a block decodes it anew: up to
// ceil(block tokens / window tokens) + 1 times.
[[nodiscard]] inline std::vector<std::uint32_t> WindowEnds(std::uint32_t tokens,
                                                           std::uint32_t wanted,
                                                           std::vector<std::uint32_t> widths,
                                                           std::uint32_t token_bytes) {
  std::sort(widths.begin(), widths.end());
  widths.erase(std::unique(widths.begin(), widths.end()), widths.end());
  std::vector<std::uint32_t> borders;
  for (std::size_t i = 0; i < widths.size(); ++i) {
    const BlockCut cut(std::size_t{tokens} * widths[i]);
    std::vector<std::uint32_t> mine;
    for (std::size_t b = 1; b < cut.count(); ++b) {
      if (cut.Begin(b) % widths[i] != 0) continue;
      const auto token = static_cast<std::uint32_t>(cut.Begin(b) / widths[i]);
      if (i == 0 || std::binary_search(borders.begin(), borders.end(), token)) {
        mine.push_back(token);
      }
    }
    borders = std::move(mine);
  }
  const std::uint32_t most = std::max(1U, kWindowBytes / std::max(1U, token_bytes));
  std::vector<std::uint32_t> ends;
  for (std::uint32_t at = 0; at < wanted;) {
    std::uint32_t end = std::min(wanted, at + most);
    if (end < wanted) {
      const auto after = std::upper_bound(borders.begin(), borders.end(), end);
      if (after != borders.begin() && *(after - 1) > at) end = *(after - 1);
    }
    ends.push_back(end);
    at = end;
  }
  return ends;
}

}  // namespace kdn::codec

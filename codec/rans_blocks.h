// How a run of symbols is cut into rANS blocks: as few as hold at most kBlockSteps steps of 32
// lanes each, and as equal as can be, since kernels decode blocks in lockstep. The cut is format.
//
// Thread-safety: values.
#pragma once

#include <algorithm>
#include <cstddef>

#include "codec/kernels/kernels.h"

namespace kdn::codec {

inline constexpr std::size_t kBlockSteps = 256;
inline constexpr std::size_t kBlockSymbolsMax = kBlockSteps * kRansLanes;
// No tile has more coded symbols than this for each of its bytes: a block has its states.
inline constexpr std::size_t kTileSymbolsPerByteMax =
    (kBlockSymbolsMax + kLeanHeadBytes - 1) / kLeanHeadBytes;
static_assert(kLeanHeadBytes <= kRansStateBytes);
// A block's bytes are padded with zeros to a multiple of this, a run's to kRunAlignment.
inline constexpr std::size_t kBlockAlignment = 4;
inline constexpr std::size_t kRunAlignment = 16;

class BlockCut {
 public:
  // Requires: symbols > 0.
  explicit BlockCut(std::size_t symbols)
      : symbols_(symbols),
        steps_((symbols + kRansLanes - 1) / kRansLanes),
        count_((steps_ + kBlockSteps - 1) / kBlockSteps) {}

  [[nodiscard]] std::size_t count() const { return count_; }
  // Where block `b` begins; for b = count(), where the last one ends.
  [[nodiscard]] std::size_t Begin(std::size_t b) const {
    const std::size_t steps = b * (steps_ / count_) + std::min(b, steps_ % count_);
    return std::min(symbols_, steps * kRansLanes);
  }
  [[nodiscard]] std::size_t Size(std::size_t b) const { return Begin(b + 1) - Begin(b); }

 private:
  std::size_t symbols_;
  std::size_t steps_;
  std::size_t count_;
};

// Steps of a lean block that take part in rANS: all but the last ones, which its states end with.
[[nodiscard]] inline std::size_t LeanSteps(std::size_t symbols) {
  const std::size_t steps = (symbols + kRansLanes - 1) / kRansLanes;
  return steps > kLeanEndSteps ? steps - kLeanEndSteps : 0;
}

[[nodiscard]] inline std::size_t RoundUp(std::size_t value, std::size_t alignment) {
  return (value + alignment - 1) / alignment * alignment;
}
[[nodiscard]] inline std::size_t BlockBytes(std::size_t words) {
  return RoundUp(kRansStateBytes + 2 * words, kBlockAlignment);
}
[[nodiscard]] inline std::size_t RawRunBytes(std::size_t symbols, unsigned raw_bits) {
  return (symbols * raw_bits + 7) / 8;
}

// How a run is coded; the byte in a tile's directory.
enum class RunMode : unsigned char { kRaw = 0, kConstant = 1, kRans = 2 };

}  // namespace kdn::codec

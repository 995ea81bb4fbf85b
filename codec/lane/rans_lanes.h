// One rANS block by one warp: lane l has state l, finds its word by counting the lanes before it
// that need one, and all stop at the block's end whatever its bytes say.
//
// A .cu file may include this header, so it stays within C++17. Thread-safety: pure functions of
// memory that the caller owns.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/host_device.h"
#include "codec/lane/launch_plan.h"
#include "codec/lane/warp.h"

namespace kdn::codec {
namespace {

struct RansStep {
  std::uint32_t state;
  std::uint8_t symbol;  // the byte that it stands for
};
// One symbol off one state; below kRansStart the state wants a word.
KDN_HOST_DEVICE inline RansStep StepRans(std::uint32_t x, std::uint32_t slot) {
  return {((slot >> 8) & 0xFF) * (x >> kRansProbBits) + (slot >> 16),
          static_cast<std::uint8_t>(slot)};
}

// The words of a block on their way to the lanes: two chunks of them lie in the ring, the lanes
// carry the third, which they asked for long before it is needed.
template <class Warp>
class WordRing {
 public:
  // `ring`: LaneMemory::kRingWords of them, the warp's own.
  KDN_HOST_DEVICE WordRing(const Warp& warp, const LaneBlock& block, std::uint16_t* ring)
      : warp_(warp), words_(block.states + kRansStateBytes), bytes_(2 * block.words), ring_(ring) {
    for (std::uint32_t chunk = 0; chunk < 2; ++chunk) {
      Fetch(chunk);
      Keep(chunk);
    }
    Fetch(2);
    warp_.Sync();
  }

  [[nodiscard]] KDN_HOST_DEVICE std::uint32_t At(std::uint32_t word) const {
    return ring_[word % LaneMemory::kRingWords];
  }
  [[nodiscard]] KDN_HOST_DEVICE std::uint32_t next() const { return next_; }
  // At most 32, all of which lanes have read.
  KDN_HOST_DEVICE void Take(std::uint32_t count) {
    const std::uint32_t chunk = next_ / kChunkWords;
    next_ += count;
    if (next_ / kChunkWords == chunk) return;
    warp_.Sync();
    Keep(chunk + 2);
    Fetch(chunk + 3);
    warp_.Sync();
  }

 private:
  static constexpr std::uint32_t kChunkWords = LaneMemory::kRingWords / 2;
  static constexpr std::uint32_t kLaneBytes = 2 * kChunkWords / kWarpLanes;
  static_assert(kLaneBytes == 8);

  // Zeros behind the end. A block is padded to a multiple of 4 bytes.
  KDN_HOST_DEVICE void Fetch(std::uint32_t chunk) {
    warp_.Each([&](unsigned lane) {
      const std::uint32_t at = chunk * 2 * kChunkWords + lane * kLaneBytes;
      low_[lane] = at < bytes_ ? Load<std::uint32_t>(words_ + at) : 0;
      high_[lane] = at + 4 < bytes_ ? Load<std::uint32_t>(words_ + at + 4) : 0;
    });
  }
  KDN_HOST_DEVICE void Keep(std::uint32_t chunk) {
    warp_.Each([&](unsigned lane) {
      auto* to = reinterpret_cast<std::byte*>(ring_ + chunk % 2 * kChunkWords) + lane * kLaneBytes;
      Store(low_[lane], to);
      Store(high_[lane], to + 4);
    });
  }

  const Warp& warp_;
  const std::byte* words_;
  std::uint32_t bytes_;
  std::uint16_t* ring_;
  std::uint32_t next_ = 0;
  typename Warp::template Lanes<std::uint32_t> low_;
  typename Warp::template Lanes<std::uint32_t> high_;
};

// Gives each symbol of the block to sink(lane, byte), a lane's in ascending order; whether the
// block is one that an encoder wrote. Any bytes give an answer, and `block.count` symbols.
template <class Warp, class Sink>
KDN_HOST_DEVICE bool DecodeRansBlock(const Warp& warp, const LaneBlock& block,
                                     const LaneTable& table, std::uint16_t* ring, Sink& sink) {
  typename Warp::template Lanes<std::uint32_t> state;
  typename Warp::template Lanes<bool> wants;
  warp.Each([&](unsigned lane) {
    state[lane] = Load<std::uint32_t>(block.states + 4 * std::size_t{lane});
  });
  WordRing<Warp> words(warp, block, ring);
  for (std::uint32_t first = 0; first < block.count; first += kWarpLanes) {
    warp.Each([&](unsigned lane) {
      wants[lane] = false;
      if (first + lane >= block.count) return;
      const std::uint32_t x = state[lane];
      const RansStep step = StepRans(x, table.slot[x % kRansSlots]);
      sink(lane, step.symbol);
      state[lane] = step.state;
      wants[lane] = step.state < kRansStart;
    });
    const std::uint32_t wanting = warp.Ballot(wants);
    warp.Each([&](unsigned lane) {
      if (!wants[lane]) return;
      const std::uint32_t word = words.At(words.next() + CountBits(wanting & LanesBelow(lane)));
      state[lane] = (state[lane] << 16) | word;
    });
    words.Take(CountBits(wanting));
  }
  warp.Each([&](unsigned lane) { wants[lane] = state[lane] != kRansStart; });
  return warp.Ballot(wants) == 0 && words.next() == block.words;
}

}  // namespace
}  // namespace kdn::codec

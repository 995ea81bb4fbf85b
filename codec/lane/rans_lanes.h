// One rANS block by one warp: lane l has state l, finds its word by counting the lanes before it
// that need one, and all stop at the block's end whatever its bytes say.
//
// A .cu file may include this header, so it stays within C++17. Thread-safety: pure functions of
// memory that the caller owns.
#pragma once

#include <cmath>
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

// The words of a block, of type Word, on their way to the lanes: two chunks of them lie in the
// ring, the lanes carry the third, which they asked for long before it is needed.
template <class Warp, class Word>
class WordRing {
 public:
  // `words`: a multiple of 4. `ring`: LaneMemory::kRingBytes of them, the warp's own.
  KDN_HOST_DEVICE WordRing(const Warp& warp, const std::byte* words, std::uint32_t count,
                           std::byte* ring)
      : warp_(warp), words_(words), bytes_(sizeof(Word) * count), ring_(ring) {
    for (std::uint32_t chunk = 0; chunk < 2; ++chunk) {
      Fetch(chunk);
      Keep(chunk);
    }
    Fetch(2);
    warp_.Sync();
  }

  [[nodiscard]] KDN_HOST_DEVICE std::uint32_t At(std::uint32_t word) const {
    return Load<Word>(ring_ + sizeof(Word) * (word % (2 * kChunkWords)));
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
  static constexpr std::uint32_t kChunkBytes = LaneMemory::kRingBytes / 2;
  static constexpr std::uint32_t kChunkWords = kChunkBytes / sizeof(Word);
  static constexpr std::uint32_t kLaneBytes = kChunkBytes / kWarpLanes;
  static_assert(kLaneBytes == 8);

  // Zeros behind the end. A block is padded to a multiple of 4 bytes.
  KDN_HOST_DEVICE void Fetch(std::uint32_t chunk) {
    warp_.Each([&](unsigned lane) {
      const std::uint32_t at = chunk * kChunkBytes + lane * kLaneBytes;
      low_[lane] = at < bytes_ ? Load<std::uint32_t>(words_ + at) : 0;
      high_[lane] = at + 4 < bytes_ ? Load<std::uint32_t>(words_ + at + 4) : 0;
    });
  }
  KDN_HOST_DEVICE void Keep(std::uint32_t chunk) {
    warp_.Each([&](unsigned lane) {
      std::byte* to = ring_ + chunk % 2 * kChunkBytes + lane * kLaneBytes;
      Store(low_[lane], to);
      Store(high_[lane], to + 4);
    });
  }

  const Warp& warp_;
  const std::byte* words_;
  std::uint32_t bytes_;
  std::byte* ring_;
  std::uint32_t next_ = 0;
  typename Warp::template Lanes<std::uint32_t> low_;
  typename Warp::template Lanes<std::uint32_t> high_;
};

// The states of the lanes, one symbol a lane and step.
template <class Warp, class Word>
class RansStates {
 public:
  typename Warp::template Lanes<std::uint32_t> state;

  KDN_HOST_DEVICE RansStates(const Warp& warp, const LaneTable& table, const std::byte* words,
                             std::uint32_t count, std::byte* ring)
      : warp_(warp), table_(table), ring_(warp, words, count, ring) {}

  // Symbols `first` and up of the first `count`; states below `low` take a word.
  template <class Sink>
  KDN_HOST_DEVICE void Step(std::uint32_t first, std::uint32_t count, std::uint32_t low,
                            Sink& sink) {
    warp_.Each([&](unsigned lane) {
      wants_[lane] = false;
      if (first + lane >= count) return;
      const std::uint32_t x = state[lane];
      const RansStep step = StepRans(x, table_.slot[x % kRansSlots]);
      sink(lane, step.symbol);
      state[lane] = step.state;
      wants_[lane] = step.state < low;
    });
    TakeWhere(warp_.Ballot(wants_));
  }
  // Lanes of which the bit is set take a word.
  KDN_HOST_DEVICE void TakeWhere(std::uint32_t wanting) {
    warp_.Each([&](unsigned lane) {
      if ((wanting >> lane & 1) == 0) return;
      const std::uint32_t word = ring_.At(ring_.next() + CountBits(wanting & LanesBelow(lane)));
      state[lane] = (state[lane] << (8 * sizeof(Word))) | word;
    });
    ring_.Take(CountBits(wanting));
  }
  [[nodiscard]] KDN_HOST_DEVICE std::uint32_t taken() const { return ring_.next(); }

 private:
  const Warp& warp_;
  const LaneTable& table_;
  WordRing<Warp, Word> ring_;
  typename Warp::template Lanes<bool> wants_;
};

// Gives each symbol of the block to sink(lane, byte), a lane's in ascending order; whether the
// block is one that an encoder wrote. Any bytes give an answer, and `block.count` symbols.
template <class Warp, class Sink>
KDN_HOST_DEVICE bool DecodeRansBlock(const Warp& warp, const LaneBlock& block,
                                     const LaneTable& table, std::byte* ring, Sink& sink) {
  RansStates<Warp, std::uint16_t> lanes(warp, table, block.states + kRansStateBytes, block.words,
                                        ring);
  warp.Each([&](unsigned lane) {
    lanes.state[lane] = Load<std::uint32_t>(block.states + 4 * std::size_t{lane});
  });
  for (std::uint32_t first = 0; first < block.count; first += kWarpLanes) {
    lanes.Step(first, block.count, kRansStart, sink);
  }
  typename Warp::template Lanes<bool> off;
  warp.Each([&](unsigned lane) { off[lane] = lanes.state[lane] != kRansStart; });
  return warp.Ballot(off) == 0 && lanes.taken() == block.words;
}

// The two parts of a pair, the one nearer to the end first.
struct LeanParts {
  std::uint32_t a;
  std::uint32_t b;
};
KDN_HOST_DEVICE inline LeanParts PartsOfPair(std::uint32_t pair) {
#if defined(__CUDA_ARCH__)
  auto larger = static_cast<std::uint32_t>(__fsqrt_rn(static_cast<float>(pair)));
#else
  auto larger = static_cast<std::uint32_t>(std::sqrt(static_cast<float>(pair)));
#endif
  if (larger * larger > pair) --larger;
  const std::uint32_t rest = pair - larger * larger;
  return rest < larger ? LeanParts{rest, larger} : LeanParts{larger, rest - larger};
}

// The same of a lean block, whose states end as four symbols each.
template <class Warp, class Sink>
KDN_HOST_DEVICE bool DecodeLeanBlock(const Warp& warp, const LaneBlock& block,
                                     const LaneTable& table, std::byte* ring, Sink& sink) {
  RansStates<Warp, std::uint8_t> lanes(warp, table, block.states + kLeanHeadBytes, block.words,
                                       ring);
  warp.Each([&](unsigned lane) {
    const std::uint32_t low = Load<std::uint16_t>(block.states + 2 * std::size_t{lane});
    const auto high = static_cast<std::uint32_t>(block.states[2 * kWarpLanes + lane]);
    lanes.state[lane] = low | (high << 16);
  });
  const std::uint32_t all = (block.count + kWarpLanes - 1) / kWarpLanes;
  constexpr std::uint32_t kEnds = kLeanEndSteps;
  const std::uint32_t steps = all > kEnds ? all - kEnds : 0;
  const std::uint32_t renewing = steps > block.tail ? steps - block.tail : 0;
  const std::uint32_t coded = steps * kWarpLanes;
  for (std::uint32_t step = 0; step < renewing; ++step) {
    lanes.Step(step * kWarpLanes, coded, kLeanLow, sink);
  }
  lanes.TakeWhere(Load<std::uint32_t>(block.states + 3 * kWarpLanes));
  for (std::uint32_t step = renewing; step < steps; ++step) {
    lanes.Step(step * kWarpLanes, coded, 0, sink);
  }
  static_assert(kLeanMirror == kWarpLanes - 1);
  warp.Mirror(lanes.state);
  typename Warp::template Lanes<bool> off;
  warp.Each([&](unsigned lane) {
    const std::uint32_t number = lanes.state[lane] & ((std::uint32_t{1} << table.ends.bits) - 1);
    const std::uint32_t above = lanes.state[lane] >> table.ends.bits;
    off[lane] = number >= table.ends.count || (above & (above - 1)) != 0;
    const LeanParts pairs = PartsOfPair(number);
    const LeanParts before = PartsOfPair(pairs.b);
    const LeanParts last = PartsOfPair(pairs.a);
    const std::uint32_t ranks[kEnds] = {before.b, before.a, last.b, last.a};
    for (std::uint32_t i = 0; i < kEnds; ++i) {
      if (coded + i * kWarpLanes + lane < block.count) sink(lane, table.byte_of_rank[ranks[i]]);
    }
  });
  return warp.Ballot(off) == 0 && lanes.taken() == block.words;
}

}  // namespace
}  // namespace kdn::codec

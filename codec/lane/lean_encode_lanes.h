// Encoding of one lean rANS block by one warp: lane l has state l, and gives its bytes where as
// many lanes before it give theirs. To the bytes of codec/kernels/scalar_lean.cc.
//
// A .cu file may include this header, so it stays within C++17. Thread-safety: pure functions of
// memory that the caller owns.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/host_device.h"
#include "codec/lane/encode_plan.h"
#include "codec/lane/warp.h"

namespace kdn::codec {
namespace {

KDN_HOST_DEVICE inline std::uint32_t PairOfParts(std::uint32_t a, std::uint32_t b) {
  return a < b ? b * b + a : a * a + a + b;
}

// A state with one symbol more, `quotient` being state / frequency.
KDN_HOST_DEVICE inline std::uint32_t PushSymbol(const LaneEncodeTable& table, std::uint32_t x,
                                                std::uint32_t quotient, std::uint32_t symbol) {
  const auto slots = static_cast<std::uint32_t>(kRansSlots);
  return x + quotient * (slots - table.frequency[symbol]) + table.cumulative[symbol];
}

// One block's symbols, as lanes see them.
struct LeanSymbols {
  const LaneEncodeTable& table;
  const std::uint8_t* symbols;
  std::uint32_t count;

  // Those that take part in rANS, a step being 32.
  [[nodiscard]] KDN_HOST_DEVICE std::uint32_t Steps() const {
    const std::uint32_t steps = (count + kWarpLanes - 1) / kWarpLanes;
    constexpr auto kEnds = static_cast<std::uint32_t>(kLeanEndSteps);
    return steps > kEnds ? steps - kEnds : 0;
  }
  // The four symbols that a lane's state ends with, as one number.
  [[nodiscard]] KDN_HOST_DEVICE std::uint32_t EndOf(unsigned lane) const {
    std::uint32_t ranks[kLeanEndSteps];
    const std::uint32_t first = Steps() * kWarpLanes + (kWarpLanes - 1 - lane);
    for (std::uint32_t i = 0; i < kLeanEndSteps; ++i) {
      const std::uint32_t at = first + i * kWarpLanes;
      const int off = at < count ? int{symbols[at]} - static_cast<int>(kLeanMiddle) : 0;
      ranks[i] = static_cast<std::uint32_t>(off >= 0 ? 2 * off : -2 * off - 1);
    }
    return PairOfParts(PairOfParts(ranks[3], ranks[2]), PairOfParts(ranks[1], ranks[0]));
  }
  // Takes up to `steps` of the lane's last coded symbols as long as the state stays within 32
  // bits; how many.
  KDN_HOST_DEVICE std::uint32_t Run(unsigned lane, std::uint32_t steps, std::uint32_t& x) const {
    const std::uint8_t* next = symbols + std::size_t{Steps()} * kWarpLanes + lane;
    for (std::uint32_t t = 0; t < steps; ++t) {
      next -= kWarpLanes;
      const std::uint32_t symbol = *next;
      const std::uint32_t frequency = table.frequency[symbol];
      if (x >> 24 >= frequency) return t;
      x = PushSymbol(table, x, x / frequency, symbol);
    }
    return steps;
  }
  // The state behind a tail of so many steps, kLeanLow at least, of a lane that begins at `end` and
  // no bit above it, or else one: the first that is high enough from a guess on. False if that does
  // not fit.
  KDN_HOST_DEVICE bool Raise(unsigned lane, std::uint32_t end, std::uint32_t tail,
                             std::uint32_t& state) const {
    state = end;
    (void)Run(lane, tail, state);
    if (state >= kLeanLow) return true;
    const std::uint32_t one = std::uint32_t{1} << table.ends.bits;
    state = end + one;
    if (Run(lane, tail, state) < tail) return false;
    if (state >= kLeanLow) return true;
    for (std::uint32_t above = 17U - BitWidth(state);; ++above) {
      if (table.ends.bits + above > 31) return false;
      state = end + (one << above);
      if (Run(lane, tail, state) < tail) return false;
      if (state >= kLeanLow) return true;
    }
  }
};

// The states behind the tail, and how long that is.
template <class Warp>
KDN_HOST_DEVICE std::uint32_t LeanTail(const Warp& warp, const LeanSymbols& block,
                                       typename Warp::template Lanes<std::uint32_t>& state) {
  const std::uint32_t steps = block.Steps();
  constexpr auto kMost = static_cast<std::uint32_t>(kLeanTailMax);
  typename Warp::template Lanes<std::uint32_t> end;
  typename Warp::template Lanes<std::uint32_t> taken;
  warp.Each([&](unsigned lane) {
    end[lane] = state[lane] = block.EndOf(lane);
    taken[lane] = block.Run(lane, steps < kMost ? steps : kMost, state[lane]);
  });
  std::uint32_t tail = warp.Least(taken);
  // If all is tail, all lanes have come just so far. Without a tail every lane has a start, so this
  // ends.
  while (tail < steps) {
    typename Warp::template Lanes<bool> bad;
    warp.Each([&](unsigned lane) { bad[lane] = !block.Raise(lane, end[lane], tail, state[lane]); });
    if (warp.Ballot(bad) == 0) break;
    --tail;
  }
  return tail;
}

// Where a block's bytes go: from their end to their front.
template <class Warp>
class ByteGiver {
 public:
  KDN_HOST_DEVICE ByteGiver(const Warp& warp, std::byte* end) : warp_(warp), next_(end) {}

  // Lanes of which the element is set give the lowest byte of their state.
  KDN_HOST_DEVICE std::uint32_t Give(const typename Warp::template Lanes<bool>& gives,
                                     typename Warp::template Lanes<std::uint32_t>& state) {
    const std::uint32_t giving = warp_.Ballot(gives);
    next_ -= CountBits(giving);
    warp_.Each([&](unsigned lane) {
      if ((giving >> lane & 1) == 0) return;
      next_[CountBits(giving & LanesBelow(lane))] = static_cast<std::byte>(state[lane]);
      state[lane] >>= 8;
    });
    return giving;
  }
  [[nodiscard]] KDN_HOST_DEVICE std::byte* next() const { return next_; }

 private:
  const Warp& warp_;
  std::byte* next_;
};

// The coded steps before the tail, from last to first. Lanes ask for the symbols of the next four
// steps while they work on these.
template <class Warp>
KDN_HOST_DEVICE void PushSteps(const Warp& warp, const LeanSymbols& block, std::uint32_t steps,
                               typename Warp::template Lanes<std::uint32_t>& state,
                               ByteGiver<Warp>& giver) {
  typename Warp::template Lanes<std::uint32_t> now;
  typename Warp::template Lanes<std::uint32_t> ahead;
  typename Warp::template Lanes<bool> gives;
  const auto fetch = [&](std::uint32_t end) {
    warp.Each([&](unsigned lane) {
      const std::uint8_t* first = block.symbols + lane;
      std::uint32_t four = 0;
      for (std::uint32_t i = 0; i < 4 && i < end; ++i) {
        four |= std::uint32_t{first[(end - 1 - i) * kWarpLanes]} << (8 * i);
      }
      ahead[lane] = four;
    });
  };
  fetch(steps);
  for (std::uint32_t left = steps; left > 0;) {
    const std::uint32_t here = left < 4 ? left : 4;
    warp.Each([&](unsigned lane) { now[lane] = ahead[lane]; });
    left -= here;
    fetch(left);
    for (std::uint32_t i = 0; i < here; ++i) {
      warp.Each([&](unsigned lane) {
        gives[lane] = state[lane] >> 16 >= block.table.frequency[now[lane] & 0xFF];
      });
      (void)giver.Give(gives, state);
      warp.Each([&](unsigned lane) {
        const std::uint32_t symbol = now[lane] & 0xFF;
        now[lane] >>= 8;
        const std::uint64_t product = (std::uint64_t{state[lane]} + 1) * block.table.magic[symbol];
        const auto quotient = static_cast<std::uint32_t>(product >> 32);
        state[lane] = PushSymbol(block.table, state[lane], quotient, symbol);
      });
    }
  }
}

// Codes the block so that its bytes end at `end`. Requires: kLeanHeadBytes + count bytes before
// `end`; every symbol is in the table.
template <class Warp>
KDN_HOST_DEVICE CodedBlock EncodeLeanBlock(const Warp& warp, const LeanSymbols& block,
                                           std::byte* end) {
  typename Warp::template Lanes<std::uint32_t> state;
  typename Warp::template Lanes<bool> gives;
  const std::uint32_t tail = LeanTail(warp, block, state);
  ByteGiver<Warp> giver(warp, end);
  warp.Each([&](unsigned lane) { gives[lane] = state[lane] >= kLeanHigh; });
  const std::uint32_t more = giver.Give(gives, state);
  PushSteps(warp, block, block.Steps() - tail, state, giver);
  std::byte* head = giver.next() - kLeanHeadBytes;
  warp.Each([&](unsigned lane) {
    head[2 * lane] = static_cast<std::byte>(state[lane]);
    head[2 * lane + 1] = static_cast<std::byte>(state[lane] >> 8);
    head[2 * kWarpLanes + lane] = static_cast<std::byte>(state[lane] >> 16);
    if (lane < 4) head[3 * kWarpLanes + lane] = static_cast<std::byte>(more >> (8 * lane));
  });
  return {static_cast<std::uint32_t>(end - giver.next()), tail};
}

// Block `number` of a plan, by a warp. `table`: the warp's own fast memory.
template <class Warp>
KDN_HOST_DEVICE void EncodeBlockOf(const Warp& warp, const std::byte* plan, std::uint32_t number,
                                   std::byte* workspace, LaneEncodeTable* table) {
  const auto* header = reinterpret_cast<const EncodePlanHeader*>(plan);
  const EncodeBlock& block = reinterpret_cast<const EncodeBlock*>(plan + header->blocks)[number];
  const std::byte* from = (block.tables != nullptr ? block.tables : workspace) + block.table;
  warp.Each([&](unsigned lane) {
    for (unsigned i = lane; i < sizeof(LaneEncodeTable) / sizeof(Quad); i += kWarpLanes) {
      StoreQuad(LoadQuad(from + 16 * std::size_t{i}),
                reinterpret_cast<std::byte*>(table) + 16 * std::size_t{i});
    }
  });
  warp.Sync();
  const LeanSymbols symbols{
      *table, reinterpret_cast<const std::uint8_t*>(workspace + block.symbols), block.count};
  const CodedBlock coded = EncodeLeanBlock(warp, symbols, workspace + block.end);
  warp.Each([&](unsigned lane) {
    if (lane == 0) reinterpret_cast<CodedBlock*>(workspace + header->coded)[number] = coded;
  });
}

}  // namespace
}  // namespace kdn::codec

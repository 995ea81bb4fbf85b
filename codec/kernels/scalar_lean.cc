// Lean blocks in plain C++: the specification.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "codec/kernels/kernels.h"
#include "codec/rans_blocks.h"

namespace kdn::codec {
namespace {

std::uint32_t PairOf(std::uint32_t a, std::uint32_t b) {
  return a < b ? b * b + a : a * a + a + b;
}
struct Parts {
  std::uint32_t a;
  std::uint32_t b;
};
Parts PartsOf(std::uint32_t pair) {
  auto larger = static_cast<std::uint32_t>(std::sqrt(static_cast<float>(pair)));
  if (larger * larger > pair) --larger;  // rounding may have reached the next square
  const std::uint32_t rest = pair - larger * larger;
  return rest < larger ? Parts{rest, larger} : Parts{larger, rest - larger};
}

std::uint8_t SymbolOf(std::uint32_t rank) {
  return static_cast<std::uint8_t>(rank % 2 == 0 ? kLeanMiddle + rank / 2
                                                 : kLeanMiddle - (rank + 1) / 2);
}
// Of symbols that are missing to fill the last steps: 0.
std::uint32_t RankOf(const std::uint8_t* symbols, std::size_t count, std::size_t i) {
  if (i >= count) return 0;
  const int off = int{symbols[i]} - static_cast<int>(kLeanMiddle);
  return static_cast<std::uint32_t>(off >= 0 ? 2 * off : -2 * off - 1);
}
std::uint32_t EndOf(const std::uint8_t* symbols, std::size_t count, std::size_t lane) {
  std::uint32_t ranks[kLeanEndSteps];
  const std::size_t first = LeanSteps(count) * kRansLanes + kLeanMirror - lane;
  for (std::size_t i = 0; i < kLeanEndSteps; ++i) {
    ranks[i] = RankOf(symbols, count, first + i * kRansLanes);
  }
  return PairOf(PairOf(ranks[3], ranks[2]), PairOf(ranks[1], ranks[0]));
}

// Whether a state can take the symbol and stay within 32 bits.
bool Fits(const RansEncodeTable& table, std::uint32_t x, std::uint8_t symbol) {
  return x >> 24 < table.frequency[table.index_of_symbol[symbol]];
}
std::uint32_t Push(const RansEncodeTable& table, std::uint32_t x, std::uint8_t symbol) {
  const std::size_t index = table.index_of_symbol[symbol];
  const std::uint32_t frequency = table.frequency[index];
  const auto quotient = static_cast<std::uint32_t>((x * table.reciprocal[index]) >> 40);
  return x + quotient * (static_cast<std::uint32_t>(kRansSlots) - frequency) +
         table.cumulative[index];
}

// One lane's symbols from last to first, those that its state does not end with.
struct Lane {
  const RansEncodeTable& table;
  const std::uint8_t* last;  // and then every kRansLanes before it

  // How many of the symbols, at most, a state can take; `x`: out, the state that has.
  [[nodiscard]] std::size_t Run(std::uint32_t& x, std::size_t symbols) const {
    std::size_t t = 0;
    for (; t < symbols && Fits(table, x, *(last - t * kRansLanes)); ++t) {
      x = Push(table, x, *(last - t * kRansLanes));
    }
    return t;
  }
  // The state behind so many symbols, kLeanLow at least, if the lane begins at `end` and no bit
  // above it, or else one: the first that is high enough from a guess on. False if that does not
  // fit.
  [[nodiscard]] bool Raise(std::uint32_t end, std::size_t symbols, std::uint32_t& state) const {
    state = end;
    (void)Run(state, symbols);
    if (state >= kLeanLow) return true;
    const std::uint32_t one = std::uint32_t{1} << table.ends.bits;
    state = end + one;
    if (Run(state, symbols) < symbols) return false;
    if (state >= kLeanLow) return true;
    // A state grows about as its start does.
    for (auto above = 17U - static_cast<unsigned>(std::bit_width(state));; ++above) {
      if (table.ends.bits + above > 31) return false;
      state = end + (one << above);
      if (Run(state, symbols) < symbols) return false;
      if (state >= kLeanLow) return true;
    }
  }
};

}  // namespace

std::size_t LeanStarts(const RansEncodeTable& table, const std::uint8_t* symbols, std::size_t count,
                       std::uint32_t* states) {
  const std::size_t steps = LeanSteps(count);
  std::uint32_t ends[kRansLanes];
  std::size_t tail = std::min(steps, kLeanTailMax);
  const auto lane_of = [&](std::size_t lane) {
    return Lane{table, symbols + steps * kRansLanes + lane - kRansLanes};
  };
  for (std::size_t lane = 0; lane < kRansLanes; ++lane) {
    ends[lane] = EndOf(symbols, count, lane);
    // No lane goes further than the one that grows fastest.
    std::uint32_t x = ends[lane];
    if (steps > 0) tail = lane_of(lane).Run(x, tail);
  }
  if (tail == steps) {
    for (std::size_t lane = 0; lane < kRansLanes; ++lane) {
      states[lane] = ends[lane];
      if (steps > 0) (void)lane_of(lane).Run(states[lane], tail);
    }
    return tail;
  }
  // Without a tail every lane has a start, so this ends.
  for (;; --tail) {
    bool good = true;
    for (std::size_t lane = 0; lane < kRansLanes && good; ++lane) {
      good = lane_of(lane).Raise(ends[lane], tail, states[lane]);
    }
    if (good) return tail;
  }
}

std::size_t LeanEncode(const RansEncodeTable& table, const std::uint8_t* symbols, std::size_t count,
                       std::byte* out, std::uint8_t* tail) {
  std::uint32_t states[kRansLanes];
  const std::size_t free = LeanStarts(table, symbols, count, states);
  std::byte* const end = out + kLeanHeadBytes + count;
  std::byte* first = end;
  std::uint32_t more = 0;
  const auto give = [&](std::uint32_t& x) {
    *--first = static_cast<std::byte>(x);
    x >>= 8;
  };
  for (std::size_t lane = kRansLanes; lane-- > 0;) {
    if (states[lane] < kLeanHigh) continue;
    give(states[lane]);
    more |= std::uint32_t{1} << lane;
  }
  for (std::size_t i = (LeanSteps(count) - free) * kRansLanes; i-- > 0;) {
    std::uint32_t& x = states[i % kRansLanes];
    if (x >> 16 >= table.frequency[table.index_of_symbol[symbols[i]]]) give(x);
    x = Push(table, x, symbols[i]);
  }
  first -= kLeanHeadBytes;
  for (std::size_t lane = 0; lane < kRansLanes; ++lane) {
    const auto low = static_cast<std::uint16_t>(states[lane]);
    std::memcpy(first + 2 * lane, &low, sizeof(low));
    first[2 * kRansLanes + lane] = static_cast<std::byte>(states[lane] >> 16);
  }
  std::memcpy(first + 3 * kRansLanes, &more, sizeof(more));
  *tail = static_cast<std::uint8_t>(free);
  return static_cast<std::size_t>(end - first);
}

namespace {

// Takes a byte where there is one.
bool Take(const std::byte*& next, const std::byte* end, std::uint32_t& x) {
  const bool good = next < end;
  x = (x << 8) | (good ? std::to_integer<std::uint32_t>(*next++) : 0);
  return good;
}

// Judges the states that a block ended with and writes the symbols that they stand for.
bool EndLean(const RansBlock& block, const std::uint32_t* states) {
  const LeanEnds& ends = block.table->ends;
  bool good = true;
  for (std::size_t lane = 0; lane < kRansLanes; ++lane) {
    const std::uint32_t number = states[lane] & ((std::uint32_t{1} << ends.bits) - 1);
    const std::uint32_t above = states[lane] >> ends.bits;
    good = good && number < ends.count && (above & (above - 1)) == 0;
    const Parts pairs = PartsOf(number);
    const Parts last = PartsOf(pairs.a);
    const Parts before = PartsOf(pairs.b);
    std::size_t i = LeanSteps(block.count) * kRansLanes + kLeanMirror - lane;
    for (const std::uint32_t rank : {before.b, before.a, last.b, last.a}) {
      if (i < block.count) block.symbols[i] = SymbolOf(rank);
      i += kRansLanes;
    }
  }
  return good;
}

}  // namespace

bool LeanEnterTail(const RansBlock& block, RansCursor& cursor) {
  std::uint32_t more = 0;
  std::memcpy(&more, block.states + 3 * kRansLanes, sizeof(more));
  bool good = true;
  for (std::size_t lane = 0; lane < kRansLanes; ++lane) {
    if ((more >> lane & 1) != 0) good = Take(cursor.next, block.end, cursor.state[lane]) && good;
  }
  cursor.in_tail = true;
  return good;
}

bool LeanFinish(const RansBlock& block, RansCursor& cursor) {
  const std::size_t steps = LeanSteps(block.count);
  const std::size_t renewing = steps - std::min(steps, block.tail);
  bool good = true;
  for (std::size_t step = cursor.done / kRansLanes;; ++step) {
    if (step == renewing && !cursor.in_tail) good = LeanEnterTail(block, cursor) && good;
    if (step == steps) break;
    for (std::size_t lane = 0; lane < kRansLanes; ++lane) {
      std::uint32_t& x = cursor.state[lane];
      const std::uint32_t slot = block.table->slot[x % kRansSlots];
      block.symbols[step * kRansLanes + lane] = static_cast<std::uint8_t>(slot);
      x = ((slot >> 8) & 0xFF) * (x >> kRansProbBits) + (slot >> 16);
      if (x < kLeanLow && step < renewing) good = Take(cursor.next, block.end, x) && good;
    }
  }
  cursor.done = steps * kRansLanes;
  return EndLean(block, cursor.state) && cursor.next == block.end && good;
}

bool LeanDecode(const RansBlock* blocks, std::size_t block_count) {
  bool good = true;
  for (std::size_t b = 0; b < block_count; ++b) {
    RansCursor cursor;
    for (std::size_t lane = 0; lane < kRansLanes; ++lane) {
      std::uint16_t low = 0;
      std::memcpy(&low, blocks[b].states + 2 * lane, sizeof(low));
      cursor.state[lane] =
          low | std::to_integer<std::uint32_t>(blocks[b].states[2 * kRansLanes + lane]) << 16;
    }
    cursor.next = blocks[b].states + kLeanHeadBytes;
    cursor.done = 0;
    cursor.in_tail = false;
    good = LeanFinish(blocks[b], cursor) && good;
  }
  return good;
}

}  // namespace kdn::codec

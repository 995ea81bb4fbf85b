#include "codec/rans_model.h"

#include <algorithm>
#include <bit>
#include <numeric>

namespace kdn::codec {
namespace {

constexpr std::uint32_t kSum = static_cast<std::uint32_t>(kRansSlots);

// log2(value) · 2^16 by repeated squaring: the same on every machine, unlike a libm's.
constexpr std::uint32_t Log2Fixed(std::uint32_t value) {
  std::uint32_t log = 0;
  std::uint64_t x = value;  // 1 <= x < 2, as a fixed-point number with 31 bits after the point
  while (value >> (log + 1)) ++log;
  x <<= 31 - log;
  for (int bit = 0; bit < 16; ++bit) {
    x = (x * x) >> 31;
    log = (log << 1) | static_cast<std::uint32_t>(x >> 32);
    x >>= x >> 32;
  }
  return log;
}

constexpr auto kCostOfFrequency = [] {
  std::array<std::uint32_t, kSum + 1> cost{};  // in 2^-16 bits
  for (std::uint32_t f = 1; f <= kSum; ++f) cost[f] = (8U << 16) - Log2Fixed(f);
  return cost;
}();

// Symbols' counts and frequencies. One more for a symbol of frequency f saves
// count · log2((f + 1) / f) bits, about count / (f + 1/2); one less costs about count / (f - 1/2).
// Such quotients differ by 1 / 511² if at all: those of count · 2^20 differ in front of the point.
struct Shares {
  std::array<std::uint64_t, kRansSymbolsMax> count{};
  std::array<std::uint32_t, kRansSymbolsMax> frequency{};
  std::size_t size = 0;

  // What is best to be given one more, or to lose one, has the largest; of equals the first.
  [[nodiscard]] std::uint64_t Key(std::size_t i, bool more) const {
    constexpr std::uint64_t kMost = std::uint64_t{1} << 57;
    const std::uint64_t scaled = count[i] << 20;
    std::uint64_t worth = 0;  // of the last 256th, which is not given away
    if (more) {
      worth = scaled / (2 * frequency[i] + 1);
    } else if (frequency[i] > 1) {
      worth = kMost - scaled / (2 * frequency[i] - 1);
    }
    return worth * kRansSymbolsMax + (kRansSymbolsMax - 1 - i);
  }
};

// Moves single 256ths to where they save most, or cost least, until they add up.
void BalanceShares(Shares& shares) {
  const auto end = shares.frequency.begin() + static_cast<std::ptrdiff_t>(shares.size);
  std::uint32_t sum = std::accumulate(shares.frequency.begin(), end, std::uint32_t{0});
  if (sum == kSum) return;
  const bool more = sum < kSum;
  std::array<std::uint64_t, kRansSymbolsMax> keys{};
  for (std::size_t i = 0; i < shares.size; ++i) keys[i] = shares.Key(i, more);
  for (; sum != kSum; sum += more ? 1U : ~0U) {
    std::array<std::uint64_t, 4> largest{};  // in turn, as each waits for the one before
    for (std::size_t i = 0; i < keys.size(); i += largest.size()) {
      for (std::size_t k = 0; k < largest.size(); ++k) {
        largest[k] = std::max(largest[k], keys[i + k]);
      }
    }
    const std::uint64_t key = *std::ranges::max_element(largest);
    const std::size_t best = kRansSymbolsMax - 1 - key % kRansSymbolsMax;
    shares.frequency[best] += more ? 1U : ~0U;
    keys[best] = shares.Key(best, more);
  }
}

}  // namespace

void CountSymbols(std::span<const std::uint8_t> symbols, Histogram& histogram) {
  // Four counters in turn: runs of one symbol would otherwise wait for their own store.
  std::array<Histogram, 4> part{};
  std::size_t i = 0;
  for (; i + 4 <= symbols.size(); i += 4) {
    for (std::size_t k = 0; k < 4; ++k) ++part[k][symbols[i + k]];
  }
  for (; i < symbols.size(); ++i) ++part[0][symbols[i]];
  for (std::size_t s = 0; s < histogram.size(); ++s) {
    histogram[s] += part[0][s] + part[1][s] + part[2][s] + part[3][s];
  }
}

std::size_t DistinctSymbols(const Histogram& histogram) {
  return static_cast<std::size_t>(
      std::count_if(histogram.begin(), histogram.end(), [](std::uint32_t c) { return c != 0; }));
}

RansModel ModelOf(const Histogram& histogram) {
  const std::uint64_t total = std::accumulate(histogram.begin(), histogram.end(), std::uint64_t{0});
  RansModel model;
  Shares shares;
  for (std::size_t s = 0; s < histogram.size(); ++s) {
    const std::uint64_t count = histogram[s];
    if (count == 0) continue;
    // No symbol may have all 256: there is at least one other.
    const std::uint64_t rounded = (count * kSum + total / 2) / total;
    const auto frequency = static_cast<std::uint32_t>(std::clamp<std::uint64_t>(rounded, 1, 255));
    model.symbol[model.count] = static_cast<std::uint8_t>(s);
    shares.count[model.count] = count;
    shares.frequency[model.count++] = frequency;
  }
  shares.size = model.count;
  BalanceShares(shares);
  for (std::size_t i = 0; i < model.count; ++i) {
    model.frequency[i] = static_cast<std::uint8_t>(shares.frequency[i]);
  }
  return model;
}

std::uint64_t CostBits(const Histogram& histogram, const RansModel& model) {
  std::uint64_t cost = 0;
  for (std::size_t i = 0; i < model.count; ++i) {
    cost += std::uint64_t{histogram[model.symbol[i]]} * kCostOfFrequency[model.frequency[i]];
  }
  return cost >> 16;
}

void WriteModel(const RansModel& model, std::byte* out) {
  *out++ = std::byte{model.count};
  for (std::size_t i = 0; i < model.count; ++i) {
    *out++ = std::byte{model.symbol[i]};
    *out++ = std::byte{model.frequency[i]};
  }
}

RansModel ReadModel(ByteReader& in, unsigned bits) {
  RansModel model;
  const auto count = in.Integer<std::uint8_t>();
  if (count < 2 || count > kRansSymbolsMax) {
    in.Fail();
    return model;
  }
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i < count; ++i) {
    model.symbol[i] = in.Integer<std::uint8_t>();
    model.frequency[i] = in.Integer<std::uint8_t>();
    sum += model.frequency[i];
    const bool ascends = i == 0 || model.symbol[i] > model.symbol[i - 1];
    if (!ascends || model.frequency[i] == 0 || (model.symbol[i] >> bits) != 0) in.Fail();
  }
  if (sum != kSum) in.Fail();
  model.count = count;
  return model;
}

namespace {

LeanEnds EndsOf(const RansModel& model) {
  std::uint32_t ranks = 1;
  for (std::size_t i = 0; i < model.count; ++i) {
    const int off = int{model.symbol[i]} - static_cast<int>(kLeanMiddle);
    ranks = std::max(ranks, static_cast<std::uint32_t>(off >= 0 ? 2 * off : -2 * off - 1) + 1);
  }
  ranks = std::min<std::uint32_t>(ranks, kRansSymbolsMax);  // there are no more in lean blocks
  const std::uint32_t count = ranks * ranks * ranks * ranks;
  return {.count = count, .bits = static_cast<unsigned>(std::bit_width(count - 1))};
}

}  // namespace

void FillDecodeTable(const RansModel& model, RansTable& table) {
  std::fill(std::begin(table.frequency), std::end(table.frequency), std::uint8_t{0});
  std::fill(std::begin(table.cumulative), std::end(table.cumulative), std::uint8_t{0});
  std::fill(std::begin(table.symbol), std::end(table.symbol), std::uint8_t{0});
  table.ends = EndsOf(model);
  std::uint32_t slot = 0;
  for (std::uint32_t i = 0; i < model.count; ++i) {
    const std::uint32_t frequency = model.frequency[i];
    table.frequency[i] = model.frequency[i];
    table.cumulative[i] = static_cast<std::uint8_t>(slot);
    table.symbol[i] = model.symbol[i];
    for (std::uint32_t k = 0; k < frequency; ++k, ++slot) {
      table.index_of_slot[slot] = static_cast<std::uint8_t>(i);
      table.slot[slot] = model.symbol[i] | (frequency << 8) | (k << 16);
    }
  }
}

namespace {

// The division by x · magic >> (31 + shift), shift = ceil(log2(frequency)), of x < frequency ·
// 2^24: the magic number is rounded up, which is exact if what that adds stays below 1 / frequency.
void FillCompactTable(const RansModel& model, RansEncodeTable& table) {
  const int span = model.symbol[model.count - 1] - model.symbol[0];
  table.is_compact = span < static_cast<int>(kRansSymbolsMax);
  table.is_narrow = span < static_cast<int>(kRansSymbolsMax) / 2;
  std::fill(std::begin(table.compact_frequency), std::end(table.compact_frequency),
            std::uint8_t{1});
  std::fill(std::begin(table.compact_cumulative), std::end(table.compact_cumulative),
            std::uint8_t{0});
  std::fill(std::begin(table.shift), std::end(table.shift), std::uint8_t{0});
  std::fill(std::begin(table.magic), std::end(table.magic), std::uint32_t{0});
  std::fill(std::begin(table.lean_magic), std::end(table.lean_magic), std::uint32_t{0});
  std::uint32_t cumulative = 0;
  for (std::size_t i = 0; i < model.count; ++i) {
    const std::uint64_t frequency = model.frequency[i];
    const std::size_t at = model.symbol[i] % kRansSymbolsMax;
    const auto shift = static_cast<unsigned>(std::bit_width(frequency - 1));
    const std::uint64_t one = std::uint64_t{1} << (31 + shift);
    const std::uint64_t magic = (one + frequency - 1) / frequency;
    const std::uint64_t excess = magic * frequency - one;
    table.is_compact = table.is_compact && ((frequency << 24) - 1) * excess < one;
    table.compact_frequency[at] = model.frequency[i];
    table.compact_cumulative[at] = static_cast<std::uint8_t>(cumulative);
    table.shift[at] = static_cast<std::uint8_t>(shift);
    table.magic[at] = static_cast<std::uint32_t>(magic);
    table.lean_magic[at] = ~std::uint32_t{0} / model.frequency[i];
    if (table.is_narrow) {
      table.magic[at ^ (kRansSymbolsMax / 2)] = table.magic[at];
      table.lean_magic[at ^ (kRansSymbolsMax / 2)] = table.lean_magic[at];
    }
    cumulative += model.frequency[i];
  }
}

}  // namespace

void FillEncodeTable(const RansModel& model, RansEncodeTable& table) {
  std::fill(std::begin(table.index_of_symbol), std::end(table.index_of_symbol), std::uint8_t{0});
  std::fill(std::begin(table.frequency), std::end(table.frequency), std::uint8_t{1});
  std::fill(std::begin(table.cumulative), std::end(table.cumulative), std::uint8_t{0});
  std::uint32_t cumulative = 0;
  for (std::size_t i = 0; i < model.count; ++i) {
    const std::uint32_t frequency = model.frequency[i];
    table.index_of_symbol[model.symbol[i]] = static_cast<std::uint8_t>(i);
    table.frequency[i] = model.frequency[i];
    table.cumulative[i] = static_cast<std::uint8_t>(cumulative);
    table.reciprocal[i] = ((std::uint64_t{1} << 40) + frequency - 1) / frequency;
    cumulative += frequency;
  }
  FillCompactTable(model, table);
  table.ends = EndsOf(model);
}

}  // namespace kdn::codec

#include "tests/bench/torchac_coder.h"

#include <algorithm>
#include <cmath>

namespace kdn::bench {
namespace {

constexpr std::uint32_t kHalf = 0x80000000U;
constexpr std::uint32_t kQuarter = 0x40000000U;
constexpr std::size_t kLastSymbol = kTorchacBinsMax - 1;

// The bin of zero: symbols are 0 to twice this.
unsigned Middle(unsigned bins) {
  return bins / 2 - 1;
}

class BitSink {
 public:
  explicit BitSink(std::vector<std::byte>& out) : out_(out) {}
  void Put(unsigned bit) {
    held_ = (held_ << 1) | bit;
    if (++count_ == 8) {
      out_.push_back(static_cast<std::byte>(held_));
      held_ = 0;
      count_ = 0;
    }
  }
  void PutAndPending(unsigned bit, std::uint64_t& pending) {
    Put(bit);
    for (; pending > 0; --pending) Put(1 - bit);
  }
  void Finish() {
    while (count_ != 0) Put(0);
  }

 private:
  std::vector<std::byte>& out_;
  unsigned held_ = 0;
  unsigned count_ = 0;
};

class BitSource {
 public:
  explicit BitSource(std::span<const std::byte> in) : in_(in) {}
  std::uint32_t Next() {
    if (count_ == 0) {
      held_ = at_ < in_.size() ? static_cast<unsigned>(in_[at_]) : 0;
      ++at_;
      count_ = 8;
    }
    --count_;
    return (held_ >> count_) & 1U;
  }

 private:
  std::span<const std::byte> in_;
  std::size_t at_ = 0;
  unsigned held_ = 0;
  unsigned count_ = 0;
};

std::uint64_t EndOf(const TorchacTable& table, std::size_t symbol) {
  return symbol == kLastSymbol ? 0x10000U : table[symbol + 1];
}

// The interval of a symbol inside [low, high].
void Narrow(const TorchacTable& table, std::size_t symbol, std::uint32_t& low,
            std::uint32_t& high) {
  const std::uint64_t span = std::uint64_t{high} - low + 1;
  high = (low - 1) + static_cast<std::uint32_t>((span * EndOf(table, symbol)) >> 16);
  low = low + static_cast<std::uint32_t>((span * table[symbol]) >> 16);
}

// The last symbol that begins at or below `count`.
std::size_t Find(const TorchacTable& table, std::uint32_t count) {
  std::size_t left = 0;
  std::size_t right = kLastSymbol + 1;
  while (left + 1 < right) {
    const std::size_t middle = (left + right) / 2;
    if (table[middle] <= count) {
      left = middle;
    } else {
      right = middle;
    }
  }
  return left;
}

}  // namespace

void TorchacQuantise(std::span<const float> values, std::size_t tokens, std::size_t channels,
                     unsigned bins, std::span<std::uint8_t> symbols, std::span<float> scales) {
  const auto middle = static_cast<float>(Middle(bins));
  for (std::size_t t = 0; t < tokens; ++t) {
    const float* row = values.data() + t * channels;
    float largest = 0.0F;
    for (std::size_t c = 0; c < channels; ++c) largest = std::max(largest, std::fabs(row[c]));
    scales[t] = largest;
    const float factor = largest > 0.0F ? middle / largest : 0.0F;
    for (std::size_t c = 0; c < channels; ++c) {
      symbols[c * tokens + t] = static_cast<std::uint8_t>(std::lrint(row[c] * factor + middle));
    }
  }
}

float TorchacValue(std::uint8_t symbol, float scale, unsigned bins) {
  const auto middle = static_cast<float>(Middle(bins));
  return (static_cast<float>(symbol) - middle) / middle * scale;
}

void TorchacFillTable(std::span<const std::uint8_t> symbols, TorchacTable& table) {
  std::array<std::uint32_t, kTorchacBinsMax> count{};
  for (const std::uint8_t s : symbols) ++count[s];
  constexpr std::uint64_t kShared = 0xFFFF - kTorchacBinsMax;
  std::uint64_t before = 0;
  for (std::size_t s = 0; s < kTorchacTableEntries; ++s) {
    table[s] = static_cast<std::uint16_t>(kShared * before / symbols.size() + s);
    if (s < kTorchacBinsMax) before += count[s];
  }
}

void TorchacEncode(const TorchacTable& table, std::span<const std::uint8_t> symbols,
                   std::vector<std::byte>& code) {
  BitSink out(code);
  std::uint32_t low = 0;
  std::uint32_t high = 0xFFFFFFFFU;
  std::uint64_t pending = 0;
  for (const std::uint8_t symbol : symbols) {
    Narrow(table, symbol, low, high);
    for (;;) {
      if (high < kHalf) {
        out.PutAndPending(0, pending);
        low <<= 1;
        high = (high << 1) | 1;
      } else if (low >= kHalf) {
        out.PutAndPending(1, pending);
        low <<= 1;
        high = (high << 1) | 1;
      } else if (low >= kQuarter && high < kHalf + kQuarter) {
        ++pending;
        low = (low << 1) & ~kHalf;
        high = (high << 1) | kHalf | 1;
      } else {
        break;
      }
    }
  }
  ++pending;
  out.PutAndPending(low < kQuarter ? 0 : 1, pending);
  out.Finish();
}

void TorchacDecode(const TorchacTable& table, std::span<const std::byte> code,
                   std::span<std::uint8_t> symbols) {
  BitSource in(code);
  std::uint32_t low = 0;
  std::uint32_t high = 0xFFFFFFFFU;
  std::uint32_t value = 0;
  for (int i = 0; i < 32; ++i) value = (value << 1) | in.Next();
  for (std::uint8_t& symbol : symbols) {
    const std::uint64_t span = std::uint64_t{high} - low + 1;
    const std::uint64_t count = ((std::uint64_t{value} - low + 1) * 0x10000 - 1) / span;
    symbol = static_cast<std::uint8_t>(Find(table, static_cast<std::uint32_t>(count)));
    Narrow(table, symbol, low, high);
    for (;;) {
      if (low >= kHalf || high < kHalf) {
        low <<= 1;
        high = (high << 1) | 1;
        value = (value << 1) | in.Next();
      } else if (low >= kQuarter && high < kHalf + kQuarter) {
        low = (low << 1) & ~kHalf;
        high = (high << 1) | kHalf | 1;
        value = ((value - kQuarter) << 1) | in.Next();
      } else {
        break;
      }
    }
  }
}

void TorchacEncodePlane(std::span<const float> values, std::size_t tokens, std::size_t channels,
                        unsigned bins, std::vector<std::uint8_t>& symbols, TorchacPlane& plane) {
  plane.tokens = tokens;
  plane.channels = channels;
  plane.bins = bins;
  plane.scales.resize(tokens);
  plane.tables.resize(channels);
  plane.length.resize(channels);
  plane.code.clear();
  symbols.resize(tokens * channels);
  TorchacQuantise(values, tokens, channels, bins, symbols, plane.scales);
  for (std::size_t c = 0; c < channels; ++c) {
    const auto lane = std::span<const std::uint8_t>(symbols).subspan(c * tokens, tokens);
    TorchacFillTable(lane, plane.tables[c]);
    const std::size_t begin = plane.code.size();
    TorchacEncode(plane.tables[c], lane, plane.code);
    plane.length[c] = static_cast<std::uint32_t>(plane.code.size() - begin);
  }
}

void TorchacDecodePlane(const TorchacPlane& plane, std::span<float> values) {
  std::vector<std::uint8_t> lane(plane.tokens);
  std::size_t at = 0;
  for (std::size_t c = 0; c < plane.channels; ++c) {
    TorchacDecode(plane.tables[c], std::span(plane.code).subspan(at, plane.length[c]), lane);
    at += plane.length[c];
    for (std::size_t t = 0; t < plane.tokens; ++t) {
      values[t * plane.channels + c] = TorchacValue(lane[t], plane.scales[t], plane.bins);
    }
  }
}

}  // namespace kdn::bench

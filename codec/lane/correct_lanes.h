// Exact on top of fine: from what units have left in the workspace, predicted words and symbols, to
// the engine's words. A strip's low bits are one stream in which a value's place follows from all
// values before it, so a warp first adds up what each segment of tokens takes, and then each
// segment knows where it begins.
//
// A .cu file may include this header, so it stays within C++17; nvcc must not contract floating
// point (-fmad=false). Thread-safety: pure functions of memory that the caller owns.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/host_device.h"
#include "codec/kernels/residual_words.h"
#include "codec/lane/launch_plan.h"
#include "codec/lane/value_lanes.h"
#include "codec/lane/warp.h"

namespace kdn::codec {
namespace {

// A segment and what it is of.
struct SegmentWork {
  const std::byte* plan;
  std::byte* workspace;
  const LaneCorrection* correction;
  const LaneSegment* segment;
  std::uint32_t number;  // of the segment in its correction

  [[nodiscard]] KDN_HOST_DEVICE std::uint32_t channels() const {
    return correction->where.head_size;
  }
  [[nodiscard]] KDN_HOST_DEVICE std::uint64_t* sums() const {
    return reinterpret_cast<std::uint64_t*>(workspace + correction->sums);
  }
};

KDN_HOST_DEVICE inline SegmentWork SegmentWorkOf(const std::byte* plan, std::uint32_t segment,
                                                 std::byte* workspace) {
  const auto* header = reinterpret_cast<const LanePlanHeader*>(plan);
  SegmentWork work{plan, workspace, nullptr, nullptr, 0};
  work.segment = reinterpret_cast<const LaneSegment*>(plan + header->segments) + segment;
  work.correction = reinterpret_cast<const LaneCorrection*>(plan + header->corrections) +
                    work.segment->correction;
  work.number = segment - work.correction->first_segment;
  return work;
}

// Eight neighbouring values of a strip; the first one's number is a multiple of 8.
template <class W>
struct EightValues {
  using Word = typename W::Word;
  Word predicted[8];
  std::uint8_t symbols[8];
  std::uint8_t shifts[8];  // raw bits of each; of escapes 0

  KDN_HOST_DEVICE EightValues(const SegmentWork& work, std::uint32_t first) {
    const LaneCorrection& c = *work.correction;
    const std::byte* words = work.workspace + c.predicted + std::size_t{first} * sizeof(Word);
    constexpr std::uint32_t kPerLoad = 4 / sizeof(Word);
    for (std::uint32_t i = 0; i < 8; i += kPerLoad) {
      const auto some = Load<std::uint32_t>(words + i * sizeof(Word));
      for (std::uint32_t k = 0; k < kPerLoad; ++k) {
        predicted[i + k] = static_cast<Word>(some >> (8 * sizeof(Word) * k));
      }
    }
    const std::byte* from = work.workspace + c.symbols + first;
    for (std::uint32_t i = 0; i < 8; i += 4) {
      const auto four = Load<std::uint32_t>(from + i);
      for (std::uint32_t k = 0; k < 4; ++k) {
        symbols[i + k] = static_cast<std::uint8_t>(four >> (8 * k));
      }
    }
    const std::byte* spreads = c.spreads + first % work.channels();
    for (std::uint32_t i = 0; i < 8; ++i) {
      const auto spread = static_cast<std::int8_t>(spreads[i]);
      const bool escape = symbols[i] == kResidualEscape;
      shifts[i] = static_cast<std::uint8_t>(escape ? 0U : W::ShiftOf(predicted[i], spread));
    }
  }
  // Bits in the lower half, escapes in the upper.
  [[nodiscard]] KDN_HOST_DEVICE std::uint64_t Taken() const {
    std::uint64_t taken = 0;
    for (std::uint32_t i = 0; i < 8; ++i) {
      taken += shifts[i];
      if (symbols[i] == kResidualEscape) taken += std::uint64_t{1} << 32;
    }
    return taken;
  }
};

// Adds up what the segment takes of bits and escapes.
template <class W, class Warp>
KDN_HOST_DEVICE void MeasureSegment(const Warp& warp, const SegmentWork& work) {
  const std::uint32_t front = work.segment->first_token * work.channels();
  const std::uint32_t values = work.segment->token_count * work.channels();
  typename Warp::template Lanes<std::uint64_t> taken;
  warp.Each([&](unsigned lane) {
    taken[lane] = 0;
    for (std::uint32_t i = 8 * lane; i < values; i += 8 * kWarpLanes) {
      taken[lane] += EightValues<W>(work, front + i).Taken();
    }
  });
  const std::uint64_t all = warp.SumBefore(taken);
  warp.Each([&](unsigned lane) {
    if (lane == 0) work.sums()[work.number] = all;
  });
}

// Whether all that the strip needs has been decoded and all its bits and escapes are taken and no
// more; `before`: what segments before this one take.
template <class W, class Warp>
KDN_HOST_DEVICE bool JudgeSegment(const Warp& warp, const SegmentWork& work,
                                  const std::uint32_t* verdicts, std::uint64_t& before) {
  const LaneCorrection& c = *work.correction;
  typename Warp::template Lanes<std::uint64_t> totals;
  typename Warp::template Lanes<std::uint64_t> befores;
  typename Warp::template Lanes<bool> bad;
  warp.Each([&](unsigned lane) {
    bad[lane] = false;
    for (std::uint32_t u = lane; u < c.unit_count; u += kWarpLanes) {
      if (verdicts[c.first_unit + u] != 0) bad[lane] = true;
    }
    totals[lane] = befores[lane] = 0;
    for (std::uint32_t s = lane; s < c.segment_count; s += kWarpLanes) {
      totals[lane] += work.sums()[s];
      if (s < work.number) befores[lane] += work.sums()[s];
    }
  });
  const std::uint64_t total = warp.SumBefore(totals);
  before = warp.SumBefore(befores);
  if (warp.Ballot(bad) != 0) return false;
  const auto bits = static_cast<std::uint32_t>(total);
  const std::uint64_t escapes = total >> 32;
  if ((bits + 7) / 8 != c.bits_bytes) return false;
  if (escapes * sizeof(typename W::Word) != c.escapes_bytes) return false;
  return bits % 8 == 0 || (static_cast<std::uint32_t>(c.bits[bits / 8]) >> (bits % 8)) == 0;
}

// The next `count` bits, at most 23; zeros past the end.
KDN_HOST_DEVICE inline std::uint32_t LowBitsAt(const LaneCorrection& c, std::uint32_t bit,
                                               unsigned count) {
  const std::uint32_t at = bit / 32 * 4;
  // What a strip has is padded to a multiple of 4.
  const std::uint64_t low = at < c.bits_bytes ? Load<std::uint32_t>(c.bits + at) : 0;
  const std::uint64_t high = at + 4 < c.bits_bytes ? Load<std::uint32_t>(c.bits + at + 4) : 0;
  const auto bits = static_cast<std::uint32_t>((low | (high << 32)) >> (bit % 32));
  return bits & ((std::uint32_t{1} << count) - 1);
}

// The engine's words of eight values, what was taken before them being `at`.
template <class W>
KDN_HOST_DEVICE void CorrectEight(const LaneCorrection& c, const EightValues<W>& eight,
                                  std::uint64_t at, typename W::Word* words) {
  using Word = typename W::Word;
  auto bit = static_cast<std::uint32_t>(at);
  std::uint64_t escape = (at >> 32) * sizeof(Word);
  for (std::uint32_t i = 0; i < 8; ++i) {
    if (eight.symbols[i] == kResidualEscape) {
      std::uint32_t word = 0;
      for (std::uint32_t k = 0; k < sizeof(Word) && escape < c.escapes_bytes; ++k, ++escape) {
        word |= static_cast<std::uint32_t>(c.escapes[escape]) << (8 * k);
      }
      words[i] = static_cast<Word>(word);
      continue;
    }
    const unsigned shift = eight.shifts[i];
    const auto symbol = static_cast<std::uint32_t>(int{eight.symbols[i]} - int{kResidualZero});
    const std::uint32_t low = LowBitsAt(c, bit, shift);
    words[i] =
        W::Unorder(static_cast<Word>(W::Order(eight.predicted[i]) + (symbol << shift) + low));
    bit += shift;
  }
}

// Eight neighbouring channels of a row.
template <class Word>
KDN_HOST_DEVICE void StoreEight(const LaneStrip& where, std::byte* row, std::uint32_t c,
                                const Word* words) {
  if (!where.wide) {
    for (std::uint32_t i = 0; i < 8; ++i) {
      Store(words[i], row + static_cast<std::int64_t>(c + i) * where.dim_stride);
    }
    return;
  }
  constexpr std::uint32_t kPerWord = 4 / sizeof(Word);
  constexpr std::uint32_t kWords = 8 / kPerWord;
  std::uint32_t packed[kWords] = {};
  for (std::uint32_t i = 0; i < 8; ++i) {
    packed[i / kPerWord] |= std::uint32_t{words[i]} << (8 * sizeof(Word) * (i % kPerWord));
  }
  std::byte* to = row + c * sizeof(Word);
  if constexpr (kWords == 2) {
    for (std::uint32_t i = 0; i < kWords; ++i) Store(packed[i], to + 4 * std::size_t{i});
  } else {
    for (std::uint32_t i = 0; i < kWords; i += 4) {
      StoreQuad({{packed[i], packed[i + 1], packed[i + 2], packed[i + 3]}},
                to + 4 * std::size_t{i});
    }
  }
}

// Rows of a slab, turned by the same, to where they go.
template <class Type, class Warp>
KDN_HOST_DEVICE void WriteTurned(const Warp& warp, const SegmentWork& work, const float* slab,
                                 std::uint32_t first_token, std::uint32_t tokens) {
  const LaneStrip& where = work.correction->where;
  const auto* rows = reinterpret_cast<const std::int64_t*>(work.plan + where.rows);
  const auto* turns = reinterpret_cast<const float*>(work.plan + where.turns);
  const std::uint32_t channels = where.head_size;
  const std::uint32_t half = where.rotary_dims / 2U;
  const bool halves = where.pairs == RotaryPairs::kHalves;
  warp.Each([&](unsigned lane) {
    for (std::uint32_t i = lane; i < tokens * channels; i += kWarpLanes) {
      const std::uint32_t c = i % channels;
      const float* row = slab + (i - c);
      float value = row[c];
      if (c < 2 * half) {
        const std::uint32_t pair = halves ? c % half : c / 2;
        const std::uint32_t first = halves ? pair : 2 * pair;
        float a = row[first];
        float b = row[halves ? pair + half : first + 1];
        TurnLanePair(a, b, turns[pair], turns[half + pair]);
        value = c == first ? a : b;
      }
      Store(Type::Number::FromFloat(value), where.head + rows[first_token + i / channels] +
                                                static_cast<std::int64_t>(c) * where.dim_stride);
    }
  });
}

// Writes the segment's values; false if the strip does not decode, and nothing of it is then
// written. `slab`: the warp's own, kSlabValues floats. Requires: MeasureSegment() of all segments.
template <class Type, class W, class Warp>
KDN_HOST_DEVICE bool CorrectSegment(const Warp& warp, const SegmentWork& work,
                                    const std::uint32_t* verdicts, float* slab) {
  const LaneCorrection& c = *work.correction;
  std::uint64_t at = 0;
  if (!JudgeSegment<W>(warp, work, verdicts, at)) return false;
  const std::uint32_t channels = work.channels();
  const auto* rows = reinterpret_cast<const std::int64_t*>(work.plan + c.where.rows);
  const bool turned = c.where.pairs != RotaryPairs::kNone;
  const std::uint32_t end = work.segment->first_token + work.segment->token_count;
  const std::uint32_t wanted = end < c.wanted ? end : c.wanted;
  const std::uint32_t each = kSlabValues / channels;
  typename Warp::template Lanes<std::uint64_t> taken;
  for (std::uint32_t token = work.segment->first_token; token < wanted; token += each) {
    const std::uint32_t tokens = wanted - token < each ? wanted - token : each;
    const std::uint32_t front = token * channels;
    for (std::uint32_t i = 0; i < tokens * channels; i += 8 * kWarpLanes) {
      warp.Each([&](unsigned lane) {
        const std::uint32_t mine = i + 8 * lane;
        taken[lane] = mine < tokens * channels ? EightValues<W>(work, front + mine).Taken() : 0;
      });
      const std::uint64_t more = warp.SumBefore(taken);
      warp.Each([&](unsigned lane) {
        const std::uint32_t mine = i + 8 * lane;
        if (mine >= tokens * channels) return;
        typename W::Word words[8];
        CorrectEight<W>(c, EightValues<W>(work, front + mine), at + taken[lane], words);
        if (turned) {
          for (std::uint32_t k = 0; k < 8; ++k) slab[mine + k] = Type::Number::ToFloat(words[k]);
          return;
        }
        StoreEight(c.where, c.where.head + rows[token + mine / channels], mine % channels, words);
      });
      at += more;
    }
    if (!turned) continue;
    warp.Sync();
    WriteTurned<Type>(warp, work, slab, token, tokens);
    warp.Sync();
  }
  return true;
}

}  // namespace
}  // namespace kdn::codec

// Encoding of lean blocks, compiled for AVX-512 as avx512.cc is, and under the same rule: it calls
// no inline function that another file shares.
//
// States before the tail are below 2^24, so a float holds them, and a step in floats takes two
// thirds of the operations that one in integers does: q = x · (1 / f) cut off at the point is the
// quotient if 1 / f, rounded up, is off by less than one part in f · 2^16, as it is for every f up
// to 128 and some above. A table with one of the others takes the way over integers.
#include <immintrin.h>

#include "codec/kernels/avx512_encode.h"
#include "codec/kernels/avx512_push.h"
#include "codec/kernels/encode_one_by_one.h"

namespace kdn::codec::avx512 {
namespace {

// What coding before the tail looks up.
struct LeanRegisters {
  __m512i rest;  // 256 less the frequency
  __m512i cumulative;
  __m512i magic[4];
};

LeanRegisters LoadLean(const RansEncodeTable& table) {
  return {
      .rest = _mm512_sub_epi8(_mm512_setzero_si512(), Load(table.compact_frequency)),
      .cumulative = Load(table.compact_cumulative),
      .magic = {Load(table.lean_magic), Load(table.lean_magic + 16), Load(table.lean_magic + 32),
                Load(table.lean_magic + 48)},
  };
}

// Push() of states below 2^24 and bytes. A state is too large for a symbol just if its quotient has
// more than 16 bits; that of the state that has given up a byte is the same without its lowest 8.
template <bool kNarrow>
[[gnu::always_inline]] inline __m512i PushLean(const LeanRegisters& table, __m512i x,
                                               __m512i symbols, __mmask16& full) {
  constexpr __mmask64 kLowest = 0x1111111111111111;
  constexpr __mmask16 kEven = 0x5555;
  const __m512i rest = _mm512_maskz_permutexvar_epi8(kLowest, symbols, table.rest);
  const __m512i cumulative = _mm512_maskz_permutexvar_epi8(kLowest, symbols, table.cumulative);
  __m512i magic = _mm512_permutex2var_epi32(table.magic[0], symbols, table.magic[1]);
  if constexpr (!kNarrow) {
    const __mmask16 above = _mm512_test_epi32_mask(symbols, _mm512_set1_epi32(32));
    magic = _mm512_mask_mov_epi32(
        magic, above, _mm512_permutex2var_epi32(table.magic[2], symbols, table.magic[3]));
  }
  const __m512i more = _mm512_add_epi32(x, _mm512_set1_epi32(1));
  const __m512i even = _mm512_mul_epu32(more, magic);
  const __m512i odd = _mm512_mul_epu32(_mm512_srli_epi64(more, 32), _mm512_srli_epi64(magic, 32));
  __m512i quotient = _mm512_mask_shuffle_epi32(odd, kEven, even, _MM_PERM_DDBB);
  full = _mm512_cmpge_epu32_mask(quotient, _mm512_set1_epi32(1 << 16));
  quotient = _mm512_mask_srli_epi32(quotient, full, quotient, 8);
  x = _mm512_mask_srli_epi32(x, full, x, 8);
  return _mm512_add_epi32(_mm512_add_epi32(x, cumulative), _mm512_mullo_epi32(quotient, rest));
}

// The same in floats.
template <bool kNarrow>
class FloatLean {
 public:
  explicit FloatLean(const RansEncodeTable& table) : bytes_(LoadLean(table)) {
    for (int v = 0; v < 4; ++v) {
      const __m512 f = Floats(table.compact_frequency + 16 * v);
      frequency_[v] = f;
      cumulative_[v] = Floats(table.compact_cumulative + 16 * v);
    }
    if (kNarrow) {
      // Of symbols 32 apart one occurs at most; the other's frequency is 1 here, its sum 0.
      for (int v = 0; v < 2; ++v) {
        frequency_[v] = _mm512_max_ps(frequency_[v], frequency_[v + 2]);
        cumulative_[v] = _mm512_max_ps(cumulative_[v], cumulative_[v + 2]);
      }
    }
    const __m512 one = _mm512_set1_ps(1.0F);
    for (int v = 0; v < (kNarrow ? 2 : 4); ++v) {
      const __m512 f = frequency_[v];
      reciprocal_[v] = _mm512_div_round_ps(one, f, _MM_FROUND_TO_POS_INF | _MM_FROUND_NO_EXC);
      const __m512 off = _mm512_fmsub_ps(reciprocal_[v], f, one);
      const __m512 most = _mm512_mul_ps(_mm512_mul_ps(off, f), _mm512_set1_ps(65536.0F));
      exact_ = exact_ && _mm512_cmp_ps_mask(most, _mm512_set1_ps(0.999F), _CMP_NLT_UQ) == 0;
      rest_[v] = _mm512_sub_ps(_mm512_set1_ps(256.0F), f);
    }
  }
  // Whether every quotient is right.
  [[nodiscard]] bool exact() const { return exact_; }

  [[gnu::always_inline]] __m512 Push(__m512 x, __m512i symbols, __mmask16& full) const {
    constexpr __mmask64 kLowest = 0x1111111111111111;
    constexpr int kDown = _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC;
    __m512 rest;
    __m512 cumulative;
    __m512 reciprocal = _mm512_permutex2var_ps(reciprocal_[0], symbols, reciprocal_[1]);
    if constexpr (kNarrow) {
      rest = _mm512_permutex2var_ps(rest_[0], symbols, rest_[1]);
      cumulative = _mm512_permutex2var_ps(cumulative_[0], symbols, cumulative_[1]);
    } else {
      const __mmask16 above = _mm512_test_epi32_mask(symbols, _mm512_set1_epi32(32));
      reciprocal = _mm512_mask_mov_ps(
          reciprocal, above, _mm512_permutex2var_ps(reciprocal_[2], symbols, reciprocal_[3]));
      rest = _mm512_cvtepi32_ps(_mm512_maskz_permutexvar_epi8(kLowest, symbols, bytes_.rest));
      cumulative =
          _mm512_cvtepi32_ps(_mm512_maskz_permutexvar_epi8(kLowest, symbols, bytes_.cumulative));
    }
    // 2^16 times the frequency.
    const __m512 bound =
        _mm512_fnmadd_ps(rest, _mm512_set1_ps(65536.0F), _mm512_set1_ps(16777216.0F));
    full = _mm512_cmp_ps_mask(x, bound, _CMP_GE_OQ);
    x = _mm512_mask_mul_ps(x, full, x, _mm512_set1_ps(1.0F / 256.0F));
    x = _mm512_mask_roundscale_ps(x, full, x, kDown);
    const __m512 quotient = _mm512_roundscale_ps(_mm512_mul_round_ps(x, reciprocal, kDown), kDown);
    return _mm512_fmadd_ps(quotient, rest, _mm512_add_ps(x, cumulative));
  }

 private:
  static __m512 Floats(const std::uint8_t* bytes) { return _mm512_cvtepi32_ps(Widen(bytes)); }
  LeanRegisters bytes_;
  __m512 frequency_[4];
  __m512 rest_[4];
  __m512 cumulative_[4];
  __m512 reciprocal_[4];
  bool exact_ = true;
};

// States of all lanes.
struct Lanes {
  __m512i low, high;
};
struct LaneMask {
  __mmask16 low, high;
  [[nodiscard]] bool any() const { return (low | high) != 0; }
};

Lanes Where(const LaneMask& mask, const Lanes& a, const Lanes& b) {
  return {_mm512_mask_mov_epi32(b.low, mask.low, a.low),
          _mm512_mask_mov_epi32(b.high, mask.high, a.high)};
}
LaneMask Below(const Lanes& x, std::uint32_t bound) {
  const __m512i all = _mm512_set1_epi32(static_cast<int>(bound));
  return {_mm512_cmplt_epu32_mask(x.low, all), _mm512_cmplt_epu32_mask(x.high, all)};
}
LaneMask Not(const LaneMask& mask) {
  return {static_cast<__mmask16>(~mask.low), static_cast<__mmask16>(~mask.high)};
}
LaneMask And(const LaneMask& a, const LaneMask& b) {
  return {static_cast<__mmask16>(a.low & b.low), static_cast<__mmask16>(a.high & b.high)};
}

template <bool kNarrow>
class LeanEncoder {
 public:
  // Requires: more symbols than lanes end with.
  LeanEncoder(const RansEncodeTable& table, const std::uint8_t* symbols, std::size_t count)
      : table_(table),
        registers_(LoadCompact(table)),
        symbols_(symbols),
        count_(count),
        steps_((count + kRansLanes - 1) / kRansLanes - kLeanEndSteps) {}

  // Up to the first step before the tail.
  void Start(std::byte* out) {
    x_ = Begin();
    end_ = out + kLeanHeadBytes + count_;
    first_ = end_;
    const LaneMask high = Not(Below(x_, kLeanHigh));
    more_ = _mm512_kunpackw(high.high, high.low);
    PutBytes(x_, more_, first_);
    x_ = Where(high, {_mm512_srli_epi32(x_.low, 8), _mm512_srli_epi32(x_.high, 8)}, x_);
    left_ = steps_ - tail_;
  }
  // Steps that are left.
  [[nodiscard]] std::size_t left() const { return left_; }
  // So many steps of kCount encoders in turn; they share a table.
  template <std::size_t kCount>
  static void Code(LeanEncoder* const* encoders, std::size_t steps) {
    const FloatLean<kNarrow> floats(encoders[0]->table_);
    if (floats.exact()) {
      CodeFloats<kCount>(floats, encoders, steps);
    } else {
      CodeIntegers<kCount>(encoders, steps);
    }
  }
  // Once no step is left.
  std::size_t Finish(std::uint8_t* tail) {
    first_ -= kLeanHeadBytes;
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(first_), _mm512_cvtepi32_epi16(x_.low));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(first_ + 32), _mm512_cvtepi32_epi16(x_.high));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(first_ + 64),
                     _mm512_cvtepi32_epi8(_mm512_srli_epi32(x_.low, 16)));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(first_ + 80),
                     _mm512_cvtepi32_epi8(_mm512_srli_epi32(x_.high, 16)));
    __builtin_memcpy(first_ + 3 * kRansLanes, &more_, sizeof(more_));
    *tail = static_cast<std::uint8_t>(tail_);
    return static_cast<std::size_t>(end_ - first_);
  }

 private:
  template <std::size_t kCount>
  static void CodeFloats(const FloatLean<kNarrow>& table, LeanEncoder* const* encoders,
                         std::size_t steps) {
    __m512 low[kCount];
    __m512 high[kCount];
    std::byte* first[kCount];
    const std::uint8_t* at[kCount];
    for (std::size_t i = 0; i < kCount; ++i) {
      low[i] = _mm512_cvtepi32_ps(encoders[i]->x_.low);
      high[i] = _mm512_cvtepi32_ps(encoders[i]->x_.high);
      first[i] = encoders[i]->first_;
      at[i] = encoders[i]->symbols_ + encoders[i]->left_ * kRansLanes;
      encoders[i]->left_ -= steps;
    }
    for (; steps > 0; --steps) {
#pragma GCC unroll 2
      for (std::size_t i = 0; i < kCount; ++i) {
        __mmask16 full_low = 0;
        __mmask16 full_high = 0;
        const Lanes old{_mm512_cvttps_epi32(low[i]), _mm512_cvttps_epi32(high[i])};
        at[i] -= kRansLanes;
        low[i] = table.Push(low[i], Widen(at[i]), full_low);
        high[i] = table.Push(high[i], Widen(at[i] + 16), full_high);
        PutBytes(old, _mm512_kunpackw(full_high, full_low), first[i]);
      }
    }
    for (std::size_t i = 0; i < kCount; ++i) {
      encoders[i]->x_ = {_mm512_cvttps_epi32(low[i]), _mm512_cvttps_epi32(high[i])};
      encoders[i]->first_ = first[i];
    }
  }
  template <std::size_t kCount>
  static void CodeIntegers(LeanEncoder* const* encoders, std::size_t steps) {
    const LeanRegisters registers = LoadLean(encoders[0]->table_);
    Lanes x[kCount];
    std::byte* first[kCount];
    const std::uint8_t* at[kCount];
    for (std::size_t i = 0; i < kCount; ++i) {
      x[i] = encoders[i]->x_;
      first[i] = encoders[i]->first_;
      at[i] = encoders[i]->symbols_ + encoders[i]->left_ * kRansLanes;
      encoders[i]->left_ -= steps;
    }
    for (; steps > 0; --steps) {
#pragma GCC unroll 2
      for (std::size_t i = 0; i < kCount; ++i) {
        __mmask16 full_low = 0;
        __mmask16 full_high = 0;
        const Lanes old = x[i];
        at[i] -= kRansLanes;
        x[i].low = PushLean<kNarrow>(registers, x[i].low, Widen(at[i]), full_low);
        x[i].high = PushLean<kNarrow>(registers, x[i].high, Widen(at[i] + 16), full_high);
        PutBytes(old, _mm512_kunpackw(full_high, full_low), first[i]);
      }
    }
    for (std::size_t i = 0; i < kCount; ++i) {
      encoders[i]->x_ = x[i];
      encoders[i]->first_ = first[i];
    }
  }
  // The lowest bytes of the lanes in `full`, in the order of lanes, in front of `first`.
  [[gnu::always_inline]] static void PutBytes(const Lanes& x, __mmask32 full, std::byte*& first) {
    const __m512i lowest =
        _mm512_set_epi32(0, 0, 0, 0, 0, 0, 0, 0, 0x7C787470, 0x6C686460, 0x5C585450, 0x4C484440,
                         0x3C383430, 0x2C282420, 0x1C181410, 0x0C080400);
    const __m256i bytes = _mm512_castsi512_si256(_mm512_permutex2var_epi8(x.low, lowest, x.high));
    const unsigned taken = static_cast<unsigned>(__builtin_popcount(full));
    first -= taken;
    _mm256_mask_storeu_epi8(first, static_cast<__mmask32>((std::uint64_t{1} << taken) - 1),
                            _mm256_maskz_compress_epi8(full, bytes));
  }

  // What is coded `t` steps before the tail's end; `full`: which lanes have no room for it.
  [[gnu::always_inline]] Lanes PushFree(const Lanes& x, std::size_t t, LaneMask& full) const {
    const std::uint8_t* at = symbols_ + (steps_ - 1 - t) * kRansLanes;
    return {Push<kNarrow, 0>(registers_, x.low, Widen(at), full.low),
            Push<kNarrow, 0>(registers_, x.high, Widen(at + 16), full.high)};
  }
  // The whole tail; false if a lane of `these` has no room for it.
  [[nodiscard]] bool Run(Lanes& x, const LaneMask& these) const {
    LaneMask full{};
    for (std::size_t t = 0; t < tail_; ++t) {
      x = PushFree(x, t, full);
      if (And(full, these).any()) return false;
    }
    return true;
  }

  static __m512i Pair(__m512i a, __m512i b) {
    const __m512i larger = _mm512_max_epu32(a, b);
    const __m512i rest =
        _mm512_mask_mov_epi32(_mm512_add_epi32(larger, b), _mm512_cmplt_epu32_mask(a, b), a);
    return _mm512_add_epi32(_mm512_mullo_epi32(larger, larger), rest);
  }
  static __m512i Rank(const std::uint8_t* symbols) {
    const __m512i off = _mm512_sub_epi32(Widen(symbols), _mm512_set1_epi32(int{kLeanMiddle}));
    return _mm512_xor_si512(_mm512_slli_epi32(off, 1), _mm512_srai_epi32(off, 31));
  }
  static __m512i End(const std::uint8_t* last) {
    return Pair(Pair(Rank(last + 3 * kRansLanes), Rank(last + 2 * kRansLanes)),
                Pair(Rank(last + kRansLanes), Rank(last)));
  }
  [[nodiscard]] Lanes Ends() const {
    std::uint8_t last[kLeanEndSteps * kRansLanes];
    for (std::uint8_t& symbol : last) symbol = kLeanMiddle;
    __builtin_memcpy(last, symbols_ + steps_ * kRansLanes, count_ - steps_ * kRansLanes);
    const __m512i mirror = _mm512_set_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    return {_mm512_permutexvar_epi32(mirror, End(last + 16)),
            _mm512_permutexvar_epi32(mirror, End(last))};
  }

  // LeanStarts().
  [[nodiscard]] Lanes Begin() {
    const Lanes ends = Ends();
    Lanes x = ends;
    const std::size_t most = steps_ < kLeanTailMax ? steps_ : kLeanTailMax;
    for (tail_ = 0; tail_ < most; ++tail_) {
      LaneMask full{};
      const Lanes next = PushFree(x, tail_, full);
      if (full.any()) break;
      x = next;
    }
    const LaneMask slow = Below(x, kLeanLow);
    if (tail_ == steps_ || !slow.any()) return x;
    Lanes raised = ends;
    if (!Raise(slow, raised)) return BeginSlowly();
    return Where(slow, raised, x);
  }
  // Of the slow lanes: the states behind the tail from starts that are high enough; false if they
  // do not fit.
  [[nodiscard]] bool Raise(const LaneMask& slow, Lanes& x) const {
    const Lanes ends = x;
    const __m512i one = _mm512_sll_epi32(_mm512_set1_epi32(1),
                                         _mm_cvtsi32_si128(static_cast<int>(table_.ends.bits)));
    x = {_mm512_add_epi32(ends.low, one), _mm512_add_epi32(ends.high, one)};
    if (!Run(x, slow)) return false;
    LaneMask still = And(slow, Below(x, kLeanLow));
    // 17 less the width of a state that is below 2^16.
    const auto missing = [](__m512i state) {
      const __m512i exponent =
          _mm512_srli_epi32(_mm512_castps_si512(_mm512_cvtepi32_ps(state)), 23);
      return _mm512_sub_epi32(_mm512_set1_epi32(17 + 126), exponent);
    };
    Lanes above{missing(x.low), missing(x.high)};
    while (still.any()) {
      const __m512i most = _mm512_set1_epi32(31 - static_cast<int>(table_.ends.bits));
      const LaneMask wide{_mm512_cmpgt_epi32_mask(above.low, most),
                          _mm512_cmpgt_epi32_mask(above.high, most)};
      if (And(still, wide).any()) return false;
      Lanes again{_mm512_add_epi32(ends.low, _mm512_sllv_epi32(one, above.low)),
                  _mm512_add_epi32(ends.high, _mm512_sllv_epi32(one, above.high))};
      if (!Run(again, still)) return false;
      x = Where(still, again, x);
      still = And(still, Below(x, kLeanLow));
      above.low = _mm512_add_epi32(above.low, _mm512_set1_epi32(1));
      above.high = _mm512_add_epi32(above.high, _mm512_set1_epi32(1));
    }
    return true;
  }
  [[nodiscard]] Lanes BeginSlowly() {
    std::uint32_t states[kRansLanes];
    tail_ = LeanStarts(table_, symbols_, count_, states);
    return {Load(states), Load(states + 16)};
  }

  const RansEncodeTable& table_;
  const CompactRegisters registers_;
  const std::uint8_t* symbols_;
  std::size_t count_;
  std::size_t steps_;  // without those that the states end with
  std::size_t tail_ = 0;
  Lanes x_;
  __mmask32 more_ = 0;  // lanes with a byte more
  std::byte* end_ = nullptr;
  std::byte* first_ = nullptr;
  std::size_t left_ = 0;
};

template <bool kNarrow>
std::size_t EncodeOne(const RansEncodeTable& table, const std::uint8_t* symbols, std::size_t count,
                      std::byte* out, std::uint8_t* tail) {
  LeanEncoder<kNarrow> encoder(table, symbols, count);
  encoder.Start(out);
  LeanEncoder<kNarrow>* const one = &encoder;
  LeanEncoder<kNarrow>::template Code<1>(&one, encoder.left());
  return encoder.Finish(tail);
}

template <bool kNarrow>
void EncodeTwo(const RansEncodeTable& table, LeanPiece* two) {
  LeanEncoder<kNarrow> a(table, two[0].symbols, two[0].count);
  LeanEncoder<kNarrow> b(table, two[1].symbols, two[1].count);
  a.Start(two[0].out);
  b.Start(two[1].out);
  LeanEncoder<kNarrow>* const both[2] = {&a, &b};
  LeanEncoder<kNarrow>::template Code<2>(both, a.left() < b.left() ? a.left() : b.left());
  LeanEncoder<kNarrow>::template Code<1>(both, a.left());
  LeanEncoder<kNarrow>::template Code<1>(both + 1, b.left());
  two[0].bytes = a.Finish(&two[0].tail);
  two[1].bytes = b.Finish(&two[1].tail);
}

}  // namespace

std::size_t LeanEncodeWide(const RansEncodeTable& table, const std::uint8_t* symbols,
                           std::size_t count, std::byte* out, std::uint8_t* tail) {
  if (count <= kLeanEndSteps * kRansLanes) return LeanEncode(table, symbols, count, out, tail);
  // Symbols below 64 lie close enough together, and states of 24 bits are divided by any frequency.
  if (table.is_narrow) return EncodeOne<true>(table, symbols, count, out, tail);
  return EncodeOne<false>(table, symbols, count, out, tail);
}

void LeanEncodeTwo(const RansEncodeTable& table, LeanPiece* two) {
  constexpr std::size_t kAllEnd = kLeanEndSteps * kRansLanes;
  if (two[0].count <= kAllEnd || two[1].count <= kAllEnd) return LeanEncodeOneByOne(table, two);
  if (table.is_narrow) return EncodeTwo<true>(table, two);
  EncodeTwo<false>(table, two);
}

}  // namespace kdn::codec::avx512

// rANS encoding, compiled for AVX-512 as avx512.cc is, and under the same rule: it calls no inline
// function that another file shares.
//
// 32 lanes are two vectors of states. Nearly all tables are `compact`: everything that a symbol
// stands for is looked up in registers, and the division is a multiplication. The others, whose
// symbols lie far apart or which hold one of the few frequencies that 32 bits do not divide by,
// take a slower way, which divides in double precision.
#include <immintrin.h>

#include "codec/kernels/avx512_encode.h"
#include "codec/kernels/encode_one_by_one.h"

namespace kdn::codec::avx512 {
namespace {

__m512i Load(const void* from) {
  return _mm512_loadu_si512(from);
}
void Store(void* to, __m512i v) {
  _mm512_storeu_si512(to, v);
}

// Both vectors' low words of the lanes in `full`, in the order of lanes, in front of `first`.
[[gnu::always_inline]] inline void PutWords(__m512i low, __m512i high, __mmask32 full,
                                            std::uint16_t*& first) {
  const __m512i even =
      _mm512_set_epi16(62, 60, 58, 56, 54, 52, 50, 48, 46, 44, 42, 40, 38, 36, 34, 32, 30, 28, 26,
                       24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
  const __m512i words = _mm512_permutex2var_epi16(low, even, high);
  const unsigned taken = static_cast<unsigned>(__builtin_popcount(full));
  first -= taken;
  _mm512_mask_storeu_epi16(first, static_cast<__mmask32>((std::uint64_t{1} << taken) - 1),
                           _mm512_maskz_compress_epi16(full, words));
}

struct CompactRegisters {
  __m512i frequency;
  __m512i cumulative;
  __m512i shift;
  __m512i magic[4];
};

CompactRegisters LoadCompact(const RansEncodeTable& table) {
  return {
      .frequency = Load(table.compact_frequency),
      .cumulative = Load(table.compact_cumulative),
      .shift = Load(table.shift),
      .magic = {Load(table.magic), Load(table.magic + 16), Load(table.magic + 32),
                Load(table.magic + 48)},
  };
}

// Puts one symbol on each of 16 lanes. Those that are `full` give up a word of so many bits before;
// with words of no bits they should not have been given one. Every byte of `symbols` but the lowest
// of each lane is 0.
template <bool kNarrow, unsigned kWordBits>
[[gnu::always_inline]] inline __m512i Push(const CompactRegisters& table, __m512i x,
                                           __m512i symbols, __mmask16& full) {
  constexpr __mmask64 kLowest = 0x1111111111111111;
  const __m512i frequency = _mm512_maskz_permutexvar_epi8(kLowest, symbols, table.frequency);
  const __m512i cumulative = _mm512_maskz_permutexvar_epi8(kLowest, symbols, table.cumulative);
  const __m512i shift = _mm512_maskz_permutexvar_epi8(kLowest, symbols, table.shift);
  __m512i magic = _mm512_permutex2var_epi32(table.magic[0], symbols, table.magic[1]);
  if constexpr (!kNarrow) {
    const __mmask16 above = _mm512_test_epi32_mask(symbols, _mm512_set1_epi32(32));
    magic = _mm512_mask_mov_epi32(
        magic, above, _mm512_permutex2var_epi32(table.magic[2], symbols, table.magic[3]));
  }
  constexpr unsigned kStateBits = kWordBits == 8 ? 24 : 32;
  full = _mm512_cmpge_epu32_mask(x, _mm512_slli_epi32(frequency, kStateBits - kRansProbBits));
  x = _mm512_mask_srli_epi32(x, full, x, kWordBits);
  const __m512i even = _mm512_srli_epi64(_mm512_mul_epu32(x, magic), 31);
  const __m512i odd = _mm512_slli_epi64(
      _mm512_mul_epu32(_mm512_srli_epi64(x, 32), _mm512_srli_epi64(magic, 32)), 1);
  __m512i quotient = _mm512_srlv_epi32(_mm512_mask_mov_epi32(even, 0xAAAA, odd), shift);
  if constexpr (kWordBits == 0) {
    // Of any table: where 32 bits are not enough to divide by, it is one too many at most.
    const __mmask16 over = _mm512_cmpgt_epu32_mask(_mm512_mullo_epi32(quotient, frequency), x);
    quotient = _mm512_mask_sub_epi32(quotient, over, quotient, _mm512_set1_epi32(1));
  }
  const __m512i rest = _mm512_sub_epi32(_mm512_set1_epi32(static_cast<int>(kRansSlots)), frequency);
  return _mm512_add_epi32(_mm512_add_epi32(x, cumulative), _mm512_mullo_epi32(quotient, rest));
}

__m512i Widen(const std::uint8_t* from) {
  return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
}

template <bool kNarrow>
std::uint16_t* EncodeCompact(const RansEncodeTable& table, const std::uint8_t* symbols,
                             std::size_t count, std::uint16_t* first, std::uint32_t* states) {
  const CompactRegisters registers = LoadCompact(table);
  __m512i low = Load(states);
  __m512i high = Load(states + 16);
  while (count > 0) {
    count -= kRansLanes;
    __mmask16 full_low = 0;
    __mmask16 full_high = 0;
    const __m512i old_low = low;
    const __m512i old_high = high;
    low = Push<kNarrow, 16>(registers, low, Widen(symbols + count), full_low);
    high = Push<kNarrow, 16>(registers, high, Widen(symbols + count + 16), full_high);
    PutWords(old_low, old_high, _mm512_kunpackw(full_high, full_low), first);
  }
  Store(states, low);
  Store(states + 16, high);
  return first;
}

// Floor of x / f. Exact: both are integers that a double holds, and a quotient that is no integer
// is at least 1/255 away from one, far more than rounding moves it.
[[gnu::always_inline]] inline __m256i Quotient8(__m256i x, __m256i f) {
  return _mm512_cvttpd_epu32(_mm512_div_pd(_mm512_cvtepu32_pd(x), _mm512_cvtepu32_pd(f)));
}

[[gnu::always_inline]] inline __m512i PushByDividing(__m512i x, __m128i frequencies,
                                                     __m128i cumulatives, __mmask16& full) {
  const __m512i frequency = _mm512_cvtepu8_epi32(frequencies);
  full = _mm512_cmpge_epu32_mask(_mm512_srli_epi32(x, 24), frequency);
  x = _mm512_mask_srli_epi32(x, full, x, 16);
  const __m256i low = Quotient8(_mm512_castsi512_si256(x), _mm512_castsi512_si256(frequency));
  const __m256i high =
      Quotient8(_mm512_extracti64x4_epi64(x, 1), _mm512_extracti64x4_epi64(frequency, 1));
  const __m512i quotient = _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
  const __m512i rest = _mm512_sub_epi32(_mm512_set1_epi32(static_cast<int>(kRansSlots)), frequency);
  return _mm512_add_epi32(_mm512_add_epi32(x, _mm512_cvtepu8_epi32(cumulatives)),
                          _mm512_mullo_epi32(quotient, rest));
}

std::uint16_t* EncodeAny(const RansEncodeTable& table, const std::uint8_t* symbols,
                         std::size_t count, std::uint16_t* first, std::uint32_t* states) {
  const __m512i index[4] = {Load(table.index_of_symbol), Load(table.index_of_symbol + 64),
                            Load(table.index_of_symbol + 128), Load(table.index_of_symbol + 192)};
  const __m512i frequency = Load(table.frequency);
  const __m512i cumulative = Load(table.cumulative);
  __m512i low = Load(states);
  __m512i high = Load(states + 16);
  while (count > 0) {
    count -= kRansLanes;
    const __m512i s = _mm512_castsi256_si512(
        _mm256_loadu_si256(reinterpret_cast<const __m256i*>(symbols + count)));
    const __m512i below = _mm512_permutex2var_epi8(index[0], s, index[1]);
    const __m512i above = _mm512_permutex2var_epi8(index[2], s, index[3]);
    const __m512i at = _mm512_mask_blend_epi8(_mm512_movepi8_mask(s), below, above);
    const __m512i f = _mm512_permutexvar_epi8(at, frequency);
    const __m512i c = _mm512_permutexvar_epi8(at, cumulative);
    __mmask16 full_low = 0;
    __mmask16 full_high = 0;
    const __m512i old_low = low;
    const __m512i old_high = high;
    low = PushByDividing(low, _mm512_castsi512_si128(f), _mm512_castsi512_si128(c), full_low);
    high = PushByDividing(high, _mm512_extracti32x4_epi32(f, 1), _mm512_extracti32x4_epi32(c, 1),
                          full_high);
    PutWords(old_low, old_high, _mm512_kunpackw(full_high, full_low), first);
  }
  Store(states, low);
  Store(states + 16, high);
  return first;
}

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

std::size_t RansEncodeWide(const RansEncodeTable& table, const std::uint8_t* symbols,
                           std::size_t count, std::uint16_t* words, std::uint32_t* states) {
  // What does not fill all lanes is the decoder's last step and so comes first here.
  const std::size_t full = count / kRansLanes * kRansLanes;
  std::uint16_t* first = words + count;
  first -= RansEncode(table, symbols + full, count - full, first - (count - full), states);
  if (!table.is_compact) {
    first = EncodeAny(table, symbols, full, first, states);
  } else if (table.is_narrow) {
    first = EncodeCompact<true>(table, symbols, full, first, states);
  } else {
    first = EncodeCompact<false>(table, symbols, full, first, states);
  }
  return static_cast<std::size_t>(words + count - first);
}

}  // namespace kdn::codec::avx512

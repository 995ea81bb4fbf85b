// The only file compiled for AVX-512 (see codec/CMakeLists.txt). It calls no inline function that
// another file shares: the linker keeps one copy of those, and it might keep the AVX-512 one.
#include <immintrin.h>

#include "codec/kernels/avx512_encode.h"
#include "codec/kernels/avx512_nested.h"
#include "codec/kernels/encode_kernels.h"
#include "codec/kernels/kernels.h"
#include "codec/kernels/synthesis.h"
#include "codec/kernels/value_bits.h"

namespace kdn::codec {
namespace {

__m512i Load(const void* from) {
  return _mm512_loadu_si512(from);
}
void Store(void* to, __m512i v) {
  _mm512_storeu_si512(to, v);
}
__m512i Word16(int value) {
  return _mm512_set1_epi16(static_cast<short>(value));
}
__m512i Byte8(int value) {
  return _mm512_set1_epi8(static_cast<char>(value));
}

// 32 bytes to 32 words and back, 16 bytes to 16 double words and back.
__m512i Widen16(const void* from) {
  return _mm512_cvtepu8_epi16(_mm256_loadu_si256(static_cast<const __m256i*>(from)));
}
__m512i Widen32(const void* from) {
  return _mm512_cvtepu8_epi32(_mm_loadu_si128(static_cast<const __m128i*>(from)));
}
void Narrow16(void* to, __m512i v) {
  _mm256_storeu_si256(static_cast<__m256i*>(to), _mm512_cvtepi16_epi8(v));
}
void Narrow32(void* to, __m512i v) {
  _mm_storeu_si128(static_cast<__m128i*>(to), _mm512_cvtepi32_epi8(v));
}

// Truth tables of vpternlog for f(a, b, c).
constexpr int kSelectByA = 0xCA;  // a ? b : c
constexpr int kOrOfAll = 0xFE;    // a | b | c
constexpr int kAOrBAndC = 0xF8;   // a | (b & c)

struct Bf16 : Bf16Bits {
  static constexpr std::size_t kStep = 32;
  static void SplitStep(const std::byte* values, std::uint8_t* const* p, std::size_t i) {
    const __m512i v = Load(values);
    Narrow16(p[0] + i, _mm512_srli_epi16(v, 7));
    Narrow16(p[1] + i,
             _mm512_ternarylogic_epi32(Word16(0x7F), v, _mm512_srli_epi16(v, 8), kSelectByA));
  }
  static void MergeStep(const std::uint8_t* const* p, std::size_t i, std::byte* values) {
    const __m512i exponent = _mm512_slli_epi16(Widen16(p[0] + i), 7);
    const __m512i rest = Widen16(p[1] + i);
    const __m512i spread = _mm512_or_si512(rest, _mm512_slli_epi16(rest, 8));
    Store(values, _mm512_ternarylogic_epi32(Word16(0x807F), spread, exponent, kSelectByA));
  }
};

struct Fp16 : Fp16Bits {
  static constexpr std::size_t kStep = 32;
  static void SplitStep(const std::byte* values, std::uint8_t* const* p, std::size_t i) {
    const __m512i v = Load(values);
    Narrow16(p[0] + i, _mm512_srli_epi16(v, 10));
    Narrow16(p[1] + i, _mm512_and_si512(_mm512_srli_epi16(v, 8), Word16(3)));
    Narrow16(p[2] + i, v);
  }
  static void MergeStep(const std::uint8_t* const* p, std::size_t i, std::byte* values) {
    Store(values, _mm512_ternarylogic_epi32(_mm512_slli_epi16(Widen16(p[0] + i), 10),
                                            _mm512_slli_epi16(Widen16(p[1] + i), 8),
                                            Widen16(p[2] + i), kOrOfAll));
  }
};

struct Fp32 : Fp32Bits {
  static constexpr std::size_t kStep = 16;
  static void SplitStep(const std::byte* values, std::uint8_t* const* p, std::size_t i) {
    const __m512i v = Load(values);
    Narrow32(p[0] + i, _mm512_srli_epi32(v, 23));
    Narrow32(p[1] + i, _mm512_ternarylogic_epi32(_mm512_set1_epi32(0x7F), _mm512_srli_epi32(v, 16),
                                                 _mm512_srli_epi32(v, 24), kSelectByA));
    Narrow32(p[2] + i, _mm512_srli_epi32(v, 8));
    Narrow32(p[3] + i, v);
  }
  static void MergeStep(const std::uint8_t* const* p, std::size_t i, std::byte* values) {
    const __m512i top = Widen32(p[1] + i);
    const __m512i spread = _mm512_or_si512(_mm512_slli_epi32(top, 16), _mm512_slli_epi32(top, 24));
    const __m512i high =
        _mm512_ternarylogic_epi32(_mm512_slli_epi32(Widen32(p[0] + i), 23), spread,
                                  _mm512_set1_epi32(static_cast<int>(0x807F0000U)), kAOrBAndC);
    Store(values, _mm512_ternarylogic_epi32(high, _mm512_slli_epi32(Widen32(p[2] + i), 8),
                                            Widen32(p[3] + i), kOrOfAll));
  }
};

struct Fp8E4M3 : Fp8E4M3Bits {
  static constexpr std::size_t kStep = 64;
  static void SplitStep(const std::byte* values, std::uint8_t* const* p, std::size_t i) {
    const __m512i v = Load(values);
    Store(p[0] + i, _mm512_and_si512(_mm512_srli_epi16(v, 3), Byte8(15)));
    const __m512i sign = _mm512_and_si512(_mm512_srli_epi16(v, 4), Byte8(8));
    Store(p[1] + i, _mm512_ternarylogic_epi32(sign, v, Byte8(7), kAOrBAndC));
  }
  static void MergeStep(const std::uint8_t* const* p, std::size_t i, std::byte* values) {
    const __m512i exponent = _mm512_and_si512(_mm512_slli_epi16(Load(p[0] + i), 3), Byte8(0xF8));
    const __m512i rest = Load(p[1] + i);
    const __m512i sign = _mm512_and_si512(_mm512_slli_epi16(rest, 4), Byte8(0x80));
    const __m512i mantissa = _mm512_and_si512(rest, Byte8(7));
    Store(values, _mm512_ternarylogic_epi32(exponent, sign, mantissa, kOrOfAll));
  }
};

struct Fp8E5M2 : Fp8E5M2Bits {
  static constexpr std::size_t kStep = 64;
  static void SplitStep(const std::byte* values, std::uint8_t* const* p, std::size_t i) {
    const __m512i v = Load(values);
    Store(p[0] + i, _mm512_and_si512(_mm512_srli_epi16(v, 2), Byte8(63)));
    Store(p[1] + i, _mm512_and_si512(v, Byte8(3)));
  }
  static void MergeStep(const std::uint8_t* const* p, std::size_t i, std::byte* values) {
    const __m512i high = _mm512_slli_epi16(Load(p[0] + i), 2);
    Store(values, _mm512_ternarylogic_epi32(Load(p[1] + i), high, Byte8(0xFC), kAOrBAndC));
  }
};

void Pack(unsigned bits, const std::uint8_t* in, std::size_t count, std::byte* out) {
  const auto pair_weights = Word16((1 << (8 + bits)) | 1);  // first + second · 2^bits
  std::size_t i = 0;
  for (; i + 64 <= count; i += 64) {
    const __m512i pairs = _mm512_maddubs_epi16(Load(in + i), pair_weights);
    if (bits == 4) {
      Narrow16(out, pairs);
      out += 32;
    } else {
      Narrow32(out, _mm512_madd_epi16(pairs, _mm512_set1_epi32((16 << 16) | 1)));
      out += 16;
    }
  }
  PackOneByOne(bits, in + i, count - i, out);
}

void Unpack(unsigned bits, const std::byte* in, std::size_t count, std::uint8_t* out) {
  std::size_t i = 0;
  for (; i + 64 <= count; i += 64) {
    if (bits == 4) {
      const __m512i v = Widen16(in + i / 2);
      Store(out + i, _mm512_and_si512(_mm512_or_si512(v, _mm512_slli_epi16(v, 4)), Byte8(15)));
    } else {
      __m512i v = Widen32(in + i / 4);
      v = _mm512_or_si512(v, _mm512_slli_epi32(v, 12));
      v = _mm512_or_si512(v, _mm512_slli_epi32(v, 6));
      Store(out + i, _mm512_and_si512(v, Byte8(3)));
    }
  }
  UnpackOneByOne(bits, in + i * bits / 8, count - i, out + i);
}

struct DecodeRegisters {
  __m512i index[4];  // of slots 0..63, 64..127, ...
  __m512i frequency;
  __m512i cumulative;
  __m512i symbol;
};

// Two blocks that share a table, in lockstep: 64 lanes, whose 64 slots fill one vector of bytes.
struct Pair {
  DecodeRegisters table;
  __m512i a, b;  // states of the first block
  __m512i c, d;  // of the second
  const std::byte* next0;
  const std::byte* next1;
  std::uint8_t* out0;
  std::uint8_t* out1;
};

constexpr std::size_t kStepsPerCheck = 8;
constexpr std::ptrdiff_t kCheckedReadBytes = kStepsPerCheck * 2 * kRansLanes + 64;

// Byte `kLane` of every double word, alone.
template <int kLane>
[[gnu::always_inline]] inline __m512i ByteOf(__m512i v) {
  if constexpr (kLane == 0) return _mm512_and_si512(v, _mm512_set1_epi32(255));
  if constexpr (kLane == 3) return _mm512_srli_epi32(v, 24);
  return _mm512_and_si512(_mm512_srli_epi32(v, 8 * kLane), _mm512_set1_epi32(255));
}

// x = frequency · (x / 256) + slot - cumulative, then a word for each state that fell below 2^16.
template <int kLane>
[[gnu::always_inline]] inline __m512i Advance(__m512i x, __m512i frequencies, __m512i offsets,
                                              const std::byte*& next) {
  x = _mm512_mullo_epi32(ByteOf<kLane>(frequencies), _mm512_srli_epi32(x, kRansProbBits));
  x = _mm512_add_epi32(x, ByteOf<kLane>(offsets));
  const __mmask16 small =
      _mm512_cmplt_epu32_mask(x, _mm512_set1_epi32(static_cast<int>(kRansStart)));
  const __m512i words =
      _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(next)));
  next += 2 * __builtin_popcount(small);
  return _mm512_mask_or_epi32(x, small, _mm512_slli_epi32(x, 16),
                              _mm512_maskz_expand_epi32(small, words));
}

[[gnu::always_inline]] inline void PairStep(Pair& pair) {
  // Byte k of double word l: the slot of lane l of a, b, c, d for k = 0, 1, 2, 3.
  __m512i slots = _mm512_ternarylogic_epi32(_mm512_set1_epi32(0xFF), pair.a,
                                            _mm512_slli_epi32(pair.b, 8), kSelectByA);
  slots = _mm512_ternarylogic_epi32(_mm512_set1_epi32(0xFFFF), slots, _mm512_slli_epi32(pair.c, 16),
                                    kSelectByA);
  slots = _mm512_ternarylogic_epi32(_mm512_set1_epi32(0xFFFFFF), slots,
                                    _mm512_slli_epi32(pair.d, 24), kSelectByA);
  const DecodeRegisters& t = pair.table;
  const __m512i below = _mm512_permutex2var_epi8(t.index[0], slots, t.index[1]);
  const __m512i above = _mm512_permutex2var_epi8(t.index[2], slots, t.index[3]);
  const __m512i index = _mm512_mask_blend_epi8(_mm512_movepi8_mask(slots), below, above);
  const __m512i frequencies = _mm512_permutexvar_epi8(index, t.frequency);
  const __m512i offsets = _mm512_sub_epi8(slots, _mm512_permutexvar_epi8(index, t.cumulative));
  pair.a = Advance<0>(pair.a, frequencies, offsets, pair.next0);
  pair.c = Advance<2>(pair.c, frequencies, offsets, pair.next1);
  pair.b = Advance<1>(pair.b, frequencies, offsets, pair.next0);
  pair.d = Advance<3>(pair.d, frequencies, offsets, pair.next1);
  // Back from byte k of double word l to lane order.
  const __m512i order = _mm512_permutexvar_epi8(
      _mm512_set_epi32(0x3F3B3733, 0x2F2B2723, 0x1F1B1713, 0x0F0B0703, 0x3E3A3632, 0x2E2A2622,
                       0x1E1A1612, 0x0E0A0602, 0x3D393531, 0x2D292521, 0x1D191511, 0x0D090501,
                       0x3C383430, 0x2C282420, 0x1C181410, 0x0C080400),
      _mm512_permutexvar_epi8(index, t.symbol));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(pair.out0), _mm512_castsi512_si256(order));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(pair.out1), _mm512_extracti64x4_epi64(order, 1));
  pair.out0 += kRansLanes;
  pair.out1 += kRansLanes;
}

Pair BeginPair(const RansBlock& first, const RansBlock& second) {
  const RansTable& t = *first.table;
  return Pair{
      .table = {.index = {Load(t.index_of_slot), Load(t.index_of_slot + 64),
                          Load(t.index_of_slot + 128), Load(t.index_of_slot + 192)},
                .frequency = Load(t.frequency),
                .cumulative = Load(t.cumulative),
                .symbol = Load(t.symbol)},
      .a = Load(first.states),
      .b = Load(first.states + 64),
      .c = Load(second.states),
      .d = Load(second.states + 64),
      .next0 = first.states + kRansStateBytes,
      .next1 = second.states + kRansStateBytes,
      .out0 = first.symbols,
      .out1 = second.symbols,
  };
}

bool FinishBlock(const RansBlock& block, __m512i low, __m512i high, const std::byte* next,
                 const std::uint8_t* out) {
  RansCursor cursor;
  Store(cursor.state, low);
  Store(cursor.state + 16, high);
  cursor.next = next;
  cursor.done = static_cast<std::size_t>(out - block.symbols);
  return RansFinish(block, cursor);
}

bool CanRead(const RansBlock& first, const RansBlock& second, const Pair& pair) {
  return first.readable_end - pair.next0 >= kCheckedReadBytes &&
         second.readable_end - pair.next1 >= kCheckedReadBytes;
}

// Two blocks of one table; a block alone comes as both.
struct Couple {
  const RansBlock* first;
  const RansBlock* second;
};

std::size_t FullSteps(const Couple& couple) {
  const std::size_t count =
      couple.first->count < couple.second->count ? couple.first->count : couple.second->count;
  return count / kRansLanes;
}

bool FinishCouple(const Couple& couple, const Pair& pair) {
  const bool good = FinishBlock(*couple.first, pair.a, pair.b, pair.next0, pair.out0);
  if (couple.first == couple.second) return good;
  return FinishBlock(*couple.second, pair.c, pair.d, pair.next1, pair.out1) && good;
}

void RunCouple(const Couple& couple, Pair& pair, std::size_t done) {
  const std::size_t steps = FullSteps(couple);
  while (done < steps && CanRead(*couple.first, *couple.second, pair)) {
    const std::size_t until = steps - done < kStepsPerCheck ? steps : done + kStepsPerCheck;
    for (; done < until; ++done) PairStep(pair);
  }
}

bool DecodeCouple(const Couple& couple) {
  Pair pair = BeginPair(*couple.first, *couple.second);
  RunCouple(couple, pair, 0);
  return FinishCouple(couple, pair);
}

// Two couples at once hide the latency that one alone waits for.
bool DecodeCouples(const Couple& one, const Couple& two) {
  Pair p = BeginPair(*one.first, *one.second);
  Pair q = BeginPair(*two.first, *two.second);
  const std::size_t steps = FullSteps(one) < FullSteps(two) ? FullSteps(one) : FullSteps(two);
  std::size_t done = 0;
  while (done < steps && CanRead(*one.first, *one.second, p) &&
         CanRead(*two.first, *two.second, q)) {
    const std::size_t until = steps - done < kStepsPerCheck ? steps : done + kStepsPerCheck;
    for (; done < until; ++done) {
      PairStep(p);
      PairStep(q);
    }
  }
  RunCouple(one, p, done);
  RunCouple(two, q, done);
  const bool good = FinishCouple(one, p);
  return FinishCouple(two, q) && good;
}

// The couple that begins at block `at`, which moves behind it.
Couple NextCouple(const RansBlock* blocks, std::size_t block_count, std::size_t& at) {
  const RansBlock* first = blocks + at++;
  if (at == block_count || blocks[at].table != first->table) return {first, first};
  return {first, blocks + at++};
}

bool RansDecode(const RansBlock* blocks, std::size_t block_count) {
  bool good = true;
  std::size_t at = 0;
  while (at < block_count) {
    const Couple one = NextCouple(blocks, block_count, at);
    if (at == block_count) return DecodeCouple(one) && good;
    good = DecodeCouples(one, NextCouple(blocks, block_count, at)) && good;
  }
  return good;
}

}  // namespace

constinit const Kernels kAvx512Kernels{
    .name = "avx512",
    .split = {SplitRows<Bf16>, SplitRows<Fp16>, SplitRows<Fp32>, SplitRows<Fp8E4M3>,
              SplitRows<Fp8E5M2>},
    .merge = {MergeRows<Bf16>, MergeRows<Fp16>, MergeRows<Fp32>, MergeRows<Fp8E4M3>,
              MergeRows<Fp8E5M2>},
    .pack = Pack,
    .unpack = Unpack,
    .rans_encode = avx512::RansEncodeWide,
    .rans_decode = RansDecode,
    .class_codes = avx512::ClassCodesWide,
    .synthesise = {avx512::SynthesiseBf16, SynthesiseOneByOne<Fp16Number>,
                   SynthesiseOneByOne<Fp32Number>, SynthesiseOneByOne<Fp8E4M3Number>,
                   SynthesiseOneByOne<Fp8E5M2Number>},
    .encode = &kAvx512Encode,
};

}  // namespace kdn::codec

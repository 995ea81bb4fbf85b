// The only file compiled with -mavx2 (see codec/CMakeLists.txt). It calls no inline function that
// another file shares: the linker keeps one copy of those, and it might keep the AVX2 one.
#include <immintrin.h>

#include "codec/kernels/avx2_nested.h"
#include "codec/kernels/correct_one_by_one.h"
#include "codec/kernels/encode_kernels.h"
#include "codec/kernels/kernels.h"
#include "codec/kernels/value_bits.h"

namespace kdn::codec {
namespace {

__m256i Load(const void* from) {
  return _mm256_loadu_si256(static_cast<const __m256i*>(from));
}
void Store(void* to, __m256i v) {
  _mm256_storeu_si256(static_cast<__m256i*>(to), v);
}
__m256i Word16(int value) {
  return _mm256_set1_epi16(static_cast<short>(value));
}
__m256i Byte8(int value) {
  return _mm256_set1_epi8(static_cast<char>(value));
}

// 16 bytes to 16 words, 8 bytes to 8 double words.
__m256i Widen16(const std::uint8_t* from) {
  return _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
}
__m256i Widen32(const std::uint8_t* from) {
  return _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from)));
}

// Words below 256 to bytes, in order.
__m256i Narrow16(__m256i a, __m256i b) {
  return _mm256_permute4x64_epi64(_mm256_packus_epi16(a, b), 0xD8);
}
__m256i Narrow32(__m256i a, __m256i b, __m256i c, __m256i d) {
  const __m256i packed = _mm256_packus_epi16(_mm256_packus_epi32(a, b), _mm256_packus_epi32(c, d));
  return _mm256_permutevar8x32_epi32(packed, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}

struct Bf16 : Bf16Bits {
  static constexpr std::size_t kStep = 32;
  static __m256i Exponent(__m256i v) {
    return _mm256_and_si256(_mm256_srli_epi16(v, 7), Word16(0xFF));
  }
  static __m256i Rest(__m256i v) {
    return _mm256_or_si256(_mm256_and_si256(v, Word16(0x7F)),
                           _mm256_and_si256(_mm256_srli_epi16(v, 8), Word16(0x80)));
  }
  static void SplitStep(const std::byte* values, std::uint8_t* const* p, std::size_t i) {
    const __m256i a = Load(values);
    const __m256i b = Load(values + 32);
    Store(p[0] + i, Narrow16(Exponent(a), Exponent(b)));
    Store(p[1] + i, Narrow16(Rest(a), Rest(b)));
  }
  static void MergeStep(const std::uint8_t* const* p, std::size_t i, std::byte* values) {
    for (std::size_t half = 0; half < 2; ++half) {
      const __m256i exponent = _mm256_slli_epi16(Widen16(p[0] + i + 16 * half), 7);
      const __m256i rest = Widen16(p[1] + i + 16 * half);
      const __m256i spread = _mm256_or_si256(rest, _mm256_slli_epi16(rest, 8));
      Store(values + 32 * half,
            _mm256_or_si256(exponent, _mm256_and_si256(spread, Word16(0x807F))));
    }
  }
};

struct Fp16 : Fp16Bits {
  static constexpr std::size_t kStep = 32;
  static void SplitStep(const std::byte* values, std::uint8_t* const* p, std::size_t i) {
    const __m256i a = Load(values);
    const __m256i b = Load(values + 32);
    Store(p[0] + i, Narrow16(_mm256_srli_epi16(a, 10), _mm256_srli_epi16(b, 10)));
    Store(p[1] + i, Narrow16(_mm256_and_si256(_mm256_srli_epi16(a, 8), Word16(3)),
                             _mm256_and_si256(_mm256_srli_epi16(b, 8), Word16(3))));
    Store(p[2] + i, Narrow16(_mm256_and_si256(a, Word16(0xFF)), _mm256_and_si256(b, Word16(0xFF))));
  }
  static void MergeStep(const std::uint8_t* const* p, std::size_t i, std::byte* values) {
    for (std::size_t half = 0; half < 2; ++half) {
      const std::size_t at = i + 16 * half;
      const __m256i high = _mm256_or_si256(_mm256_slli_epi16(Widen16(p[0] + at), 10),
                                           _mm256_slli_epi16(Widen16(p[1] + at), 8));
      Store(values + 32 * half, _mm256_or_si256(high, Widen16(p[2] + at)));
    }
  }
};

struct Fp32 : Fp32Bits {
  static constexpr std::size_t kStep = 32;
  static __m256i ByteAt(__m256i v, int shift) {
    return _mm256_and_si256(_mm256_srl_epi32(v, _mm_cvtsi32_si128(shift)), _mm256_set1_epi32(255));
  }
  static __m256i Top(__m256i v) {
    return _mm256_or_si256(_mm256_and_si256(_mm256_srli_epi32(v, 16), _mm256_set1_epi32(0x7F)),
                           _mm256_and_si256(_mm256_srli_epi32(v, 24), _mm256_set1_epi32(0x80)));
  }
  static void SplitStep(const std::byte* values, std::uint8_t* const* p, std::size_t i) {
    const __m256i a = Load(values);
    const __m256i b = Load(values + 32);
    const __m256i c = Load(values + 64);
    const __m256i d = Load(values + 96);
    Store(p[0] + i, Narrow32(ByteAt(a, 23), ByteAt(b, 23), ByteAt(c, 23), ByteAt(d, 23)));
    Store(p[1] + i, Narrow32(Top(a), Top(b), Top(c), Top(d)));
    Store(p[2] + i, Narrow32(ByteAt(a, 8), ByteAt(b, 8), ByteAt(c, 8), ByteAt(d, 8)));
    Store(p[3] + i, Narrow32(ByteAt(a, 0), ByteAt(b, 0), ByteAt(c, 0), ByteAt(d, 0)));
  }
  static void MergeStep(const std::uint8_t* const* p, std::size_t i, std::byte* values) {
    for (std::size_t at = i; at < i + kStep; at += 8, values += 32) {
      const __m256i exponent = _mm256_slli_epi32(Widen32(p[0] + at), 23);
      const __m256i top = Widen32(p[1] + at);
      const __m256i spread =
          _mm256_or_si256(_mm256_slli_epi32(top, 16), _mm256_slli_epi32(top, 24));
      const __m256i low =
          _mm256_or_si256(_mm256_slli_epi32(Widen32(p[2] + at), 8), Widen32(p[3] + at));
      const __m256i signed_top =
          _mm256_and_si256(spread, _mm256_set1_epi32(static_cast<int>(0x807F0000U)));
      Store(values, _mm256_or_si256(_mm256_or_si256(exponent, signed_top), low));
    }
  }
};

struct Fp8E4M3 : Fp8E4M3Bits {
  static constexpr std::size_t kStep = 32;
  static void SplitStep(const std::byte* values, std::uint8_t* const* p, std::size_t i) {
    const __m256i v = Load(values);
    Store(p[0] + i, _mm256_and_si256(_mm256_srli_epi16(v, 3), Byte8(15)));
    Store(p[1] + i, _mm256_or_si256(_mm256_and_si256(v, Byte8(7)),
                                    _mm256_and_si256(_mm256_srli_epi16(v, 4), Byte8(8))));
  }
  static void MergeStep(const std::uint8_t* const* p, std::size_t i, std::byte* values) {
    const __m256i exponent = _mm256_and_si256(_mm256_slli_epi16(Load(p[0] + i), 3), Byte8(0xF8));
    const __m256i rest = Load(p[1] + i);
    const __m256i sign = _mm256_and_si256(_mm256_slli_epi16(rest, 4), Byte8(0x80));
    const __m256i mantissa = _mm256_and_si256(rest, Byte8(7));
    Store(values, _mm256_or_si256(exponent, _mm256_or_si256(sign, mantissa)));
  }
};

struct Fp8E5M2 : Fp8E5M2Bits {
  static constexpr std::size_t kStep = 32;
  static void SplitStep(const std::byte* values, std::uint8_t* const* p, std::size_t i) {
    const __m256i v = Load(values);
    Store(p[0] + i, _mm256_and_si256(_mm256_srli_epi16(v, 2), Byte8(63)));
    Store(p[1] + i, _mm256_and_si256(v, Byte8(3)));
  }
  static void MergeStep(const std::uint8_t* const* p, std::size_t i, std::byte* values) {
    const __m256i high = _mm256_and_si256(_mm256_slli_epi16(Load(p[0] + i), 2), Byte8(0xFC));
    Store(values, _mm256_or_si256(high, Load(p[1] + i)));
  }
};

void Pack(unsigned bits, const std::uint8_t* in, std::size_t count, std::byte* out) {
  const __m256i zero = _mm256_setzero_si256();
  const auto pair_weights = Word16((1 << (8 + bits)) | 1);  // first + second · 2^bits
  std::size_t i = 0;
  for (; i + 32 <= count; i += 32) {
    __m256i v = _mm256_maddubs_epi16(Load(in + i), pair_weights);
    if (bits == 4) {
      _mm_storeu_si128(reinterpret_cast<__m128i*>(out), _mm256_castsi256_si128(Narrow16(v, zero)));
      out += 16;
    } else {
      v = _mm256_madd_epi16(v, _mm256_set1_epi32((16 << 16) | 1));
      _mm_storel_epi64(reinterpret_cast<__m128i*>(out),
                       _mm256_castsi256_si128(Narrow32(v, zero, zero, zero)));
      out += 8;
    }
  }
  PackOneByOne(bits, in + i, count - i, out);
}

void Unpack(unsigned bits, const std::byte* in, std::size_t count, std::uint8_t* out) {
  std::size_t i = 0;
  for (; i + 32 <= count; i += 32) {
    const auto* from = reinterpret_cast<const std::uint8_t*>(in) + i * bits / 8;
    if (bits == 4) {
      const __m256i v = Widen16(from);
      Store(out + i, _mm256_and_si256(_mm256_or_si256(v, _mm256_slli_epi16(v, 4)), Byte8(15)));
    } else {
      __m256i v = Widen32(from);
      v = _mm256_or_si256(v, _mm256_slli_epi32(v, 12));
      v = _mm256_or_si256(v, _mm256_slli_epi32(v, 6));
      Store(out + i, _mm256_and_si256(v, Byte8(3)));
    }
  }
  UnpackOneByOne(bits, in + i * bits / 8, count - i, out + i);
}

// For each mask of lanes that take a word: which of the next eight words each lane takes.
struct ExpandTable {
  std::uint8_t lane[256][8];
};
constexpr ExpandTable MakeExpandTable() {
  ExpandTable table{};
  for (unsigned mask = 0; mask < 256; ++mask) {
    std::uint8_t word = 0;
    for (unsigned lane = 0; lane < 8; ++lane) {
      if ((mask >> lane) & 1U) table.lane[mask][lane] = word++;
    }
  }
  return table;
}
constexpr ExpandTable kExpand = MakeExpandTable();

// Words of 16 bits, or of 8 in lean blocks.
template <bool kLean>
constexpr std::size_t kWordBytes = kLean ? 1 : 2;
// At most, words not taken included.
template <bool kLean>
constexpr std::ptrdiff_t kStepReadBytes = kWordBytes<kLean> * (kRansLanes + 8);

// Eight lanes: looks up symbols and frequencies with plain loads (gathers are slower on every CPU
// measured), advances the states, refills those that fell below `low`.
template <bool kLean>
[[gnu::always_inline]] inline __m256i StepEight(__m256i x, const std::uint32_t* slots, __m256i low,
                                                const std::byte*& next, __m256i* symbols) {
  alignas(32) std::uint32_t at[8];
  _mm256_store_si256(reinterpret_cast<__m256i*>(at),
                     _mm256_and_si256(x, _mm256_set1_epi32(kRansSlots - 1)));
  const auto entry = [&](int lane) { return static_cast<int>(slots[at[lane]]); };
  const __m256i entries = _mm256_setr_epi32(entry(0), entry(1), entry(2), entry(3), entry(4),
                                            entry(5), entry(6), entry(7));
  const __m256i byte = _mm256_set1_epi32(255);
  *symbols = _mm256_and_si256(entries, byte);
  const __m256i frequency = _mm256_and_si256(_mm256_srli_epi32(entries, 8), byte);
  x = _mm256_add_epi32(_mm256_mullo_epi32(frequency, _mm256_srli_epi32(x, kRansProbBits)),
                       _mm256_srli_epi32(entries, 16));
  // As unsigned numbers: states of damaged blocks may have any bits.
  const __m256i kept = _mm256_cmpeq_epi32(_mm256_max_epu32(x, low), x);
  const int mask = _mm256_movemask_ps(_mm256_castsi256_ps(kept)) ^ 0xFF;
  const auto* at_next = reinterpret_cast<const __m128i*>(next);
  const __m256i words = kLean ? _mm256_cvtepu8_epi32(_mm_loadl_epi64(at_next))
                              : _mm256_cvtepu16_epi32(_mm_loadu_si128(at_next));
  const __m256i taken = _mm256_permutevar8x32_epi32(words, Widen32(kExpand.lane[mask]));
  next +=
      kWordBytes<kLean> * static_cast<unsigned>(__builtin_popcount(static_cast<unsigned>(mask)));
  const __m256i full = _mm256_or_si256(_mm256_slli_epi32(x, 8 * kWordBytes<kLean>), taken);
  return _mm256_blendv_epi8(full, x, kept);
}

// Eight states from the `first` on.
template <bool kLean>
[[gnu::always_inline]] inline __m256i LoadStates(const std::byte* states, std::size_t first) {
  if constexpr (!kLean) return Load(states + 4 * first);
  const __m256i low =
      _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(states + 2 * first)));
  const __m256i high =
      Widen32(reinterpret_cast<const std::uint8_t*>(states + 2 * kRansLanes + first));
  return _mm256_or_si256(low, _mm256_slli_epi32(high, 16));
}

struct States {
  __m256i a, b, c, d;
};

// Steps up to `steps`, as far as the memory that may be read is enough for.
template <bool kLean>
void RunSteps(const RansBlock& block, std::size_t steps, std::uint32_t bound, States& x,
              RansCursor& cursor) {
  const std::uint32_t* slots = block.table->slot;
  const __m256i low = _mm256_set1_epi32(static_cast<int>(bound));
  const std::byte* next = cursor.next;
  std::size_t i = cursor.done;
  for (; i < steps * kRansLanes; i += kRansLanes) {
    if (block.readable_end - next < kStepReadBytes<kLean>) break;
    __m256i sa;
    __m256i sb;
    __m256i sc;
    __m256i sd;
    x.a = StepEight<kLean>(x.a, slots, low, next, &sa);
    x.b = StepEight<kLean>(x.b, slots, low, next, &sb);
    x.c = StepEight<kLean>(x.c, slots, low, next, &sc);
    x.d = StepEight<kLean>(x.d, slots, low, next, &sd);
    Store(block.symbols + i, Narrow32(sa, sb, sc, sd));
  }
  cursor.next = next;
  cursor.done = i;
  Store(cursor.state, x.a);
  Store(cursor.state + 8, x.b);
  Store(cursor.state + 16, x.c);
  Store(cursor.state + 24, x.d);
}

template <bool kLean>
bool DecodeBlock(const RansBlock& block) {
  States x{LoadStates<kLean>(block.states, 0), LoadStates<kLean>(block.states, 8),
           LoadStates<kLean>(block.states, 16), LoadStates<kLean>(block.states, 24)};
  RansCursor cursor;
  cursor.next = block.states + (kLean ? kLeanHeadBytes : kRansStateBytes);
  cursor.done = 0;
  cursor.in_tail = false;
  const std::size_t full = block.count / kRansLanes;
  if constexpr (!kLean) {
    RunSteps<false>(block, full, kRansStart, x, cursor);
    return RansFinish(block, cursor);
  }
  // The last steps of a lean block, which may not be full, are not coded.
  const std::size_t all = full + (block.count % kRansLanes != 0 ? 1 : 0);
  const std::size_t steps = all > kLeanEndSteps ? all - kLeanEndSteps : 0;
  const std::size_t renewing = steps > block.tail ? steps - block.tail : 0;
  RunSteps<true>(block, renewing, kLeanLow, x, cursor);
  // What is left to be done without enough to read is LeanFinish()'s.
  if (cursor.done < renewing * kRansLanes) return LeanFinish(block, cursor);
  const bool good = LeanEnterTail(block, cursor);
  x = {Load(cursor.state), Load(cursor.state + 8), Load(cursor.state + 16),
       Load(cursor.state + 24)};
  RunSteps<true>(block, steps, 0, x, cursor);
  return LeanFinish(block, cursor) && good;
}

template <bool kLean>
bool DecodeBlocks(const RansBlock* blocks, std::size_t block_count) {
  bool good = true;
  for (std::size_t b = 0; b < block_count; ++b) good = DecodeBlock<kLean>(blocks[b]) && good;
  return good;
}

}  // namespace

constinit const Kernels kAvx2Kernels{
    .name = "avx2",
    .split = {SplitRows<Bf16>, SplitRows<Fp16>, SplitRows<Fp32>, SplitRows<Fp8E4M3>,
              SplitRows<Fp8E5M2>},
    .merge = {MergeRows<Bf16>, MergeRows<Fp16>, MergeRows<Fp32>, MergeRows<Fp8E4M3>,
              MergeRows<Fp8E5M2>},
    .pack = Pack,
    .unpack = Unpack,
    .rans_encode = RansEncode,
    .rans_decode = DecodeBlocks<false>,
    .lean_encode = LeanEncode,
    .lean_decode = DecodeBlocks<true>,
    .class_codes = avx2::ClassCodesWide,
    .synthesise = {avx2::SynthesiseBf16, avx2::SynthesiseFp16, avx2::SynthesiseFp32,
                   avx2::SynthesiseFp8E4M3, avx2::SynthesiseFp8E5M2},
    .correct = {CorrectOneByOne<Bf16Words>, CorrectOneByOne<Fp16Words>, CorrectOneByOne<Fp32Words>,
                CorrectOneByOne<Fp8E4M3Words>, CorrectOneByOne<Fp8E5M2Words>},
    .stream_rows = avx2::StreamRows,
    .stream_fence = avx2::StreamFence,
    .encode = &kAvx2Encode,
};

}  // namespace kdn::codec

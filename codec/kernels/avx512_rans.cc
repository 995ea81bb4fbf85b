// Decoding of rANS blocks for AVX-512 with VBMI and VBMI2. Compiled as avx512.cc is, and under the
// same rule: it calls no inline function that another file shares.
#include <immintrin.h>

#include "codec/kernels/avx512_nested.h"
#include "codec/kernels/kernels.h"

namespace kdn::codec::avx512 {
namespace {

__m512i Load(const void* from) {
  return _mm512_loadu_si512(from);
}
void Store(void* to, __m512i v) {
  _mm512_storeu_si512(to, v);
}

constexpr int kSelectByA = 0xCA;  // truth table of vpternlog: a ? b : c

struct DecodeRegisters {
  __m512i index[4];  // of slots 0..63, 64..127, ...
  __m512i frequency;
  __m512i cumulative;
  __m512i symbol;
};

// Steps of a block in full vectors. The last ones of a lean block, which may not be full, are not
// coded.
template <bool kLean>
std::size_t StepsOf(const RansBlock& block) {
  const std::size_t full = block.count / kRansLanes;
  if constexpr (!kLean) return full;
  const std::size_t steps = full + (block.count % kRansLanes != 0 ? 1 : 0);
  return steps > kLeanEndSteps ? steps - kLeanEndSteps : 0;
}

// Below what states of a lean block want a byte, and how many steps of that there still are.
struct Renewing {
  std::uint32_t low;  // 0 in the tail
  std::size_t steps;
};
Renewing RenewingOf(const RansBlock& block) {
  const std::size_t steps = StepsOf<true>(block);
  return {.low = kLeanLow, .steps = steps > block.tail ? steps - block.tail : 0};
}

// Words of 16 bits, or of 8 in lean blocks.
template <bool kLean>
constexpr std::size_t kWordBytes = kLean ? 1 : 2;
template <bool kLean>
constexpr std::size_t kStateBytes = kLean ? kLeanHeadBytes : kRansStateBytes;

// States 16 · half and up.
template <bool kLean>
[[gnu::always_inline]] inline __m512i LoadStates(const std::byte* states, std::size_t half) {
  if constexpr (!kLean) return Load(states + 64 * half);
  const __m512i low = _mm512_cvtepu16_epi32(
      _mm256_loadu_si256(reinterpret_cast<const __m256i*>(states + 32 * half)));
  const __m512i high = _mm512_cvtepu8_epi32(
      _mm_loadu_si128(reinterpret_cast<const __m128i*>(states + 2 * kRansLanes + 16 * half)));
  return _mm512_or_si512(low, _mm512_slli_epi32(high, 16));
}

// Two blocks that share a table, in lockstep: 64 lanes, whose 64 slots fill one vector of bytes.
struct Pair {
  DecodeRegisters table;
  __m512i a, b;  // states of the first block
  __m512i c, d;  // of the second
  const std::byte* next0;
  const std::byte* next1;
  Renewing renewing0;
  Renewing renewing1;
  std::uint8_t* out0;
  std::uint8_t* out1;
};

constexpr std::size_t kStepsPerCheck = 8;
// What so many steps read at most, words not taken included.
template <bool kLean>
constexpr std::ptrdiff_t ReadBytes(std::size_t steps) {
  return static_cast<std::ptrdiff_t>(kWordBytes<kLean> * (steps * kRansLanes + 16));
}

// Byte `kLane` of every double word, alone.
template <int kLane>
[[gnu::always_inline]] inline __m512i ByteOf(__m512i v) {
  if constexpr (kLane == 0) return _mm512_and_si512(v, _mm512_set1_epi32(255));
  if constexpr (kLane == 3) return _mm512_srli_epi32(v, 24);
  return _mm512_and_si512(_mm512_srli_epi32(v, 8 * kLane), _mm512_set1_epi32(255));
}

// x = frequency · (x / 256) + slot - cumulative, then a word for each state that fell below `low`.
template <bool kLean, int kLane>
[[gnu::always_inline]] inline __m512i Advance(__m512i x, __m512i frequencies, __m512i offsets,
                                              std::uint32_t low, const std::byte*& next) {
  x = _mm512_mullo_epi32(ByteOf<kLane>(frequencies), _mm512_srli_epi32(x, kRansProbBits));
  x = _mm512_add_epi32(x, ByteOf<kLane>(offsets));
  const auto bound = static_cast<int>(kLean ? low : kRansStart);
  const __mmask16 small = _mm512_cmplt_epu32_mask(x, _mm512_set1_epi32(bound));
  const __m512i words =
      kLean ? _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(next)))
            : _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(next)));
  next += kWordBytes<kLean> * static_cast<unsigned>(__builtin_popcount(small));
  return _mm512_mask_or_epi32(x, small, _mm512_slli_epi32(x, 8 * kWordBytes<kLean>),
                              _mm512_maskz_expand_epi32(small, words));
}

template <bool kLean>
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
  pair.a = Advance<kLean, 0>(pair.a, frequencies, offsets, pair.renewing0.low, pair.next0);
  pair.c = Advance<kLean, 2>(pair.c, frequencies, offsets, pair.renewing1.low, pair.next1);
  pair.b = Advance<kLean, 1>(pair.b, frequencies, offsets, pair.renewing0.low, pair.next0);
  pair.d = Advance<kLean, 3>(pair.d, frequencies, offsets, pair.renewing1.low, pair.next1);
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

template <bool kLean>
Pair BeginPair(const RansBlock& first, const RansBlock& second) {
  const RansTable& t = *first.table;
  return Pair{
      .table = {.index = {Load(t.index_of_slot), Load(t.index_of_slot + 64),
                          Load(t.index_of_slot + 128), Load(t.index_of_slot + 192)},
                .frequency = Load(t.frequency),
                .cumulative = Load(t.cumulative),
                .symbol = Load(t.symbol)},
      .a = LoadStates<kLean>(first.states, 0),
      .b = LoadStates<kLean>(first.states, 1),
      .c = LoadStates<kLean>(second.states, 0),
      .d = LoadStates<kLean>(second.states, 1),
      .next0 = first.states + kStateBytes<kLean>,
      .next1 = second.states + kStateBytes<kLean>,
      .renewing0 = RenewingOf(first),
      .renewing1 = RenewingOf(second),
      .out0 = first.symbols,
      .out1 = second.symbols,
  };
}

std::size_t Least(std::size_t a, std::size_t b) {
  return a < b ? a : b;
}

// The symbols of ranks.
[[gnu::always_inline]] inline __m128i SymbolsOf(__m512i ranks) {
  const __m512i odd =
      _mm512_sub_epi32(_mm512_setzero_si512(), _mm512_and_si512(ranks, _mm512_set1_epi32(1)));
  const __m512i off = _mm512_xor_si512(_mm512_srli_epi32(ranks, 1), odd);
  return _mm512_cvtepi32_epi8(_mm512_add_epi32(off, _mm512_set1_epi32(int{kLeanMiddle})));
}

// The parts of pairs: the one nearer to the end first.
struct Parts {
  __m512i a, b;
};
[[gnu::always_inline]] inline Parts PartsOf(__m512i pairs) {
  __m512i larger = _mm512_cvttps_epi32(_mm512_sqrt_ps(_mm512_cvtepi32_ps(pairs)));
  const __mmask16 next = _mm512_cmpgt_epi32_mask(_mm512_mullo_epi32(larger, larger), pairs);
  larger = _mm512_mask_sub_epi32(larger, next, larger, _mm512_set1_epi32(1));
  const __m512i rest = _mm512_sub_epi32(pairs, _mm512_mullo_epi32(larger, larger));
  const __mmask16 less = _mm512_cmplt_epi32_mask(rest, larger);
  return {_mm512_mask_mov_epi32(larger, less, rest),
          _mm512_mask_mov_epi32(_mm512_sub_epi32(rest, larger), less, larger)};
}

// What 16 lanes ended with: their symbols go to out, out + 32, ... False if no encoder begins so.
bool EndSixteen(const LeanEnds& ends, __m512i x, std::uint8_t* out) {
  const auto bits = static_cast<int>(ends.bits);
  const __m512i number = _mm512_and_si512(x, _mm512_set1_epi32((1 << bits) - 1));
  const __m512i above = _mm512_srl_epi32(x, _mm_cvtsi32_si128(bits));
  const __mmask16 outside =
      _mm512_cmpge_epu32_mask(number, _mm512_set1_epi32(static_cast<int>(ends.count)));
  const __mmask16 several =
      _mm512_test_epi32_mask(above, _mm512_sub_epi32(above, _mm512_set1_epi32(1)));
  const Parts pairs = PartsOf(number);
  const Parts before = PartsOf(pairs.b);
  const Parts last = PartsOf(pairs.a);
  const __m512i ranks[kLeanEndSteps] = {before.b, before.a, last.b, last.a};
  for (std::size_t i = 0; i < kLeanEndSteps; ++i) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out + i * kRansLanes), SymbolsOf(ranks[i]));
  }
  return (outside | several) == 0;
}

bool EndLean(const RansBlock& block, __m512i low, __m512i high) {
  std::uint8_t symbols[kLeanEndSteps * kRansLanes];
  const __m512i mirror = _mm512_set_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  const LeanEnds& ends = block.table->ends;
  bool good = EndSixteen(ends, _mm512_permutexvar_epi32(mirror, high), symbols);
  good = EndSixteen(ends, _mm512_permutexvar_epi32(mirror, low), symbols + 16) && good;
  const std::size_t coded = StepsOf<true>(block) * kRansLanes;
  __builtin_memcpy(block.symbols + coded, symbols, block.count - coded);
  return good;
}

// Steps that a block may run before it has to be looked at again, `steps` at most: to its tail, and
// as far as the memory that may be read is enough for. 0: it cannot go on.
template <bool kLean>
std::size_t StepsToRun(const RansBlock& block, std::size_t steps, const Renewing& renewing,
                       const std::byte* next) {
  const std::ptrdiff_t bytes = block.readable_end - next;
  const std::size_t read = bytes >= ReadBytes<kLean>(kStepsPerCheck) ? kStepsPerCheck
                           : bytes >= ReadBytes<kLean>(1)            ? 1
                                                                     : 0;
  steps = Least(steps, read);
  return kLean && renewing.low != 0 ? Least(steps, renewing.steps) : steps;
}

// Into the tail, if the block has come to it: the lanes take their additional bytes.
[[gnu::always_inline]] inline void EnterTail(const RansBlock& block, Renewing& renewing,
                                             __m512i& low, __m512i& high, const std::byte*& next) {
  if (renewing.low == 0 || renewing.steps > 0) return;
  if (block.readable_end - next < ReadBytes<true>(1)) return;
  std::uint32_t more;
  __builtin_memcpy(&more, block.states + 3 * kRansLanes, sizeof(more));
  const auto take = [&](__m512i x, __mmask16 mask) {
    const __m512i bytes =
        _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(next)));
    next += static_cast<unsigned>(__builtin_popcount(mask));
    return _mm512_mask_or_epi32(x, mask, _mm512_slli_epi32(x, 8),
                                _mm512_maskz_expand_epi32(mask, bytes));
  };
  low = take(low, static_cast<__mmask16>(more));
  high = take(high, static_cast<__mmask16>(more >> 16));
  renewing.low = 0;
}

template <bool kLean>
bool FinishBlock(const RansBlock& block, __m512i low, __m512i high, const std::byte* next,
                 const Renewing& renewing, const std::uint8_t* out) {
  const auto done = static_cast<std::size_t>(out - block.symbols);
  if (kLean && renewing.low == 0 && done == StepsOf<true>(block) * kRansLanes) {
    return EndLean(block, low, high) && next == block.end;
  }
  RansCursor cursor;
  Store(cursor.state, low);
  Store(cursor.state + 16, high);
  cursor.next = next;
  cursor.done = done;
  cursor.in_tail = renewing.low == 0;
  return kLean ? LeanFinish(block, cursor) : RansFinish(block, cursor);
}

// A block with a table of its own: 32 lanes, which leave every other byte of the look-ups unused.
// Its table stays in memory, so that four such blocks fit into the registers.
struct Single {
  const RansTable* table;
  __m512i low, high;  // states
  const std::byte* next;
  Renewing renewing;
  std::uint8_t* out;
};

template <bool kLean>
[[gnu::always_inline]] inline void SingleStep(Single& single) {
  const RansTable& t = *single.table;
  // Bytes 0 and 2 of double word l: the slots of lanes l and 16 + l.
  const __m512i slots =
      _mm512_mask_mov_epi16(single.low, 0xAAAAAAAA, _mm512_slli_epi32(single.high, 16));
  const __m512i below =
      _mm512_permutex2var_epi8(Load(t.index_of_slot), slots, Load(t.index_of_slot + 64));
  const __m512i above =
      _mm512_permutex2var_epi8(Load(t.index_of_slot + 128), slots, Load(t.index_of_slot + 192));
  const __m512i index = _mm512_mask_blend_epi8(_mm512_movepi8_mask(slots), below, above);
  const __m512i frequencies = _mm512_permutexvar_epi8(index, Load(t.frequency));
  const __m512i offsets =
      _mm512_sub_epi8(slots, _mm512_permutexvar_epi8(index, Load(t.cumulative)));
  single.low =
      Advance<kLean, 0>(single.low, frequencies, offsets, single.renewing.low, single.next);
  single.high =
      Advance<kLean, 2>(single.high, frequencies, offsets, single.renewing.low, single.next);
  const __m512i order = _mm512_permutexvar_epi8(
      _mm512_set_epi32(0, 0, 0, 0, 0, 0, 0, 0, 0x3E3A3632, 0x2E2A2622, 0x1E1A1612, 0x0E0A0602,
                       0x3C383430, 0x2C282420, 0x1C181410, 0x0C080400),
      _mm512_permutexvar_epi8(index, Load(t.symbol)));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(single.out), _mm512_castsi512_si256(order));
  single.out += kRansLanes;
}

// Runs kCount blocks in lockstep for as long as all of them go on.
template <bool kLean, std::size_t kCount>
void RunSingles(const RansBlock* const* blocks, Single* singles) {
  std::size_t steps = ~std::size_t{0};
  for (std::size_t i = 0; i < kCount; ++i) {
    const auto done = static_cast<std::size_t>(singles[i].out - blocks[i]->symbols) / kRansLanes;
    steps = Least(steps, StepsOf<kLean>(*blocks[i]) - done);
  }
  for (;;) {
    std::size_t now = steps;
    for (std::size_t i = 0; i < kCount; ++i) {
      Single& one = singles[i];
      if constexpr (kLean) EnterTail(*blocks[i], one.renewing, one.low, one.high, one.next);
      now = StepsToRun<kLean>(*blocks[i], now, one.renewing, one.next);
    }
    if (now == 0) return;
    for (std::size_t step = 0; step < now; ++step) {
#pragma GCC unroll 4
      for (std::size_t i = 0; i < kCount; ++i) SingleStep<kLean>(singles[i]);
    }
    steps -= now;
    for (std::size_t i = 0; i < kCount; ++i) singles[i].renewing.steps -= now;
  }
}

template <bool kLean, std::size_t kCount>
bool DecodeSingles(const RansBlock* const* blocks) {
  Single singles[kCount];
  for (std::size_t i = 0; i < kCount; ++i) {
    const RansBlock& block = *blocks[i];
    singles[i] = {.table = block.table,
                  .low = LoadStates<kLean>(block.states, 0),
                  .high = LoadStates<kLean>(block.states, 1),
                  .next = block.states + kStateBytes<kLean>,
                  .renewing = RenewingOf(block),
                  .out = block.symbols};
  }
  RunSingles<kLean, kCount>(blocks, singles);
  bool good = true;
  for (std::size_t i = 0; i < kCount; ++i) {
    Single& single = singles[i];
    RunSingles<kLean, 1>(blocks + i, &single);
    good = FinishBlock<kLean>(*blocks[i], single.low, single.high, single.next, single.renewing,
                              single.out) &&
           good;
  }
  return good;
}

// Two blocks of one table and about the same length.
struct Couple {
  const RansBlock* first;
  const RansBlock* second;
};

template <bool kLean>
std::size_t StepsOf(const Couple& couple) {
  return Least(StepsOf<kLean>(*couple.first), StepsOf<kLean>(*couple.second));
}
template <bool kLean>
std::size_t StepsToRun(const Couple& couple, std::size_t steps, Pair& pair) {
  if constexpr (kLean) {
    EnterTail(*couple.first, pair.renewing0, pair.a, pair.b, pair.next0);
    EnterTail(*couple.second, pair.renewing1, pair.c, pair.d, pair.next1);
  }
  steps = StepsToRun<kLean>(*couple.first, steps, pair.renewing0, pair.next0);
  return StepsToRun<kLean>(*couple.second, steps, pair.renewing1, pair.next1);
}
void CountSteps(Pair& pair, std::size_t steps) {
  pair.renewing0.steps -= steps;
  pair.renewing1.steps -= steps;
}

template <bool kLean>
bool FinishCouple(const Couple& couple, const Pair& pair) {
  const bool good =
      FinishBlock<kLean>(*couple.first, pair.a, pair.b, pair.next0, pair.renewing0, pair.out0);
  return FinishBlock<kLean>(*couple.second, pair.c, pair.d, pair.next1, pair.renewing1,
                            pair.out1) &&
         good;
}

template <bool kLean>
void RunCouple(const Couple& couple, Pair& pair, std::size_t done) {
  const std::size_t steps = StepsOf<kLean>(couple);
  while (const std::size_t now = StepsToRun<kLean>(couple, steps - done, pair)) {
    for (std::size_t step = 0; step < now; ++step) PairStep<kLean>(pair);
    CountSteps(pair, now);
    done += now;
  }
}

template <bool kLean>
bool DecodeCouple(const Couple& couple) {
  Pair pair = BeginPair<kLean>(*couple.first, *couple.second);
  RunCouple<kLean>(couple, pair, 0);
  return FinishCouple<kLean>(couple, pair);
}

// Two couples at once hide the latency that one alone waits for.
template <bool kLean>
bool DecodeCouples(const Couple& one, const Couple& two) {
  Pair p = BeginPair<kLean>(*one.first, *one.second);
  Pair q = BeginPair<kLean>(*two.first, *two.second);
  const std::size_t steps = Least(StepsOf<kLean>(one), StepsOf<kLean>(two));
  std::size_t done = 0;
  for (;;) {
    const std::size_t now = StepsToRun<kLean>(two, StepsToRun<kLean>(one, steps - done, p), q);
    if (now == 0) break;
    for (std::size_t step = 0; step < now; ++step) {
      PairStep<kLean>(p);
      PairStep<kLean>(q);
    }
    CountSteps(p, now);
    CountSteps(q, now);
    done += now;
  }
  RunCouple<kLean>(one, p, done);
  RunCouple<kLean>(two, q, done);
  const bool good = FinishCouple<kLean>(one, p);
  return FinishCouple<kLean>(two, q) && good;
}

// Whether two blocks may run as a couple: what one has more than the other is left to scalar code.
bool AreAlike(const RansBlock& a, const RansBlock& b) {
  const std::size_t more = a.count > b.count ? a.count - b.count : b.count - a.count;
  return a.table == b.table && more <= kRansLanes;
}

template <bool kLean>
bool DecodeBlocks(const RansBlock* blocks, std::size_t block_count) {
  bool good = true;
  Couple waiting{nullptr, nullptr};
  const RansBlock* singles[4];
  std::size_t single_count = 0;
  for (std::size_t at = 0; at < block_count;) {
    const RansBlock* block = blocks + at++;
    if (at == block_count || !AreAlike(*block, blocks[at])) {
      singles[single_count++] = block;
      if (single_count == 4) good = DecodeSingles<kLean, 4>(singles) && good;
      single_count %= 4;
      continue;
    }
    const Couple couple{block, blocks + at++};
    if (waiting.first == nullptr) {
      waiting = couple;
    } else {
      good = DecodeCouples<kLean>(waiting, couple) && good;
      waiting.first = nullptr;
    }
  }
  if (waiting.first != nullptr) good = DecodeCouple<kLean>(waiting) && good;
  if (single_count >= 2) good = DecodeSingles<kLean, 2>(singles) && good;
  if (single_count % 2 == 1) good = DecodeSingles<kLean, 1>(singles + single_count - 1) && good;
  return good;
}

}  // namespace

bool RansDecode(const RansBlock* blocks, std::size_t block_count) {
  return DecodeBlocks<false>(blocks, block_count);
}
bool LeanDecode(const RansBlock* blocks, std::size_t block_count) {
  return DecodeBlocks<true>(blocks, block_count);
}

}  // namespace kdn::codec::avx512

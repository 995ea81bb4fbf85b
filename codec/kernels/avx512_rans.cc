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

// A block with a table of its own: 32 lanes, which leave every other byte of the look-ups unused.
// Its table stays in memory, so that four such blocks fit into the registers.
struct Single {
  const RansTable* table;
  __m512i low, high;  // states
  const std::byte* next;
  std::uint8_t* out;
};

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
  single.low = Advance<0>(single.low, frequencies, offsets, single.next);
  single.high = Advance<2>(single.high, frequencies, offsets, single.next);
  const __m512i order = _mm512_permutexvar_epi8(
      _mm512_set_epi32(0, 0, 0, 0, 0, 0, 0, 0, 0x3E3A3632, 0x2E2A2622, 0x1E1A1612, 0x0E0A0602,
                       0x3C383430, 0x2C282420, 0x1C181410, 0x0C080400),
      _mm512_permutexvar_epi8(index, Load(t.symbol)));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(single.out), _mm512_castsi512_si256(order));
  single.out += kRansLanes;
}

// Runs kCount blocks in lockstep for as long as all of them go on.
template <std::size_t kCount>
void RunSingles(const RansBlock* const* blocks, Single* singles) {
  std::size_t steps = ~std::size_t{0};
  for (std::size_t i = 0; i < kCount; ++i) {
    const std::size_t of_block = blocks[i]->count / kRansLanes;
    const auto done = static_cast<std::size_t>(singles[i].out - blocks[i]->symbols) / kRansLanes;
    if (of_block - done < steps) steps = of_block - done;
  }
  while (steps > 0) {
    for (std::size_t i = 0; i < kCount; ++i) {
      if (blocks[i]->readable_end - singles[i].next < kCheckedReadBytes) return;
    }
    const std::size_t now = steps < kStepsPerCheck ? steps : kStepsPerCheck;
    for (std::size_t step = 0; step < now; ++step) {
#pragma GCC unroll 4
      for (std::size_t i = 0; i < kCount; ++i) SingleStep(singles[i]);
    }
    steps -= now;
  }
}

template <std::size_t kCount>
bool DecodeSingles(const RansBlock* const* blocks) {
  Single singles[kCount];
  for (std::size_t i = 0; i < kCount; ++i) {
    const RansBlock& block = *blocks[i];
    singles[i] = {.table = block.table,
                  .low = Load(block.states),
                  .high = Load(block.states + 64),
                  .next = block.states + kRansStateBytes,
                  .out = block.symbols};
  }
  RunSingles<kCount>(blocks, singles);
  bool good = true;
  for (std::size_t i = 0; i < kCount; ++i) {
    Single& single = singles[i];
    RunSingles<1>(blocks + i, &single);
    good = FinishBlock(*blocks[i], single.low, single.high, single.next, single.out) && good;
  }
  return good;
}

// Two blocks of one table and about the same length.
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

// Whether two blocks may run as a couple: what one has more than the other is left to scalar code.
bool AreAlike(const RansBlock& a, const RansBlock& b) {
  const std::size_t more = a.count > b.count ? a.count - b.count : b.count - a.count;
  return a.table == b.table && more <= kRansLanes;
}

}  // namespace

bool RansDecode(const RansBlock* blocks, std::size_t block_count) {
  bool good = true;
  Couple waiting{nullptr, nullptr};
  const RansBlock* singles[4];
  std::size_t single_count = 0;
  for (std::size_t at = 0; at < block_count;) {
    const RansBlock* block = blocks + at++;
    if (at == block_count || !AreAlike(*block, blocks[at])) {
      singles[single_count++] = block;
      if (single_count == 4) good = DecodeSingles<4>(singles) && good;
      single_count %= 4;
      continue;
    }
    const Couple couple{block, blocks + at++};
    if (waiting.first == nullptr) {
      waiting = couple;
    } else {
      good = DecodeCouples(waiting, couple) && good;
      waiting.first = nullptr;
    }
  }
  if (waiting.first != nullptr) good = DecodeCouple(waiting) && good;
  if (single_count >= 2) good = DecodeSingles<2>(singles) && good;
  if (single_count % 2 == 1) good = DecodeSingles<1>(singles + single_count - 1) && good;
  return good;
}

}  // namespace kdn::codec::avx512

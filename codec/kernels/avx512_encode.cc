// The kernels of encoding lossy levels, compiled for AVX-512 as avx512.cc is, and under the same
// rule: it calls no inline function that another file shares. Those of exact are in
// avx512_residual.cc.
#include "codec/kernels/avx512_encode.h"

#include <immintrin.h>

#include "codec/kernels/encode_one_by_one.h"

namespace kdn::codec::avx512 {
namespace {

__m512 Load(const float* from) {
  return _mm512_loadu_ps(from);
}

__mmask64 FirstBytes(std::size_t count) {
  return count >= 64 ? ~__mmask64{0} : (__mmask64{1} << count) - 1;
}

// 16 words to floats, zero for what is too large or no number.
[[gnu::always_inline]] inline __m512 ReadSixteen(const std::byte* words) {
  // Of a word without its sign: the last that is not larger than kFiniteMax.
  constexpr short kLargest = 0x5BB1;
  const __m256i w = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(words));
  const __m256i magnitude = _mm256_and_si256(w, _mm256_set1_epi16(0x7FFF));
  const __mmask16 finite = _mm256_cmple_epu16_mask(magnitude, _mm256_set1_epi16(kLargest));
  return _mm512_castsi512_ps(
      _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_maskz_mov_epi16(finite, w)), 16));
}

// Rotates (a, b) back.
[[gnu::always_inline]] inline void TurnBack(__m512& a, __m512& b, __m512 cosine, __m512 sine) {
  const __m512 x = a;
  a = _mm512_add_ps(_mm512_mul_ps(x, cosine), _mm512_mul_ps(b, sine));
  b = _mm512_sub_ps(_mm512_mul_ps(b, cosine), _mm512_mul_ps(x, sine));
}

void ReadBf16(const Reading& reading, const std::byte* values, std::ptrdiff_t value_stride,
              const float* turns, std::size_t tokens, float* out) {
  const std::size_t half = reading.rotary_dims / 2;
  const bool plain = reading.pairs == RotaryPairs::kNone;
  if (!plain && (reading.pairs != RotaryPairs::kHalves || half % 16 != 0)) {
    return ReadOneByOne<Bf16Number>(reading, values, value_stride, turns, tokens, out);
  }
  const std::size_t turned = plain ? 0 : half;
  for (std::size_t t = 0; t < tokens; ++t) {
    for (std::size_t i = 0; i < turned; i += 16) {
      __m512 a = ReadSixteen(values + 2 * i);
      __m512 b = ReadSixteen(values + 2 * (i + half));
      TurnBack(a, b, Load(turns + i), Load(turns + half + i));
      _mm512_storeu_ps(out + i, a);
      _mm512_storeu_ps(out + i + half, b);
    }
    for (std::size_t c = 2 * turned; c < reading.channels; c += 16) {
      _mm512_storeu_ps(out + c, ReadSixteen(values + 2 * c));
    }
    values += value_stride;
    turns += reading.rotary_dims;
    out += reading.channels;
  }
}

// What quantising needs of each component and each code of one strip, class by class or not.
class RowQuantiser {
 public:
  explicit RowQuantiser(const Analysis& a) : a_(a) {
    std::size_t first = 0;
    for (std::size_t i = 0; i < a.class_count; first += a.classes[i++].width) {
      SetClass(a.classes[i], first);
    }
    for (std::size_t k = 0; k < a.channels; ++k) {
      const std::size_t number = a.order == nullptr ? k : a.order[k];
      half_parts_[k] = coded_half_parts_[number];
      if (a.channels <= 128) from_[number] = static_cast<std::uint8_t>(k);
    }
  }

  // Whether all bins fit into a signed byte, so that saturating to one does no harm.
  [[nodiscard]] bool fits() const { return fits_ && a_.channels <= 128; }

  // 16 components to bins. Too large ones saturate; what is no number becomes the lowest.
  [[gnu::always_inline]] void Put(std::size_t k, __m512 components, std::int8_t* bins) const {
    const __m512 at =
        _mm512_fmadd_ps(components, _mm512_set1_ps(0.5F), _mm512_load_ps(half_parts_ + k));
    const __m512i bin = _mm512_cvt_roundps_epi32(at, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(bins + k), _mm512_cvtsepi32_epi8(bin));
  }

  // A row of bins into coding order, clipped; false if the token may need an exponent.
  [[gnu::always_inline]] bool Finish(const std::int8_t* bins, std::int8_t* coded) const {
    const std::size_t n = a_.channels;
    __m512i low = _mm512_maskz_loadu_epi8(FirstBytes(n), bins);
    __m512i high = _mm512_maskz_loadu_epi8(FirstBytes(n > 64 ? n - 64 : 0), bins + 64);
    if (a_.order != nullptr) {
      const __m512i a = low;
      low = _mm512_permutex2var_epi8(a, _mm512_load_si512(from_), high);
      high = _mm512_permutex2var_epi8(a, _mm512_load_si512(from_ + 64), high);
    }
    bool inside = Clip(low, 0, FirstBytes(n), coded);
    if (n > 64) inside = Clip(high, 64, FirstBytes(n - 64), coded) && inside;
    return inside;
  }

  // The same for any token, as the specification does it.
  void PutExactly(const float* values, std::int8_t* coded, std::uint8_t* exponent) const {
    float components[kAnalysedChannelsMax];
    AnalyseRow(a_, values, components);
    const unsigned e = ExponentOf(a_, components);
    *exponent = static_cast<std::uint8_t>(e);
    const float shrink = 1.0F / static_cast<float>(1U << e);
    std::size_t at = 0;
    for (std::size_t i = 0; i < a_.class_count; ++i) {
      const ClassQuantiser& one = a_.classes[i];
      for (std::size_t k = 0; k < one.width; ++k, ++at) {
        coded[at] = one.coded ? static_cast<std::int8_t>(FineBin(one, components[at] * shrink)) : 0;
      }
    }
  }

 private:
  void SetClass(const ClassQuantiser& one, std::size_t first) {
    const int parts = one.coded ? 1 << one.planes : 1;
    const int low = one.coded ? (one.first_symbol - kMiddleSymbol) * parts : -128;
    const int high = one.coded ? (one.last_symbol - kMiddleSymbol) * parts + parts - 1 : 127;
    fits_ = fits_ && low >= -128 && high <= 127;
    // Bins further in than these are surely not beyond `clip`; saturated ones are not further in.
    int surely_low = -128;
    int surely_high = 127;
    if (one.coded) {
      const float half = 0.5F * static_cast<float>(parts);
      const float reach = one.clip * 0.5F < 1000.0F ? one.clip * 0.5F : 1000.0F;
      surely_high = FloorOf(reach + half) - 2;
      surely_low = 1 - FloorOf(reach - half);
      surely_high = surely_high < 126 ? surely_high : 126;
      surely_low = surely_low > -127 ? surely_low : -127;
    }
    for (std::size_t k = first; k < first + one.width; ++k) {
      coded_half_parts_[k] = one.coded ? 0.5F * static_cast<float>(parts) : 0.0F;
      low_[k] = static_cast<std::int8_t>(low);
      high_[k] = static_cast<std::int8_t>(high);
      surely_low_[k] = static_cast<std::int8_t>(surely_low);
      surely_high_[k] = static_cast<std::int8_t>(surely_high);
    }
  }

  [[gnu::always_inline]] bool Clip(__m512i bins, std::size_t at, __mmask64 lanes,
                                   std::int8_t* coded) const {
    const __mmask64 above =
        _mm512_mask_cmpgt_epi8_mask(lanes, bins, _mm512_load_si512(surely_high_ + at));
    const __mmask64 below =
        _mm512_mask_cmplt_epi8_mask(lanes, bins, _mm512_load_si512(surely_low_ + at));
    bins = _mm512_max_epi8(bins, _mm512_load_si512(low_ + at));
    bins = _mm512_min_epi8(bins, _mm512_load_si512(high_ + at));
    _mm512_mask_storeu_epi8(coded + at, lanes, bins);
    return (above | below) == 0;
  }

  const Analysis& a_;
  bool fits_ = true;
  alignas(64) std::uint8_t from_[128] = {};  // which component is coded as this number
  alignas(64) float half_parts_[kAnalysedChannelsMax];
  float coded_half_parts_[kAnalysedChannelsMax];
  alignas(64) std::int8_t low_[kAnalysedChannelsMax];
  alignas(64) std::int8_t high_[kAnalysedChannelsMax];
  alignas(64) std::int8_t surely_low_[kAnalysedChannelsMax];
  alignas(64) std::int8_t surely_high_[kAnalysedChannelsMax];
};

// kTokens rows at once, 16 · kVectors components of one block from `k` on. Products are added in
// the order of the channels, each rounded, as the specification does.
template <int kTokens, int kVectors>
[[gnu::always_inline]] inline void Multiply(const Analysis& a, const float* centred, std::size_t k,
                                            const RowQuantiser& quantiser, std::int8_t* bins) {
  const std::size_t block = k / a.block * a.block;
  const float* column = a.columns + block * a.block + (k - block);
  const float* from = centred + block;
  __m512 sums[kTokens][kVectors];
  for (auto& row : sums) {
    for (__m512& sum : row) sum = _mm512_setzero_ps();
  }
  for (std::size_t i = 0; i < a.block; ++i, column += a.block) {
    __m512 numbers[kVectors];
    for (int v = 0; v < kVectors; ++v) numbers[v] = Load(column + 16 * v);
    for (int t = 0; t < kTokens; ++t) {
      const __m512 x = _mm512_set1_ps(from[static_cast<std::size_t>(t) * a.channels + i]);
      for (int v = 0; v < kVectors; ++v) {
        sums[t][v] = _mm512_add_ps(sums[t][v], _mm512_mul_ps(numbers[v], x));
      }
    }
  }
  for (int t = 0; t < kTokens; ++t) {
    for (int v = 0; v < kVectors; ++v) {
      quantiser.Put(k + 16 * static_cast<std::size_t>(v), sums[t][v],
                    bins + static_cast<std::size_t>(t) * a.channels);
    }
  }
}

template <int kTokens>
void TransformRows(const Analysis& a, const float* values, const RowQuantiser& quantiser,
                   std::int8_t* bins) {
  alignas(64) float centred[kTokens * 128];
  for (std::size_t i = 0; i < kTokens * a.channels; i += a.channels) {
    for (std::size_t c = 0; c < a.channels; c += 16) {
      _mm512_storeu_ps(centred + i + c, _mm512_sub_ps(Load(values + i + c), Load(a.mean + c)));
    }
  }
  for (std::size_t first = 0; first < a.channels; first += a.block) {
    std::size_t k = first;
    for (; k + 64 <= first + a.block; k += 64) {
      Multiply<kTokens, 4>(a, centred, k, quantiser, bins);
    }
    for (; k < first + a.block; k += 16) Multiply<kTokens, 1>(a, centred, k, quantiser, bins);
  }
}

// Rows of bins in the order of components.
template <int kTokens>
[[gnu::always_inline]] inline void BinRows(const Analysis& a, const float* values,
                                           const RowQuantiser& quantiser, std::int8_t* bins) {
  if (a.block > 1) return TransformRows<kTokens>(a, values, quantiser, bins);
  for (std::size_t i = 0; i < kTokens * a.channels; i += a.channels) {
    for (std::size_t c = 0; c < a.channels; c += 16) {
      const __m512 off = _mm512_sub_ps(Load(values + i + c), Load(a.mean + c));
      quantiser.Put(c, _mm512_mul_ps(Load(a.inverse + c), off), bins + i);
    }
  }
}

// 64 bins of one class to symbols, bits and codes.
struct Parts {
  __m512i symbols;
  __m512i rest;
  __m512i codes;
};
[[gnu::always_inline]] inline Parts SplitBins(const ClassQuantiser& one, __m512i lut,
                                              __m512i bins) {
  const unsigned planes = one.planes;
  const __m512i biased = _mm512_xor_si512(bins, _mm512_set1_epi8(static_cast<char>(0x80)));
  const __m512i shifted =
      _mm512_and_si512(_mm512_srl_epi16(biased, _mm_cvtsi32_si128(static_cast<int>(planes))),
                       _mm512_set1_epi8(static_cast<char>(0xFFU >> planes)));
  const int zero = kMiddleSymbol - (128 >> planes);
  Parts parts;
  parts.symbols = _mm512_add_epi8(shifted, _mm512_set1_epi8(static_cast<char>(zero)));
  parts.rest = _mm512_and_si512(bins, _mm512_set1_epi8(static_cast<char>((1U << planes) - 1)));
  parts.codes = _mm512_add_epi8(_mm512_permutexvar_epi8(parts.symbols, lut),
                                _mm512_add_epi8(parts.rest, parts.rest));
  return parts;
}

// The bins of one class, which lie in rows among those of others; `codes` overwrite them.
void SplitClass(const ClassQuantiser& one, std::size_t tokens, std::size_t channels,
                std::int8_t* bins) {
  const __m512i lut = one.coded ? _mm512_loadu_si512(one.codes) : _mm512_setzero_si512();
  std::uint8_t* symbols = one.symbols;
  std::uint8_t* rest = one.rest;
  for (std::size_t t = 0; t < tokens; ++t, bins += channels) {
    for (std::size_t k = 0; k < one.width; k += 64) {
      const __mmask64 lanes = FirstBytes(one.width - k);
      if (!one.coded) {
        _mm512_mask_storeu_epi8(bins + k, lanes, _mm512_setzero_si512());
        continue;
      }
      const Parts parts = SplitBins(one, lut, _mm512_maskz_loadu_epi8(lanes, bins + k));
      _mm512_mask_storeu_epi8(symbols + k, lanes, parts.symbols);
      _mm512_mask_storeu_epi8(rest + k, lanes, parts.rest);
      _mm512_mask_storeu_epi8(bins + k, lanes, parts.codes);
    }
    symbols += one.width;
    rest += one.width;
  }
}

void Quantise(const Analysis& a, const float* values, std::size_t tokens, std::uint8_t* exponents,
              std::int8_t* codes) {
  const RowQuantiser quantiser(a);
  if (!quantiser.fits()) return QuantiseOneByOne(a, values, tokens, exponents, codes);
  constexpr std::size_t kTokens = 4;
  alignas(64) std::int8_t bins[kTokens * 128 + 128];
  for (std::size_t t = 0; t < tokens;) {
    const std::size_t here = tokens - t < kTokens ? 1 : kTokens;
    const float* rows = values + t * a.channels;
    if (here == kTokens) {
      BinRows<kTokens>(a, rows, quantiser, bins);
    } else {
      BinRows<1>(a, rows, quantiser, bins);
    }
    for (std::size_t i = 0; i < here; ++i, ++t) {
      exponents[t] = 0;
      std::int8_t* coded = codes + t * a.channels;
      if (quantiser.Finish(bins + i * a.channels, coded)) continue;
      quantiser.PutExactly(values + t * a.channels, coded, exponents + t);
    }
  }
  for (std::size_t i = 0; i < a.class_count; codes += a.classes[i++].width) {
    SplitClass(a.classes[i], tokens, a.channels, codes);
  }
}

void PackPlane(const std::uint8_t* rest, std::size_t count, unsigned bit, std::byte* out) {
  const __m512i mask = _mm512_set1_epi8(static_cast<char>(1U << bit));
  std::size_t i = 0;
  for (; i + 64 <= count; i += 64) {
    const std::uint64_t bits = _mm512_test_epi8_mask(_mm512_loadu_si512(rest + i), mask);
    __builtin_memcpy(out + i / 8, &bits, sizeof(bits));
  }
  PackPlaneOneByOne(rest + i, count - i, bit, out + i / 8);
}

}  // namespace
}  // namespace kdn::codec::avx512

namespace kdn::codec {

constinit const EncodeKernels kAvx512Encode{
    .read = {avx512::ReadBf16, ReadOneByOne<Fp16Number>, ReadOneByOne<Fp32Number>,
             ReadOneByOne<Fp8E4M3Number>, ReadOneByOne<Fp8E5M2Number>},
    .measure = avx512::Measure,
    .count_bins = avx512::CountBins,
    .quantise = avx512::Quantise,
    .pack_plane = avx512::PackPlane,
    .count_symbols = avx512::CountSymbols,
    .spreads = {avx512::SpreadsBf16, SpreadsOneByOne<Fp16Words>, SpreadsOneByOne<Fp32Words>,
                SpreadsOneByOne<Fp8E4M3Words>, SpreadsOneByOne<Fp8E5M2Words>},
    .lean_encode_two = avx512::LeanEncodeTwo,
    .residual = {avx512::ResidualBf16, ResidualOneByOne<Fp16Words>, ResidualOneByOne<Fp32Words>,
                 ResidualOneByOne<Fp8E4M3Words>, ResidualOneByOne<Fp8E5M2Words>},
};

}  // namespace kdn::codec

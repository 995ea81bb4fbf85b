#include "codec/lossy_tile.h"

#include <algorithm>
#include <cstring>
#include <optional>

#include "codec/codec_scratch.h"
#include "codec/kernels/encode_kernels.h"
#include "codec/kernels/float_bits.h"

namespace kdn::codec {
namespace {

template <class Number>
void ToFloats(const std::byte* words, std::size_t count, float* out) {
  for (std::size_t i = 0; i < count; ++i) {
    typename Number::Word word;
    std::memcpy(&word, words + i * sizeof(word), sizeof(word));
    out[i] = Number::ToFloat(word);
  }
}
template <class Number>
void FromFloats(const float* in, std::size_t count, std::byte* words) {
  for (std::size_t i = 0; i < count; ++i) {
    const typename Number::Word word = Number::FromFloat(in[i]);
    std::memcpy(words + i * sizeof(word), &word, sizeof(word));
  }
}

using ToFloatsFunction = void (*)(const std::byte*, std::size_t, float*);
using FromFloatsFunction = void (*)(const float*, std::size_t, std::byte*);

// By the number of a DType.
constexpr std::array<ToFloatsFunction, kKernelDTypes> kToFloats = {
    ToFloats<Bf16Number>, ToFloats<Fp16Number>, ToFloats<Fp32Number>, ToFloats<Fp8E4M3Number>,
    ToFloats<Fp8E5M2Number>};
constexpr std::array<FromFloatsFunction, kKernelDTypes> kFromFloats = {
    FromFloats<Bf16Number>, FromFloats<Fp16Number>, FromFloats<Fp32Number>,
    FromFloats<Fp8E4M3Number>, FromFloats<Fp8E5M2Number>};

// How the keys of one tile are turned, or that its values are not.
struct Turning {
  RotaryPairs pairs = RotaryPairs::kNone;
  std::size_t dims = 0;
};

Turning TurningOf(const LossyContext& context, const LossyTile& tile) {
  const Plane plane = tile.at.plane;
  if (context.angles == nullptr || (plane != Plane::kK && plane != Plane::kRope)) return {};
  if (context.spec.rotary.pairing == RotaryPairing::kNone) return {};
  const bool neox = context.spec.rotary.pairing == RotaryPairing::kNeox;
  return {.pairs = neox ? RotaryPairs::kHalves : RotaryPairs::kNeighbours,
          .dims = std::min<std::size_t>(context.spec.rotary.dims, tile.place.shape.head_size)};
}

void Turn(const Turning& turning, const float* row, float sine_sign, float* x) {
  const std::size_t half = turning.dims / 2;
  for (std::size_t i = 0; i < half; ++i) {
    const bool halves = turning.pairs == RotaryPairs::kHalves;
    float& a = x[halves ? i : 2 * i];
    float& b = x[halves ? i + half : 2 * i + 1];
    const float cosine = row[i];
    const float sine = sine_sign * row[half + i];
    const float old_a = a;
    a = old_a * cosine - b * sine;
    b = b * cosine + old_a * sine;
  }
}

void FillTurns(const LossyContext& context, const Turning& turning, std::uint64_t first,
               std::size_t tokens, Turns& turns) {
  const std::size_t count = turning.dims * tokens;
  if (count == 0) return;
  const std::vector<double>& frequencies = context.angles->frequencies();
  if (turns.first == first && turns.rows.size() == count && turns.frequencies == frequencies) {
    return;
  }
  turns.frequencies = frequencies;
  turns.first = first;
  turns.rows.resize(count);
  context.angles->FillRows(first, tokens, turns.rows.data());
}

std::vector<StripCoding> ProfileCodings(const LossyContext& context, const LossyTile& tile) {
  std::vector<StripCoding> codings;
  for (std::uint32_t l = tile.at.layers.first; l < tile.at.layers.end(); ++l) {
    for (std::uint32_t h = tile.at.kv_heads.first; h < tile.at.kv_heads.end(); ++h) {
      codings.push_back(
          {&context.profile->strip(l, tile.place.plane, h), context.profile->coders()});
    }
  }
  return codings;
}

Synthesis SynthesisOf(const StripProfile& profile, std::size_t level, const Turning& turning) {
  const StripProfile::LiveColumns& live = profile.live[level];
  return {.channels = profile.mean.size(),
          .order = profile.order.empty() ? nullptr : profile.order.data(),
          .block = profile.block,
          .matrix = profile.matrix.data(),
          .tiled = profile.tiled.data(),
          .tiled_order = profile.tiled_order.empty() ? nullptr : profile.tiled_order.data(),
          .columns = live.columns.data(),
          .row_sums = live.row_sums.data(),
          .mean = profile.mean.data(),
          .scale = profile.scale.data(),
          .pairs = turning.pairs,
          .rotary_dims = turning.dims};
}

// Codes of so many tokens stay in the first cache.
constexpr std::size_t kTokensAtOnce = 64;

// Where a strip's values go: token t's to first + rows[t].
struct StripTarget {
  std::byte* first;
  std::span<const std::ptrdiff_t> rows;
  bool stream = false;  // they are not read again soon
};

// A strip whose symbols were decoded.
void SynthesiseStrip(const LossyContext& context, const TileShape& shape, const Turning& turning,
                     const NestedDecoder& decoder, std::size_t strip, const StripTarget& to,
                     CodecScratch& scratch) {
  scratch.codes.resize(kTokensAtOnce * shape.head_size);
  Synthesis synthesis = SynthesisOf(decoder.ProfileOf(strip), decoder.level(), turning);
  synthesis.stream = to.stream;
  const std::uint8_t* exponents = decoder.Exponents(strip);
  for (std::size_t t = 0; t < to.rows.size(); t += kTokensAtOnce) {
    const CodeRows codes{.codes = scratch.codes.data(),
                         .stride = shape.head_size,
                         .exponents = exponents == nullptr ? nullptr : exponents + t,
                         .turns = scratch.turns.rows.data() + t * turning.dims,
                         .tokens = std::min(kTokensAtOnce, to.rows.size() - t)};
    decoder.FillCodes(strip, t, codes.tokens, scratch.codes.data());
    context.kernels.synthesise[static_cast<std::size_t>(shape.dtype)](synthesis, codes, to.first,
                                                                      to.rows.data() + t);
  }
}

// Rows of the first tokens' values in value order.
void FillDenseRows(const TileShape& shape, std::uint32_t tokens,
                   std::vector<std::ptrdiff_t>& rows) {
  rows.resize(tokens);
  const auto row_bytes = static_cast<std::ptrdiff_t>(shape.head_size * DTypeBytes(shape.dtype));
  for (std::size_t t = 0; t < rows.size(); ++t)
    rows[t] = static_cast<std::ptrdiff_t>(t) * row_bytes;
}

// Rows of the engine's memory, seen from a strip's head; the same for all strips of a tile.
void FillPagedRows(StripRows strip, std::vector<std::ptrdiff_t>& rows) {
  rows.clear();
  RowRun run;
  while (strip.Next(run)) {
    for (std::size_t r = 0; r < run.rows; ++r, run.first += strip.map().slot_stride) {
      rows.push_back(run.first - strip.head());
    }
  }
}

Status DoesNotDecode() {
  return Status(Code::kDataLoss, "a tile does not decode");
}

// A strip's own bits into `values`, its floats, freed of their position, into `floats`. Requires:
// FillTurns().
void ReadStrip(const LossyContext& context, const LossyTile& tile, const Turning& turning,
               const TileMemory& memory, std::size_t strip, const Turns& turns, std::byte* values,
               float* floats) {
  const TileShape& shape = tile.place.shape;
  const bool last = strip + 1 == shape.strips();
  const auto address = [&](std::size_t s) {
    return reinterpret_cast<std::intptr_t>(memory.Rows(s).head());
  };
  const std::ptrdiff_t ahead = last ? 0 : address(strip + 1) - address(strip);
  const Reading reading{
      .channels = shape.head_size, .pairs = turning.pairs, .rotary_dims = turning.dims};
  const std::size_t row_bytes = shape.head_size * DTypeBytes(shape.dtype);
  const auto read = context.kernels.encode->read[static_cast<std::size_t>(shape.dtype)];
  const float* turn = turns.rows.data();
  StripRows rows = memory.Rows(strip);
  RowRun run;
  while (rows.Next(run)) {
    GatherRows(memory.format(), rows.map(), run, values, ahead);
    read(reading, values, static_cast<std::ptrdiff_t>(row_bytes), turn, run.rows, floats);
    values += run.rows * row_bytes;
    turn += run.rows * turning.dims;
    floats += run.rows * shape.head_size;
  }
}

}  // namespace

LossyExtents EncodeLossyTile(const LossyContext& context, const LossyTile& tile,
                             const TileMemory& memory, LevelSet levels, CodecScratch& scratch) {
  const TileShape& shape = tile.place.shape;
  const Turning turning = TurningOf(context, tile);
  FillTurns(context, turning, tile.first_position, shape.tokens, scratch.object_turns);
  std::vector<StripCoding> codings;
  if (context.profile != nullptr) codings = ProfileCodings(context, tile);
  std::size_t count = 0;
  while (count < kLossyLevels && levels.Has(static_cast<Level>(count))) ++count;
  NestedEncoder nested(context.kernels, shape, codings, std::span(scratch.levels).first(count),
                       scratch.nested);
  constexpr auto kExact = static_cast<std::size_t>(Level::kExact);
  AlignedVector<std::byte>& exact = scratch.levels[kExact];
  std::optional<ResidualEncoder> residual;
  if (levels.Has(Level::kExact)) {
    residual.emplace(context.kernels, shape, exact, scratch.residual);
  }
  scratch.values.resize(shape.strip_bytes());
  scratch.predicted.resize(shape.strip_bytes());
  scratch.floats.resize(shape.strip_values());
  scratch.codes.resize(shape.strip_values());
  FillDenseRows(shape, shape.tokens, scratch.rows);
  for (std::size_t s = 0; s < shape.strips(); ++s) {
    ReadStrip(context, tile, turning, memory, s, scratch.object_turns, scratch.values.data(),
              scratch.floats.data());
    nested.Add(scratch.floats.data(), scratch.codes.data());
    if (!residual) continue;
    // What a decoder of fine will have.
    const CodeRows codes{.codes = scratch.codes.data(),
                         .stride = shape.head_size,
                         .exponents = nested.ExponentsOf(s),
                         .turns = scratch.object_turns.rows.data(),
                         .tokens = shape.tokens};
    context.kernels.synthesise[static_cast<std::size_t>(shape.dtype)](
        SynthesisOf(nested.ProfileOf(s), count - 1, turning), codes, scratch.predicted.data(),
        scratch.rows.data());
    residual->Add(scratch.predicted, scratch.values);
  }
  LossyExtents extents;
  std::ranges::copy(nested.Finish(), extents.tiles.begin());
  if (!residual) return extents;

  TileExtent& last = extents.tiles[kExact];
  last = residual->Finish();
  extents.exact = TileScheme::kResidual;
  if (last.bytes < shape.raw_bytes()) return extents;
  extents.exact = TileScheme::kRaw;
  last.bytes = shape.raw_bytes();
  exact.resize(RoundUp(last.begin + last.bytes, kBlockAlignment));
  for (std::size_t s = 0; s < shape.strips(); ++s) {
    GatherValues(memory.format(), memory.Rows(s),
                 exact.data() + last.begin + s * shape.strip_bytes());
  }
  return extents;
}

Status DecodeLossyTile(const LossyContext& context, const LossyTile& tile,
                       std::span<const TileBytes> tiles, std::int64_t moved,
                       const TileMemory& memory, CodecScratch& scratch) {
  const TileShape& shape = tile.place.shape;
  const Turning turning = TurningOf(context, tile);
  const bool exact = tiles.back().entry.at.level == Level::kExact;
  const bool raw = tiles.back().entry.scheme == TileScheme::kRaw;
  const std::int64_t turned_by = exact ? 0 : moved;
  // Of exact, where bits follow one another, all are decoded; else what is wanted of the chunk.
  const std::uint32_t tokens = exact ? shape.tokens : memory.tokens();
  FillTurns(context, turning, tile.first_position + static_cast<std::uint64_t>(turned_by), tokens,
            scratch.turns);
  std::vector<StripCoding> codings;
  if (context.profile != nullptr) codings = ProfileCodings(context, tile);
  NestedDecoder decoder(context.kernels, shape, codings, scratch.nested);
  for (const TileBytes& one : tiles.first(tiles.size() - (exact ? 1 : 0))) {
    if (!decoder.Open(one.bytes)) return DoesNotDecode();
  }
  ResidualDecoder residual(context.kernels, shape, scratch.residual);
  if (raw && tiles.back().bytes.size() != shape.raw_bytes()) return DoesNotDecode();
  if (exact && !raw && !residual.Open(tiles.back().bytes)) return DoesNotDecode();

  std::vector<std::uint8_t> wanted(shape.strips());
  for (std::size_t s = 0; s < wanted.size(); ++s) wanted[s] = memory.Holds(s) ? 1 : 0;
  if (!raw && !decoder.DecodeSymbols(wanted)) return DoesNotDecode();
  const auto first =
      static_cast<std::size_t>(std::find(wanted.begin(), wanted.end(), 1) - wanted.begin());
  const bool dense =
      memory.Rows(first).map().dim_stride == static_cast<std::ptrdiff_t>(DTypeBytes(shape.dtype));
  if (!exact && dense) {
    // Nothing has been written yet and nothing can fail from here on.
    FillPagedRows(memory.Rows(first), scratch.rows);
    for (std::size_t s = 0; s < shape.strips(); ++s) {
      if (wanted[s] == 0) continue;
      const StripTarget to{memory.Rows(s).head(), scratch.rows, true};
      SynthesiseStrip(context, shape, turning, decoder, s, to, scratch);
    }
    context.kernels.stream_fence();
    return Status();
  }
  // Values wait in scratch until every strip is known to decode.
  scratch.values.resize(shape.raw_bytes());
  FillDenseRows(shape, tokens, scratch.rows);
  for (std::size_t s = 0; s < shape.strips(); ++s) {
    if (wanted[s] == 0) continue;
    const auto values =
        MutableBytes(scratch.values).subspan(s * shape.strip_bytes(), shape.strip_bytes());
    if (raw) {
      const ConstBytes strip =
          tiles.back().bytes.subspan(s * shape.strip_bytes(), shape.strip_bytes());
      std::copy(strip.begin(), strip.end(), values.begin());
    } else {
      SynthesiseStrip(context, shape, turning, decoder, s, {values.data(), scratch.rows}, scratch);
      if (exact && !residual.DecodeStrip(s, values)) return DoesNotDecode();
    }
    if (exact && moved != 0) TurnValues(context, tile, moved, values);
  }
  FillPagedRows(memory.Rows(first), scratch.rows);
  const std::size_t row_bytes = shape.head_size * DTypeBytes(shape.dtype);
  for (std::size_t s = 0; s < shape.strips(); ++s) {
    if (wanted[s] == 0) continue;
    const std::byte* values = scratch.values.data() + s * shape.strip_bytes();
    if (dense) {
      context.kernels.stream_rows(values, row_bytes, scratch.rows.size(), memory.Rows(s).head(),
                                  scratch.rows.data());
    } else {
      ScatterValues(memory.format(), values, memory.Rows(s));
    }
  }
  context.kernels.stream_fence();
  return Status();
}

void ReadUnturned(const LossyContext& context, const LossyTile& tile, const TileMemory& memory,
                  std::vector<float>& values) {
  const TileShape& shape = tile.place.shape;
  const Turning turning = TurningOf(context, tile);
  Turns turns;
  FillTurns(context, turning, tile.first_position, shape.tokens, turns);
  std::vector<std::byte> words(shape.strip_bytes());
  values.resize(shape.values());
  for (std::size_t s = 0; s < shape.strips(); ++s) {
    ReadStrip(context, tile, turning, memory, s, turns, words.data(),
              values.data() + s * shape.strip_values());
  }
}

void TurnValues(const LossyContext& context, const LossyTile& tile, std::int64_t moved,
                MutableBytes values) {
  const TileShape& shape = tile.place.shape;
  const Turning turning = TurningOf(context, tile);
  if (turning.pairs == RotaryPairs::kNone) return;
  Turns turns;
  FillTurns(context, turning, static_cast<std::uint64_t>(moved < 0 ? -moved : moved), 1, turns);
  std::vector<float> row(shape.head_size);
  const std::size_t row_bytes = shape.head_size * DTypeBytes(shape.dtype);
  for (std::size_t at = 0; at + row_bytes <= values.size(); at += row_bytes) {
    kToFloats[static_cast<std::size_t>(shape.dtype)](values.data() + at, row.size(), row.data());
    Turn(turning, turns.rows.data(), moved < 0 ? -1.0F : 1.0F, row.data());
    kFromFloats[static_cast<std::size_t>(shape.dtype)](row.data(), row.size(), values.data() + at);
  }
}

}  // namespace kdn::codec

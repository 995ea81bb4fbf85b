#include "tests/codec/one_tile.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "base/random.h"
#include "tests/codec/profile_ids.h"

namespace kdn::codec {
namespace {

constexpr std::uint16_t kRotaryDims = 16;

// The same for both pairings, and dear to make.
const RotaryAngles& Angles() {
  static const RotaryAngles angles =
      RotaryAngles::Make({.pairing = RotaryPairing::kNeox, .dims = kRotaryDims, .base = 1e4})
          .value();
  return angles;
}

}  // namespace

OneTile::OneTile(const TileOptions& options, std::uint32_t decoded_tokens)
    : first_position_(options.first_position),
      chunk_{.first_token = 0,
             .token_count = decoded_tokens == 0 ? options.tokens : decoded_tokens} {
  spec_.name = "one";
  spec_.dtype = options.dtype;
  spec_.rotary.pairing = options.pairing;
  spec_.rotary.dims = options.pairing == RotaryPairing::kNone ? 0 : kRotaryDims;
  KvGroup& group = spec_.groups.emplace_back();
  group.layers.resize(options.layers);
  std::iota(group.layers.begin(), group.layers.end(), std::uint16_t{0});
  group.kv_heads = options.heads;
  group.k_head_size = group.v_head_size = options.head_size;
  at_.plane = options.plane;
  at_.layers = {0, options.layers};
  at_.kv_heads = {0, options.heads};
  place_.shape = {.dtype = options.dtype,
                  .layers = options.layers,
                  .heads = options.heads,
                  .tokens = options.tokens,
                  .head_size = options.head_size};
  place_.plane = options.plane == Plane::kK ? 0 : 1;

  const std::size_t apart = options.dims_apart ? 2 : 1;
  const std::size_t dim = apart * DTypeBytes(options.dtype);
  const std::size_t strip = options.head_size * dim * options.tokens;
  memory_.resize(place_.shape.strips() * strip);
  for (std::size_t l = 0; l < options.layers; ++l) {
    bases_.push_back(memory_.data() + l * options.heads * strip);
  }
  KvPool& pool = pools_[0];
  pool.block_tokens = options.tokens;
  pool.block_count = 1;
  pool.head_count = options.heads;
  pool.planes[place_.plane] = {.base = bases_,
                               .block_stride = 0,
                               .slot_stride = static_cast<std::ptrdiff_t>(options.head_size * dim),
                               .head_stride = static_cast<std::ptrdiff_t>(strip),
                               .dim_stride = static_cast<std::ptrdiff_t>(dim)};
}

void OneTile::SetValues(ConstBytes values) {
  const std::size_t size = DTypeBytes(place_.shape.dtype);
  const std::size_t stride = memory_.size() / place_.shape.values();
  for (std::size_t i = 0; i < place_.shape.values(); ++i) {
    std::memcpy(memory_.data() + i * stride, values.data() + i * size, size);
  }
}

std::vector<std::byte> OneTile::Values() const {
  const std::size_t size = DTypeBytes(place_.shape.dtype);
  const std::size_t stride = memory_.size() / place_.shape.values();
  std::vector<std::byte> values(place_.shape.raw_bytes());
  for (std::size_t i = 0; i < place_.shape.values(); ++i) {
    std::memcpy(values.data() + i * size, memory_.data() + i * stride, size);
  }
  return values;
}

LossyContext OneTile::ContextOf(const Kernels& kernels, const Profile* profile) const {
  return {kernels, spec_, &Angles(), profile};
}

LevelTiles OneTile::Encode(const Kernels& kernels, const Profile* profile, Level last,
                           TileScheme& exact) {
  const Memory memory{kv_, blocks_, chunk_};
  const TileMemory values(memory, place_, at_.kv_heads);
  LevelTiles tiles;
  LevelSet levels;
  for (int l = 0; l <= static_cast<int>(last); ++l) levels.Add(static_cast<Level>(l));
  for (auto& level : scratch_.levels) level.clear();
  const LossyExtents extents = EncodeLossyTile(
      ContextOf(kernels, profile), {at_, place_, first_position_}, values, levels, scratch_);
  exact = extents.exact;
  for (std::size_t l = 0; l <= static_cast<std::size_t>(last); ++l) {
    const std::byte* begin = scratch_.levels[l].data() + extents.tiles[l].begin;
    tiles[l].assign(begin, begin + extents.tiles[l].bytes);
  }
  return tiles;
}

Status OneTile::Decode(const Kernels& kernels, const Profile* profile,
                       std::span<const TileBytes> tiles, std::int64_t moved) {
  const Memory memory{kv_, blocks_, chunk_};
  const TileMemory values(memory, place_, at_.kv_heads);
  return DecodeLossyTile(ContextOf(kernels, profile), {at_, place_, first_position_}, tiles, moved,
                         values, scratch_);
}

std::vector<TileBytes> OneTile::TilesOf(std::span<const ConstBytes> levels,
                                        TileScheme exact) const {
  std::vector<TileBytes> tiles;
  for (std::size_t l = 0; l < levels.size(); ++l) {
    TileBytes& tile = tiles.emplace_back();
    tile.entry.at = at_;
    tile.entry.at.level = static_cast<Level>(l);
    tile.entry.scheme = tile.entry.at.level == Level::kExact ? exact : TileScheme::kNested;
    tile.entry.size_bytes = static_cast<std::uint32_t>(levels[l].size());
    tile.bytes = levels[l];
  }
  return tiles;
}

namespace {

SymbolTable MadeTable(SeededRandom& random) {
  SymbolTable table;
  const std::size_t half = 2 + random.Next() % 6;
  Histogram histogram{};
  for (std::size_t s = kZeroSymbol - half; s <= kZeroSymbol + half; ++s) {
    histogram[s] = static_cast<std::uint32_t>(1 + random.Next() % 50);
  }
  histogram[kZeroSymbol] += 60;
  table.model = ModelOf(histogram);
  for (std::size_t level = 0; level < kLossyLevels; ++level) {
    for (std::size_t i = 0; i < table.model.count; ++i) {
      const int middle = (table.model.symbol[i] - kZeroSymbol) * 8 - 4 + (4 >> level);
      table.reconstruction[level][i] = static_cast<std::int8_t>(middle);
    }
  }
  return table;
}

StripProfile MadeStrip(std::size_t channels, std::size_t tables, std::uint64_t first_planes,
                       SeededRandom& random) {
  StripProfile strip;
  for (std::size_t left = channels; left > 0;) {
    ComponentClass one;
    one.width = static_cast<std::uint16_t>(kClassWidthUnit *
                                           (1 + random.Next() % (left / kClassWidthUnit)));
    // The first class has symbols in draft, so that there is something to decode.
    one.start = static_cast<std::uint8_t>(left == channels ? 0 : random.Next() % 4);
    one.planes = static_cast<std::uint8_t>(left == channels            ? first_planes
                                           : one.start == kLossyLevels ? 0
                                                                       : random.Next() % 4);
    one.table = static_cast<std::uint16_t>(random.Next() % tables);
    left -= one.width;
    strip.classes.push_back(one);
  }
  if (random.Next() % 4 != 0) {
    strip.order.resize(channels);
    std::iota(strip.order.begin(), strip.order.end(), std::uint16_t{0});
    for (std::size_t k = channels - 1; k > 0; --k) {
      std::swap(strip.order[k], strip.order[random.Next() % (k + 1)]);
    }
  }
  const std::size_t blocks[] = {1, 16, 32, channels};
  const std::size_t block = blocks[random.Next() % 4];
  strip.block = static_cast<std::uint16_t>(
      channels % block == 0 && block <= kMatrixBlockMax ? block : kClassWidthUnit);
  for (std::size_t c = 0; strip.block > 1 && c < channels; ++c) {
    for (std::size_t k = 0; k < strip.block; ++k) {
      const int off = static_cast<int>(random.Next() % 13) - 6;
      strip.matrix.push_back(static_cast<std::int8_t>(c % strip.block == k ? 127 : off));
    }
  }
  for (std::size_t c = 0; c < channels; ++c) {
    strip.mean.push_back(static_cast<float>(static_cast<int>(random.Next() % 257) - 128) / 64.0F);
    const float unit = static_cast<float>(1 + random.Next() % 31) / 128.0F;
    strip.scale.push_back(strip.block == 1 ? unit : unit / 128.0F);
  }
  return strip;
}

}  // namespace

Profile MadeProfile(const ModelSpec& spec, std::uint64_t seed) {
  SeededRandom random(seed);
  Profile::Parts parts;
  parts.model.bytes[0] = std::byte{1};
  const std::size_t tables = 1 + random.Next() % 3;
  for (std::size_t i = 0; i < tables; ++i) parts.tables.push_back(MadeTable(random));
  for (std::uint32_t layer = 0; layer < LayerCount(spec); ++layer) {
    const KvGroup& group = GroupOfLayer(spec, layer);
    for (std::size_t plane = 0; plane < PlaneCountOf(group); ++plane) {
      const std::size_t channels = plane == 0 ? group.k_head_size : group.v_head_size;
      for (std::uint32_t head = 0; head < group.kv_heads; ++head) {
        parts.strips.push_back(MadeStrip(channels, tables, seed % 4, random));
      }
    }
  }
  Profile profile = Profile::Make(spec, std::move(parts)).value();
  (void)profile.FinishForEncoding();
  profile.Name(NumberedProfileId(seed));
  return profile;
}

}  // namespace kdn::codec

#include "tests/codec/chunk_world.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "codec/kernels/float_bits.h"
#include "codec/rotary.h"
#include "proto/object/object.h"
#include "tests/codec/values.h"

namespace kdn::codec {
namespace {

constexpr std::uint32_t kBlockTokens = 16;

std::vector<MemoryShape> ShapesFor(const ModelSpec& spec, std::uint32_t tokens) {
  const MemoryShape shape{
      .axes = "NSHD", .block_tokens = kBlockTokens, .block_count = tokens / kBlockTokens + 3};
  return std::vector<MemoryShape>(spec.groups.size(), shape);
}

double ValueAt(DType dtype, const std::byte* at) {
  std::uint32_t bits = 0;
  std::memcpy(&bits, at, DTypeBytes(dtype));
  switch (dtype) {
    case DType::kBf16:
      return double{Bf16Number::ToFloat(static_cast<std::uint16_t>(bits))};
    case DType::kFp16:
      return double{Fp16Number::ToFloat(static_cast<std::uint16_t>(bits))};
    case DType::kFp32:
      return double{Fp32Number::ToFloat(bits)};
    case DType::kFp8E4M3:
      return double{Fp8E4M3Number::ToFloat(static_cast<std::uint8_t>(bits))};
    case DType::kFp8E5M2:
      break;
  }
  return double{Fp8E5M2Number::ToFloat(static_cast<std::uint8_t>(bits))};
}

std::uint32_t BitsOf(DType dtype, float value) {
  switch (dtype) {
    case DType::kBf16:
      return Bf16Number::FromFloat(value);
    case DType::kFp16:
      return Fp16Number::FromFloat(value);
    case DType::kFp32:
      return Fp32Number::FromFloat(value);
    case DType::kFp8E4M3:
      return Fp8E4M3Number::FromFloat(value);
    case DType::kFp8E5M2:
      break;
  }
  return Fp8E5M2Number::FromFloat(value);
}

// Turns rows of one strip after another to positions first, first + 1, ...
void TurnRows(const Rotary& rotary, std::uint64_t first, std::size_t tokens, std::size_t head_size,
              std::span<float> rows) {
  const RotaryAngles angles = RotaryAngles::Make(rotary).value();
  const std::size_t half = angles.pairs();
  std::vector<float> turns(2 * half * tokens);
  angles.FillRows(first, tokens, turns.data());
  for (std::size_t r = 0; r < rows.size() / head_size; ++r) {
    const float* turn = turns.data() + r % tokens * 2 * half;
    float* x = rows.data() + r * head_size;
    for (std::size_t i = 0; i < half; ++i) {
      const bool neox = rotary.pairing == RotaryPairing::kNeox;
      float& a = x[neox ? i : 2 * i];
      float& b = x[neox ? i + half : 2 * i + 1];
      const float old = a;
      a = old * turn[i] - b * turn[half + i];
      b = b * turn[i] + old * turn[half + i];
    }
  }
}

bool IsTurned(const KvGroup& group, std::size_t plane) {
  return (group.attention == AttentionKind::kGrouped && plane == 0) ||
         (group.attention == AttentionKind::kLatent && plane == 1);
}

}  // namespace

Result<OpenedObject> OpenObject(ConstBytes object) {
  KDN_ASSIGN_OR_RETURN([[maybe_unused]] const ObjectDigest digest, VerifyObject(object));
  KDN_ASSIGN_OR_RETURN(const ObjectLayout layout, LayoutOf(object));
  OpenedObject opened{.header = layout.header, .places = {}};
  for (const std::uint64_t offset : layout.offset) {
    if (offset == 0 || offset >= object.size()) continue;
    const ConstBytes segment = object.subspan(offset);
    KDN_ASSIGN_OR_RETURN(const SegmentIndex index, DecodeIndex(segment, TagOf(layout.header)));
    opened.places.resize(index.tiles.size());
    for (std::size_t i = 0; i < index.tiles.size(); ++i) {
      const TileEntry& entry = index.tiles[i];
      const ConstBytes bytes = segment.subspan(index.IndexBytes() + entry.offset, entry.size_bytes);
      if (!VerifyTile(TagOf(layout.header), entry, bytes)) return Error(Code::kDataLoss, "a tile");
      opened.places[i].push_back({entry, bytes});
    }
  }
  return opened;
}

ChunkWorld::ChunkWorld(const ModelSpec& spec, std::uint32_t tokens, float k_bias)
    : spec_(spec),
      tokens_(tokens),
      shapes_(ShapesFor(spec, tokens)),
      memory_(spec_, shapes_),
      tables_(shapes_, place(), 17),
      poison_(memory_.Snapshot()) {
  header.key.bytes[0] = std::byte{1};
  header.dtype = spec.dtype;
  header.model.bytes[0] = std::byte{1};
  header.token_count = tokens;
  header.first_position = 40;
  header.levels_encoded = kAllLevels;
  header.part.layers = {0, static_cast<std::uint16_t>(LayerCount(spec))};
  for (const KvGroup& group : spec.groups) {
    header.part.kv_heads.count = std::max(header.part.kv_heads.count, group.kv_heads);
  }
  header.layers_per_group = 2;
  header.heads_per_group = 1;
  std::uint64_t seed = 1;
  const TestChunk chunk(spec_, tokens, [&](const KvGroup& group, std::size_t plane) {
    const std::size_t head_size = HeadSize(group, plane);
    const std::size_t rows = group.layers.size() * group.kv_heads * tokens;
    std::vector<float> floats(rows * head_size);
    const float bias = plane == 0 ? k_bias : 0.5F;
    const auto made = MakeRows(DType::kFp32, rows, head_size, bias, seed++);
    std::memcpy(floats.data(), made.data(), made.size());
    if (IsTurned(group, plane) && spec_.rotary.pairing != RotaryPairing::kNone) {
      TurnRows(spec_.rotary, header.first_position, tokens, head_size, floats);
    }
    const std::size_t size = DTypeBytes(spec_.dtype);
    std::vector<std::byte> values(floats.size() * size);
    for (std::size_t i = 0; i < floats.size(); ++i) {
      const std::uint32_t bits = BitsOf(spec_.dtype, floats[i]);
      std::memcpy(values.data() + i * size, &bits, size);
    }
    return values;
  });
  chunk.WriteTo(memory_, tables_, place(), header.part);
  original_ = memory_.Snapshot();
}

Result<std::vector<std::byte>> ChunkWorld::Encode(const Profile* profile,
                                                  std::string_view kernels) {
  KDN_ASSIGN_OR_RETURN(const ObjectCodec codec, ObjectCodec::Make(spec_, kernels));
  header.profile = profile == nullptr ? ProfileId() : profile->id();
  std::vector<std::byte> object;
  const Status status = codec.Encode(header, kv(), tables(), place(), profile, object, scratch_);
  if (!status.ok()) return std::unexpected(status);
  if (object.size() > codec.EncodedBytesMax(header)) return Error(Code::kInternal, "too large");
  return object;
}

Result<ChunkWorld::Memories> ChunkWorld::Decode(const OpenedObject& object, std::size_t levels,
                                                const Profile* profile, std::int64_t moved,
                                                std::string_view kernels) {
  KDN_ASSIGN_OR_RETURN(const ObjectCodec codec, ObjectCodec::Make(spec_, kernels));
  TestMemory memory(spec_, shapes_);
  ChunkPlace to = place();
  to.moved = moved;
  for (const PlaceTiles& tiles : object.places) {
    const Status status =
        codec.DecodeTile(object.header, std::span(tiles).first(std::min(levels, tiles.size())),
                         memory.kv(), tables(), to, profile, scratch_);
    if (!status.ok()) return std::unexpected(status);
  }
  return memory.Snapshot();
}

double ChunkWorld::ErrorOf(const Memories& memory, std::size_t plane) const {
  const std::size_t size = DTypeBytes(spec_.dtype);
  double squares = 0.0;
  double count = 0.0;
  std::size_t tensor = 0;
  for (const KvGroup& group : spec_.groups) {
    for (std::size_t p = 0; p < PlaneCount(group); ++p) {
      for (std::size_t l = 0; l < group.layers.size(); ++l, ++tensor) {
        if (p != plane) continue;
        for (std::size_t at = 0; at < memory[tensor].size(); at += size) {
          // Where nothing was to be written there is poison, whose values mean nothing.
          const std::byte* want = &original_[tensor][at];
          if (std::memcmp(want, &poison_[tensor][at], size) == 0) continue;
          squares +=
              std::pow(ValueAt(spec_.dtype, want) - ValueAt(spec_.dtype, &memory[tensor][at]), 2);
          ++count;
        }
      }
    }
  }
  return std::sqrt(squares / count);
}

}  // namespace kdn::codec

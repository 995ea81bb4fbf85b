#include "client/bench/objects.h"

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstring>
#include <numbers>
#include <numeric>
#include <string>

#include "base/limits.h"

namespace kdn::bench {
namespace {

constexpr std::size_t kStretchBytes = 4096;
constexpr std::size_t kPoolBytes = std::size_t{1} << 20;
constexpr std::size_t kStateBytesMax = 1024;  // of a layer's token
constexpr std::size_t kTokensWanted = 1024;   // of the largest object

float Bf16At(const std::byte* at) {
  std::uint16_t word = 0;
  std::memcpy(&word, at, sizeof(word));
  return std::bit_cast<float>(std::uint32_t{word} << 16);
}

void PutBf16(float value, std::byte* at) {
  const auto word = static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(value) >> 16);
  std::memcpy(at, &word, sizeof(word));
}

}  // namespace

std::uint32_t ObjectShape::TokensFor(std::size_t size_bytes) const {
  return static_cast<std::uint32_t>((size_bytes + token_bytes() - 1) / token_bytes());
}

Result<ObjectShape> ShapeOfSizes(const Sizes& sizes) {
  if (sizes.min() < kObjectBytesLeast || sizes.max() > kObjectBytesMost) {
    return Error(Code::kInvalidArgument, "sizes lie between 4KiB and 64MiB");
  }
  const std::size_t token_bytes =
      std::max<std::size_t>(256, std::bit_ceil(sizes.max()) / kTokensWanted);
  if (sizes.min() < 4 * token_bytes) {
    return Error(Code::kInvalidArgument,
                 "the smallest size is less than 1/256 of the largest: run them one by one");
  }
  ObjectShape shape;
  shape.row_bytes = std::min(token_bytes, kStateBytesMax);
  shape.regions = static_cast<std::uint32_t>(token_bytes / shape.row_bytes);
  shape.chunk_tokens = shape.TokensFor(sizes.max());
  shape.spec.name = "kdn-bench";
  shape.spec.revision = "bytes";
  shape.spec.dtype = DType::kFp8E4M3;  // any bits: one byte a value
  KvGroup group;
  group.attention = AttentionKind::kState;
  group.layers.resize(shape.regions);
  std::iota(group.layers.begin(), group.layers.end(), std::uint16_t{0});
  group.kv_heads = 1;
  group.k_head_size = static_cast<std::uint16_t>(shape.row_bytes);
  shape.spec.groups.push_back(std::move(group));
  return shape;
}

Result<ObjectShape> ShapeOfGeometry(std::string_view text, std::uint32_t chunk_tokens) {
  std::array<std::uint16_t, 3> numbers{};
  const char* at = text.data();
  const char* const end = at + text.size();
  bool good = true;
  for (std::size_t i = 0; i < numbers.size() && good; ++i) {
    const auto [next, error] = std::from_chars(at, end, numbers[i]);
    good = error == std::errc() && (i == 2 ? next == end : next != end && *next == 'x');
    at = next + 1;
  }
  if (!good) {
    return Error(Code::kInvalidArgument, "'" + std::string(text) +
                                             "' is no geometry; expected "
                                             "LAYERSxKV_HEADSxHEAD_SIZE, as 32x8x128");
  }
  ObjectShape shape;
  shape.chunk_tokens = chunk_tokens;
  shape.gaussian = true;
  shape.row_bytes = std::size_t{numbers[1]} * numbers[2] * DTypeBytes(DType::kBf16);
  shape.regions = std::uint32_t{numbers[0]} * 2;
  shape.spec.name = "kdn-bench";
  shape.spec.revision = "bf16";
  KvGroup group;
  group.layers.resize(numbers[0]);
  std::iota(group.layers.begin(), group.layers.end(), std::uint16_t{0});
  group.kv_heads = numbers[1];
  group.k_head_size = numbers[2];
  group.v_head_size = numbers[2];
  shape.spec.groups.push_back(std::move(group));
  shape.tiles.heads_per_group = numbers[1];
  if (Status status = ValidateModelSpec(shape.spec); !status.ok()) return std::unexpected(status);
  if (shape.chunk_bytes() > kObjectBytesMost) {
    return Error(Code::kInvalidArgument, "a chunk of this geometry is larger than 64 MiB");
  }
  return shape;
}

Pages::Pages(const ObjectShape& shape, std::uint32_t chunks)
    : row_bytes_(shape.row_bytes),
      block_bytes_(shape.row_bytes * shape.chunk_tokens),
      chunks_(chunks),
      bytes_(block_bytes_ * chunks * shape.regions),
      table_(chunks) {
  std::iota(table_.begin(), table_.end(), 0U);
  table_view_ = table_;
  const KvGroup& group = shape.spec.groups.front();
  const std::size_t layers = group.layers.size();
  for (std::uint32_t region = 0; region < shape.regions; ++region) {
    bases_[region / layers].push_back(bytes_.data() + region * block_bytes_ * chunks);
  }
  const std::size_t value_bytes = DTypeBytes(shape.spec.dtype);
  for (std::size_t plane = 0; plane < shape.regions / layers; ++plane) {
    codec::PlaneMap& map = pool_.planes[plane];
    map.base = bases_[plane];
    map.dim_stride = static_cast<std::ptrdiff_t>(value_bytes);
    map.head_stride = static_cast<std::ptrdiff_t>(value_bytes * group.k_head_size);
    map.slot_stride = static_cast<std::ptrdiff_t>(row_bytes_);
    map.block_stride = static_cast<std::ptrdiff_t>(block_bytes_);
  }
  pool_.block_tokens = shape.chunk_tokens;
  pool_.block_count = chunks;
  pool_.head_count = group.kv_heads;
}

MutableBytes Pages::Region(std::uint32_t chunk, std::uint32_t region, std::uint32_t tokens) {
  const std::size_t at = (std::size_t{region} * chunks_ + chunk) * block_bytes_;
  return MutableBytes(bytes_).subspan(at, tokens * row_bytes_);
}

Pattern::Pattern(std::uint64_t seed, bool gaussian) : pool_(kPoolBytes) {
  Lots lots(Mix(seed + 1));
  if (!gaussian) {
    for (std::size_t i = 0; i < kPoolBytes; i += sizeof(std::uint64_t)) {
      const std::uint64_t word = lots.Next();
      std::memcpy(pool_.data() + i, &word, sizeof(word));
    }
    return;
  }
  for (std::size_t i = 0; i < kPoolBytes; i += 4) {  // Box and Muller: two values at a time
    const double radius = std::sqrt(-2.0 * std::log(1.0 - lots.Share()));
    const double angle = 2.0 * std::numbers::pi * lots.Share();
    PutBf16(static_cast<float>(radius * std::cos(angle)), pool_.data() + i);
    PutBf16(static_cast<float>(radius * std::sin(angle)), pool_.data() + i + 2);
  }
}

ConstBytes Pattern::Stretch(std::uint64_t object, std::uint32_t region, std::size_t stretch) const {
  const std::uint64_t place = Mix(object ^ Mix((std::uint64_t{region} << 32) + stretch));
  // At an even address: bf16 values stay whole.
  const std::size_t at = 2 * (place % ((kPoolBytes - kStretchBytes) / 2));
  return ConstBytes(pool_).subspan(at, kStretchBytes);
}

void Pattern::Fill(std::uint64_t object, std::uint32_t region, MutableBytes out) const {
  for (std::size_t at = 0; at < out.size(); at += kStretchBytes) {
    const std::size_t size = std::min(kStretchBytes, out.size() - at);
    std::memcpy(out.data() + at, Stretch(object, region, at / kStretchBytes).data(), size);
  }
}

bool Pattern::Matches(std::uint64_t object, std::uint32_t region, ConstBytes got) const {
  for (std::size_t at = 0; at < got.size(); at += kStretchBytes) {
    const std::size_t size = std::min(kStretchBytes, got.size() - at);
    const ConstBytes want = Stretch(object, region, at / kStretchBytes);
    if (std::memcmp(got.data() + at, want.data(), size) != 0) return false;
  }
  return true;
}

double Pattern::Error(std::uint64_t object, std::uint32_t region, ConstBytes got) const {
  double error = 0.0;
  double power = 0.0;
  for (std::size_t at = 0; at < got.size(); at += kStretchBytes) {
    const std::size_t size = std::min(kStretchBytes, got.size() - at);
    const ConstBytes want = Stretch(object, region, at / kStretchBytes);
    for (std::size_t i = 0; i + 1 < size; i += 2) {
      const double x = Bf16At(want.data() + i);
      const double difference = x - Bf16At(got.data() + at + i);
      error += difference * difference;
      power += x * x;
    }
  }
  // A value that is no number makes the whole wrong.
  const double relative = std::sqrt(error / power);
  return std::isfinite(relative) ? relative : 1e9;
}

}  // namespace kdn::bench

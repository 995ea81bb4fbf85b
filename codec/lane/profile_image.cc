#include "codec/lane/profile_image.h"

#include <cstring>

#include "codec/rans_blocks.h"
#include "codec/tile_plan.h"

namespace kdn::codec {
namespace {

std::size_t AppendBytes(const void* data, std::size_t size, std::vector<std::byte>& out) {
  const std::size_t at = RoundUp(out.size(), 16);
  out.resize(at + size);
  if (size != 0) std::memcpy(out.data() + at, data, size);
  return at;
}

}  // namespace

LaneTable CodeTable(const SymbolCoder& coder, std::size_t level) {
  LaneTable table{};
  table.ends = coder.decode.ends;
  for (std::size_t rank = 0; rank < kRansSymbolsMax; ++rank) {
    const std::size_t off = (rank + 1) / 2;
    const std::size_t symbol = rank % 2 == 0 ? kLeanMiddle + off : kLeanMiddle - off;
    table.byte_of_rank[rank] = static_cast<std::uint8_t>(coder.lut[level][symbol]);
  }
  for (std::size_t s = 0; s < kRansSlots; ++s) {
    const std::uint32_t slot = coder.decode.slot[s];
    const auto code = static_cast<std::uint8_t>(coder.lut[level][slot & 63]);
    table.slot[s] = (slot & ~0xFFU) | code;
  }
  return table;
}

ProfileImage::ProfileImage(const ModelSpec& spec, const Profile& profile) : profile_(&profile) {
  for (std::size_t level = 0; level < kLossyLevels; ++level) {
    for (const SymbolCoder& coder : profile.coders()) {
      const LaneTable table = CodeTable(coder, level);
      AppendBytes(&table, sizeof(table), bytes_);
    }
  }
  strips_.resize(2 * std::size_t{LayerCount(spec)});
  for (std::uint32_t layer = 0; layer < LayerCount(spec); ++layer) {
    const KvGroup& group = GroupOfLayer(spec, layer);
    for (std::size_t plane = 0; plane < PlaneCountOf(group); ++plane) {
      for (std::uint32_t head = 0; head < group.kv_heads; ++head) {
        strips_[2 * std::size_t{layer} + plane].push_back(
            Append(profile.strip(layer, plane, head)));
      }
    }
  }
}

ProfileImage::Strip ProfileImage::Append(const StripProfile& strip) {
  Strip at;
  const std::size_t channels = strip.mean.size();
  at.mean = AppendBytes(strip.mean.data(), channels * sizeof(float), bytes_);
  at.scale = AppendBytes(strip.scale.data(), channels * sizeof(float), bytes_);
  if (!strip.order.empty()) {
    at.order = AppendBytes(strip.order.data(), channels * sizeof(std::uint16_t), bytes_);
  }
  if (strip.block > 1) {
    std::vector<std::int8_t> tiled(channels * strip.block);
    for (std::size_t c = 0; c < channels; ++c) {
      for (std::size_t k = 0; k < strip.block; ++k) {
        tiled[(k / 4 * channels + c) * 4 + k % 4] = strip.matrix[c * strip.block + k];
      }
    }
    at.matrix = AppendBytes(tiled.data(), tiled.size(), bytes_);
  }
  return at;
}

void ProfileImage::PointAt(const std::byte* copy, std::uint32_t layer, std::size_t plane,
                           std::uint32_t head, LaneStrip& strip) const {
  const Strip& at = strips_[2 * std::size_t{layer} + plane][head];
  strip.tables = copy;
  strip.mean = reinterpret_cast<const float*>(copy + at.mean);
  strip.scale = reinterpret_cast<const float*>(copy + at.scale);
  strip.block = profile_->strip(layer, plane, head).block;
  if (at.order != 0) strip.order = reinterpret_cast<const std::uint16_t*>(copy + at.order);
  if (at.matrix != 0) strip.matrix = reinterpret_cast<const std::uint32_t*>(copy + at.matrix);
}

}  // namespace kdn::codec

#include "codec/lane/encode_image.h"

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

LaneEncodeTable TableOf(const SymbolCoder& coder) {
  LaneEncodeTable table{};
  table.ends = coder.encode.ends;
  for (unsigned symbol = coder.first_symbol; symbol <= coder.last_symbol; ++symbol) {
    const std::size_t index = coder.encode.index_of_symbol[symbol];
    table.frequency[symbol] = coder.encode.frequency[index];
    table.cumulative[symbol] = coder.encode.cumulative[index];
    table.magic[symbol] = ~std::uint32_t{0} / table.frequency[symbol];
  }
  return table;
}

}  // namespace

EncodeImage::EncodeImage(const ModelSpec& spec, const Profile& profile) : profile_(&profile) {
  for (const SymbolCoder& coder : profile.coders()) {
    const LaneEncodeTable table = TableOf(coder);
    AppendBytes(&table, sizeof(table), bytes_);
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

EncodeImage::Strip EncodeImage::Append(const StripProfile& strip) {
  Strip at;
  at.mean = AppendBytes(strip.mean.data(), strip.mean.size() * sizeof(float), bytes_);
  at.inverse = AppendBytes(strip.inverse.data(), strip.inverse.size() * sizeof(float), bytes_);
  if (!strip.order.empty()) {
    at.order = AppendBytes(strip.order.data(), strip.order.size() * sizeof(std::uint16_t), bytes_);
  }
  return at;
}

void EncodeImage::PointAt(const std::byte* copy, std::uint32_t layer, std::size_t plane,
                          std::uint32_t head, EncodeStrip& strip) const {
  const Strip& at = strips_[2 * std::size_t{layer} + plane][head];
  strip.block = profile_->strip(layer, plane, head).block;
  strip.mean = reinterpret_cast<const float*>(copy + at.mean);
  strip.inverse = reinterpret_cast<const float*>(copy + at.inverse);
  if (at.order != 0) strip.order = reinterpret_cast<const std::uint16_t*>(copy + at.order);
}

}  // namespace kdn::codec

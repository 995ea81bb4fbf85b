#include "codec/lane/residual_directory.h"

#include <algorithm>
#include <iterator>

#include "codec/rans_blocks.h"

namespace kdn::codec {

bool ResidualDirectory::Open(ConstBytes tile, const std::byte* bytes_dev) {
  ByteReader in(tile);
  const auto at = [&] { return tile.size() - in.rest().size(); };
  const BlockCut cut(shape_.strip_values());
  for (std::size_t s = 0; s < shape_.strips(); ++s) {
    Strip& strip = strips_.emplace_back();
    strip.spreads = bytes_dev + at();
    (void)in.Bytes(shape_.head_size);
    strip.model = ReadModel(in, 6);
    for (std::size_t b = 0; b < cut.count() && in.ok(); ++b) {
      strip.sizes.push_back(ReadLeanSize(in, cut.Size(b)));
    }
    strip.bits_bytes = in.Integer<std::uint32_t>();
    strip.escapes_bytes = in.Integer<std::uint32_t>();
    if (!in.ok()) return false;
  }
  in.Zeros(RoundUp(at(), kBlockAlignment) - at());
  for (std::size_t s = 0; s < shape_.strips() && in.ok(); ++s) {
    Strip& strip = strips_[s];
    strip.blocks = bytes_dev + at();
    for (const LeanSize& size : strip.sizes) (void)in.Bytes(size.BlockBytes());
    strip.bits = bytes_dev + at();
    (void)in.Bytes(strip.bits_bytes);
    strip.escapes = bytes_dev + at();
    (void)in.Bytes(strip.escapes_bytes);
    if (in.ok()) in.Zeros(RoundUp(at(), kBlockAlignment) - at());
  }
  return in.AtEnd();
}

void ResidualDirectory::Describe(std::size_t strip, std::vector<LaneRun>& runs,
                                 std::vector<LaneBlock>& blocks) const {
  LaneRun run;
  run.mode = LaneRunMode::kRans;
  run.width = static_cast<std::uint16_t>(shape_.head_size);
  const BlockCut cut(shape_.strip_values());
  const std::byte* at = strips_[strip].blocks;
  for (std::size_t b = 0; b < cut.count(); ++b) {
    const LeanSize& size = strips_[strip].sizes[b];
    blocks.push_back({.states = at,
                      .words = size.bytes,
                      .tail = size.tail,
                      .count = static_cast<std::uint32_t>(cut.Size(b)),
                      .first = static_cast<std::uint32_t>(cut.Begin(b)),
                      .run = static_cast<std::uint32_t>(runs.size())});
    at += size.BlockBytes();
  }
  runs.push_back(run);
}

LaneTable SymbolTableOf(const RansModel& model) {
  RansTable decode;
  FillDecodeTable(model, decode);
  LaneTable table{};
  std::copy(std::begin(decode.slot), std::end(decode.slot), table.slot);
  table.ends = decode.ends;
  for (unsigned rank = 0; rank < kRansSymbolsMax; ++rank) {
    const unsigned off = (rank + 1) / 2;
    table.byte_of_rank[rank] =
        static_cast<std::uint8_t>(rank % 2 == 0 ? kLeanMiddle + off : kLeanMiddle - off);
  }
  return table;
}

}  // namespace kdn::codec

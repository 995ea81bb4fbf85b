#include "codec/lean_blocks.h"

namespace kdn::codec {

LeanSize ReadLeanSize(ByteReader& in, std::size_t symbols) {
  LeanSize size;
  size.bytes = in.Integer<std::uint16_t>();
  size.tail = in.Integer<std::uint8_t>();
  const std::size_t steps = LeanSteps(symbols);
  if (size.tail > steps || size.bytes > (steps - size.tail + 1) * kRansLanes) in.Fail();
  return size;
}

void AppendLeanBlocks(const Kernels& kernels, const RansEncodeTable& table,
                      std::span<const std::uint8_t> symbols, AlignedVector<std::byte>& room,
                      std::vector<std::byte>& directory, AlignedVector<std::byte>& data) {
  room.resize(kLeanHeadBytes + kBlockSymbolsMax);
  const BlockCut cut(symbols.size());
  for (std::size_t b = 0; b < cut.count(); ++b) {
    LeanSize size;
    const std::size_t used = kernels.lean_encode(table, symbols.data() + cut.Begin(b), cut.Size(b),
                                                 room.data(), &size.tail);
    size.bytes = static_cast<std::uint16_t>(used - kLeanHeadBytes);
    ByteWriter out(directory);
    out.Integer(size.bytes);
    out.Integer(size.tail);
    const std::byte* end = room.data() + kLeanHeadBytes + cut.Size(b);
    data.insert(data.end(), end - used, end);
    data.resize(RoundUp(data.size(), kBlockAlignment), std::byte{0});
  }
}

void LeanRun::Skip(std::size_t symbols) {
  const BlockCut cut(symbols);
  for (std::size_t b = 0; b < cut.count(); ++b) at += (sizes++)->BlockBytes();
}

void LeanRun::AddBlocks(const RansTable& table, std::size_t symbols, const std::byte* readable_end,
                        std::uint8_t* out, std::vector<RansBlock>& blocks) {
  const BlockCut cut(symbols);
  for (std::size_t b = 0; b < cut.count(); ++b, ++sizes) {
    blocks.push_back({.table = &table,
                      .states = at,
                      .end = at + kLeanHeadBytes + sizes->bytes,
                      .readable_end = readable_end,
                      .symbols = out + cut.Begin(b),
                      .count = cut.Size(b),
                      .tail = sizes->tail});
    at += sizes->BlockBytes();
  }
}

}  // namespace kdn::codec

#include "codec/lean_blocks.h"

#include <algorithm>

#include "codec/kernels/encode_kernels.h"

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
  constexpr std::size_t kRoom = kBlockSymbolsMax + 128;
  static_assert(kRoom >= kLeanHeadBytes + kBlockSymbolsMax);
  room.resize(2 * kRoom);
  const BlockCut cut(symbols.size());
  for (std::size_t b = 0; b < cut.count(); b += 2) {
    const std::size_t here = std::min<std::size_t>(2, cut.count() - b);
    LeanPiece pieces[2];
    for (std::size_t i = 0; i < here; ++i) {
      pieces[i].symbols = symbols.data() + cut.Begin(b + i);
      pieces[i].count = cut.Size(b + i);
      pieces[i].out = room.data() + i * kRoom;
    }
    if (here == 2) {
      kernels.encode->lean_encode_two(table, pieces);
    } else {
      LeanPiece& one = pieces[0];
      one.bytes = kernels.lean_encode(table, one.symbols, one.count, one.out, &one.tail);
    }
    for (const LeanPiece& piece : std::span(pieces).first(here)) {
      ByteWriter out(directory);
      out.Integer(static_cast<std::uint16_t>(piece.bytes - kLeanHeadBytes));
      out.Integer(piece.tail);
      const std::byte* end = piece.out + kLeanHeadBytes + piece.count;
      Append(data, end - piece.bytes, piece.bytes);
      data.resize(RoundUp(data.size(), kBlockAlignment), std::byte{0});
    }
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

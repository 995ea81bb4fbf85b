#include "codec/residual.h"

#include <array>
#include <cstring>
#include <span>

#include "codec/kernels/encode_kernels.h"
#include "codec/kernels/residual_words.h"
#include "codec/rans_blocks.h"
#include "codec/rans_model.h"

namespace kdn::codec {
namespace {

// Spreads, table, sizes of blocks, those of bits and escapes.
std::size_t DirectoryMax(const TileShape& shape) {
  constexpr std::size_t kTableBytesMax = 1 + 2 * kRansSymbolsMax;
  constexpr std::size_t kLeanSizeBytes = 3;
  return shape.strips() *
         (shape.head_size + kTableBytesMax +
          kLeanSizeBytes * BlockCut(shape.strip_values()).count() + 2 * sizeof(std::uint32_t));
}

}  // namespace

ResidualEncoder::ResidualEncoder(const Kernels& kernels, const TileShape& shape,
                                 AlignedVector<std::byte>& buffer, ResidualScratch& scratch)
    : kernels_(kernels), shape_(shape), scratch_(scratch), tile_(buffer, DirectoryMax(shape)) {
  constexpr std::size_t kWriteAhead = 8;
  scratch.directory.clear();
  scratch.symbols.resize(shape.strip_values());
  scratch.spreads.resize(shape.head_size);
  scratch.bits.resize(shape.strip_bytes() + kWriteAhead);
  scratch.escapes.resize(shape.strip_bytes());
}

void ResidualEncoder::Add(ConstBytes predicted, ConstBytes actual) {
  const auto type = static_cast<std::size_t>(shape_.dtype);
  const EncodeKernels& encode = *kernels_.encode;
  encode.spreads[type](predicted.data(), actual.data(), shape_.tokens, shape_.head_size,
                       scratch_.spreads.data());
  ResidualOut out{.symbols = scratch_.symbols.data(),
                  .bits = scratch_.bits.data(),
                  .escapes = scratch_.escapes.data()};
  encode.residual[type](predicted.data(), actual.data(), shape_.tokens, shape_.head_size,
                        scratch_.spreads.data(), out);
  Histogram histogram{};
  encode.count_symbols(out.symbols, shape_.strip_values(), histogram.data());
  ++histogram[kResidualEscape];  // a table has two symbols at least
  ++histogram[kResidualZero];
  const RansModel model = ModelOf(histogram);
  ByteWriter directory(scratch_.directory);
  directory.Bytes(std::as_bytes(std::span(scratch_.spreads)));
  const std::size_t at = scratch_.directory.size();
  scratch_.directory.resize(at + model.SizeBytes());
  WriteModel(model, scratch_.directory.data() + at);
  RansEncodeTable table;
  FillEncodeTable(model, table);
  AlignedVector<std::byte>& data = tile_.data();
  AppendLeanBlocks(kernels_, table, scratch_.symbols, scratch_.block, scratch_.directory, data);
  directory.Integer(static_cast<std::uint32_t>(out.bits_bytes));
  directory.Integer(static_cast<std::uint32_t>(out.escapes_bytes));
  Append(data, out.bits, out.bits_bytes);
  Append(data, out.escapes, out.escapes_bytes);
  data.resize(RoundUp(data.size(), kBlockAlignment), std::byte{0});
}

bool ResidualDecoder::Open(ConstBytes tile) {
  strips_.clear();
  ByteReader in(tile);
  std::vector<std::array<std::size_t, 2>> sizes;  // of bits and escapes
  const BlockCut cut(shape_.strip_values());
  for (std::size_t s = 0; s < shape_.strips(); ++s) {
    StripView& strip = strips_.emplace_back();
    strip.spreads = in.Bytes(shape_.head_size);
    const RansModel model = ReadModel(in, 6);
    if (!in.ok()) return false;
    FillDecodeTable(model, strip.table);
    for (std::size_t b = 0; b < cut.count(); ++b) {
      strip.sizes.push_back(ReadLeanSize(in, cut.Size(b)));
    }
    const std::size_t bits = in.Integer<std::uint32_t>();
    const std::size_t escapes = in.Integer<std::uint32_t>();
    if (!in.ok()) return false;
    sizes.push_back({bits, escapes});
  }
  const std::size_t directory = tile.size() - in.rest().size();
  in.Zeros(RoundUp(directory, kBlockAlignment) - directory);
  for (std::size_t s = 0; s < shape_.strips() && in.ok(); ++s) {
    StripView& strip = strips_[s];
    strip.blocks = in.rest().data();
    std::size_t taken = 0;
    for (const LeanSize& size : strip.sizes) taken += in.Bytes(size.BlockBytes()).size();
    strip.bits = in.Bytes(sizes[s][0]);
    strip.escapes = in.Bytes(sizes[s][1]);
    taken += sizes[s][0] + sizes[s][1];
    in.Zeros(RoundUp(taken, kBlockAlignment) - taken);
  }
  end_ = tile.data() + tile.size();
  return in.AtEnd();
}

bool ResidualDecoder::DecodeStrip(std::size_t strip, MutableBytes values) {
  const StripView& view = strips_[strip];
  scratch_.symbols.resize(shape_.strip_values());
  scratch_.blocks.clear();
  LeanRun run{view.blocks, view.sizes.data()};
  run.AddBlocks(view.table, shape_.strip_values(), end_, scratch_.symbols.data(), scratch_.blocks);
  if (!kernels_.lean_decode(scratch_.blocks.data(), scratch_.blocks.size())) return false;
  const Correction correction{.channels = shape_.head_size,
                              .tokens = shape_.tokens,
                              .spreads = reinterpret_cast<const std::int8_t*>(view.spreads.data()),
                              .symbols = scratch_.symbols.data(),
                              .bits = view.bits.data(),
                              .bits_bytes = view.bits.size(),
                              .escapes = view.escapes.data(),
                              .escapes_bytes = view.escapes.size(),
                              .readable_end = end_};
  return kernels_.correct[static_cast<std::size_t>(shape_.dtype)](correction, values.data());
}

}  // namespace kdn::codec

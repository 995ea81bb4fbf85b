#include <algorithm>
#include <cstring>

#include "codec/byte_planes.h"
#include "codec/plane_layout.h"
#include "codec/rans_blocks.h"
#include "codec/rans_model.h"

namespace kdn::codec {
namespace {

// One entry of the directory, as parsed. Offsets are from the tile's front.
struct Run {
  RunMode mode = RunMode::kRaw;
  std::uint8_t value = 0;          // of kConstant
  std::uint32_t model_offset = 0;  // of kRans: its table
  std::uint32_t words_offset = 0;  // of kRans: the word count of each block
  std::uint32_t data_offset = 0;
};

// Blocks on their way to the kernel, several strips at a time: kernels decode them side by side.
class BlockQueue {
 public:
  BlockQueue(const Kernels& kernels, ConstBytes tile) : kernels_(kernels), tile_(tile) {}

  // The table for the blocks added next; `model_offset` tells tables apart.
  void UseTable(const RansModel& model, std::uint32_t model_offset) {
    if (table_count_ > 0 && model_offset == model_offset_) return;
    if (table_count_ == kTables) Flush();
    model_offset_ = model_offset;
    FillDecodeTable(model, tables_[table_count_++]);
  }
  void Add(std::size_t offset, std::size_t words, std::uint8_t* symbols, std::size_t count) {
    if (block_count_ == kBlocks) RunKernel();
    const std::byte* states = tile_.data() + offset;
    blocks_[block_count_++] = {.table = &tables_[table_count_ - 1],
                               .states = states,
                               .end = states + kRansStateBytes + 2 * words,
                               .readable_end = tile_.data() + tile_.size(),
                               .symbols = symbols,
                               .count = count};
  }
  void Flush() {
    RunKernel();
    table_count_ = 0;
  }
  [[nodiscard]] bool good() const { return good_; }

 private:
  static constexpr std::size_t kTables = 4;
  static constexpr std::size_t kBlocks = 16;

  void RunKernel() {
    good_ = kernels_.rans_decode(blocks_.data(), block_count_) && good_;
    block_count_ = 0;
  }

  const Kernels& kernels_;
  ConstBytes tile_;
  std::array<RansTable, kTables> tables_;
  std::array<RansBlock, kBlocks> blocks_;
  std::size_t table_count_ = 0;
  std::size_t block_count_ = 0;
  std::uint32_t model_offset_ = 0;
  bool good_ = true;
};

std::uint16_t WordAt(ConstBytes bytes, std::size_t offset) {
  return static_cast<std::uint16_t>(static_cast<unsigned>(bytes[offset]) |
                                    (static_cast<unsigned>(bytes[offset + 1]) << 8));
}

class PlaneDecoder {
 public:
  // `wanted`: how many symbols of each run.
  PlaneDecoder(const TileShape& shape, ConstBytes tile, std::size_t wanted, Scratch& scratch)
      : layouts_(PlanesOf(shape.dtype)),
        strips_(shape.strips()),
        symbols_(shape.strip_values()),
        wanted_(wanted),
        cut_(symbols_),
        tile_(tile),
        runs_(scratch.Take<Run>(layouts_.size() * strips_)) {}

  // Reads the directory and lays out the data behind it. False unless all of it is there, within
  // bounds, padded with zeros, and nothing follows.
  bool Parse() {
    ByteReader in(tile_);
    for (std::size_t p = 0; p < layouts_.size() && in.ok(); ++p) ParsePlane(p, in);
    if (!in.ok()) return false;
    std::size_t at = tile_.size() - in.rest().size();
    if (!SkipPadding(at, kRunAlignment)) return false;
    for (std::size_t p = 0; p < layouts_.size(); ++p) {
      for (std::size_t s = 0; s < strips_; ++s) {
        if (!PlaceData(At(p, s), layouts_[p].raw_bits, at)) return false;
      }
    }
    return at == tile_.size();
  }

  // Points at, or decodes into `plane`, the symbols of one run.
  const std::uint8_t* Decode(std::size_t p, std::size_t s, std::uint8_t* plane,
                             const Kernels& kernels, BlockQueue& queue) {
    const Run& run = At(p, s);
    std::uint8_t* out = plane + s * symbols_;
    const std::byte* data = tile_.data() + run.data_offset;
    switch (run.mode) {
      case RunMode::kConstant:
        std::memset(out, run.value, wanted_);  // two bytes may stand for millions
        break;
      case RunMode::kRaw:
        if (layouts_[p].raw_bits == 8) return reinterpret_cast<const std::uint8_t*>(data);
        kernels.unpack(layouts_[p].raw_bits, data, symbols_, out);
        break;
      case RunMode::kRans:
        QueueBlocks(run, layouts_[p].bits, out, queue);
        break;
    }
    return out;
  }

 private:
  Run& At(std::size_t plane, std::size_t strip) { return runs_[plane * strips_ + strip]; }
  [[nodiscard]] std::uint32_t OffsetOf(const ByteReader& in) const {
    return static_cast<std::uint32_t>(tile_.size() - in.rest().size());
  }

  void ParsePlane(std::size_t p, ByteReader& in) {
    const unsigned bits = layouts_[p].bits;
    const auto shared = in.Integer<std::uint8_t>();
    if (shared > 1) in.Fail();
    const std::uint32_t shared_offset = OffsetOf(in);
    if (shared == 1) (void)ReadModel(in, bits);
    for (std::size_t s = 0; s < strips_ && in.ok(); ++s) {
      Run& run = At(p, s);
      const auto mode = in.Integer<std::uint8_t>();
      if (mode > static_cast<std::uint8_t>(RunMode::kRans)) in.Fail();
      run.mode = static_cast<RunMode>(mode);
      if (run.mode == RunMode::kConstant) {
        run.value = in.Integer<std::uint8_t>();
        if ((run.value >> bits) != 0) in.Fail();
      } else if (run.mode == RunMode::kRans) {
        run.model_offset = shared == 1 ? shared_offset : OffsetOf(in);
        if (shared == 0) (void)ReadModel(in, bits);
        run.words_offset = OffsetOf(in);
        (void)in.Bytes(2 * cut_.count());
      }
    }
  }

  bool PlaceData(Run& run, unsigned raw_bits, std::size_t& at) {
    run.data_offset = static_cast<std::uint32_t>(at);
    if (run.mode == RunMode::kConstant) return true;
    if (run.mode == RunMode::kRaw) {
      at += RawRunBytes(symbols_, raw_bits);
      return SkipPadding(at, kRunAlignment);
    }
    for (std::size_t b = 0; b < cut_.count(); ++b) {
      const std::size_t words = WordAt(tile_, run.words_offset + 2 * b);
      if (words > cut_.Size(b)) return false;
      at += kRansStateBytes + 2 * words;
      if (!SkipPadding(at, kBlockAlignment)) return false;
    }
    return SkipPadding(at, kRunAlignment);
  }

  // Moves `at` to the next multiple; false if that is outside or not all zeros.
  bool SkipPadding(std::size_t& at, std::size_t alignment) const {
    const std::size_t end = RoundUp(at, alignment);
    if (end > tile_.size()) return false;
    for (; at < end; ++at) {
      if (tile_[at] != std::byte{0}) return false;
    }
    return true;
  }

  void QueueBlocks(const Run& run, unsigned bits, std::uint8_t* out, BlockQueue& queue) const {
    ByteReader in(tile_.subspan(run.model_offset));
    queue.UseTable(ReadModel(in, bits), run.model_offset);
    std::size_t at = run.data_offset;
    for (std::size_t b = 0; b < cut_.count(); ++b) {
      const std::size_t words = WordAt(tile_, run.words_offset + 2 * b);
      queue.Add(at, words, out + cut_.Begin(b), cut_.Size(b));
      at += BlockBytes(words);
    }
  }

  std::span<const PlaneLayout> layouts_;
  std::size_t strips_;
  std::size_t symbols_;  // of one run
  std::size_t wanted_;
  BlockCut cut_;
  ConstBytes tile_;
  std::span<Run> runs_;  // plane by plane
};

}  // namespace

std::size_t DecodePlanesRoom(const TileShape& shape) {
  const std::size_t planes = PlanesOf(shape.dtype).size();
  return Scratch::Room<Run>(planes * shape.strips()) +
         planes * Scratch::Room<std::uint8_t>(shape.values());
}

bool DecodeBytePlanes(const Kernels& kernels, const TileShape& shape, ConstBytes tile,
                      std::span<const std::uint8_t> wanted, std::size_t tokens, Scratch& scratch,
                      std::span<ConstPlanePointers> strips) {
  PlaneDecoder decoder(shape, tile, tokens * shape.head_size, scratch);
  if (!decoder.Parse()) return false;
  BlockQueue queue(kernels, tile);
  for (std::size_t p = 0; p < PlanesOf(shape.dtype).size(); ++p) {
    std::uint8_t* plane = scratch.Take<std::uint8_t>(shape.values()).data();
    for (std::size_t s = 0; s < shape.strips(); ++s) {
      if (wanted[s] != 0) strips[s][p] = decoder.Decode(p, s, plane, kernels, queue);
    }
  }
  queue.Flush();
  return queue.good();
}

}  // namespace kdn::codec

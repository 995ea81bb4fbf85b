#include <algorithm>
#include <cstring>

#include "codec/byte_planes.h"
#include "codec/plane_layout.h"
#include "codec/rans_blocks.h"
#include "codec/rans_model.h"

namespace kdn::codec {
namespace {

// States cost 128 bytes a block but carry about 32 bytes of what the words would otherwise.
constexpr std::uint64_t kBlockCostBytes = kRansStateBytes - 32 + 2;

struct RunPlan {
  RunMode mode = RunMode::kRaw;
  std::uint8_t value = 0;  // of kConstant
  RansModel model;         // of kRans, unless the plane shares one
};

struct PlanePlan {
  bool shared = false;  // one table for all runs of the plane
  RansModel model;      // that table
};

// Whether rANS saves nothing of a run that a part of says enough of: mantissas, which are half of
// all symbols, and bytes that were compressed before need not be counted to the end. True if there
// are too many different ones already at the front, or if samples of a long run are noise.
bool IsNoiseRun(std::span<const std::uint8_t> symbols, unsigned raw_bits) {
  constexpr std::size_t kFront = 1024;
  Histogram histogram{};
  CountSymbols(symbols.first(std::min(symbols.size(), kFront)), histogram);
  if (DistinctSymbols(histogram) > kRansSymbolsMax) return true;
  if (symbols.size() < kNoiseRunMin) return false;
  std::array<std::uint8_t, kNoiseSamples * kNoiseSampleSymbols> samples;
  const std::size_t step = (symbols.size() - kNoiseSampleSymbols) / (kNoiseSamples - 1);
  for (std::size_t i = 0; i < kNoiseSamples; ++i) {
    std::memcpy(samples.data() + i * kNoiseSampleSymbols, symbols.data() + i * step,
                kNoiseSampleSymbols);
  }
  return IsNoise(samples, raw_bits);
}

// Writes a tile front to back and refuses what does not fit.
class TileWriter {
 public:
  explicit TileWriter(MutableBytes out) : out_(out) {}

  // `count` bytes to fill in; null when the tile is full.
  std::byte* Reserve(std::size_t count) {
    if (full_ || out_.size() - size_ < count) {
      full_ = true;
      return nullptr;
    }
    std::byte* at = out_.data() + size_;
    size_ += count;
    return at;
  }
  void Byte(std::uint8_t value) {
    if (std::byte* at = Reserve(1)) *at = std::byte{value};
  }
  void Model(const RansModel& model) {
    if (std::byte* at = Reserve(model.SizeBytes())) WriteModel(model, at);
  }
  void PadTo(std::size_t alignment) {
    const std::size_t count = RoundUp(size_, alignment) - size_;
    if (std::byte* at = Reserve(count)) std::memset(at, 0, count);
  }
  [[nodiscard]] bool full() const { return full_; }
  [[nodiscard]] std::size_t size() const { return size_; }

 private:
  MutableBytes out_;
  std::size_t size_ = 0;
  bool full_ = false;
};

class PlaneEncoder {
 public:
  PlaneEncoder(const Kernels& kernels, const TileShape& shape, Scratch& scratch)
      : kernels_(kernels),
        layouts_(PlanesOf(shape.dtype)),
        strips_(shape.strips()),
        symbols_(shape.strip_values()),
        cut_(symbols_),
        runs_(scratch.Take<RunPlan>(layouts_.size() * strips_)),
        words_(scratch.Take<std::uint16_t>(kBlockSymbolsMax)) {}

  std::size_t Encode(const PlanePointers& planes, MutableBytes out) {
    for (std::size_t p = 0; p < layouts_.size(); ++p) PlanRuns(p, planes[p]);
    if (AllRawBytes() > out.size()) return 0;
    TileWriter writer(out);
    for (std::size_t p = 0; p < layouts_.size(); ++p) WriteDirectory(p, writer);
    writer.PadTo(kRunAlignment);
    std::byte* sizes = out.data();
    for (std::size_t p = 0; p < layouts_.size() && !writer.full(); ++p) {
      sizes += 1 + (planes_[p].shared ? planes_[p].model.SizeBytes() : 0);
      for (std::size_t s = 0; s < strips_ && !writer.full(); ++s) {
        sizes = WriteRun(p, s, planes[p] + s * symbols_, sizes, writer);
      }
    }
    return writer.full() ? 0 : writer.size();
  }

 private:
  // What the runs take if nothing is gained by any of them; else 0.
  [[nodiscard]] std::size_t AllRawBytes() const {
    if (std::ranges::any_of(runs_, [](const RunPlan& run) { return run.mode != RunMode::kRaw; })) {
      return 0;
    }
    std::size_t bytes = 0;
    for (const PlaneLayout& layout : layouts_) bytes += RawRunBytes(symbols_, layout.raw_bits);
    return bytes * strips_;
  }

  RunPlan& Run(std::size_t plane, std::size_t strip) { return runs_[plane * strips_ + strip]; }

  // Bytes of all blocks of a run whose symbols take `bits`.
  [[nodiscard]] std::uint64_t BlocksCost(std::uint64_t bits) const {
    return bits / 8 + cut_.count() * kBlockCostBytes;
  }

  // Decides for every run of a plane how it is coded: with tables of their own, or with one for
  // all, whichever is smaller together. A table costs about 35 bytes; heads and layers differ by
  // about 1 % of a run, so tiles of many short strips share.
  void PlanRuns(std::size_t plane, const std::uint8_t* symbols) {
    const std::uint64_t raw_bytes = RawRunBytes(symbols_, layouts_[plane].raw_bits);
    Histogram all{};
    std::uint64_t own_bytes = 0;
    std::size_t varying = 0;
    bool sharable = true;
    for (std::size_t s = 0; s < strips_; ++s) {
      const std::span<const std::uint8_t> run_symbols(symbols + s * symbols_, symbols_);
      if (IsNoiseRun(run_symbols, layouts_[plane].raw_bits)) {  // raw, as a new plan is
        own_bytes += raw_bytes;
        sharable = false;
        continue;
      }
      Histogram histogram{};
      CountSymbols(run_symbols, histogram);
      RunPlan& run = Run(plane, s);
      const std::size_t distinct = DistinctSymbols(histogram);
      if (distinct == 1) {
        run.mode = RunMode::kConstant;
        run.value = run_symbols[0];
        continue;
      }
      ++varying;
      for (std::size_t i = 0; i < all.size(); ++i) all[i] += histogram[i];
      std::uint64_t bytes = raw_bytes;
      if (distinct <= kRansSymbolsMax) {
        run.model = ModelOf(histogram);
        bytes = run.model.SizeBytes() + BlocksCost(CostBits(histogram, run.model));
      }
      run.mode = bytes < raw_bytes ? RunMode::kRans : RunMode::kRaw;
      own_bytes += std::min(bytes, raw_bytes);
    }
    if (sharable && varying > 0) PlanSharing(plane, all, varying, own_bytes);
  }

  void PlanSharing(std::size_t plane, const Histogram& all, std::size_t varying,
                   std::uint64_t own_bytes) {
    if (DistinctSymbols(all) > kRansSymbolsMax) return;
    const RansModel model = ModelOf(all);
    const std::uint64_t blocks = BlocksCost(CostBits(all, model)) + (varying - 1) * BlocksCost(0);
    if (model.SizeBytes() + blocks >= own_bytes) return;
    planes_[plane] = {.shared = true, .model = model};
    for (std::size_t s = 0; s < strips_; ++s) {
      if (Run(plane, s).mode != RunMode::kConstant) Run(plane, s).mode = RunMode::kRans;
    }
  }

  void WriteDirectory(std::size_t plane, TileWriter& writer) {
    const PlanePlan& plan = planes_[plane];
    writer.Byte(plan.shared ? 1 : 0);
    if (plan.shared) writer.Model(plan.model);
    for (std::size_t s = 0; s < strips_; ++s) {
      const RunPlan& run = Run(plane, s);
      writer.Byte(static_cast<std::uint8_t>(run.mode));
      if (run.mode == RunMode::kConstant) writer.Byte(run.value);
      if (run.mode == RunMode::kRans) {
        if (!plan.shared) writer.Model(run.model);
        writer.Reserve(2 * cut_.count());  // words of each block: WriteBlocks() fills them in
      }
    }
  }

  // Appends the run's data. `entry` is its place in the directory; returns the next run's.
  std::byte* WriteRun(std::size_t plane, std::size_t strip, const std::uint8_t* symbols,
                      std::byte* entry, TileWriter& writer) {
    const RunPlan& run = Run(plane, strip);
    ++entry;
    if (run.mode == RunMode::kConstant) return entry + 1;
    if (run.mode == RunMode::kRaw) {
      WriteRaw(layouts_[plane].raw_bits, symbols, writer);
    } else {
      const PlanePlan& plan = planes_[plane];
      if (!plan.shared) entry += run.model.SizeBytes();
      WriteBlocks(plan.shared ? plan.model : run.model, symbols, entry, writer);
      entry += 2 * cut_.count();
    }
    writer.PadTo(kRunAlignment);
    return entry;
  }

  void WriteRaw(unsigned raw_bits, const std::uint8_t* symbols, TileWriter& writer) {
    const std::size_t size = RawRunBytes(symbols_, raw_bits);
    std::byte* at = writer.Reserve(size);
    if (at == nullptr) return;
    if (raw_bits == 8) {
      std::memcpy(at, symbols, size);
    } else {
      kernels_.pack(raw_bits, symbols, symbols_, at);
    }
  }

  void WriteBlocks(const RansModel& model, const std::uint8_t* symbols, std::byte* sizes,
                   TileWriter& writer) {
    RansEncodeTable table;
    FillEncodeTable(model, table);
    for (std::size_t b = 0; b < cut_.count(); ++b) {
      const std::size_t count = cut_.Size(b);
      std::uint32_t states[kRansLanes];
      const std::size_t used =
          kernels_.rans_encode(table, symbols + cut_.Begin(b), count, words_.data(), states);
      std::byte* at = writer.Reserve(kRansStateBytes + 2 * used);
      if (at == nullptr) return;
      std::memcpy(at, states, kRansStateBytes);
      std::memcpy(at + kRansStateBytes, words_.data() + (count - used), 2 * used);
      const auto words = static_cast<std::uint16_t>(used);
      std::memcpy(sizes + 2 * b, &words, sizeof(words));
      writer.PadTo(kBlockAlignment);
    }
  }

  const Kernels& kernels_;
  std::span<const PlaneLayout> layouts_;
  std::size_t strips_;
  std::size_t symbols_;  // of one run
  BlockCut cut_;
  std::span<RunPlan> runs_;  // plane by plane
  std::span<std::uint16_t> words_;
  std::array<PlanePlan, kPlanesMax> planes_{};
};

}  // namespace

bool IsNoise(std::span<const std::uint8_t> samples, unsigned raw_bits) {
  Histogram histogram{};
  CountSymbols(samples, histogram);
  const std::size_t distinct = DistinctSymbols(histogram);
  if (distinct < 2) return false;
  if (distinct > kRansSymbolsMax) return true;
  // What blocks cost is left out: it decides where so little is at stake that counting may, too.
  return CostBits(histogram, ModelOf(histogram)) * 200 >= samples.size() * raw_bits * 199;
}

std::size_t EncodePlanesRoom(const TileShape& shape) {
  return Scratch::Room<RunPlan>(PlanesOf(shape.dtype).size() * shape.strips()) +
         Scratch::Room<std::uint16_t>(kBlockSymbolsMax);
}

std::size_t EncodeBytePlanes(const Kernels& kernels, const TileShape& shape,
                             const PlanePointers& planes, MutableBytes out, Scratch& scratch) {
  return PlaneEncoder(kernels, shape, scratch).Encode(planes, out);
}

}  // namespace kdn::codec

// Decoding of symbols alone: the codec's rANS on one core against the arithmetic coder that
// CacheGen uses and against zstd -1, each given the same Gaussian symbols.
#include <zstd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "codec/kernels/select.h"
#include "codec/lean_blocks.h"
#include "codec/rans_model.h"
#include "tests/bench/bars.h"
#include "tests/bench/torchac_coder.h"

namespace {

using namespace kdn;         // NOLINT: a program of one file
using namespace kdn::bench;  // NOLINT
using codec::Kernels;
using codec::RansBlock;

constexpr std::size_t kSymbols = std::size_t{1} << 23;
constexpr std::size_t kTorchacSymbols = std::size_t{1} << 19;  // it takes its time
constexpr std::size_t kStreamTokens = 256;                     // of one channel of CacheGen
constexpr std::size_t kZstdBlock = std::size_t{256} << 10;
constexpr int kZstdLevel = 1;
constexpr int kRuns = 7;
constexpr std::size_t kClassSymbols = 16 * 256;  // 16 components of 256 tokens
constexpr double kTorchacBar = 80.0;
constexpr double kZstdBar = 1.8;

// Bins of one unit around zero, symbols from 0; of the middle 2 · half + 1 bins.
std::vector<std::uint8_t> GaussianSymbols(double deviation, int half) {
  std::vector<std::uint8_t> symbols(kSymbols);
  std::mt19937_64 random(7);
  std::normal_distribution<double> normal(0.0, deviation);
  for (std::uint8_t& s : symbols) {
    const auto bin = static_cast<int>(std::lrint(normal(random)));
    s = static_cast<std::uint8_t>(std::clamp(bin, -half, half) + half);
  }
  return symbols;
}

double EntropyOf(std::span<const std::uint8_t> symbols) {
  codec::Histogram histogram{};
  codec::CountSymbols(symbols, histogram);
  double bits = 0.0;
  for (const std::uint32_t count : histogram) {
    const double p = static_cast<double>(count) / static_cast<double>(symbols.size());
    if (count > 0) bits -= p * std::log2(p);
  }
  return bits;
}

// Each side holds what it coded and gives back the symbols; all of them are checked once.
class Rans {
 public:
  // A table for every `run` symbols.
  Rans(const Kernels& kernels, std::span<const std::uint8_t> symbols, std::size_t run)
      : kernels_(kernels), tables_((symbols.size() + run - 1) / run), out_(symbols.size()) {
    codec::AlignedVector<std::byte> room;
    std::vector<codec::LeanSize> sizes;
    for (std::size_t at = 0; at < symbols.size(); at += run) {
      const auto part = symbols.subspan(at, std::min(run, symbols.size() - at));
      codec::Histogram histogram{};
      codec::CountSymbols(part, histogram);
      const codec::RansModel model = codec::ModelOf(histogram);
      codec::FillDecodeTable(model, tables_[at / run]);
      codec::RansEncodeTable encode;
      codec::FillEncodeTable(model, encode);
      std::vector<std::byte> directory;
      codec::AppendLeanBlocks(kernels, encode, part, room, directory, coded_);
      directory_bytes_ += directory.size();
      ByteReader in(directory);
      const codec::BlockCut cut(part.size());
      for (std::size_t b = 0; b < cut.count(); ++b) {
        sizes.push_back(codec::ReadLeanSize(in, cut.Size(b)));
      }
    }
    codec::LeanRun next{coded_.data(), sizes.data()};
    for (std::size_t at = 0; at < symbols.size(); at += run) {
      next.AddBlocks(tables_[at / run], std::min(run, symbols.size() - at),
                     coded_.data() + coded_.size(), out_.data() + at, blocks_);
    }
  }
  Rans(const Rans&) = delete;

  bool Decode() { return kernels_.lean_decode(blocks_.data(), blocks_.size()); }
  // Without tables.
  [[nodiscard]] std::size_t bytes() const { return directory_bytes_ + coded_.size(); }
  [[nodiscard]] std::span<const std::uint8_t> decoded() const { return out_; }

 private:
  const Kernels& kernels_;
  std::vector<codec::RansTable> tables_;
  std::size_t directory_bytes_ = 0;
  codec::AlignedVector<std::byte> coded_;
  std::vector<RansBlock> blocks_;
  std::vector<std::uint8_t> out_;
};

// Streams of 256 symbols, one table for all: kinder than one for each channel.
class Torchac {
 public:
  explicit Torchac(std::span<const std::uint8_t> symbols) : out_(kTorchacSymbols) {
    TorchacFillTable(symbols, table_);
    for (std::size_t at = 0; at < kTorchacSymbols; at += kStreamTokens) {
      begins_.push_back(coded_.size());
      TorchacEncode(table_, symbols.subspan(at, kStreamTokens), coded_);
    }
    begins_.push_back(coded_.size());
  }
  void Decode() {
    for (std::size_t s = 0; s + 1 < begins_.size(); ++s) {
      TorchacDecode(table_, std::span(coded_).subspan(begins_[s], begins_[s + 1] - begins_[s]),
                    std::span(out_).subspan(s * kStreamTokens, kStreamTokens));
    }
  }
  [[nodiscard]] std::size_t bytes() const { return coded_.size(); }
  [[nodiscard]] std::span<const std::uint8_t> decoded() const { return out_; }

 private:
  TorchacTable table_;
  std::vector<std::byte> coded_;
  std::vector<std::size_t> begins_;
  std::vector<std::uint8_t> out_;
};

class Zstd {
 public:
  explicit Zstd(std::span<const std::uint8_t> symbols)
      : context_(ZSTD_createDCtx()), out_(symbols.size()) {
    std::vector<std::byte> block(ZSTD_compressBound(kZstdBlock));
    for (std::size_t at = 0; at < symbols.size(); at += kZstdBlock) {
      const std::size_t size =
          ZSTD_compress(block.data(), block.size(), symbols.data() + at, kZstdBlock, kZstdLevel);
      begins_.push_back(coded_.size());
      coded_.insert(coded_.end(), block.begin(), block.begin() + static_cast<std::ptrdiff_t>(size));
    }
    begins_.push_back(coded_.size());
  }
  Zstd(const Zstd&) = delete;
  ~Zstd() { ZSTD_freeDCtx(context_); }

  void Decode() {
    for (std::size_t b = 0; b + 1 < begins_.size(); ++b) {
      (void)ZSTD_decompressDCtx(context_, out_.data() + b * kZstdBlock, kZstdBlock,
                                coded_.data() + begins_[b], begins_[b + 1] - begins_[b]);
    }
  }
  [[nodiscard]] std::size_t bytes() const { return coded_.size(); }
  [[nodiscard]] std::span<const std::uint8_t> decoded() const { return out_; }

 private:
  ZSTD_DCtx* context_;
  std::vector<std::byte> coded_;
  std::vector<std::size_t> begins_;
  std::vector<std::uint8_t> out_;
};

// Time on a core: what waits for other programs is not counted.
template <class Work>
double CpuSeconds(const Work& work) {
  const std::clock_t begin = std::clock();
  work();
  return static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC;
}

void CheckDecoded(const char* who, std::span<const std::uint8_t> got,
                  std::span<const std::uint8_t> want) {
  if (std::ranges::equal(got, want.first(got.size()))) return;
  std::fprintf(stderr, "rans_bench: %s does not give back what it was given\n", who);
  std::exit(2);
}

void Compare(const Kernels& kernels, double deviation, int half, Bars& bars) {
  const std::vector<std::uint8_t> symbols = GaussianSymbols(deviation, half);
  std::vector<std::uint8_t> centred = symbols;  // as levels have them
  for (std::uint8_t& s : centred) s = static_cast<std::uint8_t>(s + int{codec::kLeanMiddle} - half);
  Rans rans(kernels, centred, centred.size());
  Rans classes(kernels, centred, kClassSymbols);
  Torchac torchac(symbols);
  Zstd zstd(symbols);
  // One after the other, so that whatever else runs disturbs all alike.
  double seconds[4] = {1e9, 1e9, 1e9, 1e9};
  for (int run = 0; run < kRuns; ++run) {
    seconds[0] = std::min(seconds[0], CpuSeconds([&] { (void)rans.Decode(); }));
    seconds[1] = std::min(seconds[1], CpuSeconds([&] { torchac.Decode(); }));
    seconds[2] = std::min(seconds[2], CpuSeconds([&] { zstd.Decode(); }));
    seconds[3] = std::min(seconds[3], CpuSeconds([&] { (void)classes.Decode(); }));
  }
  CheckDecoded("rANS", rans.decoded(), centred);
  CheckDecoded("rANS of many tables", classes.decoded(), centred);
  CheckDecoded("torchac", torchac.decoded(), symbols);
  CheckDecoded("zstd", zstd.decoded(), symbols);
  const double ours = kSymbols / seconds[0] / 1e9;
  const double theirs = kTorchacSymbols / seconds[1] / 1e9;
  const double zstds = kSymbols / seconds[2] / 1e9;
  const double entropy = EntropyOf(symbols);
  std::printf("entropy %.3f bits: rANS (%s) %.3f, torchac without its tables %.3f, zstd -1 %.3f\n",
              entropy, std::string(kernels.name).c_str(),
              8.0 * static_cast<double>(rans.bytes()) / kSymbols,
              8.0 * static_cast<double>(torchac.bytes()) / kTorchacSymbols,
              8.0 * static_cast<double>(zstd.bytes()) / kSymbols);
  const double many = kSymbols / seconds[3] / 1e9;
  std::printf("a table for every %zu symbols, as a profile's classes have: %.2f G symbols/s\n",
              kClassSymbols, many);
  bars.AddFigures({.labels = {{"tables", "one a class"}},
                   .numbers = {{"entropy", {entropy}}, {"G symbols/s", {many}}}});
  char at[32];
  std::snprintf(at, sizeof(at), " at %.1f bits", entropy);
  bars.Add({std::string("rANS against torchac") + at, ours, theirs, "G symbols/s",
            Bar::Side::kAtLeast, kTorchacBar});
  bars.Add({std::string("rANS against zstd -1") + at, ours, zstds, "G symbols/s",
            Bar::Side::kAtLeast, kZstdBar});
  bars.Add({std::string("rANS, a table a class, against torchac") + at, many, theirs, "G symbols/s",
            Bar::Side::kAtLeast, kTorchacBar});
  bars.Add({std::string("rANS, a table a class, against zstd -1") + at, many, zstds, "G symbols/s",
            Bar::Side::kAtLeast, kZstdBar});
}

}  // namespace

int main(int argc, char** argv) {
  Bars bars(
      ParseBarsOptions(argc, argv, "rANS decoding against an arithmetic coder and zstd, one core"));
  const auto kernels = codec::SelectKernels(bars.options().kernels);
  if (!kernels) {
    std::fprintf(stderr, "rans_bench: %s\n", kernels.error().ToString().c_str());
    return 2;
  }

  Compare(**kernels, 1.033, 7, bars);   // 2.1 bits
  Compare(**kernels, 2.074, 15, bars);  // 3.1 bits
  return bars.Finish();
}

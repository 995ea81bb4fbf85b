// Encoding of all levels on one core against a torchac-style coder, as CacheGen has it, on the same
// tensors: chunks of Llama-3.1-8B's shape, Gaussian, keys turned. Both sides in one run, in the
// time that the thread computes, stage by stage.
//
// What the bar is held to is one level of the coder (CacheGen's default bins), quantiser and tables
// included, against all four of ours, exact among them: where the bars mean three levels side by
// side they say so. Printed beside it is what the coder takes for what our object holds: its three
// levels side by side, and those with the exact bits, exponents coded and the rest copied.
//
// Profiles are the choices that a learner has, with their bins, learned from other values than are
// coded. Each is held to the bar, and so is none.
#include <time.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "codec/aligned_vector.h"
#include "codec/codec_scratch.h"
#include "codec/kernels/encode_kernels.h"
#include "codec/kernels/float_bits.h"
#include "codec/kernels/select.h"
#include "codec/object_codec.h"
#include "codec/profile_learner.h"
#include "codec/rans_model.h"
#include "tests/bench/bars.h"
#include "tests/bench/codec_pages.h"
#include "tests/bench/report.h"
#include "tests/bench/torchac_coder.h"
#include "tests/codec/profile_ids.h"

namespace {

using namespace kdn;         // NOLINT: a program of one file
using namespace kdn::codec;  // NOLINT
using namespace kdn::bench;  // NOLINT

constexpr double kBar = 40.0;
constexpr std::uint32_t kLayers = 32;
constexpr std::size_t kChannels = 1024;  // of all heads
constexpr int kLearnedSeed = 1000;       // of no chunk that is coded

// Seconds that this thread computes, the fastest of `runs`: other programs' share is not counted.
double BestCpuSeconds(int runs, const std::function<void()>& work) {
  const auto now = [] {
    timespec time{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
  };
  double best = 1e9;
  for (int run = 0; run < runs; ++run) {
    const double begin = now();
    work();
    best = std::min(best, now() - begin);
  }
  return best;
}

// G values a second.
double Rate(std::size_t values, double seconds) {
  return static_cast<double>(values) / seconds / 1e9;
}

// CacheGen's bins of a layer: level 2 is what it ships for models of 32 layers.
unsigned BinsOf(int level, std::uint32_t layer, bool keys) {
  if (level == 3) return 32;
  const std::uint32_t first = keys ? 10 : 2;
  if (level == 2) return layer < first ? 32 : 16;
  const std::uint32_t second = keys ? 20 : 2;
  return layer < second ? 16 : 12;
}

// The torchac side: one chunk of floats, [layer][K|V][token][channel].
class TheirSide {
 public:
  explicit TheirSide(std::span<const std::byte> words) : values_(words.size() / 2) {
    for (std::size_t i = 0; i < values_.size(); ++i) {
      std::uint16_t word = 0;
      std::memcpy(&word, words.data() + 2 * i, 2);
      values_[i] = Bf16Number::ToFloat(word);
    }
    planes_.resize(2 * kLayers);
  }
  // G values a second of one level, or of all three.
  double Encode(int runs, int first_level, int last_level) {
    std::vector<std::uint8_t> symbols;
    const double seconds = BestCpuSeconds(runs, [&] {
      for (int level = first_level; level <= last_level; ++level) {
        for (std::size_t p = 0; p < planes_.size(); ++p) {
          const unsigned bins = BinsOf(level, static_cast<std::uint32_t>(p / 2), p % 2 == 0);
          TorchacEncodePlane(Plane(p), kChunkTokens, kChannels, bins, symbols, planes_[p]);
        }
      }
    });
    return Rate(values_.size(), seconds);
  }
  // The values' own bits: exponents coded, those that 31 symbols do not reach and all other bits
  // copied. G values a second, bits a value into *bits.
  double EncodeExactly(int runs, std::span<const std::byte> words, double* bits) {
    constexpr std::size_t kPlane = kChunkTokens * kChannels;
    std::size_t bytes = 0;
    const double seconds = BestCpuSeconds(runs, [&] {
      bytes = 0;
      for (std::size_t p = 0; p < planes_.size(); ++p) {
        bytes += ExactPlane(words.subspan(p * 2 * kPlane, 2 * kPlane));
      }
    });
    *bits = 8.0 * static_cast<double>(bytes) / static_cast<double>(values_.size());
    return Rate(values_.size(), seconds);
  }
  // The arithmetic coder alone, symbols and tables at hand.
  double Code(int runs, double* bits) {
    std::vector<std::uint8_t> symbols(kChunkTokens * kChannels);
    std::vector<float> scales(kChunkTokens);
    std::vector<TorchacTable> tables(kChannels);
    std::vector<std::byte> code;
    TorchacQuantise(Plane(0), kChunkTokens, kChannels, 32, symbols, scales);
    const auto lane = [&](std::size_t c) {
      return std::span<const std::uint8_t>(symbols).subspan(c * kChunkTokens, kChunkTokens);
    };
    for (std::size_t c = 0; c < kChannels; ++c) TorchacFillTable(lane(c), tables[c]);
    const double seconds = BestCpuSeconds(runs, [&] {
      code.clear();
      for (std::size_t c = 0; c < kChannels; ++c) TorchacEncode(tables[c], lane(c), code);
    });
    *bits = 8.0 * static_cast<double>(code.size()) / static_cast<double>(symbols.size());
    return Rate(symbols.size(), seconds);
  }
  // Whether every plane gives back its symbols' values.
  bool ComesBack() const {
    std::vector<float> decoded(kChunkTokens * kChannels);
    for (std::size_t p = 0; p < planes_.size(); p += 21) {
      TorchacDecodePlane(planes_[p], decoded);
      const float half_bin = 0.5F / static_cast<float>(planes_[p].bins / 2 - 1);
      for (std::size_t i = 0; i < decoded.size(); ++i) {
        const float bound = planes_[p].scales[i / kChannels] * half_bin * 1.001F;
        if (!(std::abs(decoded[i] - Plane(p)[i]) <= bound)) return false;
      }
    }
    return true;
  }

 private:
  [[nodiscard]] std::span<const float> Plane(std::size_t p) const {
    return std::span(values_).subspan(p * kChunkTokens * kChannels, kChunkTokens * kChannels);
  }
  // Bytes of one layer's keys or values, [token][channel].
  std::size_t ExactPlane(std::span<const std::byte> words) {
    const std::size_t count = words.size() / 2;
    symbols_.resize(count);
    code_.clear();
    rest_.clear();
    unsigned largest = 0;
    for (std::size_t i = 0; i < count; ++i) largest = std::max(largest, Exponent(words, i));
    const unsigned first = largest > 30 ? largest - 30 : 0;  // symbol 1
    for (std::size_t c = 0; c < kChannels; ++c) {
      for (std::size_t t = 0; t < kChunkTokens; ++t) {
        const std::size_t i = t * kChannels + c;
        const unsigned exponent = Exponent(words, i);
        const bool escapes = exponent < first;
        symbols_[c * kChunkTokens + t] =
            static_cast<std::uint8_t>(escapes ? 0 : exponent - first + 1);
        // Sign and mantissa.
        rest_.push_back((words[2 * i] & std::byte{0x7F}) | (words[2 * i + 1] & std::byte{0x80}));
        if (escapes) rest_.push_back(static_cast<std::byte>(exponent));
      }
      const auto lane =
          std::span<const std::uint8_t>(symbols_).subspan(c * kChunkTokens, kChunkTokens);
      TorchacTable table;
      TorchacFillTable(lane, table);
      TorchacEncode(table, lane, code_);
    }
    return code_.size() + rest_.size() + kChannels * (sizeof(TorchacTable) + 4);
  }
  static unsigned Exponent(std::span<const std::byte> words, std::size_t i) {
    std::uint16_t word = 0;
    std::memcpy(&word, words.data() + 2 * i, 2);
    return (word >> 7) & 0xFFU;
  }

  std::vector<float> values_;
  std::vector<TorchacPlane> planes_;
  std::vector<std::uint8_t> symbols_;
  std::vector<std::byte> code_;
  std::vector<std::byte> rest_;
};

class OurSide {
 public:
  explicit OurSide(int chunks) : spec_(LlamaSpec()) {
    spec_.rotary = {.pairing = RotaryPairing::kNeox, .dims = 128, .base = 500000.0};
    for (int c = 0; c < chunks; ++c) {
      pages_.push_back(std::make_unique<Pages>(spec_));
      FillWithGaussian(pages_.back()->bytes(), c);
    }
  }
  [[nodiscard]] std::size_t Values() const { return pages_.size() * pages_[0]->bytes().size() / 2; }
  std::span<const std::byte> words() const { return pages_[0]->bytes(); }

  Profile Learn(const TransformChoice& choice) {
    ProfileLearner learner = ProfileLearner::Make(spec_).value();
    Pages others(spec_);
    FillWithGaussian(others.bytes(), kLearnedSeed);
    Check(learner.Add(others.kv(), others.blocks(), {0, kChunkTokens}, 0));
    Profile profile = learner.Learn(ModelFingerprint(), OptionsOf(choice)).value();
    Check(profile.FinishForEncoding());
    profile.Name(NumberedProfileId(1));
    return profile;
  }

  // G values a second; bits a value into *bits.
  double Encode(int runs, std::string_view kernels, const Profile* profile, LevelSet levels,
                double* bits) {
    ObjectHeader header;
    header.key.bytes[0] = std::byte{1};
    header.levels_encoded = levels;
    header.token_count = kChunkTokens;
    header.part.layers = {0, kLayers};
    header.part.kv_heads = {0, 8};
    header.layers_per_group = 1;
    header.heads_per_group = 8;
    if (profile != nullptr) header.profile = profile->id();
    const ObjectCodec codec = ObjectCodec::Make(spec_, kernels).value();
    object_.resize(codec.EncodedBytesMax(header));  // where a client keeps it
    std::size_t bytes = 0;
    const double seconds = BestCpuSeconds(runs, [&] {
      bytes = 0;
      for (const auto& page : pages_) {
        const auto size = codec.EncodeInto(object_, header, page->kv(), page->blocks(),
                                           {0, kChunkTokens}, profile, scratch_);
        if (!size) Check(size.error());
        bytes += *size;
      }
    });
    *bits = 8.0 * static_cast<double>(bytes) / static_cast<double>(Values());
    return Rate(Values(), seconds);
  }

 private:
  static void Check(const Status& status) {
    if (status.ok()) return;
    std::fprintf(stderr, "encode_bench: %s\n", status.ToString().c_str());
    std::exit(2);
  }
  ModelSpec spec_;
  std::vector<std::unique_ptr<Pages>> pages_;
  std::vector<std::byte> object_;
  CodecScratch scratch_;
};

// One strip, which stays in a cache, through each kernel by itself.
class Stages {
 public:
  explicit Stages(int runs) : runs_(runs) {
    const auto words = MakeValues(DType::kBf16, Pattern::kGaussian, kCount, 7);
    words_.assign(words.begin(), words.end());
    predicted_ = words_;
    for (std::size_t i = 0; i < kCount; ++i) {
      predicted_[2 * i] ^= static_cast<std::byte>((i * 40503 >> 7) & 15);  // low bits are off
    }
    turns_.assign(kTokens * kDims, 0.70710678F);
    mean_.assign(kDims, 0.0F);
    scale_.assign(kDims, 0.125F);
    inverse_.assign(kDims, 8.0F);
    std::fill(std::begin(codes_of_), std::end(codes_of_), std::int8_t{0});
  }

  void Print(const Kernels& kernels) {
    const EncodeKernels& encode = *kernels.encode;
    std::printf("  %-7s", std::string(kernels.name).c_str());
    Line("read", [&] {
      encode.read[0]({.channels = kDims, .pairs = RotaryPairs::kHalves, .rotary_dims = kDims},
                     words_.data(), 2 * kDims, turns_.data(), kTokens, floats_.data());
    });
    Line("measure", [&] {
      encode.measure(floats_.data(), kTokens, kDims, mean_.data(), scale_.data());
      encode.count_bins(floats_.data(), kTokens, kDims, mean_.data(), scale_.data(), counts_);
    });
    Line("quantise", [&] { Quantise(encode, 1); });
    Line("transform", [&] { Quantise(encode, 64); });
    Line("planes", [&] {
      for (unsigned bit = 0; bit < 2; ++bit) {
        encode.pack_plane(rest_.data(), kCount, bit, bits_.data());
      }
    });
    Rans(kernels);
    Line("spreads",
         [&] { encode.spreads[0](predicted_.data(), words_.data(), kTokens, kDims, spreads_); });
    ResidualOut out{.symbols = symbols_.data(), .bits = bits_.data(), .escapes = escapes_.data()};
    Line("residual", [&] {
      encode.residual[0](predicted_.data(), words_.data(), kTokens, kDims, spreads_, out);
    });
    Line("count", [&] { encode.count_symbols(symbols_.data(), kCount, counts_); });
    std::printf("\n");
  }

 private:
  static constexpr std::size_t kTokens = 256;
  static constexpr std::size_t kDims = 128;
  static constexpr std::size_t kCount = kTokens * kDims;

  void Line(const char* name, const std::function<void()>& work) {
    const double seconds = BestCpuSeconds(runs_, [&] {
      for (int i = 0; i < 4; ++i) work();
    });
    std::printf("  %s %.2f", name, Rate(4 * kCount, seconds));
  }
  void Quantise(const EncodeKernels& encode, std::size_t block) {
    const ClassQuantiser one{.width = kDims,
                             .coded = true,
                             .planes = 2,
                             .first_symbol = 25,
                             .last_symbol = 39,
                             .clip = 1e9F,
                             .codes = codes_of_,
                             .symbols = symbols_.data(),
                             .rest = rest_.data()};
    matrix_.assign(kDims * block, 0.5F);
    encode.quantise({.channels = kDims,
                     .block = block,
                     .inverse = inverse_.data(),
                     .columns = matrix_.data(),
                     .mean = mean_.data(),
                     .classes = &one,
                     .class_count = 1},
                    floats_.data(), kTokens, exponents_, codes_.data());
  }
  void Rans(const Kernels& kernels) {
    Histogram histogram{};
    CountSymbols(symbols_, histogram);
    RansEncodeTable table;
    FillEncodeTable(ModelOf(histogram), table);
    constexpr std::size_t kBlock = 8192;
    AlignedVector<std::byte> room(2 * (kLeanHeadBytes + kBlock));
    Line("rANS", [&] {
      for (std::size_t i = 0; i < kCount; i += 2 * kBlock) {
        LeanPiece two[2];
        for (std::size_t k = 0; k < 2; ++k) {
          two[k].symbols = symbols_.data() + i + k * kBlock;
          two[k].count = kBlock;
          two[k].out = room.data() + k * (kLeanHeadBytes + kBlock);
        }
        kernels.encode->lean_encode_two(table, two);
      }
    });
  }

  int runs_;
  AlignedVector<std::byte> words_;
  AlignedVector<std::byte> predicted_;
  AlignedVector<float> floats_ = AlignedVector<float>(kCount);
  AlignedVector<float> turns_;
  AlignedVector<float> mean_;
  AlignedVector<float> scale_;
  AlignedVector<float> inverse_;
  AlignedVector<float> matrix_;
  std::int8_t codes_of_[64];
  AlignedVector<std::uint8_t> symbols_ = AlignedVector<std::uint8_t>(kCount, 32);
  AlignedVector<std::uint8_t> rest_ = AlignedVector<std::uint8_t>(kCount);
  AlignedVector<std::int8_t> codes_ = AlignedVector<std::int8_t>(kCount);
  std::uint8_t exponents_[kTokens];
  std::int8_t spreads_[kDims];
  std::vector<std::byte> bits_ = std::vector<std::byte>(2 * kCount + 8);
  std::vector<std::byte> escapes_ = std::vector<std::byte>(2 * kCount);
  std::uint32_t counts_[64] = {};
};

// How one side codes, and G values a second at all levels by the fastest kernels.
struct Way {
  std::string name;
  std::optional<Profile> profile;
  double rate = 0.0;
};

void PrintOurs(OurSide& ours, int runs, double theirs, bool only_fastest, std::vector<Way>& ways) {
  for (const Kernels* kernels : SupportedKernels()) {
    const bool fastest = kernels == SupportedKernels().back();
    if (only_fastest && !fastest) continue;
    for (const unsigned levels : {7U, 15U}) {
      for (Way& way : ways) {
        double bits = 0.0;
        way.rate =
            ours.Encode(fastest ? runs : 1, kernels->name, way.profile ? &*way.profile : nullptr,
                        LevelSet(static_cast<std::uint8_t>(levels)), &bits);
        std::printf("  %-7s %-22s %-14s %6.3f bits, %.3f G values/s (%.2f GB/s), %5.1f times\n",
                    std::string(kernels->name).c_str(), way.name.c_str(),
                    levels == 15 ? "all levels" : "draft to fine", bits, way.rate, 2.0 * way.rate,
                    way.rate / theirs);
      }
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Speed of encoding all levels against a torchac-style coder");
  std::string json;
  int chunks = 2;
  int runs = 5;
  app.add_option("--json", json, "write the result to this file");
  app.add_option("--chunks", chunks, "chunks of 32 MiB to code")->check(CLI::Range(1, 64));
  app.add_option("--runs", runs, "runs of each measurement")->check(CLI::Range(1, 100));
  bool only_fastest = false;
  app.add_flag("--fastest", only_fastest, "measure the fastest kernels only");
  CLI11_PARSE(app, argc, argv);

  OurSide ours(chunks);
  TheirSide theirs(ours.words());
  double bits = 0.0;
  const double coder = theirs.Code(runs, &bits);
  const double three = theirs.Encode(runs, 1, 3);
  const double one = theirs.Encode(runs, 2, 2);
  if (!theirs.ComesBack()) {
    std::fprintf(stderr, "encode_bench: what torchac codes does not come back\n");
    return 2;
  }
  double exact_bits = 0.0;
  const double exact = theirs.EncodeExactly(runs, ours.words(), &exact_bits);
  const double four = 1.0 / (1.0 / three + 1.0 / exact);
  std::printf(
      "torchac-style, G values/s: coder alone %.4f at %.2f bits; one level %.4f; "
      "three levels side by side %.4f; exact bits %.4f at %.2f bits; all four %.4f\n",
      coder, bits, one, three, exact, exact_bits, four);
  std::printf("ours, a strip of 256 tokens and 128 channels in a cache, G values/s:\n");
  Stages stages(4 * runs);
  for (const Kernels* kernels : SupportedKernels()) {
    if (!only_fastest || kernels == SupportedKernels().back()) stages.Print(*kernels);
  }
  std::printf("ours, whole chunks of 32 MiB, times one level of theirs:\n");
  std::vector<Way> ways;
  ways.push_back({.name = "no profile", .profile = std::nullopt});
  for (const TransformChoice& choice : TransformChoices()) {
    ways.push_back({.name = "profile " + std::string(choice.name), .profile = ours.Learn(choice)});
  }
  PrintOurs(ours, runs, one, only_fastest, ways);
  Bars bars({.name = "encode_bench",
             .group = "codec",
             .command = CommandLine(argc, argv),
             .json = json,
             .kernels = {}});
  for (const Way& way : ways) {
    std::printf(
        "%s, all levels against the coder alone %.1f times, its three levels side by side %.1f, "
        "those and the exact bits %.1f\n",
        way.name.c_str(), way.rate / coder, way.rate / three, way.rate / four);
    bars.Add({.what = way.name,
              .ours = way.rate,
              .theirs = one,
              .unit = "G values/s, one core, all levels against one level of a torchac-style coder",
              .bar = kBar});
  }
  return bars.Finish();
}

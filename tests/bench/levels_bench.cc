// Decoding of the lossy levels into an engine's pages against copying the pages, and what the
// levels cost: chunks of Llama-3.1-8B's shape, Gaussian, keys turned, with profiles and without.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "codec/codec_scratch.h"
#include "codec/kernels/select.h"
#include "codec/object_codec.h"
#include "codec/profile_learner.h"
#include "tests/bench/codec_pages.h"
#include "tests/bench/report.h"
#include "tests/codec/profile_ids.h"

namespace {

using namespace kdn;         // NOLINT: a program of one file
using namespace kdn::codec;  // NOLINT
using namespace kdn::bench;  // NOLINT

// Least shares of memcpy on one thread and on two, without a transform; 0: none.
constexpr double kBars[kLevelCount][2] = {{0.33, 0.40}, {0.24, 0.30}, {0.0, 0.0}, {0.08, 0.10}};
// Least speed with a transform against that of a profile without one, on one thread.
constexpr double kTransformBar = 0.6;
constexpr std::size_t kLearnedSeed = 1000;

// Tiles of one place, draft first.
using Place = std::vector<TileBytes>;

std::vector<Place> Open(ConstBytes object) {
  std::vector<Place> places;
  const ObjectHeader header = DecodeHeader(object).value();
  std::size_t at = kObjectHeaderBytes;
  for (const LevelInfo& info : Levels()) {
    if (!header.levels_encoded.Has(info.level)) continue;
    const SegmentIndex index = DecodeIndex(object.subspan(at), TagOf(header)).value();
    at += index.IndexBytes();
    places.resize(index.tiles.size());
    for (std::size_t i = 0; i < index.tiles.size(); ++i) {
      const TileEntry& entry = index.tiles[i];
      places[i].push_back({entry, object.subspan(at + entry.offset, entry.size_bytes)});
    }
    at += index.TileBytes();
  }
  return places;
}

class LevelsBench {
 public:
  LevelsBench(int chunks, int runs) : runs_(runs), spec_(LlamaSpec()) {
    spec_.rotary = {.pairing = RotaryPairing::kNeox, .dims = 128, .base = 500000.0};
    for (int c = 0; c < chunks; ++c) {
      pages_.push_back(std::make_unique<Pages>(spec_));
      FillWithGaussian(pages_.back()->bytes(), c);
      raw_.emplace_back(pages_.back()->bytes().size());
      digests_.push_back(DigestOf(*pages_.back()));
    }
  }

  // From other chunks than those that are coded, with the bins that are learned unasked.
  Profile Learn(const TransformChoice& choice) {
    ProfileLearner learner = ProfileLearner::Make(spec_).value();
    Pages other(spec_);
    for (std::size_t c = 0; c < pages_.size(); ++c) {
      FillWithGaussian(other.bytes(), static_cast<int>(kLearnedSeed + c));
      Check(learner.Add(other.kv(), other.blocks(), {0, kChunkTokens}, 0));
    }
    Profile profile = learner.Learn(ModelFingerprint(), OptionsOf(choice)).value();
    Check(profile.FinishForEncoding());
    profile.Name(NumberedProfileId(1));
    return profile;
  }

  void Encode(const Profile* profile) {
    profile_ = profile;
    header_ = {};
    header_.key.bytes[0] = std::byte{1};
    header_.levels_encoded = LevelSet(0b1111);
    header_.token_count = kChunkTokens;
    header_.part.layers = {0, 32};
    header_.part.kv_heads = {0, 8};
    header_.layers_per_group = 1;
    header_.heads_per_group = 8;
    if (profile != nullptr) header_.profile = profile->id();
    const ObjectCodec codec = ObjectCodec::Make(spec_).value();
    objects_.assign(pages_.size(), {});
    places_.clear();
    CodecScratch scratch;
    const auto begin = std::chrono::steady_clock::now();
    for (std::size_t c = 0; c < pages_.size(); ++c) {
      Check(codec.Encode(header_, pages_[c]->kv(), pages_[c]->blocks(), {0, kChunkTokens}, profile,
                         objects_[c], scratch));
    }
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    encode_rate_ = OutputBytes() / took.count() / 1e9;
    for (const auto& object : objects_) places_.push_back(Open(object));
  }

  [[nodiscard]] double OutputBytes() const {
    return static_cast<double>(raw_.size() * raw_[0].size());
  }
  [[nodiscard]] double encode_rate() const { return encode_rate_; }
  // Bits a value of the first `levels` levels, indices counted.
  [[nodiscard]] double Bits(std::size_t levels) const {
    const ObjectHeader header = DecodeHeader(objects_[0]).value();
    double bytes = 0.0;
    for (std::size_t l = 0; l < levels; ++l) bytes += header.level_bytes[l];
    return 16.0 * bytes / static_cast<double>(raw_[0].size());
  }

  // GB/s of bf16 values.
  double Memcpy(int threads) {
    return Rate(threads, [&](std::size_t c, CodecScratch&) {
      std::memcpy(raw_[c].data(), pages_[c]->bytes().data(), raw_[c].size());
    });
  }
  double Decode(const ObjectCodec& codec, std::size_t levels, int threads) {
    const double rate = Rate(threads, [&](std::size_t c, CodecScratch& scratch) {
      for (const Place& place : places_[c]) {
        Check(codec.DecodeTile(header_, std::span(place).first(levels), pages_[c]->kv(),
                               pages_[c]->blocks(), {0, kChunkTokens}, profile_, scratch));
      }
    });
    // Pages hold what was decoded: of exact, the values that were encoded.
    for (std::size_t c = 0; c < pages_.size(); ++c) {
      if ((DigestOf(*pages_[c]) == digests_[c]) != (levels == kLossyLevels + 1)) {
        Check(Status(Code::kDataLoss, "what was decoded is not what it has to be"));
      }
    }
    return rate;
  }
  [[nodiscard]] const ModelSpec& spec() const { return spec_; }

 private:
  static void Check(const Status& status) {
    if (status.ok()) return;
    std::fprintf(stderr, "levels_bench: %s\n", status.ToString().c_str());
    std::exit(2);
  }
  static std::size_t DigestOf(Pages& pages) {
    return std::hash<std::string_view>()(AsText(pages.bytes()));
  }
  double Rate(int threads, const std::function<void(std::size_t, CodecScratch&)>& work) {
    std::vector<CodecScratch> scratch(static_cast<std::size_t>(threads));
    const double seconds = BestSeconds(runs_, threads, [&](int thread) {
      const auto first = static_cast<std::size_t>(thread);
      for (std::size_t c = first; c < raw_.size(); c += static_cast<std::size_t>(threads)) {
        work(c, scratch[first]);
      }
    });
    return OutputBytes() / seconds / 1e9;
  }

  int runs_;
  ModelSpec spec_;
  ObjectHeader header_;
  const Profile* profile_ = nullptr;
  double encode_rate_ = 0.0;
  std::vector<std::unique_ptr<Pages>> pages_;
  std::vector<std::vector<std::byte>> raw_;
  std::vector<std::size_t> digests_;  // of the pages as they were filled
  std::vector<std::vector<std::byte>> objects_;
  std::vector<std::vector<Place>> places_;
};

// What one kind of coding reached.
struct Figures {
  double worst = 1e9;               // share of memcpy over its bar
  double shares[kLevelCount] = {};  // of memcpy, one thread
};

// Prints a line for each level.
Figures Measure(LevelsBench& bench, const char* name) {
  const ObjectCodec codec = ObjectCodec::Make(bench.spec()).value();
  Figures figures;
  std::printf("%s: encode, one run, all levels: %.2f GB/s\n", name, bench.encode_rate());
  for (std::size_t levels = 1; levels <= kLevelCount; ++levels) {
    std::printf("  %-9s %6.3f bits", std::string(LevelName(static_cast<Level>(levels - 1))).c_str(),
                bench.Bits(levels));
    for (const int threads : {1, 2}) {
      const double copy_before = bench.Memcpy(threads);
      const double decode = bench.Decode(codec, levels, threads);
      const double copy = std::max(copy_before, bench.Memcpy(threads));
      const double share = decode / copy;
      std::printf("  %d thread%s decode %5.2f, memcpy %5.1f (%.3f)", threads,
                  threads == 1 ? ": " : "s:", decode, copy, share);
      const double bar = kBars[levels - 1][threads - 1];
      if (bar > 0.0) figures.worst = std::min(figures.worst, share / bar);
      if (threads == 1) figures.shares[levels - 1] = share;
    }
    std::printf("\n");
  }
  return figures;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Speed and size of the lossy levels, and of exact on top of them");
  std::string json;
  int chunks = 2;
  int runs = 5;
  app.add_option("--json", json, "write the result to this file");
  app.add_option("--chunks", chunks, "chunks of 32 MiB to code")->check(CLI::Range(2, 64));
  app.add_option("--runs", runs, "runs of each measurement")->check(CLI::Range(1, 100));
  CLI11_PARSE(app, argc, argv);

  LevelsBench bench(chunks, runs);
  bench.Encode(nullptr);
  const Figures without = Measure(bench, "no profile");
  const Profile identity = bench.Learn(TransformChoices().back());
  bench.Encode(&identity);
  const Figures with_identity = Measure(bench, "profile without a transform");
  const Profile klt = bench.Learn(TransformChoices().front());
  bench.Encode(&klt);
  const Figures with_klt = Measure(bench, "profile with a transform of 64 channels");
  double transform = 1e9;
  for (std::size_t l = 0; l < kLossyLevels; ++l) {
    transform = std::min(transform, with_klt.shares[l] / with_identity.shares[l]);
  }
  std::printf("with a transform: %.3f of the speed without, bar %.1f\n", transform, kTransformBar);
  const double worst = std::min({without.worst, with_identity.worst, transform / kTransformBar});
  return Report({.name = "levels_bench",
                 .group = "codec",
                 .ours = worst,
                 .theirs = 1.0,
                 .unit = "of its bar, the worst of draft, standard, exact and the transform",
                 .ratio = worst,
                 .bar = 1.0,
                 .command = CommandLine(argc, argv)},
                json);
}

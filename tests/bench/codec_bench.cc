// How fast `exact` is decoded into paged memory and encoded out of it, per kernel table and on one
// and two threads, against memcpy of the same output in the same run; and how much it saves, alone
// and on top of its coarser levels.
//
// Bars: the share of memcpy that the AVX-512 kernels reach, where there are such; the ratio on the
// recorded model's KV; no tile of it, or of noise, above its values and 64 bytes.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "codec/codec_scratch.h"
#include "codec/kernels/select.h"
#include "codec/object_codec.h"
#include "tests/bench/bars.h"
#include "tests/bench/codec_pages.h"
#include "tests/codec/recorded_kv.h"
#include "tests/codec/values.h"

namespace {

using namespace kdn;         // NOLINT: a program of one file
using namespace kdn::codec;  // NOLINT
using namespace kdn::bench;  // NOLINT

constexpr int kChunks = 4;
constexpr int kRuns = 7;
constexpr double kAloneBar = 1.45;
constexpr double kEmbeddedBar = 1.38;
constexpr double kShareBars[] = {0.28, 0.34};  // of memcpy, by one thread and by two
constexpr double kTileOverhead = 64.0;         // bytes

struct Opened {
  ObjectHeader header;
  std::vector<TileBytes> tiles;
};

Opened Open(const std::vector<std::byte>& object) {
  Opened opened{.header = DecodeHeader(object).value(), .tiles = {}};
  const ConstBytes segment = ConstBytes(object).subspan(kObjectHeaderBytes);
  const SegmentIndex index = DecodeIndex(segment, TagOf(opened.header)).value();
  const ConstBytes tiles = segment.subspan(index.IndexBytes());
  for (const TileEntry& entry : index.tiles) {
    opened.tiles.push_back({entry, tiles.subspan(entry.offset, entry.size_bytes)});
  }
  return opened;
}

class CodecBench {
 public:
  CodecBench(int chunks, int runs) : runs_(runs), spec_(LlamaSpec()) {
    header_.key.bytes[0] = std::byte{1};
    header_.token_count = kChunkTokens;
    header_.levels_encoded = Level::kExact;
    header_.part.layers = {0, 32};
    header_.part.kv_heads = {0, 8};
    header_.layers_per_group = 4;
    header_.heads_per_group = 1;
    for (int c = 0; c < chunks; ++c) {
      pages_.push_back(std::make_unique<Pages>(spec_));
      FillWithGaussian(pages_.back()->bytes(), c);
      raw_.emplace_back(pages_.back()->bytes().size());
    }
    const ObjectCodec codec = ObjectCodec::Make(spec_).value();
    CodecScratch scratch;
    for (const auto& page : pages_) {
      objects_.emplace_back();
      const Status status = codec.Encode(header_, page->kv(), page->blocks(), {0, kChunkTokens},
                                         nullptr, objects_.back(), scratch);
      Check(status);
    }
    for (const auto& object : objects_) opened_.push_back(Open(object));
  }

  [[nodiscard]] double OutputBytes() const {
    return static_cast<double>(raw_.size() * raw_[0].size());
  }
  [[nodiscard]] double GaussianRatio() const {
    return OutputBytes() / static_cast<double>(objects_.size() * objects_[0].size());
  }

  // GB/s of bf16 values, all chunks, threads taking chunks in turn.
  double Memcpy(int threads) {
    return Rate(threads, [&](std::size_t c, CodecScratch&) {
      std::memcpy(raw_[c].data(), pages_[c]->bytes().data(), raw_[c].size());
    });
  }
  double Decode(const ObjectCodec& codec, int threads) {
    return Rate(threads, [&](std::size_t c, CodecScratch& scratch) {
      for (const TileBytes& tile : opened_[c].tiles) {
        Check(codec.DecodeTile(opened_[c].header, {&tile, 1}, pages_[c]->kv(), pages_[c]->blocks(),
                               {0, kChunkTokens}, nullptr, scratch));
      }
    });
  }
  double Encode(const ObjectCodec& codec, int threads) {
    std::vector<std::vector<std::byte>> objects(objects_.size());
    return Rate(threads, [&](std::size_t c, CodecScratch& scratch) {
      objects[c].clear();
      Check(codec.Encode(header_, pages_[c]->kv(), pages_[c]->blocks(), {0, kChunkTokens}, nullptr,
                         objects[c], scratch));
    });
  }
  [[nodiscard]] const ModelSpec& spec() const { return spec_; }

 private:
  static void Check(const Status& status) {
    if (status.ok()) return;
    std::fprintf(stderr, "codec_bench: %s\n", status.ToString().c_str());
    std::exit(2);
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
  std::vector<std::unique_ptr<Pages>> pages_;
  std::vector<std::vector<std::byte>> raw_;
  std::vector<std::vector<std::byte>> objects_;
  std::vector<Opened> opened_;
};

// The AVX-512 kernels are held to their bars; without them speed is printed only, and that is said.
void AddSpeeds(CodecBench& bench, Bars& bars) {
  std::printf("bf16 in pages, %.0f MiB; GB/s of values, best run; share of memcpy in brackets\n",
              bench.OutputBytes() / (1 << 20));
  for (const int threads : {1, 2}) {
    for (const Kernels* kernels : SupportedKernels()) {
      const ObjectCodec codec = ObjectCodec::Make(bench.spec(), kernels->name).value();
      const double copy_before = bench.Memcpy(threads);
      const double decode = bench.Decode(codec, threads);
      const double encode = bench.Encode(codec, threads);
      const double copy = std::max(copy_before, bench.Memcpy(threads));
      std::printf("  %d thread%s %-7s memcpy %5.1f  decode %5.2f (%.2f)  encode %5.2f (%.2f)\n",
                  threads, threads == 1 ? ", " : "s,", std::string(kernels->name).c_str(), copy,
                  decode, decode / copy, encode, encode / copy);
      if (kernels->name != "avx512") continue;
      bars.Add({.what = std::string("exact alone into pages, threads: ") + std::to_string(threads),
                .ours = decode,
                .theirs = copy,
                .unit = "GB/s of bf16, against memcpy",
                .bar = kShareBars[threads - 1]});
    }
  }
  if (SupportedKernels().back()->name != "avx512") {
    std::printf(
        "  NOT HELD: the bars of speed are those of AVX-512, which this processor has not\n");
  }
}

constexpr auto kAllLevels = static_cast<std::uint8_t>((1U << kLevelCount) - 1);

struct Sizes {
  double raw = 0.0;
  double objects = 0.0;
  double largest_tile = 0.0;  // of exact, by its values and kTileOverhead
};

// The largest tile of exact, by kTileOverhead more than the bytes that its values have.
double LargestTile(const std::vector<std::byte>& object, double values) {
  const ObjectHeader header = DecodeHeader(object).value();
  constexpr auto kExact = static_cast<std::size_t>(Level::kExact);
  std::size_t at = kObjectHeaderBytes;
  for (std::size_t l = 0; l < kExact; ++l) at += header.level_bytes[l];
  const SegmentIndex index =
      DecodeIndex(ConstBytes(object).subspan(at, header.level_bytes[kExact]), TagOf(header))
          .value();
  double largest = 0.0;
  for (const TileEntry& entry : index.tiles) {
    largest = std::max(largest, static_cast<double>(entry.size_bytes) / (values + kTileOverhead));
  }
  return largest;
}

// The recorded KV in chunks of 256 tokens, a layer and a head a tile.
Sizes EncodeRecorded(const RecordedKv& kv, LevelSet levels) {
  ObjectHeader header = kv.HeaderFor(kChunkTokens, 1, 1);
  header.levels_encoded = levels;
  Sizes sizes;
  const double tile = 2.0 * kChunkTokens * kv.spec().groups[0].k_head_size;
  for (std::uint32_t at = 0; at + kChunkTokens <= kv.tokens(); at += kChunkTokens) {
    const std::vector<std::byte> object = kv.EncodeChunk(header, at);
    if (object.empty()) {
      std::fprintf(stderr, "codec_bench: a chunk of recorded KV was not encoded\n");
      std::exit(2);
    }
    sizes.raw += kChunkTokens * static_cast<double>(BytesPerToken(kv.spec()));
    sizes.objects += static_cast<double>(object.size());
    sizes.largest_tile = std::max(sizes.largest_tile, LargestTile(object, tile));
  }
  return sizes;
}

// The largest tile of bits that do not compress.
double EncodeNoise(LevelSet levels) {
  ModelSpec spec = LlamaSpec();
  spec.groups[0].layers.resize(2);
  Pages pages(spec);
  const auto noise = MakeValues(DType::kBf16, Pattern::kRandomBits, pages.bytes().size() / 2, 3);
  std::memcpy(pages.bytes().data(), noise.data(), pages.bytes().size());
  ObjectHeader header;
  header.key.bytes[0] = std::byte{1};
  header.levels_encoded = levels;
  header.flags = levels.Has(Level::kDraft) ? kFlagCodedRotated : 0;
  header.token_count = kChunkTokens;
  header.part.layers = {0, 2};
  header.part.kv_heads = {0, 8};
  header.layers_per_group = 1;
  header.heads_per_group = 1;
  std::vector<std::byte> object;
  CodecScratch scratch;
  const Status status = ObjectCodec::Make(spec)->Encode(
      header, pages.kv(), pages.blocks(), {0, kChunkTokens}, nullptr, object, scratch);
  if (!status.ok()) {
    std::fprintf(stderr, "codec_bench: %s\n", status.ToString().c_str());
    std::exit(2);
  }
  return LargestTile(object, 2.0 * kChunkTokens * 128.0);
}

void AddSizes(const RecordedKv& kv, Bars& bars) {
  const Sizes alone = EncodeRecorded(kv, Level::kExact);
  const Sizes embedded = EncodeRecorded(kv, LevelSet(kAllLevels));
  const char* const unit = "bytes of the model's KV, raw bf16 against objects";
  bars.Add({.what = "exact standing alone",
            .ours = alone.raw,
            .theirs = alone.objects,
            .unit = unit,
            .bar = kAloneBar});
  bars.Add({.what = "exact with its coarser levels, without a profile",
            .ours = embedded.raw,
            .theirs = embedded.objects,
            .unit = unit,
            .bar = kEmbeddedBar});
  const double largest = std::max({alone.largest_tile, embedded.largest_tile,
                                   EncodeNoise(Level::kExact), EncodeNoise(LevelSet(kAllLevels))});
  bars.Add({.what = "the largest tile of exact, recorded or noise, alone or on top",
            .ours = largest,
            .theirs = 1.0,
            .unit = "of its values and 64 bytes",
            .side = Bar::Side::kAtMost,
            .bar = 1.0});
}

}  // namespace

int main(int argc, char** argv) {
  Bars bars(ParseBarsOptions(argc, argv, "Speed and ratio of level exact"));
  const Result<RecordedKv> kv = RecordedKv::Read();
  if (!kv) {
    std::fprintf(stderr, "codec_bench: %s\n", kv.error().ToString().c_str());
    return 2;
  }
  CodecBench bench(kChunks, kRuns);
  AddSpeeds(bench, bars);
  std::printf("ratio on Gaussian bf16, 256 tokens, tiles of 4 layers and 1 head: %.3f\n",
              bench.GaussianRatio());
  std::printf("ratio on the model's KV, 256 tokens, tiles of 2 layers and heads: %.3f\n",
              kv->Encode(kChunkTokens, 2, 2).ratio());
  AddSizes(*kv, bars);
  return bars.Finish();
}

// How fast `exact` is decoded into paged memory and encoded out of it, per kernel table and on one
// and two threads, against memcpy of the same output in the same run; and how much it saves. The
// bar is on the ratio of the recorded model's KV; speeds are printed.
#include <CLI/CLI.hpp>
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
#include "tests/bench/codec_pages.h"
#include "tests/bench/report.h"
#include "tests/codec/recorded_kv.h"
#include "tests/codec/values.h"

namespace {

using namespace kdn;         // NOLINT: a program of one file
using namespace kdn::codec;  // NOLINT
using namespace kdn::bench;  // NOLINT

constexpr double kRatioBar = 1.45;
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

void PrintSpeeds(CodecBench& bench) {
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
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Speed and ratio of level exact");
  std::string json;
  int chunks = 4;
  int runs = 7;
  app.add_option("--json", json, "write the result to this file");
  app.add_option("--chunks", chunks, "chunks of 32 MiB to code")->check(CLI::Range(2, 64));
  app.add_option("--runs", runs, "runs of each measurement")->check(CLI::Range(1, 100));
  CLI11_PARSE(app, argc, argv);

  const Result<RecordedKv> kv = RecordedKv::Read();
  if (!kv) {
    std::fprintf(stderr, "codec_bench: %s\n", kv.error().ToString().c_str());
    return 2;
  }
  CodecBench bench(chunks, runs);
  PrintSpeeds(bench);
  std::printf("ratio on Gaussian bf16, 256 tokens, tiles of 4 layers and 1 head: %.3f\n",
              bench.GaussianRatio());
  for (const std::uint16_t group : {std::uint16_t{1}, std::uint16_t{2}}) {
    std::printf("ratio on the model's KV, 256 tokens, tiles of %d layers and heads: %.3f\n", group,
                kv->Encode(kChunkTokens, group, group).ratio());
  }
  const RecordedKv::Sizes sizes = kv->Encode(kChunkTokens, 1, 1);
  return Report({.name = "codec_bench",
                 .group = "codec",
                 .ours = static_cast<double>(sizes.object_bytes),
                 .theirs = static_cast<double>(sizes.raw_bytes),
                 .unit = "bytes of the model's KV, exact alone against raw bf16",
                 .ratio = sizes.ratio(),
                 .bar = kRatioBar,
                 .command = CommandLine(argc, argv)},
                json);
}

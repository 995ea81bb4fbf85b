// Goal: fetching a past of 2,048 tokens instead of computing it brings the first token sooner by at
// least 0.7 of what the machine allows.
// Method: questions about documents of 2,048 tokens over a cluster of processes with two nodes, in
// rounds; each round answers with the past recomputed and with it fetched into a poisoned cache.
// What the machine allows is prefill(all) / (prefill(the rest) + bytes / raw ceiling): the rest is
// what a fetch leaves to compute, the bytes are those that it moves, and the ceiling is what bare
// sockets do after each round, since it moves by some percent within a minute. Medians of all
// rounds.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "client/admin/local_cluster.h"
#include "tests/bench/raw_ceiling.h"
#include "tests/bench/report.h"
#include "tests/demo/demo_engine.h"
#include "tests/demo/demo_prompts.h"
#include "tests/support/temp_dir.h"

namespace kdn::demo {
namespace {

constexpr double kBar = 0.7;

struct Arguments {
  std::string json;
  std::size_t threads = 0;
  std::uint32_t decode_threads = 2;
  std::uint16_t layers_per_tile = 6;  // all: the fetch waits for whole chunks
  std::uint16_t heads_per_tile = 2;
  bool layer_by_layer = false;
  int rounds = 5;
};

[[noreturn]] void Die(const Status& status) {
  std::fprintf(stderr, "first_token_bench: %s\n", status.ToString().c_str());
  std::exit(2);
}

template <class T>
T OrDie(Result<T> result) {
  if (!result) Die(result.error());
  return *std::move(result);
}

double Median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

// What every round adds to, in milliseconds but for the bytes and their rate.
struct Samples {
  std::vector<double> recompute, fetch, lookup, load, prefill_all, prefill_rest, bytes;
  std::vector<double> raw_rate;  // bytes per second of bare sockets, once a round
};

void Measure(Engine& engine, const Document& document, const AskOptions& fetching,
             Samples& samples) {
  const auto prompt = engine.PromptOf(document.text, document.question);
  const Answer recomputed = OrDie(engine.Ask(prompt, {.how = How::kRecompute}));
  const Answer fetched = OrDie(engine.Ask(prompt, fetching));
  if (fetched.hit_tokens < 2048 || !SameBits(recomputed, fetched)) {
    Die(Status(Code::kDataLoss, document.name + ": not fetched whole, or other bits"));
  }
  samples.recompute.push_back(recomputed.first_token_ms);
  samples.fetch.push_back(fetched.first_token_ms);
  samples.lookup.push_back(fetched.lookup_ms);
  samples.load.push_back(fetched.load_ms);
  samples.bytes.push_back(static_cast<double>(fetched.bytes));
  samples.prefill_all.push_back(OrDie(engine.PrefillMs(prompt, 0)));
  samples.prefill_rest.push_back(OrDie(engine.PrefillMs(prompt, fetched.hit_tokens)));
}

double RawRate() {
  bench::RawCeilingOptions ceiling;
  ceiling.total_bytes = std::size_t{1} << 29;
  const double rate = bench::RawCeiling(ceiling);
  if (rate <= 0.0) Die(Status(Code::kInternal, "bare sockets did not move their bytes"));
  return rate;
}

Samples MeasureAll(const Arguments& arguments) {
  const test::TempDir folder;
  admin::LocalClusterOptions options;
  options.folder = folder.File("cluster");
  options.nodes = 2;
  auto cluster = OrDie(admin::LocalCluster::Start(options));
  client::ClientOptions client_options = OrDie(admin::ClientOptionsOf(OrDie(cluster.settings())));
  client_options.decode_threads = arguments.decode_threads;
  const auto client = OrDie(client::OpenClient(client_options));
  EngineOptions engine_options;
  engine_options.model_folder = KDN_TEST_MODEL;
  engine_options.threads = arguments.threads;
  engine_options.tiles.layers_per_group = arguments.layers_per_tile;
  engine_options.tiles.heads_per_group = arguments.heads_per_tile;
  Samples samples;
  {
    const auto engine = OrDie(Engine::Open(engine_options, *client));
    const auto documents = OrDie(ReadDocuments(KDN_TEST_MODEL "/demo_documents.jsonl"));
    if (const Status status = engine->WarmUp(); !status.ok()) Die(status);
    for (const Document& document : documents) {
      const auto report = OrDie(engine->Remember(document.name, engine->TokensOf(document.text)));
      if (report.code != Code::kOk) Die(Status(report.code, document.name + " was not stored"));
    }
    AskOptions fetching;
    if (arguments.layer_by_layer) fetching.order = client::LoadOrder::kLayerByLayer;
    Samples first;  // opens connections; not counted
    Measure(*engine, documents.front(), fetching, first);
    for (int round = 0; round < arguments.rounds; ++round) {
      for (const Document& document : documents) Measure(*engine, document, fetching, samples);
      samples.raw_rate.push_back(RawRate());
    }
  }
  (void)cluster.Stop(std::chrono::seconds(20));
  return samples;
}

int Run(const Arguments& arguments, const std::string& command) {
  const Samples samples = MeasureAll(arguments);
  const double raw_rate = Median(samples.raw_rate);
  const double move_ms = Median(samples.bytes) / raw_rate * 1e3;
  const double recompute_ms = Median(samples.recompute);
  const double fetch_ms = Median(samples.fetch);
  const double rest_ms = Median(samples.prefill_rest);
  const double speedup = recompute_ms / fetch_ms;
  const double allowed = Median(samples.prefill_all) / (rest_ms + move_ms);
  std::printf(
      "first token: recomputed %.1f ms, fetched %.2f ms (lookup %.2f, load %.2f)\n"
      "the machine: prefill %.1f ms, of the rest %.2f ms; %.2f MB at %.2f GB/s %.2f ms\n"
      "medians of %zu; speedup %.1f of %.1f\n",
      recompute_ms, fetch_ms, Median(samples.lookup), Median(samples.load),
      Median(samples.prefill_all), rest_ms, Median(samples.bytes) / 1e6, raw_rate / 1e9, move_ms,
      samples.fetch.size(), speedup, allowed);
  return bench::Report({.name = "first_token_bench",
                        .group = "demo",
                        .ours = speedup,
                        .theirs = allowed,
                        .unit = "x",
                        .ratio = speedup / allowed,
                        .bar = kBar,
                        .command = command},
                       arguments.json);
}

}  // namespace
}  // namespace kdn::demo

int main(int argc, char** argv) {
  kdn::demo::Arguments arguments;
  CLI::App app("First token with a fetched past against a recomputed one, 2,048 tokens");
  app.add_option("--json", arguments.json, "where to write the result");
  app.add_option("--threads", arguments.threads, "of the executor; 0: as many as cores");
  app.add_option("--decode-threads", arguments.decode_threads, "of the client");
  app.add_option("--layers-per-tile", arguments.layers_per_tile)->check(CLI::Range(1, 6));
  app.add_option("--heads-per-tile", arguments.heads_per_tile)->check(CLI::Range(1, 2));
  app.add_flag("--layer-by-layer", arguments.layer_by_layer, "instead of chunk by chunk");
  app.add_option("--rounds", arguments.rounds, "over six documents")->check(CLI::Range(1, 1000));
  CLI11_PARSE(app, argc, argv);
  return kdn::demo::Run(arguments, kdn::bench::CommandLine(argc, argv));
}

// Goal: putting 1 MiB objects on two nodes, acknowledged in their DRAM, runs at 0.35 of what bare
// sockets move: every byte goes over two connections and is verified by both nodes. Method: a real
// coordinator and two real nodes without disks; the client library stores 64 objects that cannot be
// compressed, from the plan (the round trip for tickets) to the answer of the commit. Bare sockets
// are measured in turn with it; medians are compared.
#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <string>
#include <vector>

#include "base/random.h"
#include "client/admin/file_model.h"
#include "client/admin/local_cluster.h"
#include "tests/bench/bars.h"
#include "tests/bench/object_reader.h"
#include "tests/bench/raw_ceiling.h"
#include "tests/bench/report.h"
#include "tests/support/temp_dir.h"

namespace kdn::bench {
namespace {

constexpr double kBar = 0.35;
constexpr std::size_t kObjects = 64;  // of one store

struct Settings {
  BarsOptions bars;
  std::string congestion;
  int rounds = 7;
  std::uint32_t shards = 1;
  std::uint32_t io_threads = 1;
  std::uint32_t decode_threads = 1;
};

class PutBench {
 public:
  explicit PutBench(const Settings& settings)
      : memory_(admin::FileMemory::Of(Content())), tokens_(memory_.Tokens()) {
    admin::LocalClusterOptions options;
    options.folder = folder_.File("cluster");
    options.nodes = 2;
    options.replicas = 2;
    options.dram_mib = static_cast<std::uint32_t>(2 * kObjects * (settings.rounds + 2));
    options.write_mode = "dram_only";
    options.node_settings = {"node.shards=" + std::to_string(settings.shards),
                             "node.congestion_control=" + settings.congestion};
    auto cluster = admin::LocalCluster::Start(options);
    if (!cluster) Die(cluster.error().ToString());
    cluster_ = std::make_unique<admin::LocalCluster>(*std::move(cluster));
    auto client_options = admin::ClientOptionsOf(*cluster_->settings());
    client_options->chunk_tokens = admin::kFileChunkTokens;
    client_options->timeout = std::chrono::seconds(20);
    client_options->shared_memory = false;  // sockets are what it is held against
    client_options->io_threads = settings.io_threads;
    client_options->decode_threads = settings.decode_threads;
    client_options->congestion_control = settings.congestion;
    auto client = client::OpenClient(*client_options);
    if (!client) Die(client.error().ToString());
    client_ = *std::move(client);
    model_ = *client_->UseModel(admin::FileModelSpec(), {});
  }
  ~PutBench() {
    client_.reset();
    [[maybe_unused]] const Status status = cluster_->Stop(std::chrono::seconds(10));
  }

  // Bytes per second of objects under keys of their own.
  double Rate() {
    client::StorePlanOptions options;
    options.provenance = kExactProvenance;
    options.extras = {std::byte{++stores_}};
    const auto begun = std::chrono::steady_clock::now();
    const auto plan = client_->PlanStore(*model_, tokens_, options);
    if (!plan) Die(plan.error().ToString());
    auto store = client_->Store(*model_, *plan, {}, memory_.kv(), memory_.blocks());
    if (!store) Die(store.error().ToString());
    const client::StoreReport report = (*store)->Wait();
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begun;
    if (report.chunks_stored != kObjects || report.chunks_under_replicated != 0) {
      Die("not every object is on both nodes");
    }
    return static_cast<double>(kObjects << 20) / took.count();
  }

 private:
  static std::string Content() {
    std::string content((kObjects << 20) - sizeof(std::uint64_t), '\0');
    SeededRandom random(1);
    random.Fill(std::as_writable_bytes(std::span(content)));
    return content;
  }

  const test::TempDir folder_;
  admin::FileMemory memory_;
  const std::vector<client::TokenId> tokens_;
  std::unique_ptr<admin::LocalCluster> cluster_;
  std::unique_ptr<client::Client> client_;
  const client::Model* model_ = nullptr;
  std::uint8_t stores_ = 0;
};

int Run(const Settings& settings) {
  Bars bars(settings.bars);
  RawCeilingOptions raw;
  raw.congestion_control = settings.congestion;
  raw.total_bytes = std::size_t{1} << 30;
  raw.huge_pages = true;
  std::vector<double> ours;
  std::vector<double> theirs;
  {
    PutBench bench(settings);
    bench.Rate();  // warms connections and memory
    for (int round = 0; round < settings.rounds; ++round) {
      theirs.push_back(RawCeiling(raw));
      if (theirs.back() < 0) Die("no bare sockets to compare with");
      ours.push_back(bench.Rate());
      std::printf("round %d: puts %.2f GB/s, bare sockets %.2f GB/s\n", round + 1,
                  ours.back() / 1e9, theirs.back() / 1e9);
    }
  }
  bars.Add({"put 1 MiB on two nodes, in DRAM, against the ceiling", MedianOf(ours) / 1e9,
            MedianOf(theirs) / 1e9, "GB/s", Bar::Side::kAtLeast, kBar});
  bars.AddFigures({{}, {{"put_1m", ours}, {"ceiling", theirs}}});
  return bars.Finish();
}

}  // namespace
}  // namespace kdn::bench

int main(int argc, char** argv) {
  kdn::bench::Settings settings;
  settings.bars.name = "put_bench";
  settings.bars.group = "path";
  settings.bars.command = kdn::bench::CommandLine(argc, argv);
  CLI::App app("Puts of 1 MiB objects on two nodes against bare sockets.", "put_bench");
  app.add_option("--rounds", settings.rounds, "measurements of each")->check(CLI::Range(1, 99));
  app.add_option("--shards", settings.shards, "of each node")->capture_default_str();
  app.add_option("--io-threads", settings.io_threads, "of the client")->capture_default_str();
  app.add_option("--decode-threads", settings.decode_threads, "of the client, that encode");
  app.add_option("--congestion", settings.congestion, "TCP congestion control");
  app.add_option("--json", settings.bars.json, "file for the result");
  CLI11_PARSE(app, argc, argv);
  return kdn::bench::Run(settings);
}

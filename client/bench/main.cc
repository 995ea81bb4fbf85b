// kdn-bench: loads a running cluster as engines do, and says how fast it answers.
#include <CLI/CLI.hpp>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "client/admin/settings.h"
#include "client/bench/cluster_target.h"
#include "client/bench/loop.h"
#include "client/bench/options.h"
#include "client/bench/report.h"

namespace kdn::bench {
namespace {

constexpr int kWrongUsage = 2;
constexpr int kNoAnswer = 4;
constexpr int kWrongBytes = 5;

constexpr const char* kFooter = R"(
Workloads, after YCSB's: a read=50,update=50; b read=95,update=5; c read=100; d read=95,insert=5 of
the latest; e scan=95,insert=5; f read=50,rmw=50. A read looks a record up and loads it into pages;
an update stores its next version under new keys, as stored chunks never change; a scan loads a
random prefix of a chain; a lookup asks for all of a chain and loads nothing.

Every value that is loaded is compared with what was stored. Making and comparing values is no part
of any latency, but it takes time between a client's operations: --verify-every 10 or 0 for more
load than this machine can check.

In an open loop (--rate) latency counts from the moment at which an operation was to begin. Where
start_delay is more than some microseconds at p50, no client was free: --clients more of them, or a
lower rate.

Lossy levels are not compared bit for bit: the mean square error of a region must be one that its
level can have, far below another object's.

Exit codes: 0 done; 2 wrong usage or configuration; 4 the cluster does not answer; 5 wrong bytes
were delivered; 1 anything else.

  kdn-bench --config /etc/kdn/kdnctl.toml --records 2000 --size 1MiB --workload b
  kdn-bench --geometry 32x8x128 --store-level all --read-level standard --records 200
  kdn-bench --skip-load --records 2000 --rate 500 --clients 32 --duration 60
  kdn-bench --mix lookup=1 --chains 64 --chain-chunks 512 --size 4KiB
)";

std::atomic<bool> stop = false;

void OnSignal(int) {
  stop = true;
}

void AddWorkload(CLI::App& app, Options& options) {
  CLI::App* group = app.add_option_group("Workload");
  group->add_option("--workload", options.workload, "one of YCSB's, a to f")->capture_default_str();
  group->add_option("--mix", options.mix, "shares instead of a workload's: read=95,update=5");
  group->add_option("--popularity", options.popularity,
                    "uniform, zipfian or latest; default: the workload's");
  group->add_option("--theta", options.theta, "skew of zipfian and latest")->capture_default_str();
  group->add_option("--records", options.records, "objects that are stored first")
      ->check(CLI::Range(1ULL, 1ULL << 32))
      ->capture_default_str();
  group
      ->add_option("--size", options.size,
                   "of objects: 1MiB, 64KiB-4MiB (even) or 64KiB:70,4MiB:30 (weights)")
      ->capture_default_str();
  group->add_option("--geometry", options.geometry,
                    "LAYERSxKV_HEADSxHEAD_SIZE: objects are a model's chunks in bf16");
  group->add_option("--chunk-tokens", options.chunk_tokens, "of a chunk, with --geometry")
      ->check(CLI::Range(1U, 4096U))
      ->capture_default_str();
  group->add_option("--chains", options.chains, "chains of chunks, for scans and lookups")
      ->check(CLI::Range(0ULL, 1ULL << 24))
      ->capture_default_str();
  group->add_option("--chain-chunks", options.chain_chunks, "chunks of each")
      ->check(CLI::Range(1U, 4096U))
      ->capture_default_str();
  group
      ->add_option("--store-level", options.store_level,
                   "exact alone; draft, standard or fine with what is coarser; all")
      ->capture_default_str();
  group->add_option("--read-level", options.read_level, "default: the finest that is stored");
  group->add_option("--replicas", options.replicas, "of what is stored; 0: the cluster's")
      ->check(CLI::Range(0U, 3U))
      ->capture_default_str();
  group->add_option("--seed", options.seed, "names the records and their values")
      ->capture_default_str();
}

void AddLoop(CLI::App& app, Options& options) {
  CLI::App* group = app.add_option_group("Loop");
  group->add_option("--clients", options.clients, "operations under way at most, a thread each")
      ->check(CLI::Range(1U, 4096U))
      ->capture_default_str();
  group->add_option("--rate", options.rate, "arrivals a second: an open loop; 0: a closed one")
      ->check(CLI::Range(0.0, 1e7))
      ->capture_default_str();
  group->add_option("--arrivals", options.arrivals, "poisson or constant")->capture_default_str();
  group->add_option("--warmup", options.warmup_s, "seconds that are not counted")
      ->check(CLI::Range(0.0, 86400.0))
      ->capture_default_str();
  group->add_option("--duration", options.duration_s, "seconds that are")
      ->check(CLI::Range(0.0, 864000.0))
      ->capture_default_str();
  group
      ->add_option("--drain", options.drain_s,
                   "seconds after which arrivals that found no client free are given up")
      ->check(CLI::Range(0.0, 3600.0))
      ->capture_default_str();
  group
      ->add_option("--verify-every", options.verify_every,
                   "compare every so many operations' values; 0: none")
      ->capture_default_str();
  group->add_flag("--load-only", options.load_only, "store the records and end");
  group->add_flag("--skip-load", options.skip_load,
                  "the records are there, from a run with the same seed, sizes and levels");
}

void AddCluster(CLI::App& app, Options& options) {
  CLI::App* group = app.add_option_group("Cluster and client library");
  group->add_option("--config", options.config_path,
                    "TOML file that says how to reach a cluster, as kdnctl's");
  group->add_option("--cluster", options.cluster_folder, "folder of a local cluster")
      ->capture_default_str();
  group->add_option("--instances", options.instances, "client libraries that the clients share")
      ->check(CLI::Range(1U, 256U))
      ->capture_default_str();
  group->add_option("--connections", options.connections, "per peer; 0: the library's default")
      ->check(CLI::Range(0U, 64U))
      ->capture_default_str();
  group->add_option("--decode-threads", options.decode_threads, "of each library")
      ->check(CLI::Range(1U, 256U))
      ->capture_default_str();
  group->add_option("--staging-mib", options.staging_mib, "of each library, for bytes in flight")
      ->check(CLI::Range(16U, 65536U))
      ->capture_default_str();
  group->add_option("--timeout-ms", options.timeout_ms, "of an operation")
      ->check(CLI::Range(1U, 3600000U))
      ->capture_default_str();
  group->add_option("--io-threads", options.io_threads, "of each library; 0: its default")
      ->check(CLI::Range(0U, 16U))
      ->capture_default_str();
  group->add_flag("!--no-shared-memory", options.shared_memory,
                  "asks nodes of this host through sockets, as it does others");
  group->add_option("--congestion", options.congestion_control,
                    "TCP congestion control; default: the system's");
}

int Fail(const Status& status, int code) {
  std::fprintf(stderr, "kdn-bench: %s\n", status.ToString().c_str());
  return code;
}

int Print(const Options& options, const nlohmann::json& report) {
  const std::string text = options.output == "json" ? report.dump(2) + "\n" : ReportText(report);
  std::fputs(text.c_str(), stdout);
  if (std::fflush(stdout) != 0) {
    return Fail(Status(Code::kInternal, "cannot write to standard output"), 1);
  }
  const std::uint64_t wrong = CountOf(report, Outcome::kWrong);
  if (wrong == 0) return 0;
  return Fail(Status(Code::kDataLoss,
                     std::to_string(wrong) + " operations brought bytes that were never stored"),
              kWrongBytes);
}

int MergeFiles(const Options& options) {
  std::vector<nlohmann::json> reports;
  for (const std::string& path : options.merge) {
    std::ifstream file(path);
    reports.push_back(nlohmann::json::parse(file, nullptr, false));
  }
  const auto merged = MergeReports(reports);
  return merged ? Print(options, *merged) : Fail(merged.error(), kWrongUsage);
}

Result<client::ClientOptions> ClientOptionsOf(const Options& options) {
  KDN_ASSIGN_OR_RETURN(
      const admin::Settings settings,
      admin::ReadSettings(options.config_path.empty() ? options.cluster_folder + "/kdnctl.toml"
                                                      : options.config_path));
  KDN_ASSIGN_OR_RETURN(client::ClientOptions client, admin::ClientOptionsOf(settings));
  client.connections = options.connections;
  client.decode_threads = options.decode_threads;
  client.staging_bytes = std::size_t{options.staging_mib} << 20;
  client.timeout = std::chrono::milliseconds(options.timeout_ms);
  client.congestion_control = options.congestion_control;
  client.io_threads = options.io_threads;
  client.shared_memory = options.shared_memory;
  client.profile_learn_chunks = 0;  // its values are no model's
  return client;
}

Duration Seconds(double seconds) {
  return std::chrono::duration_cast<Duration>(std::chrono::duration<double>(seconds));
}

// The loop, with a thread for each client.
Tallies RunLoop(const Options& options, ClusterTarget& target, RunTotals& totals) {
  SteadyTimer timer;
  LoopPlan plan;
  plan.begin = timer.Now() + std::chrono::milliseconds(20);
  plan.warmup = Seconds(options.warmup_s);
  plan.measured = Seconds(options.duration_s);
  plan.drain = Seconds(options.drain_s);
  plan.rate = options.rate;
  plan.poisson = options.arrivals == "poisson";
  plan.seed = options.seed;
  Arrivals arrivals(plan);
  std::vector<Tallies> each(options.clients);
  {
    std::vector<std::jthread> threads;
    for (std::uint32_t i = 0; i < options.clients; ++i) {
      threads.emplace_back([&, i] {
        const std::unique_ptr<Worker> worker = target.NewWorker(i);
        RunClient(plan, options.rate > 0.0 ? &arrivals : nullptr, timer, *worker, stop, each[i]);
      });
    }
  }
  // Stopped by hand, it counted for less.
  const std::chrono::duration<double> counted =
      std::min(timer.Now(), plan.end()) - plan.count_begin();
  totals.seconds = std::max(counted.count(), 1e-9);
  Tallies all;
  for (const Tallies& tallies : each) {
    for (std::size_t kind = 0; kind < kKinds; ++kind) all[kind].Merge(tallies[kind]);
  }
  return all;
}

int Run(const Options& options) {
  if (!options.merge.empty()) return MergeFiles(options);
  const auto plan = PlanOf(options);
  if (!plan) return Fail(plan.error(), kWrongUsage);
  auto client_options = ClientOptionsOf(options);
  if (!client_options) return Fail(client_options.error(), kWrongUsage);
  client_options->chunk_tokens = plan->shape.chunk_tokens;
  auto target = ClusterTarget::Open(options, *plan, *client_options);
  if (!target) {
    return Fail(target.error(),
                target.error().code() == Code::kUnavailable ? kNoAnswer : kWrongUsage);
  }
  RunTotals totals;
  if (!options.skip_load) {
    const auto begun = std::chrono::steady_clock::now();
    const Status status = (*target)->Load(options.clients, stop);
    totals.load_seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
    if (!status.ok()) return Fail(status, kNoAnswer);
    std::fprintf(stderr, "kdn-bench: stored what was missing in %.1f s\n", totals.load_seconds);
  }
  Tallies tallies;
  if (!options.load_only) {
    std::fprintf(stderr, "kdn-bench: running for %.1f s\n", options.warmup_s + options.duration_s);
    tallies = RunLoop(options, **target, totals);
  }
  totals.bytes_verified = (*target)->bytes_verified();
  totals.under_replicated = (*target)->under_replicated();
  if (options.client_metrics) std::fputs((*target)->ClientMetrics().c_str(), stderr);
  const int code = Print(options, ReportJson(options, totals, tallies));
  return code == 0 && stop ? 130 : code;
}

}  // namespace
}  // namespace kdn::bench

int main(int argc, char** argv) {
  kdn::bench::Options options;
  if (const char* folder = std::getenv("KDN_CLUSTER")) options.cluster_folder = folder;
  CLI::App app(
      "Loads a running KDN cluster as engines do, through the client library, and tells rates and "
      "latencies. It stores what it reads; nothing of others is touched, but may be evicted.",
      "kdn-bench");
  kdn::bench::AddWorkload(app, options);
  kdn::bench::AddLoop(app, options);
  kdn::bench::AddCluster(app, options);
  app.add_option("--output", options.output, "table or json")
      ->check(CLI::IsMember({"table", "json"}))
      ->capture_default_str();
  app.add_flag("--histograms", options.histograms, "json with the buckets, to be merged");
  app.add_flag("--client-metrics", options.client_metrics,
               "writes the first library's metrics to standard error at the end");
  app.add_option("--merge", options.merge,
                 "adds up the JSON of runs that went on together, and runs nothing");
  app.set_version_flag("--version", KDN_VERSION);
  app.footer(kdn::bench::kFooter);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kdn::bench::kWrongUsage;
  }
  std::signal(SIGINT, kdn::bench::OnSignal);
  std::signal(SIGTERM, kdn::bench::OnSignal);
  return kdn::bench::Run(options);
}

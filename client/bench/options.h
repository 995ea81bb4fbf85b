// What kdn-bench is told: the workload, the loop, how to reach the cluster.
//
// Thread-safety: values.
#pragma once

#include <array>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "client/bench/draw.h"
#include "client/bench/objects.h"
#include "client/bench/target.h"

namespace kdn::bench {

struct Options {
  std::string config_path;
  std::string cluster_folder = "kdn-cluster";

  std::uint64_t records = 1000;
  std::string size = "1MiB";
  std::string geometry;  // empty: objects are bytes of `size`
  std::uint32_t chunk_tokens = 256;
  std::uint64_t chains = 0;
  std::uint32_t chain_chunks = 16;

  std::string workload = "c";
  std::string mix;  // empty: the workload's
  std::string popularity;
  double theta = 0.99;

  std::uint32_t clients = 4;
  double rate = 0.0;
  std::string arrivals = "poisson";
  double warmup_s = 2.0;
  double duration_s = 10.0;
  double drain_s = 5.0;

  std::string store_level = "exact";
  std::string read_level;  // empty: the finest stored
  std::uint32_t replicas = 0;
  std::uint32_t verify_every = 1;
  std::uint64_t seed = 1;
  bool load_only = false;
  bool skip_load = false;

  std::uint32_t instances = 1;
  std::uint32_t connections = 0;
  std::uint32_t decode_threads = 1;
  std::uint32_t staging_mib = 256;
  std::uint32_t timeout_ms = 10000;
  std::string congestion_control;
  std::uint32_t io_threads = 0;
  bool shared_memory = true;

  std::string output = "table";
  bool histograms = false;
  bool client_metrics = false;
  std::vector<std::string> merge;
};

// Shares of kinds, as given or as the workload has them; they add up to 1.
using Mix6 = std::array<double, kKinds>;

// What the options come to.
struct Plan {
  ObjectShape shape;
  Sizes sizes;
  Mix6 mix{};
  Popularity popularity = Popularity::kUniform;
  LevelSet store_levels;
  Level read_level = Level::kExact;
};

// kInvalidArgument says which option is wrong and what was expected.
[[nodiscard]] Result<Plan> PlanOf(const Options& options);

// Every option that says what was run, by name.
[[nodiscard]] nlohmann::json JsonOf(const Options& options);

}  // namespace kdn::bench

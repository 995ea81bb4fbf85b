#include "client/bench/options.h"

#include <charconv>
#include <nlohmann/json.hpp>

namespace kdn::bench {
namespace {

// YCSB's core workloads; e's short ranges are prefixes of chains here.
struct Workload {
  std::string_view name;
  std::string_view mix;
  Popularity popularity;
};
constexpr std::array<Workload, 6> kWorkloads = {{
    {"a", "read=50,update=50", Popularity::kZipfian},
    {"b", "read=95,update=5", Popularity::kZipfian},
    {"c", "read=100", Popularity::kZipfian},
    {"d", "read=95,insert=5", Popularity::kLatest},
    {"e", "scan=95,insert=5", Popularity::kZipfian},
    {"f", "read=50,rmw=50", Popularity::kZipfian},
}};

std::unexpected<Status> Refuse(std::string_view option, const std::string& why) {
  return Error(Code::kInvalidArgument, "--" + std::string(option) + ": " + why);
}

Result<Mix6> ParseMix(std::string_view text) {
  Mix6 mix{};
  double sum = 0.0;
  while (!text.empty()) {
    const std::string_view item = text.substr(0, text.find(','));
    text.remove_prefix(std::min(text.size(), item.size() + 1));
    const auto equals = item.find('=');
    std::size_t kind = 0;
    while (kind < kKinds && kKindNames[kind] != item.substr(0, equals)) ++kind;
    double share = 0.0;
    bool good = kind < kKinds && equals != std::string_view::npos;
    if (good) {
      const char* const end = item.data() + item.size();
      const auto [at, error] = std::from_chars(item.data() + equals + 1, end, share);
      good = error == std::errc() && at == end && share >= 0.0 && share <= 1e9;
    }
    if (!good) {
      return Refuse("mix", "'" + std::string(item) +
                               "'; expected KIND=SHARE,... of read, update, insert, rmw, scan "
                               "and lookup, as read=95,update=5");
    }
    mix[kind] += share;
    sum += share;
  }
  if (sum <= 0.0) return Refuse("mix", "all shares are 0");
  for (double& share : mix) share /= sum;
  return mix;
}

const Workload* FindWorkload(std::string_view name) {
  for (const Workload& workload : kWorkloads) {
    if (workload.name == name) return &workload;
  }
  return nullptr;
}

double Share(const Mix6& mix, Kind kind) {
  return mix[static_cast<std::size_t>(kind)];
}

Status PlanLevels(const Options& options, Plan& plan) {
  if (options.store_level == "exact") {
    plan.store_levels = Level::kExact;
    plan.read_level = Level::kExact;
  } else {
    const std::string finest = options.store_level == "all" ? "exact" : options.store_level;
    const Result<Level> level = FindLevel(finest);
    if (!level) {
      return Refuse("store-level", "expected draft, standard, fine, exact or all").error();
    }
    plan.store_levels =
        LevelSet(static_cast<std::uint8_t>((2U << static_cast<unsigned>(*level)) - 1));
    plan.read_level = *level;
  }
  if (!options.read_level.empty()) {
    const Result<Level> level = FindLevel(options.read_level);
    if (!level || !plan.store_levels.Has(*level)) {
      return Refuse("read-level", "'" + options.read_level + "' is not among what is stored")
          .error();
    }
    plan.read_level = *level;
  }
  if (plan.store_levels.Has(Level::kDraft) && options.geometry.empty()) {
    return Refuse("store-level", "lossy levels are of models' values: give --geometry").error();
  }
  return {};
}

Status CheckLoop(const Options& options, const Plan& plan) {
  if (options.records == 0) return Refuse("records", "there is at least one").error();
  if (options.theta <= 0.0 || options.theta == 1.0 || options.theta > 10.0) {
    return Refuse("theta", "above 0, at most 10, and not 1").error();
  }
  if (options.duration_s <= 0.0 && !options.load_only) {
    return Refuse("duration", "above 0 seconds").error();
  }
  if (options.arrivals != "poisson" && options.arrivals != "constant") {
    return Refuse("arrivals", "expected poisson or constant").error();
  }
  const bool chains = Share(plan.mix, Kind::kScan) + Share(plan.mix, Kind::kLookup) > 0.0;
  if (chains && options.chains == 0) {
    return Refuse("chains", "scans and lookups go over chains: how many are there?").error();
  }
  if (chains && plan.sizes.min() != plan.sizes.max() && options.geometry.empty()) {
    return Refuse("size", "the chunks of chains are full: give one size").error();
  }
  if (options.load_only && options.skip_load) {
    return Refuse("load-only", "does not go with --skip-load").error();
  }
  return {};
}

}  // namespace

Result<Plan> PlanOf(const Options& options) {
  Plan plan;
  const Workload* workload = FindWorkload(options.workload);
  if (workload == nullptr) return Refuse("workload", "expected one of a to f");
  KDN_ASSIGN_OR_RETURN(plan.mix, ParseMix(options.mix.empty() ? workload->mix : options.mix));
  plan.popularity = workload->popularity;
  if (!options.popularity.empty()) {
    const auto popularity = FindPopularity(options.popularity);
    if (!popularity) return Refuse("popularity", popularity.error().message());
    plan.popularity = *popularity;
  }
  auto sizes = Sizes::Parse(options.size);
  if (!sizes) return Refuse("size", sizes.error().message());
  plan.sizes = *std::move(sizes);
  auto shape = options.geometry.empty() ? ShapeOfSizes(plan.sizes)
                                        : ShapeOfGeometry(options.geometry, options.chunk_tokens);
  if (!shape)
    return Refuse(options.geometry.empty() ? "size" : "geometry", shape.error().message());
  plan.shape = *std::move(shape);
  if (Status status = PlanLevels(options, plan); !status.ok()) return std::unexpected(status);
  if (Status status = CheckLoop(options, plan); !status.ok()) return std::unexpected(status);
  return plan;
}

nlohmann::json JsonOf(const Options& options) {
  return {{"records", options.records},
          {"size", options.geometry.empty() ? options.size : ""},
          {"geometry", options.geometry},
          {"chunk_tokens", options.chunk_tokens},
          {"chains", options.chains},
          {"chain_chunks", options.chain_chunks},
          {"workload", options.mix.empty() ? options.workload : ""},
          {"mix", options.mix},
          {"popularity", options.popularity},
          {"theta", options.theta},
          {"loop", options.rate > 0.0 ? "open" : "closed"},
          {"clients", options.clients},
          {"rate", options.rate},
          {"arrivals", options.arrivals},
          {"warmup_s", options.warmup_s},
          {"duration_s", options.duration_s},
          {"drain_s", options.drain_s},
          {"store_level", options.store_level},
          {"read_level", options.read_level},
          {"replicas", options.replicas},
          {"verify_every", options.verify_every},
          {"seed", options.seed},
          {"skip_load", options.skip_load},
          {"instances", options.instances},
          {"connections", options.connections},
          {"decode_threads", options.decode_threads},
          {"staging_mib", options.staging_mib},
          {"timeout_ms", options.timeout_ms},
          {"congestion", options.congestion_control},
          {"io_threads", options.io_threads},
          {"shared_memory", options.shared_memory}};
}

}  // namespace kdn::bench

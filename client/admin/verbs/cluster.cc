#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "base/limits.h"
#include "client/admin/local_cluster.h"
#include "client/admin/output.h"
#include "client/admin/verbs/verbs.h"

namespace kdn::admin {
namespace {

void PrintDaemons(const VerbContext& context, const LocalCluster& cluster) {
  nlohmann::json json = nlohmann::json::array();
  std::vector<Row> rows;
  for (const LocalCluster::Daemon& daemon : cluster.daemons()) {
    std::string endpoints;
    for (const std::string& endpoint : daemon.endpoints) {
      endpoints += (endpoints.empty() ? "" : " ") + endpoint;
    }
    json.push_back({{"name", daemon.name}, {"pid", daemon.pid}, {"endpoints", daemon.endpoints}});
    rows.push_back({daemon.name, std::to_string(daemon.pid), endpoints});
  }
  if (context.json()) {
    PrintJson({{"folder", cluster.folder()}, {"daemons", json}});
    return;
  }
  PrintTable({"daemon", "pid", "endpoints"}, rows);
  std::printf("\nIts files are in %s. Try: kdnctl --cluster %s status\n", cluster.folder().c_str(),
              context.cluster_folder.c_str());
}

int RunUp(const VerbContext& context, LocalClusterOptions options,
          const std::vector<std::string>& settings) {
  options.folder = context.cluster_folder;
  for (const std::string& setting : settings) {
    const bool of_node = setting.starts_with("node.");
    if (!of_node && !setting.starts_with("coordinator.")) {
      return PrintError(
          Status(Code::kInvalidArgument,
                 "--set " + setting + ": expected node.KEY=VALUE or coordinator.KEY=VALUE"));
    }
    (of_node ? options.node_settings : options.coordinator_settings).push_back(setting);
  }
  const auto cluster = LocalCluster::Start(options);
  if (!cluster) return PrintError(cluster.error());
  PrintDaemons(context, *cluster);
  return 0;
}

int RunDown(const VerbContext& context) {
  auto cluster = LocalCluster::Attach(context.cluster_folder);
  if (!cluster) return PrintError(cluster.error());
  const Status status = cluster->Stop(std::chrono::seconds(20));
  if (!status.ok()) return PrintError(status);
  if (context.json()) {
    PrintJson({{"folder", cluster->folder()}, {"daemons", nlohmann::json::array()}});
  } else {
    std::printf("stopped; what it stored stays in %s\n", cluster->folder().c_str());
  }
  return 0;
}

}  // namespace

void AddClusterVerb(CLI::App& app, VerbContext& context) {
  CLI::App* verb =
      app.add_subcommand("cluster", "A cluster on this machine, for trying things out");
  verb->require_subcommand(1);
  CLI::App* up = verb->add_subcommand(
      "up",
      "Starts a coordinator and some nodes on loopback, in the folder of --cluster; goes on "
      "with what an earlier one stored there");
  auto options = std::make_shared<LocalClusterOptions>();
  up->add_option("--nodes", options->nodes, "storage nodes")->check(CLI::Range(1U, 16U));
  up->add_option("--dram-mib", options->dram_mib, "memory of each node")
      ->check(CLI::Range(16U, 1U << 20));
  CLI::Option* replicas =
      up->add_option(
            "--replicas", options->replicas,
            "nodes that each chunk is stored on; at most as many as there are, if not given")
          ->check(CLI::Range(1U, limits::kReplicasMax));
  auto settings = std::make_shared<std::vector<std::string>>();
  up->add_option("--set", *settings,
                 "node.KEY=VALUE or coordinator.KEY=VALUE, as in the daemons' files; repeatable")
      ->allow_extra_args(false);
  up->callback([&context, options, replicas, settings] {
    if (replicas->count() == 0) options->replicas = std::min(options->replicas, options->nodes);
    context.exit_code = RunUp(context, *options, *settings);
  });
  CLI::App* down = verb->add_subcommand("down", "Stops it; its folder stays");
  down->callback([&context] { context.exit_code = RunDown(context); });
}

}  // namespace kdn::admin

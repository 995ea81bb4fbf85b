#include <nlohmann/json.hpp>

#include "client/admin/output.h"
#include "client/admin/verbs/verbs.h"

namespace kdn::admin {
namespace {

nlohmann::json JsonOf(const v1::Node& node) {
  return {{"node_id", node.node_id()},
          {"state", node.state()},
          {"endpoints",
           std::vector<std::string>(node.shard_endpoints().begin(), node.shard_endpoints().end())},
          {"dram_bytes", node.dram_bytes()},
          {"dram_bytes_used", node.dram_bytes_used()},
          {"disk_bytes_used", node.disk_bytes_used()},
          {"objects", node.objects()},
          {"silent_ms", node.silent_ms()},
          {"version", node.version()},
          {"corrupt_objects_found", node.corrupt_objects_found()}};
}

int Run(const VerbContext& context) {
  const auto rpc = context.Connect();
  if (!rpc) return PrintError(rpc.error());
  const auto response = rpc->Nodes();
  if (!response) return PrintError(response.error());
  nlohmann::json json = nlohmann::json::array();
  std::vector<Row> rows;
  for (const v1::Node& node : response->nodes()) {
    json.push_back(JsonOf(node));
    std::string endpoints;
    for (const std::string& endpoint : node.shard_endpoints()) {
      endpoints += (endpoints.empty() ? "" : " ") + endpoint;
    }
    rows.push_back({std::to_string(node.node_id()), node.state(), endpoints,
                    std::to_string(node.objects()),
                    BytesText(node.dram_bytes_used()) + " of " + BytesText(node.dram_bytes()),
                    BytesText(node.disk_bytes_used()), std::to_string(node.silent_ms()) + " ms",
                    std::to_string(node.corrupt_objects_found())});
  }
  if (context.json()) {
    PrintJson(json);
  } else {
    PrintTable({"node", "state", "endpoints", "objects", "DRAM", "disk", "silent", "corrupt"},
               rows);
  }
  return 0;
}

}  // namespace

void AddNodesVerb(CLI::App& app, VerbContext& context) {
  CLI::App* verb = app.add_subcommand("nodes", "Every node the cluster knows, and its state");
  verb->callback([&context] { context.exit_code = Run(context); });
}

}  // namespace kdn::admin

#include <nlohmann/json.hpp>

#include "client/admin/output.h"
#include "client/admin/verbs/verbs.h"

namespace kdn::admin {
namespace {

int Run(const VerbContext& context) {
  const auto rpc = context.Connect();
  if (!rpc) return PrintError(rpc.error());
  const auto status = rpc->GetStatus();
  if (!status) return PrintError(status.error());
  if (context.json()) {
    PrintJson({{"cluster_id", HexText(status->cluster_id())},
               {"epoch", status->epoch()},
               {"version", status->version()},
               {"uptime_ms", status->uptime_ms()},
               {"nodes_alive", status->nodes_alive()},
               {"nodes_dead", status->nodes_dead()},
               {"chunks", status->chunks()},
               {"contexts", status->contexts()},
               {"dram_bytes", status->dram_bytes()},
               {"dram_bytes_used", status->dram_bytes_used()},
               {"disk_bytes_used", status->disk_bytes_used()},
               {"inventories_complete", status->inventories_complete()}});
    return 0;
  }
  PrintTable(
      {"what", "value"},
      {{"cluster", HexText(status->cluster_id())},
       {"version", status->version()},
       {"epoch", std::to_string(status->epoch())},
       {"up for", std::to_string(status->uptime_ms() / 1000) + " s"},
       {"nodes", std::to_string(status->nodes_alive()) + " alive, " +
                     std::to_string(status->nodes_dead()) + " dead"},
       {"chunks", std::to_string(status->chunks())},
       {"contexts", std::to_string(status->contexts())},
       {"DRAM", BytesText(status->dram_bytes_used()) + " of " + BytesText(status->dram_bytes())},
       {"disk", BytesText(status->disk_bytes_used())},
       {"inventories", status->inventories_complete() ? "complete" : "still coming in"}});
  return 0;
}

}  // namespace

void AddStatusVerb(CLI::App& app, VerbContext& context) {
  CLI::App* verb = app.add_subcommand("status", "The cluster in a few lines");
  verb->callback([&context] { context.exit_code = Run(context); });
}

}  // namespace kdn::admin

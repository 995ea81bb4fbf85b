#include <nlohmann/json.hpp>

#include "client/admin/output.h"
#include "client/admin/verbs/verbs.h"

namespace kdn::admin {
namespace {

std::string Joined(const google::protobuf::RepeatedPtrField<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ",") + word;
  return text;
}

nlohmann::json JsonOf(const v1::ChunkWhere& chunk) {
  nlohmann::json replicas = nlohmann::json::array();
  for (const v1::Replica& replica : chunk.replicas()) {
    replicas.push_back({{"node_id", replica.node_id()},
                        {"part", replica.part()},
                        {"dram", Joined(replica.dram_levels())},
                        {"disk", Joined(replica.disk_levels())}});
  }
  nlohmann::json levels = nlohmann::json::object();
  for (const auto& [level, bytes] : chunk.level_bytes()) levels[level] = bytes;
  return {{"chunk_key", HexText(chunk.chunk_key())},
          {"put_id", HexText(chunk.put_id())},
          {"tokens", chunk.token_count()},
          {"parts_present", chunk.parts_present()},
          {"part_count", chunk.part_count()},
          {"provenance", chunk.provenance()},
          {"level_bytes", levels},
          {"replicas", replicas}};
}

Row RowOf(const v1::ChunkWhere& chunk, int index) {
  if (chunk.put_id().empty()) {
    return {
        std::to_string(index), HexText(chunk.chunk_key()).substr(0, 16), "-", "-", "-", "nowhere"};
  }
  std::uint64_t bytes = 0;
  for (const auto& [level, level_bytes] : chunk.level_bytes()) bytes += level_bytes;
  std::string places;
  for (const v1::Replica& replica : chunk.replicas()) {
    places +=
        (places.empty() ? "" : "  ") + std::string("node ") + std::to_string(replica.node_id());
    if (chunk.part_count() > 1) places += " part " + std::to_string(replica.part());
    if (replica.dram_levels_size() > 0) places += " dram:" + Joined(replica.dram_levels());
    if (replica.disk_levels_size() > 0) places += " disk:" + Joined(replica.disk_levels());
  }
  return {std::to_string(index),
          HexText(chunk.chunk_key()).substr(0, 16),
          std::to_string(chunk.token_count()),
          BytesText(bytes),
          chunk.provenance(),
          places};
}

int Run(const VerbContext& context, const std::string& name) {
  const auto response = context.Where(name);
  if (!response) return PrintError(response.error());
  nlohmann::json json = nlohmann::json::array();
  std::vector<Row> rows;
  for (int i = 0; i < response->chunks_size(); ++i) {
    json.push_back(JsonOf(response->chunks(i)));
    rows.push_back(RowOf(response->chunks(i), i));
  }
  if (context.json()) {
    PrintJson(json);
  } else {
    PrintTable({"chunk", "key", "tokens", "bytes", "provenance", "replicas"}, rows);
  }
  return 0;
}

}  // namespace

void AddWhereVerb(CLI::App& app, VerbContext& context) {
  CLI::App* verb =
      app.add_subcommand("where", "On which nodes, tiers and levels a context's chunks are");
  auto name = std::make_shared<std::string>();
  verb->add_option("CONTEXT", *name, "a context's name, as `kdnctl contexts` lists it")->required();
  verb->callback([&context, name] { context.exit_code = Run(context, *name); });
}

}  // namespace kdn::admin

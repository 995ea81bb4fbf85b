#include "client/core/client_context.h"

#include <algorithm>

#include "proto/object/chunk_key.h"

namespace kdn::client {

void NodeDirectory::Update(const wire::NodeMap& map) {
  if (map.version < version_ || map.nodes.empty()) return;
  version_ = map.version;
  nodes_.clear();
  for (const wire::NodeEndpoints& node : map.nodes) nodes_.emplace(node.node, node);
}

const wire::NodeEndpoints* NodeDirectory::Find(NodeId node) const {
  const auto it = nodes_.find(node);
  return it == nodes_.end() ? nullptr : &it->second;
}

std::string NodeDirectory::EndpointOf(NodeId node, const ChunkKey& key,
                                      const std::vector<wire::NodeEndpoints>& told) const {
  const wire::NodeEndpoints* endpoints = Find(node);
  if (endpoints == nullptr) {
    const auto it = std::ranges::find(told, node, &wire::NodeEndpoints::node);
    if (it == told.end()) return {};
    endpoints = &*it;
  }
  if (endpoints->shards.empty()) return {};
  const auto count = static_cast<std::uint32_t>(endpoints->shards.size());
  return endpoints->shards[ShardOfKey(key, count)];
}

ClientMetrics::ClientMetrics(MetricRegistry& registry)
    : lookups(registry.CounterOf("kdn_client_lookups_total", "Lookups answered or given up")),
      lookup_tokens(registry.CounterOf("kdn_client_lookup_tokens_total", "Tokens looked up")),
      hit_tokens(registry.CounterOf("kdn_client_hit_tokens_total", "Tokens found by lookups")),
      loads(registry.CounterOf("kdn_client_loads_total", "Loads that ended")),
      loads_short(registry.CounterOf("kdn_client_loads_short_total",
                                     "Loads that ended before all tokens were there")),
      bytes_received(registry.CounterOf("kdn_client_bytes_received_total",
                                        "Bytes of objects received by loads")),
      pieces_corrupt(registry.CounterOf("kdn_client_pieces_corrupt_total",
                                        "Tiles or headers caught by their checksum")),
      failovers(registry.CounterOf("kdn_client_failovers_total",
                                   "Reads that went on at another replica")),
      hedges(registry.CounterOf("kdn_client_hedges_total",
                                "Second reads of what was late, from another replica")),
      hedges_won(registry.CounterOf("kdn_client_hedges_won_total",
                                    "Second reads that ended before the first")),
      reads_moved(registry.CounterOf("kdn_client_reads_moved_total",
                                     "Reads taken from a silent node without memory for two")),
      stores(registry.CounterOf("kdn_client_stores_total", "Stores that ended")),
      chunks_stored(
          registry.CounterOf("kdn_client_chunks_stored_total", "Chunks made visible by stores")),
      bytes_sent(
          registry.CounterOf("kdn_client_bytes_sent_total", "Bytes of objects sent by stores")),
      profiles_fetched(
          registry.CounterOf("kdn_client_profiles_fetched_total", "Profiles fetched and checked")),
      profiles_missing(registry.CounterOf("kdn_client_profiles_missing_total",
                                          "Profiles that objects name and that could not be had")),
      profiles_learned(registry.CounterOf("kdn_client_profiles_learned_total",
                                          "Profiles learned here that became a model's")),
      lookup_seconds(registry.HistogramOf("kdn_client_lookup_seconds", "Time of lookups")),
      load_seconds(registry.HistogramOf("kdn_client_load_seconds", "Time of loads")),
      store_seconds(registry.HistogramOf("kdn_client_store_seconds", "Time of stores")) {}

}  // namespace kdn::client

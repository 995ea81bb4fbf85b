// The specification of the directory: a std::map of everything that was ever told, asked naively.
//
// Thread-safety: not safe; caller synchronises.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <tuple>
#include <utility>
#include <vector>

#include "coordinator/core/directory.h"

namespace kdn::coordinator {

class DirectoryModel {
 public:
  void SetAlive(NodeId node, bool alive) { nodes_[node].alive = alive; }
  void ExpectReport(NodeId node) { nodes_[node].incoming = ++last_report_; }
  void EndReport(NodeId node) {
    nodes_[node].current = std::exchange(nodes_[node].incoming, ++last_report_);
  }
  void Forget(NodeId node) { nodes_[node].current = nodes_[node].incoming = ++last_report_; }

  void Apply(NodeId node, const wire::InventoryEntry& entry, Directory::Source source) {
    const Name name{entry.tenant, entry.key, entry.put_id, entry.shape.number, node};
    if ((entry.in_dram | entry.on_disk).empty()) {
      told_.erase(name);
    } else {
      const Node& state = nodes_[node];
      told_[name] = {entry, source == Directory::Source::kChange ? state.current : state.incoming};
    }
  }

  struct Found {
    PutId put_id;
    Provenance provenance;
    std::vector<std::set<std::uint32_t>> nodes;  // per part
  };

  std::optional<Found> Find(const LookupFilter& filter, const ChunkKey& key) const {
    std::map<std::pair<std::uint32_t, PutId>, Found> puts;
    for (auto at = told_.lower_bound({filter.tenant, key, PutId{}, 0, NodeId{}}); at != told_.end();
         ++at) {
      const auto& [tenant, told_key, put_id, part, node] = at->first;
      const wire::InventoryEntry& entry = at->second.entry;
      if (tenant != filter.tenant || told_key != key) break;
      if (entry.provenance.kind < filter.floor || !Counts(node, at->second.report)) continue;
      bool good = false;
      for (const LevelInfo& info : Levels()) {
        good = good ||
               (info.level >= filter.level_min && (entry.in_dram | entry.on_disk).Has(info.level));
      }
      if (!good) continue;
      Found& found = puts[{ProvenanceRank(entry.provenance), put_id}];
      found.put_id = put_id;
      found.provenance = entry.provenance;
      found.nodes.resize(entry.shape.count);
      found.nodes[part].insert(static_cast<std::uint32_t>(node));
    }
    for (auto at = puts.rbegin(); at != puts.rend(); ++at) {
      bool whole = true;
      for (const auto& nodes : at->second.nodes) whole = whole && !nodes.empty();
      if (whole) return at->second;
    }
    return std::nullopt;
  }

 private:
  struct Node {
    bool alive = false;
    std::uint64_t current = 0;   // the last complete report
    std::uint64_t incoming = 0;  // the next one
  };
  struct Told {
    wire::InventoryEntry entry;
    std::uint64_t report = 0;
  };
  using Name = std::tuple<TenantId, ChunkKey, PutId, std::uint16_t, NodeId>;

  bool Counts(NodeId node, std::uint64_t report) const {
    const auto at = nodes_.find(node);
    if (at == nodes_.end() || !at->second.alive) return false;
    return report >= at->second.current;
  }

  std::map<NodeId, Node> nodes_;
  std::map<Name, Told> told_;
  std::uint64_t last_report_ = 0;
};

}  // namespace kdn::coordinator

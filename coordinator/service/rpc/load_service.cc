#include "coordinator/service/rpc/load_service.h"

#include <utility>

#include "base/limits.h"
#include "base/metrics_text.h"
#include "coordinator/service/rpc/convert.h"

namespace kdn::coordinator::rpc {
namespace {

void FillNode(const NodeState& node, TimePoint now, v1::NodeOverview& out) {
  out.set_node_id(static_cast<std::uint32_t>(node.id));
  out.set_state(node.alive ? "alive" : "dead");
  if (!node.description.shards.empty()) out.set_endpoint(node.description.shards.front());
  out.set_silent_ms(static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::milliseconds>(now - node.heard).count()));
  out.set_objects(node.last_beat.objects);
  out.set_dram_bytes(node.description.dram_bytes);
  out.set_dram_bytes_used(node.last_beat.dram_bytes_used);
  out.set_disk_bytes_used(node.last_beat.disk_bytes_used);
}

}  // namespace

grpc::Status LoadService::Report(grpc::ServerContext* context, const v1::NodeLoad* request,
                                 v1::ReportResponse*) {
  if (grpc::Status refused = callers_.Admit(*context); !refused.ok()) return refused;
  const std::scoped_lock lock(mutex_);
  if (loads_.size() < limits::kNodesMax || loads_.contains(request->node_id())) {
    loads_[request->node_id()] = *request;
  }
  return grpc::Status::OK;
}

void LoadService::FillCoordinator(v1::CoordinatorLoad& out) const {
  const std::string text = metrics_.Render();
  out.set_cluster_id(BytesOf(cluster_));
  out.set_epoch(static_cast<std::uint32_t>(epoch_));
  out.set_version(KDN_VERSION);
  const auto uptime = loop_.clock().Now() - loop_.began();
  out.set_at_us(static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::microseconds>(uptime).count()));
  out.set_chunks(MetricSum(text, "kdn_coordinator_directory_chunks"));
  out.set_contexts(MetricSum(text, "kdn_coordinator_contexts"));
  out.set_directory_bytes(MetricSum(text, "kdn_coordinator_directory_bytes"));
  out.set_inventories_complete(loop_.ready());
  out.set_lookups(MetricSum(text, "kdn_coordinator_lookups_total"));
  out.set_lookup_keys(MetricSum(text, "kdn_coordinator_lookup_keys_total"));
  out.set_lookup_hits(MetricSum(text, "kdn_coordinator_lookup_hits_total"));
  out.set_chunks_committed(MetricSum(text, "kdn_coordinator_chunks_committed_total"));
  out.set_calls_refused(MetricSum(text, "kdn_coordinator_calls_refused_total"));
  out.set_puts_open(MetricSum(text, "kdn_coordinator_puts_open"));
  for (const std::uint64_t count : MetricBuckets(text, "kdn_coordinator_lookup_seconds")) {
    out.mutable_lookup_times()->add_counts(count);
  }
}

grpc::Status LoadService::Overview(grpc::ServerContext* context, const v1::OverviewRequest*,
                                   v1::OverviewResponse* response) {
  if (grpc::Status refused = callers_.Admit(*context); !refused.ok()) return refused;
  const auto overview =
      loop_.Ask<v1::OverviewResponse>([this](Core& core) -> Result<v1::OverviewResponse> {
        v1::OverviewResponse all;
        for (const auto& [id, node] : core.membership().nodes()) {
          FillNode(node, loop_.clock().Now(), *all.add_nodes());
        }
        return all;
      });
  if (!overview) return ToGrpc(overview.error());
  *response = *overview;
  FillCoordinator(*response->mutable_coordinator());
  const std::scoped_lock lock(mutex_);
  for (v1::NodeOverview& node : *response->mutable_nodes()) {
    const auto load = loads_.find(node.node_id());
    if (load != loads_.end()) *node.mutable_load() = load->second;
  }
  return grpc::Status::OK;
}

}  // namespace kdn::coordinator::rpc

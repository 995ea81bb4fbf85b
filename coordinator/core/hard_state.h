// What must outlive the coordinator, and how it lies in the metastore:
//
//   epoch                                   the reign that last began
//   cluster                                 the cluster's id
//   node/<uuid>                             a node's id, and the epoch in which it last registered
//   tenant/<id>                             a tenant's name and access secret
//   context/<tenant><name>                  a named context without its keys
//   chunks/<tenant><name>\0<page>           kChunksPerPage of its keys, so that a context that
//                                           grows by a chunk rewrites 8 KiB, not 512
//
// Ids and page numbers in keys are big-endian, so that a scan is in order. Values begin with a
// version byte.
//
// Thread-safety: pure functions and values; BeginReign() blocks on the disk.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/random.h"
#include "base/result.h"
#include "base/tenant_rates.h"
#include "coordinator/core/context.h"
#include "coordinator/metastore/metastore.h"

namespace kdn::coordinator {

inline constexpr std::size_t kChunksPerPage = 256;

struct KnownNode {
  PeerId uuid;
  NodeId id{};
  Epoch registered{};  // the last reign in which it did
};

struct Tenant {
  TenantId id{};
  std::string name;
  std::vector<std::byte> access_secret;  // empty: none; it then needs allow_none
  bool allow_none = false;
  TenantRate rate;  // at each daemon; zeros: as the daemon's own configuration says

  friend bool operator==(const Tenant&, const Tenant&) = default;
};

struct HardState {
  Epoch epoch{};
  ClusterId cluster;
  std::vector<KnownNode> nodes;
  std::vector<Tenant> tenants;
  std::vector<Context> contexts;
};

// Makes the next epoch durable before anything else is done in its name and reads all hard state.
// At the very first start the cluster gets the id `wanted`, or a random one if that is zero.
// kFailedPrecondition if it has another id already; kDataLoss if a record cannot be read: going on
// without it would lose a decision silently.
[[nodiscard]] Result<HardState> BeginReign(Metastore& metastore, const ClusterId& wanted,
                                           Random& random);

// The epoch of the last reign; zero if there was none.
[[nodiscard]] Result<Epoch> StoredEpoch(Metastore& metastore);
// Makes the next reign be the one after `last`.
void SetEpoch(Epoch last, MetaBatch& batch);

void PutNode(const KnownNode& node, MetaBatch& batch);
// Writes the context without its keys, and those pages of keys from `first_changed` on; deletes
// pages beyond the end up to those that `chunks_before` filled.
void PutContext(const Context& context, std::size_t first_changed, std::size_t chunks_before,
                MetaBatch& batch);
void DeleteContext(const Context& context, MetaBatch& batch);
// Makes the stored tenants equal `tenants`.
void PutTenants(const std::vector<Tenant>& stored, const std::vector<Tenant>& tenants,
                MetaBatch& batch);

}  // namespace kdn::coordinator

// The deciding core: directory, membership, contexts and puts as one state machine, (event, now) ->
// actions. No I/O, no threads, no clock: the service drives it on one thread, the simulator in
// virtual time. Questions that can be answered at once are answered by a return value; the others
// carry a ReplyId and are answered by an Answer action, then or later.
//
// Thread-safety: not safe; caller synchronises.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/metrics.h"
#include "base/random.h"
#include "coordinator/core/actions.h"
#include "coordinator/core/contexts.h"
#include "coordinator/core/directory.h"
#include "coordinator/core/hard_state.h"
#include "coordinator/core/membership.h"
#include "coordinator/core/puts.h"
#include "proto/wire/lookup.h"

namespace kdn::coordinator {

struct CoreOptions {
  MembershipOptions membership;
  PutOptions puts;
  std::string placement = "rendezvous";
  std::vector<std::byte> cluster_secret;  // seals tickets
};

struct LookupCounts {
  std::uint64_t lookups = 0;
  std::uint64_t keys = 0;
  std::uint64_t hits = 0;  // keys that were answered with a location
};

// A batch of a node's inventory.
struct InventoryBatch {
  NodeId node{};
  bool full = false;
  bool first = false;
  bool last = false;
  std::uint64_t sequence = 0;
  std::vector<wire::InventoryEntry> entries;
};

class Core {
 public:
  // kNotFound if there is no such placement policy. `random` outlives the core.
  [[nodiscard]] static Result<std::unique_ptr<Core>> Make(const CoreOptions& options,
                                                          const HardState& state, Random& random,
                                                          TimePoint now);

  // Appends a LookupResponse to `out`, in the layout that the request accepts. Waits for nothing.
  void Lookup(TenantId tenant, const wire::LookupRequestView& request, wire::Buffer& out);

  [[nodiscard]] wire::PutStartResponse PutStart(TenantId tenant,
                                                const wire::PutStartRequest& request,
                                                TimePoint now);
  // Answered with a wire::PutCommitResponse.
  void PutCommit(TenantId tenant, const wire::PutCommitRequest& request, ReplyId reply,
                 TimePoint now, Actions& actions);
  Status PutAbort(TenantId tenant, const wire::PutAbortRequest& request, Actions& actions);

  // Answered with the Context as it became.
  void ChangeContext(const ContextName& id, ContextChange change, ReplyId reply, Actions& actions);

  // Answered with a Registered.
  void Register(const NodeDescription& node, ReplyId reply, TimePoint now, Actions& actions);
  // Whether the node should send a full inventory. kNotFound: it has to register.
  [[nodiscard]] Result<bool> OnBeat(const Beat& beat, TimePoint now);
  [[nodiscard]] Result<bool> OnInventory(const InventoryBatch& batch, TimePoint now);

  void OnNodeAnswer(NodeCallId call, Code code, const wire::ObjectCodesResponse& codes,
                    Actions& actions);
  void OnWritten(WriteId write, const Status& status, TimePoint now, Actions& actions);
  // To be called every few hundred milliseconds.
  void Tick(TimePoint now, Actions& actions);

  // What an operator's drop or verification found on a node: these levels are left of the object.
  void OnObjectLeft(const StoredReplica& replica, LevelSet left);

  [[nodiscard]] Directory& directory() { return directory_; }
  [[nodiscard]] const Directory& directory() const { return directory_; }
  [[nodiscard]] const Membership& membership() const { return membership_; }
  [[nodiscard]] const Contexts& contexts() const { return contexts_; }
  [[nodiscard]] const Puts& puts() const { return puts_; }
  [[nodiscard]] const LookupCounts& lookup_counts() const { return lookup_counts_; }
  [[nodiscard]] Epoch epoch() const { return epoch_; }

 private:
  struct Joining {
    NodeDescription node;
    ReplyId reply{};
  };

  Core(const CoreOptions& options, const HardState& state,
       std::unique_ptr<PlacementPolicy> placement, Random& random, TimePoint now);

  void ExpectReport(NodeId node);
  void FinishRegister(const NodeDescription& node, ReplyId reply, TimePoint now, Actions& actions);

  Epoch epoch_;
  WriteIds write_ids_;
  Directory directory_;
  Membership membership_;
  Contexts contexts_;
  Puts puts_;
  std::map<WriteId, Joining> joining_;
  std::set<NodeId> expected_reports_;   // nodes asked for a full report that has not ended
  std::map<PeerId, Epoch> registered_;  // the reign that the metastore has for each node
  LookupCounts lookup_counts_;
  wire::NodeMap no_map_;  // says only that the client's version is current
};

}  // namespace kdn::coordinator

// One registration with a coordinator, from Register to its end: beats every 500 ms, answers read
// as they come, inventory in batches. Ends when the coordinator is silent, says that it does not
// know this node, or is another one.
//
// Thread-safety: Run() belongs to one thread; Cancel() is safe.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "base/clock.h"
#include "base/log.h"
#include "kdn/v1/membership.grpc.pb.h"
#include "node/cluster_state.h"
#include "node/inventory_outbox.h"

namespace kdn::node {

// What a registration works on; all outlive it.
struct RegistrationSetup {
  std::string credential;  // shown with each call; empty: none
  ClusterState& state;
  InventoryOutbox& outbox;
  std::function<void()> ask_shards;  // for their snapshots
  const Clock& clock;
  Log& log;
};

// What every call to the coordinator carries (proto/kdn/v1/credential.h).
void ShowCredential(const std::string& credential, grpc::ClientContext& call);

// The view that a response or beat leads to.
[[nodiscard]] wire::NodeMap NodeMapOf(const v1::NodeList& list);
[[nodiscard]] std::map<TenantId, TenantAccess> TenantsOf(
    const google::protobuf::RepeatedPtrField<v1::TenantAccess>& list);

class Registration {
 public:
  static constexpr std::chrono::milliseconds kBeatInterval{500};
  // A coordinator that is silent for this long is taken for gone.
  static constexpr std::chrono::milliseconds kSilenceMax{3000};

  // `number`: of this process's registrations, in order from 0. Batches are numbered on from one to
  // the next, so that one that was under way when its registration ended is known to be old.
  Registration(const RegistrationSetup& setup, v1::Membership::Stub& stub,
               const v1::RegisterResponse& joined, std::uint32_t number);

  // Until the registration ends; says why.
  [[nodiscard]] std::string Run();
  void Cancel();

 private:
  using Stream = grpc::ClientReaderWriter<v1::NodeBeat, v1::CoordinatorBeat>;

  [[nodiscard]] v1::NodeBeat BeatNow() const;
  void ReadBeats(Stream& stream);
  void ReportInventory();
  [[nodiscard]] bool SendBatch(const InventoryOutbox::Batch& batch);
  void BeginFull();
  void Take(const v1::CoordinatorBeat& beat);
  void End(const std::string& why);

  RegistrationSetup setup_;
  v1::Membership::Stub& stub_;
  const std::uint32_t node_id_;
  const std::uint32_t epoch_;
  grpc::ClientContext heartbeat_;
  std::uint64_t sequence_;  // of the last batch; the reporting thread's

  std::mutex mutex_;
  std::condition_variable changed_;
  bool ended_ = false;                               // guarded by mutex_
  std::string why_;                                  // guarded by mutex_
  TimePoint heard_;                                  // guarded by mutex_
  std::atomic<std::uint64_t> heard_coordinator_ms_;  // the coordinator's clock, as last told
  std::unique_ptr<grpc::ClientContext> inventory_;   // of the call under way; guarded by mutex_
};

}  // namespace kdn::node

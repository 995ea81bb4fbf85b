// Keeps this node known to a coordinator: registers, holds a registration, and does so again
// whenever one ends. What it learns goes into ClusterState; shards never wait for it.
//
// Thread-safety: safe; gRPC runs on its own threads and the registrar's, never on a shard's.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/log.h"
#include "base/result.h"
#include "kdn/v1/admin.grpc.pb.h"
#include "kdn/v1/membership.grpc.pb.h"
#include "node/epoch_keeper.h"
#include "node/registration.h"

namespace kdn::node {

// Who registers, and what it works on; all that is referred to outlives the registrar.
struct RegistrarSetup {
  std::string coordinator;  // host:port
  PeerId uuid;
  ClusterId cluster;
  HostId host;
  std::vector<std::string> shard_endpoints;
  std::uint64_t dram_bytes = 0;
  std::uint64_t disk_bytes = 0;
  EpochKeeper& epochs;
  RegistrationSetup registration;
};

class Registrar {
 public:
  explicit Registrar(const RegistrarSetup& setup);
  ~Registrar();
  Registrar(const Registrar&) = delete;
  Registrar& operator=(const Registrar&) = delete;

  // Whether the node is registered now.
  [[nodiscard]] bool joined() const { return joined_.load(); }

 private:
  void Run();
  [[nodiscard]] Result<v1::RegisterResponse> Register(v1::Membership::Stub& stub);
  [[nodiscard]] Status Join(const v1::RegisterResponse& response);
  // Waits, or less if the registrar ends. False then.
  [[nodiscard]] bool Pause(std::chrono::milliseconds time);

  RegistrarSetup setup_;
  std::atomic<bool> joined_{false};
  std::mutex mutex_;
  std::condition_variable changed_;
  bool stopping_ = false;                        // guarded by mutex_
  Registration* registration_ = nullptr;         // guarded by mutex_
  std::unique_ptr<grpc::ClientContext> asking_;  // of Register() under way; guarded by mutex_
  std::thread thread_;                           // last: it uses all of the above
};

// The id of the cluster that the coordinator serves, asked until it answers; kCancelled once a stop
// is asked for, a second late at most.
[[nodiscard]] Result<ClusterId> AskClusterId(const std::string& coordinator,
                                             const std::string& credential,
                                             const std::stop_token& stop, Log& log);

}  // namespace kdn::node

// One shard of a node: a thread with its own share of keys, store, port and connections. Waits on
// descriptors when there is nothing to do.
//
// Thread-safety: Open(), Start(), Stop() and Close() belong to the thread that owns the node; what
// happens between Start() and Stop() happens on the shard's own thread.
#pragma once

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "node/admission.h"
#include "node/config.h"
#include "node/control_handler.h"
#include "node/inventory_outbox.h"
#include "node/mailbox.h"
#include "node/memory_watch.h"
#include "node/put_handler.h"
#include "node/read_handler.h"
#include "node/shard_context.h"
#include "storage/disk_tier.h"
#include "storage/object_store.h"
#include "transport/channel.h"

namespace kdn::node {

// What a shard is made with; all that is referred to outlives it.
struct ShardSetup {
  std::uint32_t shard = 0;
  const NodeConfig& config;
  storage::DiskTier* disk;  // null: no disk
  transport::Domain& domain;
  const transport::Authenticator& authenticator;
  transport::Identity identity;  // with which it forwards to other nodes
  const ClusterState& state;
  EpochKeeper& epochs;
  InventoryOutbox& outbox;
  const HmacKey& cluster_key;
  const Clock& clock;
  Log& log;
  MetricRegistry& registry;
  NodeMetrics& metrics;
  MemoryWatch& memory;
};

class Shard final : public transport::Service, public Deferrer {
 public:
  static constexpr std::chrono::milliseconds kTick{100};
  static constexpr std::size_t kDeferredMax = 1024;

  explicit Shard(const ShardSetup& setup);
  ~Shard() override;

  // Opens the store, with what the disk has of this shard, and listens. Blocks.
  [[nodiscard]] Status Open();
  void Start();
  // Leaves the loop and closes port and connections; the store stays open.
  void Stop();
  // Writes what is dirty and marks a clean stop. Blocks.
  [[nodiscard]] Status Close();

  [[nodiscard]] std::string endpoint() const { return server_->endpoint(); }
  // Safe from any thread.
  [[nodiscard]] Mailbox& mailbox() { return mailbox_; }

  // transport::Service
  void OnCall(std::unique_ptr<transport::Exchange> call) override;
  void OnMoved(transport::Exchange& call, std::uint32_t piece, Code code) override;
  void OnArrived(transport::Exchange& call, std::uint32_t piece, std::size_t size_bytes) override;
  void OnAbandoned(transport::Exchange& call) override;
  // Deferrer
  void Defer(std::unique_ptr<transport::Exchange> call, Epoch epoch) override;

 private:
  void Run();
  bool Turn();  // true if something was done
  bool TakeMail();
  bool PollStore();
  void Tick();
  void Wait();
  void ResumeDeferred(Epoch settled);
  void ReportAll();
  // Under memory pressure: what RocksDB has not written yet is the most of what can be had back.
  void ReleaseMemory();
  void Dispatch(wire::MessageType type, std::unique_ptr<transport::Exchange> call);
  // Takes it on if there is room for it and its tenant may ask for it; else it is answered.
  void Admit(const wire::RequestHead& head, std::unique_ptr<transport::Exchange> call);

  struct Deferred {
    std::unique_ptr<transport::Exchange> call;
    Epoch epoch;
  };

  ShardSetup setup_;
  Mailbox mailbox_;
  std::unique_ptr<storage::ObjectStore> store_;
  const Counter* corrupt_found_ = nullptr;  // the store's own
  Admission admission_;                     // before all that holds its tokens
  std::unique_ptr<ScratchPool> scratch_;
  std::unique_ptr<Peers> peers_;
  std::unique_ptr<ShardContext> context_;
  std::unique_ptr<ReadHandler> reads_;
  std::unique_ptr<PutHandler> puts_;
  std::unique_ptr<ControlHandler> control_;
  std::vector<Deferred> deferred_;
  std::unique_ptr<transport::Server> server_;
  TimePoint next_tick_{};
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace kdn::node

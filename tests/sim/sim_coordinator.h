// The real core, driven in virtual time: its actions become messages and delayed writes, a crash
// takes everything but the metastore.
//
// Thread-safety: not safe; caller synchronises.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "coordinator/core/core.h"
#include "tests/coordinator/map_metastore.h"
#include "tests/sim/simulation.h"

namespace kdn::sim {

// What a node does when it is told something; the answer may never come.
class NodeEnd {
 public:
  virtual ~NodeEnd() = default;
  virtual void OnCall(const coordinator::NodeCall& call,
                      std::function<void(wire::ObjectCodesResponse)> answer) = 0;
};

class SimCoordinator {
 public:
  using Answered = std::function<void(const coordinator::Answer&)>;

  SimCoordinator(Simulation& simulation, std::vector<std::byte> secret);

  void StartReign();
  // Soft state is gone; of the writes on their way a random first share reaches the disk.
  void Crash();
  [[nodiscard]] bool up() const { return core_ != nullptr; }
  // Requires: up().
  [[nodiscard]] coordinator::Core& core() { return *core_; }

  // Runs `ask` on the core; `answered` gets its answer if the coordinator lives to give it. Dropped
  // while it is down.
  void Ask(const std::function<void(coordinator::Core&, coordinator::ReplyId,
                                    coordinator::Actions&)>& ask,
           Answered answered);
  void Connect(const std::string& endpoint, NodeEnd* node) { nodes_[endpoint] = node; }

  [[nodiscard]] const std::vector<Epoch>& epochs() const { return epochs_; }

 private:
  void Act();
  void Send(const coordinator::NodeCall& call);
  void Write(coordinator::MetaWrite write);
  void Tick(std::uint64_t reign);

  Simulation& simulation_;
  coordinator::CoreOptions options_;
  coordinator::MapMetastore store_;
  std::unique_ptr<coordinator::Core> core_;
  std::uint64_t reign_ = 0;  // counts starts, so that what an earlier one began ends with it
  coordinator::Actions actions_;
  std::map<coordinator::ReplyId, Answered> waiting_;
  std::uint64_t last_reply_ = 0;
  std::deque<coordinator::MetaWrite> writes_;
  std::map<std::string, NodeEnd*> nodes_;
  std::vector<Epoch> epochs_;
};

}  // namespace kdn::sim

#include "tests/sim/sim_node.h"

#include <algorithm>

namespace kdn::sim {

using coordinator::Answer;
using coordinator::InventoryBatch;

namespace {

ObjectId IdOf(const wire::ObjectName& name) {
  return {name.key, name.part, name.put_id};
}

template <class Id>
Id Numbered(std::uint64_t number) {
  SeededRandom random(number);
  return RandomId<Id>(random);
}

}  // namespace

SimNode::SimNode(Simulation& simulation, SimCoordinator& coordinator, std::uint64_t number,
                 const HmacKey& cluster_key)
    : simulation_(simulation), coordinator_(coordinator), cluster_key_(cluster_key) {
  description_.uuid = Numbered<PeerId>(number);
  description_.host = Numbered<HostId>(number);
  description_.shards = {"node-" + std::to_string(number)};
  description_.dram_bytes = 1 << 30;
  coordinator_.Connect(description_.shards[0], this);
}

void SimNode::Start() {
  up_ = true;
  id_ = NodeId{};
  sequence_ = 0;
  reporting_ = false;
  changes_.clear();
  Beat(++life_);
  Report(life_);
}

void SimNode::Crash() {
  simulation_.Trace("node crash", visible_.size());
  up_ = false;
  staged_.clear();
  ++life_;
}

void SimNode::Register() {
  description_.epoch_seen = epoch_seen_;
  simulation_.Ask<coordinator::Registered>(
      [this](auto answer) {
        coordinator_.Ask(
            [this](coordinator::Core& core, coordinator::ReplyId reply,
                   coordinator::Actions& actions) {
              core.Register(description_, reply, simulation_.now(), actions);
            },
            [answer](const Answer& answered) {
              if (answered.body) answer(std::get<coordinator::Registered>(*answered.body));
            });
      },
      milliseconds(400),
      [this, life = life_](std::optional<coordinator::Registered> registered) {
        if (life != life_ || !registered) return;
        id_ = registered->node;
        ids_.insert(id_);
        want_full_ = true;
      });
}

void SimNode::Beat(std::uint64_t life) {
  if (life != life_) return;
  simulation_.After(milliseconds(500), [this, life] { Beat(life); });
  if (id_ == NodeId{}) return Register();
  simulation_.Ask<Result<bool>>(
      [this](auto answer) {
        if (!coordinator_.up()) return;
        answer(coordinator_.core().OnBeat({.node = id_}, simulation_.now()));
      },
      milliseconds(400),
      [this, life](std::optional<Result<bool>> want_full) {
        if (life != life_ || !want_full) return;
        if (!*want_full) {
          id_ = NodeId{};
        } else if (**want_full) {
          want_full_ = true;
        }
      });
}

// One batch at a time; the next one when it was answered. A batch that was lost comes again as it
// was.
void SimNode::Report(std::uint64_t life) {
  if (life != life_) return;
  simulation_.After(milliseconds(100), [this, life] { Report(life); });
  if (id_ == NodeId{} || reporting_) return;
  InventoryBatch batch;
  batch.node = id_;
  if (want_full_) {
    want_full_ = false;
    changes_.clear();
    batch.full = batch.first = batch.last = true;
    for (const auto& [id, object] : visible_) batch.entries.push_back(object.entry);
  } else if (!changes_.empty()) {
    batch.entries = std::exchange(changes_, {});
  } else {
    return;
  }
  batch.sequence = ++sequence_;
  reporting_ = true;
  SendBatch(std::move(batch));
}

void SimNode::SendBatch(InventoryBatch batch) {
  simulation_.Ask<Result<bool>>(
      [this, batch](auto answer) {
        if (!coordinator_.up()) return;
        answer(coordinator_.core().OnInventory(batch, simulation_.now()));
      },
      milliseconds(300),
      [this, batch, life = life_](std::optional<Result<bool>> want_full) {
        if (life != life_) return;
        if (!want_full) return SendBatch(batch);
        reporting_ = false;
        if (!*want_full) {
          id_ = NodeId{};
        } else if (**want_full) {
          want_full_ = true;
        }
      });
}

bool SimNode::OnPut(const wire::Buffer& bytes, const wire::InventoryEntry& entry,
                    const ObjectDigest& digest) {
  const auto ticket = wire::OpenTicket(bytes, cluster_key_);
  if (!up_ || !ticket || ticket->epoch < epoch_seen_) return false;
  const ObjectId id{entry.key, entry.shape.number, entry.put_id};
  if (!visible_.contains(id)) staged_[id] = {entry, digest};
  return true;
}

void SimNode::OnCall(const coordinator::NodeCall& call,
                     std::function<void(wire::ObjectCodesResponse)> answer) {
  if (!up_) return;
  const auto epoch = std::visit([](const auto& request) { return request.epoch; }, call.request);
  if (epoch < epoch_seen_) return;
  epoch_seen_ = epoch;
  wire::ObjectCodesResponse codes;
  if (const auto* commit = std::get_if<wire::CommitObjectsRequest>(&call.request)) {
    for (const auto& object : commit->objects) {
      codes.objects.push_back({Commit(object), Level::kExact});
    }
  } else {
    for (const auto& object : std::get<wire::DropObjectsRequest>(call.request).objects) {
      Remove(IdOf(object.name));
      codes.objects.push_back({Code::kOk, LevelSet()});
    }
  }
  answer(std::move(codes));
}

Code SimNode::Commit(const wire::CommitObjectsRequest::Object& object) {
  const ObjectId id = IdOf(object.name);
  if (visible_.contains(id)) return Code::kOk;
  const auto staged = staged_.find(id);
  if (staged == staged_.end() || staged->second.digest != object.digest) return Code::kNotFound;
  visible_[id] = staged->second;
  ever_.insert(id);
  changes_.push_back(staged->second.entry);
  staged_.erase(staged);
  return Code::kOk;
}

void SimNode::Remove(const ObjectId& id) {
  staged_.erase(id);
  const auto at = visible_.find(id);
  if (at == visible_.end()) return;
  wire::InventoryEntry gone = at->second.entry;
  gone.in_dram = gone.on_disk = LevelSet();
  changes_.push_back(gone);
  visible_.erase(at);
}

}  // namespace kdn::sim

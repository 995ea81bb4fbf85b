#include "tests/sim/sim_cluster.h"

#include <algorithm>

namespace kdn::sim {

using coordinator::Answer;

namespace {

constexpr TenantId kTenant{7};
constexpr std::uint64_t kNodes = 4;
constexpr std::uint64_t kChains = 12;
constexpr std::uint64_t kChainKeys = 6;
constexpr milliseconds kCallTimeout{1500};
// After the last fault: time for the dead to return, for open puts to expire and full inventories.
constexpr milliseconds kQuiet{15000};

std::vector<std::byte> Secret() {
  return std::vector<std::byte>(32, std::byte{0x42});
}

ChunkKey KeyOf(std::uint64_t chain, std::uint64_t index) {
  SeededRandom random(chain * 1000 + index + 1);
  return RandomId<ChunkKey>(random);
}

ObjectDigest DigestOf(const ObjectId& id) {
  ObjectDigest digest;
  const auto& [key, part, put_id] = id;
  digest.checksum.bytes = put_id.bytes;
  for (std::size_t i = 0; i < 8; ++i) digest.checksum.bytes[i] ^= key.bytes[i];
  digest.checksum.bytes[15] ^= static_cast<std::byte>(part);
  return digest;
}

}  // namespace

SimCluster::SimCluster(std::uint64_t seed)
    : simulation_(seed), cluster_key_(Secret()), coordinator_(simulation_, Secret()) {
  for (std::uint64_t i = 1; i <= kNodes; ++i) {
    nodes_.push_back(std::make_unique<SimNode>(simulation_, coordinator_, i, cluster_key_));
  }
}

void SimCluster::Run(milliseconds trouble) {
  coordinator_.StartReign();
  for (const auto& node : nodes_) node->Start();
  troubled_ = true;
  Trouble();
  simulation_.RunFor(trouble);
  troubled_ = false;
  simulation_.SetNetwork(0, 0);
  if (!coordinator_.up()) coordinator_.StartReign();
  for (const auto& node : nodes_) {
    if (!node->up()) node->Start();
  }
  simulation_.RunFor(kQuiet);
  CheckAtTheEnd();
}

// Every few milliseconds something is done, or goes wrong.
void SimCluster::Trouble() {
  if (!troubled_) return;
  simulation_.After(simulation_.Between(1, 40), [this] { Trouble(); });
  const std::uint64_t dice = simulation_.Below(1000);
  if (dice < 200) return StoreSomething();
  if (dice < 300) return ExtendContext();
  if (dice < 700) return LookUp();
  if (dice < 710) return simulation_.SetNetwork(simulation_.Below(30), simulation_.Below(20));
  if (dice < 715 && coordinator_.up()) {
    coordinator_.Crash();
    return simulation_.After(simulation_.Between(10, 4000), [this] {
      if (troubled_ && !coordinator_.up()) coordinator_.StartReign();
    });
  }
  if (dice < 725) {
    SimNode& node = *nodes_[simulation_.Below(kNodes)];
    if (!node.up()) return;
    node.Crash();
    simulation_.After(simulation_.Between(10, 9000), [this, &node] {
      if (troubled_ && !node.up()) node.Start();
    });
  }
}

std::vector<ChunkKey> SimCluster::RandomChain() {
  const std::uint64_t chain = simulation_.Below(kChains);
  std::vector<ChunkKey> keys;
  const std::uint64_t length = 1 + simulation_.Below(kChainKeys);
  for (std::uint64_t i = 0; i < length; ++i) keys.push_back(KeyOf(chain, i));
  return keys;
}

void SimCluster::StoreSomething() {
  wire::PutStartRequest request;
  request.head.trace = RandomId<TraceId>(simulation_.random());
  request.provenance = simulation_.Chance(50) ? kExactProvenance : Provenance{};
  request.part_count = simulation_.Chance(40) ? 2 : 1;
  ChunkKey parent;
  for (const ChunkKey& key : RandomChain()) {
    request.chunks.push_back({key, parent, 256, 4096});
    parent = key;
  }
  simulation_.Ask<wire::PutStartResponse>(
      [this, request](auto answer) {
        if (!coordinator_.up()) return;
        answer(coordinator_.core().PutStart(kTenant, request, simulation_.now()));
      },
      kCallTimeout,
      [this, request](std::optional<wire::PutStartResponse> response) {
        if (response) OnStarted(request, *response);
      });
}

void SimCluster::OnStarted(const wire::PutStartRequest& request,
                           const wire::PutStartResponse& response) {
  for (std::size_t grant = 0; grant < response.grants.size(); ++grant) {
    for (std::uint16_t part = 0; part < request.part_count; ++part) {
      const auto writer = std::make_shared<Writer>();
      writer->request = request;
      writer->grant = response.grants[grant];
      writer->part = part;
      for (std::size_t i = 0; i < request.chunks.size(); ++i) {
        if (response.grant_of[i] == grant) writer->keys.push_back(request.chunks[i].key);
      }
      // A writer that dies leaves its part out.
      if (!simulation_.Chance(5)) SendPieces(writer);
    }
  }
}

wire::InventoryEntry SimCluster::EntryOf(const Writer& writer, const ChunkKey& key) const {
  wire::InventoryEntry entry;
  entry.tenant = kTenant;
  entry.key = key;
  entry.put_id = writer.grant.put_id;
  entry.shape.number = writer.part;
  entry.shape.count = writer.request.part_count;
  entry.shape.layers = {writer.part, 1};
  entry.shape.kv_heads = {0, 1};
  entry.token_count = 256;
  entry.provenance = writer.request.provenance;
  entry.level_bytes[static_cast<std::size_t>(Level::kExact)] = 100;
  entry.in_dram = entry.on_disk = Level::kExact;
  return entry;
}

void SimCluster::SendPieces(const std::shared_ptr<Writer>& writer) {
  for (const ChunkKey& key : writer->keys) {
    const wire::InventoryEntry entry = EntryOf(*writer, key);
    const ObjectDigest digest = DigestOf({key, writer->part, entry.put_id});
    for (const auto& node : nodes_) {
      if (std::ranges::find(writer->grant.nodes, node->id()) == writer->grant.nodes.end()) continue;
      simulation_.Ask<NodeId>(
          [this, &node = *node, writer, entry, digest](auto answer) {
            if (node.OnPut(writer->grant.ticket, entry, digest)) answer(node.id());
          },
          kCallTimeout,
          [writer, key](std::optional<NodeId> acknowledged) {
            if (acknowledged && *acknowledged != NodeId{}) writer->acks[key].insert(*acknowledged);
          });
    }
  }
  simulation_.After(simulation_.Between(30, 400), [this, writer] { Commit(writer); });
}

void SimCluster::Commit(const std::shared_ptr<Writer>& writer) {
  wire::PutCommitRequest request;
  request.ticket = writer->grant.ticket;
  for (const auto& [key, nodes] : writer->acks) {
    const wire::InventoryEntry entry = EntryOf(*writer, key);
    wire::PutCommitRequest::Object object{key, entry.shape, entry.level_bytes, {}};
    for (const NodeId node : nodes) {
      object.acks.push_back({node, DigestOf({key, writer->part, entry.put_id})});
    }
    request.objects.push_back(std::move(object));
  }
  if (request.objects.empty() || --writer->tries_left < 0) return;
  simulation_.Ask<wire::PutCommitResponse>(
      [this, request](auto answer) {
        coordinator_.Ask(
            [this, request](coordinator::Core& core, coordinator::ReplyId reply,
                            coordinator::Actions& actions) {
              core.PutCommit(kTenant, request, reply, simulation_.now(), actions);
            },
            [answer](const Answer& answered) {
              if (answered.body) answer(std::get<wire::PutCommitResponse>(*answered.body));
            });
      },
      kCallTimeout,
      [this, writer, request](std::optional<wire::PutCommitResponse> response) {
        if (response) OnCommitted(*writer, request, *response);
        // No answer, or other parts are missing: ask again what became of it.
        const bool again =
            !response || std::ranges::any_of(response->objects, [](const auto& object) {
              return object.state == wire::CommitState::kPending;
            });
        if (again) {
          simulation_.After(simulation_.Between(50, 500), [this, writer] { Commit(writer); });
        }
      });
}

void SimCluster::OnCommitted(const Writer& writer, const wire::PutCommitRequest& request,
                             const wire::PutCommitResponse& response) {
  for (std::size_t i = 0; i < response.objects.size(); ++i) {
    const ChunkKey& key = request.objects[i].key;
    if (response.objects[i].state != wire::CommitState::kVisible) continue;
    simulation_.Trace("acknowledged", IdHash{}(key));
    acknowledged_.insert(key);
    for (std::uint16_t part = 0; part < writer.request.part_count; ++part) {
      const bool held = std::ranges::any_of(nodes_, [&](const auto& node) {
        return node->EverHeld({key, part, writer.grant.put_id});
      });
      if (!held) Break("a commit was acknowledged though no node has part " + std::to_string(part));
    }
  }
}

void SimCluster::ExtendContext() {
  const std::string name = "context-" + std::to_string(simulation_.Below(3));
  coordinator::ContextSuffix suffix;
  suffix.keys = RandomChain();
  simulation_.Ask<coordinator::Context>(
      [this, name, suffix](auto answer) {
        coordinator_.Ask(
            [name, suffix](coordinator::Core& core, coordinator::ReplyId reply,
                           coordinator::Actions& actions) {
              core.ChangeContext({kTenant, name}, suffix, reply, actions);
            },
            [answer](const Answer& answered) {
              if (answered.body) answer(std::get<coordinator::Context>(*answered.body));
            });
      },
      kCallTimeout,
      [this, name](std::optional<coordinator::Context> context) {
        if (!context) return;
        AckedContext& acked = contexts_[name];
        if (context->revision == acked.revision && context->keys != acked.keys) {
          Break("one revision of " + name + " had two contents");
        }
        if (context->revision > acked.revision) acked = {context->revision, context->keys};
      });
}

bool SimCluster::WasCommitted(const ChunkKey& key, const wire::ChunkLocation& chunk) {
  for (const wire::PartLocation& part : chunk.parts) {
    for (const wire::ReplicaLocation& replica : part.replicas) {
      const bool held = std::ranges::any_of(nodes_, [&](const auto& node) {
        return node->ids().contains(replica.node) &&
               node->EverHeld({key, part.shape.number, chunk.put_id});
      });
      if (!held) return false;
    }
  }
  return true;
}

void SimCluster::LookUp() {
  if (!coordinator_.up()) return;
  wire::LookupRequest request;
  request.chains = {RandomChain()};
  request.head.version = wire::kLookupVersionCompact;
  wire::Buffer bytes;
  coordinator_.core().Lookup(kTenant, request.View(), bytes);
  const auto response = wire::LookupResponse::Decode(bytes);
  if (!response) return Break("an answer to a lookup does not decode");
  simulation_.Trace("lookup", response->chunks.size());
  for (std::size_t i = 0; i < response->chunks.size(); ++i) {
    if (!WasCommitted(request.chains[0][i], response->chunks[i])) {
      Break("a lookup showed a chunk that was not committed");
    }
  }
}

void SimCluster::CheckAtTheEnd() {
  for (const ChunkKey& key : acknowledged_) {
    wire::ChunkLocation chunk;
    if (!coordinator_.core().directory().Find({.tenant = kTenant}, key, chunk)) {
      Break("an acknowledged chunk is lost: " + ToHex(key));
    } else if (!WasCommitted(key, chunk)) {
      Break("a chunk is shown that was not committed: " + ToHex(key));
    }
  }
  for (const auto& [name, acked] : contexts_) {
    const coordinator::Context* now = coordinator_.core().contexts().Find({kTenant, name});
    if (now == nullptr || now->revision < acked.revision) {
      Break("an acknowledged change of " + name + " is lost");
    } else if (now->revision == acked.revision && now->keys != acked.keys) {
      Break("the content of " + name + " is not what was acknowledged");
    }
  }
  std::set<NodeId> ids;
  for (const auto& node : nodes_) {
    if (node->ids().size() != 1) Break("a node had more than one id, or none");
    for (const NodeId id : node->ids()) {
      if (!ids.insert(id).second) Break("two nodes had one id");
    }
  }
  const auto& epochs = coordinator_.epochs();
  for (std::size_t i = 1; i < epochs.size(); ++i) {
    if (epochs[i] <= epochs[i - 1]) Break("an epoch did not grow");
  }
}

void SimCluster::Break(const std::string& what) {
  const auto at = std::chrono::duration_cast<milliseconds>(simulation_.now().time_since_epoch() -
                                                           std::chrono::hours(1));
  broken_.push_back("at " + std::to_string(at.count()) + " ms: " + what);
}

}  // namespace kdn::sim

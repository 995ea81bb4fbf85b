// Goal: evicting 5 % of a million objects takes 50 ms or less, index and bookkeeping; Mooncake's
// store takes 946 ms. Method: a node's table of a million objects and its ranking, as the store
// uses them, payload pages left out; then its coordinator's core. Timed are what the store does for
// each of 50,000 victims (ask the ranking, forget in ranking and table, note the change for the
// inventory) and what the core does with the inventory that says so. Once over chains of 64 chunks,
// of which leaves go first, and once over objects that are all leaves. Medians of rounds count;
// evicted objects are stored anew before the next.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/random.h"
#include "coordinator/core/core.h"
#include "storage/object_table.h"
#include "storage/policy/eviction_policy.h"
#include "tests/bench/bars.h"

namespace kdn::bench {
namespace {

constexpr std::size_t kObjects = 1'000'000;
constexpr std::size_t kEvicted = kObjects / 20;
constexpr std::size_t kEntriesPerBatch = 4096;
constexpr int kRounds = 9;
constexpr double kMooncakeMs = 946;  // BatchEvict of 5 % of 1 M objects, docs/benchmarks.md
constexpr double kBarMs = 50;

double Median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

class World {
 public:
  explicit World(std::size_t chain_length) : policy_(*storage::MakeEvictionPolicy("leaf_lru")) {
    coordinator::HardState state;
    state.epoch = Epoch{1};
    core_ = *coordinator::Core::Make({}, state, random_, TimePoint{});
    coordinator::Actions actions;
    coordinator::NodeDescription node;
    node.uuid = RandomId<PeerId>(random_);
    node.shards = {"127.0.0.1:1"};
    node.dram_bytes = 1 << 30;
    core_->Register(node, coordinator::ReplyId{1}, TimePoint{}, actions);
    for (const auto& write : std::exchange(actions.writes, {})) {
      core_->OnWritten(write.id, Status(), TimePoint{}, actions);
    }
    node_ = std::get<coordinator::Registered>(*actions.answers.at(0).body).node;
    ChunkKey parent;
    for (std::size_t i = 0; i < kObjects; ++i) {
      ObjectHeader header;
      header.tenant = TenantId{7};
      header.key = RandomId<ChunkKey>(random_);
      if (i % chain_length != 0) header.parent = parent;
      header.put_id = RandomId<PutId>(random_);
      header.token_count = 256;
      header.level_bytes = {0, 0, 0, 1 << 20};
      header.levels_encoded = Level::kExact;
      parent = header.key;
      Store(header);
    }
    Tell();
    // Uses come in another order than objects did.
    for (std::size_t i = 0; i < kObjects; ++i) {
      policy_->OnHit(storage::ObjectSlot{random_.Next() % kObjects}, ++now_);
    }
  }

  struct Took {
    double node_ms = 0.0;
    double coordinator_ms = 0.0;
  };
  Took Evict() {
    Took took;
    TimePoint began = clock_.Now();
    for (std::size_t i = 0; i < kEvicted; ++i) {
      storage::Record& record = table_.At(*policy_->Victim());
      policy_->OnErase(record.slot);
      record.on_disk = {};
      changes_.push_back({record.Describe()});
      table_.Erase(record);
    }
    took.node_ms = std::chrono::duration<double, std::milli>(clock_.Now() - began).count();
    const std::vector<storage::InventoryChange> evicted = changes_;
    took.coordinator_ms = Tell();
    for (const storage::InventoryChange& change : evicted) Store(change.object.header);
    Tell();
    return took;
  }

 private:
  void Store(const ObjectHeader& header) {
    storage::Record& record =
        table_.Insert({header.tenant, header.key, header.part.number, header.put_id}, header);
    record.on_disk = Level::kExact;
    policy_->OnInsert({.slot = record.slot,
                       .tenant = header.tenant,
                       .key = header.key,
                       .parent = header.parent,
                       .part = header.part.number,
                       .bytes = 1 << 20},
                      ++now_);
    changes_.push_back({record.Describe()});
  }

  // Milliseconds that the core takes for what has changed.
  double Tell() {
    double took_ms = 0;
    for (std::size_t from = 0; from < changes_.size(); from += kEntriesPerBatch) {
      const std::size_t end = std::min(changes_.size(), from + kEntriesPerBatch);
      coordinator::InventoryBatch batch{
          .node = node_, .full = first_, .first = first_, .last = first_, .entries = {}};
      first_ = false;
      batch.sequence = ++sequence_;
      for (std::size_t i = from; i < end; ++i) {
        const storage::StoredObject& object = changes_[i].object;
        batch.entries.push_back(wire::EntryOf(object.header, object.in_dram, object.on_disk));
      }
      const TimePoint began = clock_.Now();
      if (!core_->OnInventory(batch, TimePoint{})) std::abort();
      took_ms += std::chrono::duration<double, std::milli>(clock_.Now() - began).count();
    }
    changes_.clear();
    return took_ms;
  }

  SteadyClock clock_;
  SeededRandom random_{4};
  storage::ObjectTable table_;
  std::unique_ptr<storage::EvictionPolicy> policy_;
  std::vector<storage::InventoryChange> changes_;
  std::unique_ptr<coordinator::Core> core_;
  NodeId node_{};
  bool first_ = true;
  std::uint64_t sequence_ = 0;
  std::uint64_t now_ = 0;
};

int Main(const BarsOptions& options) {
  Bars bars(options);
  for (const std::size_t chain_length : {std::size_t{64}, std::size_t{1}}) {
    World world(chain_length);
    std::vector<double> node_ms;
    std::vector<double> coordinator_ms;
    std::vector<double> both_ms;
    for (int round = 0; round < kRounds; ++round) {
      const World::Took took = world.Evict();
      node_ms.push_back(took.node_ms);
      coordinator_ms.push_back(took.coordinator_ms);
      both_ms.push_back(took.node_ms + took.coordinator_ms);
    }
    std::printf(
        "chains of %zu: %.1f ms on the node, %.1f ms in its coordinator's core; Mooncake "
        "%.0f ms\n",
        chain_length, Median(node_ms), Median(coordinator_ms), kMooncakeMs);
    bars.Add({.what = "5 % of 1 M objects, chains of " + std::to_string(chain_length),
              .ours = Median(both_ms),
              .theirs = kBarMs,
              .unit = "ms",
              .side = Bar::Side::kAtMost,
              .bar = 1.0});
  }
  return bars.Finish();
}

}  // namespace
}  // namespace kdn::bench

int main(int argc, char** argv) {
  return kdn::bench::Main(
      kdn::bench::ParseBarsOptions(argc, argv, "Evicts 5 % of a million objects.", "path"));
}

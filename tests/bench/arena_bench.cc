// Goal: live objects fill nineteen twentieths of the DRAM arena, and lie in runs that are worth an
// RDMA work request. Method: objects of 64 KiB to 4 MiB, in chains, come without end; whenever one
// cannot be placed, the share of the arena that live objects fill is noted, then leaves are given
// up, the one that was used longest ago first, until it fits. Of the objects of 4 MiB that are
// placed while the arena is full, the lengths of all runs are noted.
#include <algorithm>
#include <cstdio>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "base/limits.h"
#include "storage/block.h"
#include "storage/policy/eviction_policy.h"
#include "tests/bench/bars.h"

namespace kdn::bench {
namespace {

using storage::Block;
using storage::BlockRef;
using storage::ObjectSlot;

constexpr std::size_t kArenaBytes = limits::kMiB * 1024;
constexpr std::size_t kLeastBytes = limits::kMiB / 16;
constexpr std::size_t kMostBytes = 4 * limits::kMiB;
constexpr std::size_t kObjects = 60'000;  // some 100 times what the arena holds
constexpr double kAverageBar = 0.95;
constexpr double kWorstBar = 0.90;
constexpr double kRunKiBBar = 256;

enum class Sizes { kUniform, kDoubling };

const char* NameOf(Sizes sizes) {
  return sizes == Sizes::kUniform ? "evenly spread sizes" : "sizes by doublings";
}

// What an engine stores: contexts of some chunks, any of which are asked for again.
class Churn {
 public:
  Churn(storage::Arena& arena, Sizes sizes, std::uint64_t seed)
      : arena_(arena),
        sizes_(sizes),
        random_(seed),
        policy_(storage::MakeEvictionPolicy("leaf_lru").value()) {}

  void Place() {
    const std::size_t size = NextSize();
    BlockRef block;
    while ((block = Block::Make(arena_, size, storage::Runs::kLong)) == nullptr) {
      shares_.push_back(static_cast<double>(live_bytes_) /
                        static_cast<double>(arena_.memory().size()));
      Evict();
    }
    if (size == kMostBytes && !shares_.empty()) NoteRuns(*block);
    Insert(std::move(block));
    for (int i = 0; i < 2; ++i) Touch();
  }

  [[nodiscard]] const std::vector<double>& shares() const { return shares_; }
  [[nodiscard]] std::vector<double>& runs_kib() { return runs_kib_; }

 private:
  std::size_t NextSize() {
    if (random_() % 8 == 0) return kMostBytes;
    if (sizes_ == Sizes::kUniform) return kLeastBytes + random_() % (kMostBytes - kLeastBytes + 1);
    return std::min(kMostBytes, (kLeastBytes << random_() % 7) + random_() % 4096);
  }

  void NoteRuns(const Block& block) {
    std::vector<ConstBytes> runs;
    block.Append(0, block.size(), runs);
    for (const ConstBytes run : runs) runs_kib_.push_back(static_cast<double>(run.size()) / 1024);
  }

  void Insert(BlockRef block) {
    if (free_.empty()) {
      free_.push_back(live_.size());
      live_.emplace_back();
    }
    const std::size_t slot = free_.back();
    free_.pop_back();
    storage::Candidate candidate;
    candidate.slot = ObjectSlot{slot};
    candidate.bytes = block->size();
    for (std::byte& byte : candidate.key.bytes) byte = static_cast<std::byte>(random_());
    // Contexts of 32 objects on average.
    if (random_() % 32 != 0) candidate.parent = last_;
    last_ = candidate.key;
    live_bytes_ += block->size();
    live_[slot] = std::move(block);
    policy_->OnInsert(candidate, ++now_ns_);
  }

  void Touch() {
    const std::size_t slot = random_() % live_.size();
    if (live_[slot] != nullptr) policy_->OnHit(ObjectSlot{slot}, ++now_ns_);
  }

  void Evict() {
    const std::optional<ObjectSlot> victim = policy_->Victim();
    const auto slot = static_cast<std::size_t>(victim.value());
    policy_->OnErase(*victim);
    live_bytes_ -= live_[slot]->size();
    live_[slot].reset();
    free_.push_back(slot);
  }

  storage::Arena& arena_;
  const Sizes sizes_;
  std::mt19937_64 random_;
  const std::unique_ptr<storage::EvictionPolicy> policy_;
  std::vector<BlockRef> live_;  // by slot
  std::vector<std::size_t> free_;
  std::size_t live_bytes_ = 0;
  ChunkKey last_;
  std::uint64_t now_ns_ = 0;
  std::vector<double> shares_;
  std::vector<double> runs_kib_;
};

void Measure(Sizes sizes, Bars& bars) {
  const auto arena = storage::Arena::Map(kArenaBytes);
  if (!arena) {
    std::fprintf(stderr, "arena_bench: %s\n", arena.error().ToString().c_str());
    std::exit(2);
  }
  Churn churn(**arena, sizes, 1);
  for (std::size_t i = 0; i < kObjects; ++i) churn.Place();
  double sum = 0.0;
  for (const double share : churn.shares()) sum += share;
  std::vector<double>& runs = churn.runs_kib();
  std::sort(runs.begin(), runs.end());
  const std::string of = std::string(", ") + NameOf(sizes);
  std::printf("%s: %zu failures to place, %zu runs of objects of 4 MiB, p10 %.0f KiB\n",
              NameOf(sizes), churn.shares().size(), runs.size(), runs[runs.size() / 10]);
  const std::string unit = "live bytes per byte of arena";
  bars.Add({"average of live bytes" + of, sum / static_cast<double>(churn.shares().size()), 1.0,
            unit, Bar::Side::kAtLeast, kAverageBar});
  bars.Add({"least of live bytes" + of,
            *std::min_element(churn.shares().begin(), churn.shares().end()), 1.0, unit,
            Bar::Side::kAtLeast, kWorstBar});
  bars.Add({"median run of objects of 4 MiB" + of, runs[runs.size() / 2], kRunKiBBar, "KiB",
            Bar::Side::kAtLeast, 1.0});
}

}  // namespace
}  // namespace kdn::bench

int main(int argc, char** argv) {
  using namespace kdn::bench;
  Bars bars(ParseBarsOptions(argc, argv, "How much of the arena live objects fill, in which runs",
                             "path"));
  Measure(Sizes::kUniform, bars);
  Measure(Sizes::kDoubling, bars);
  return bars.Finish();
}

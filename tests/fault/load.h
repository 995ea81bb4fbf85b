// Gets and puts that run on a thread of their own beside what a case does, and what they saw.
//
// Thread-safety: owned by the case's thread; what is "read after Stop()" only then.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include "tests/fault/rig.h"

namespace kdn::fault {

struct LoadOptions {
  std::uint64_t documents = 0;  // 0 to documents - 1 are stored already, and read
  std::uint64_t first_new = 0;  // what is put: this document, the next one, ...
  std::uint64_t put_every = 4;  // gets to one put
  // Where the documents are, looked up before: for reading without a coordinator. Empty: each get
  // looks up.
  std::vector<client::LookupResult> known;
};

struct GetTime {
  bool large = false;
  client::LoadOrder order = client::LoadOrder::kChunkByChunk;
  Milliseconds took{};
};

// Whether calls may be late here (--late-ms, as in every test run): the machine has other work, and
// may keep any thread waiting for longer than what milliseconds are promised for. Such bounds are
// then printed and not held; that nothing fails, is wrong or misses its deadline is held always.
[[nodiscard]] inline bool BesideOthers() {
  return late_max > Milliseconds(50 * kSlowdown);
}

// What a get takes beyond what gets of its kind take while nothing is wrong.
class ExtraLatency {
 public:
  void NoteCalm(const GetTime& get);
  // Over the median of its kind; nothing is known of a kind without calm ones: 0.
  [[nodiscard]] Milliseconds Of(const GetTime& get) const;
  // Notes those before number `fault_begins` as calm; the most that one of the others took beyond.
  [[nodiscard]] Milliseconds WorstOf(const std::vector<GetTime>& gets, std::size_t fault_begins);

 private:
  static constexpr std::size_t kKinds = 4;
  [[nodiscard]] static std::size_t KindOf(const GetTime& get) {
    return (get.large ? 2U : 0U) + (get.order == client::LoadOrder::kLayerByLayer ? 1U : 0U);
  }
  std::vector<Milliseconds> calm_[kKinds];  // sorted
};

class Load {
 public:
  Load(Rig& rig, LoadOptions options)
      : rig_(rig), options_(std::move(options)), thread_([this] { Run(); }) {}
  ~Load() { Stop(); }

  void Stop();
  // Until `count` more gets have ended.
  void WaitGets(std::uint64_t count);

  [[nodiscard]] std::uint64_t gets() const { return gets_.load(); }
  // The rest is read after Stop().
  [[nodiscard]] std::uint64_t failed() const { return failed_; }
  [[nodiscard]] bool wrong() const { return wrong_; }
  [[nodiscard]] Milliseconds slowest() const { return slowest_; }
  // All gets, in their order.
  [[nodiscard]] const std::vector<GetTime>& times() const { return times_; }
  [[nodiscard]] const Latest& latest() const { return latest_; }
  [[nodiscard]] const std::string& first_failure() const { return first_failure_; }
  // Documents whose put was acknowledged: on two nodes, and on one or two.
  [[nodiscard]] const std::vector<std::uint64_t>& stored() const { return stored_; }
  [[nodiscard]] const std::vector<std::uint64_t>& acknowledged() const { return acknowledged_; }
  [[nodiscard]] std::uint64_t under_replicated() const { return under_replicated_; }
  [[nodiscard]] std::uint64_t puts() const { return puts_; }

 private:
  void Run();
  void PutOne(std::uint64_t document);
  void GetOne(std::uint64_t turn);

  Rig& rig_;
  const LoadOptions options_;
  std::atomic<bool> stop_{false};
  std::atomic<std::uint64_t> gets_{0};
  std::vector<std::uint64_t> readable_;
  std::vector<std::uint64_t> stored_;
  std::vector<std::uint64_t> acknowledged_;
  std::uint64_t under_replicated_ = 0;
  std::uint64_t puts_ = 0;
  std::uint64_t failed_ = 0;
  bool wrong_ = false;
  Milliseconds slowest_{};
  std::vector<GetTime> times_;
  Latest latest_;
  std::string first_failure_;
  std::thread thread_;  // the last member: it uses all others
};

}  // namespace kdn::fault

// A load under way: reads of many objects, each tried at one replica after another, decoded into
// the engine's pages as the tiles come.
//
// Steps (docs/protocol.md, Load):
//   1. Every part of every chunk that intersects the memory becomes a unit, in the order asked for.
//      A chunk whose parts do not cover the memory's layers and heads ends the prefix.
//   2. A unit takes staging memory and reads from its best replica.
//   3. Pieces are checked; whole tiles go to the work pool, which verifies and decodes them. If the
//      object names a profile that is not here, the read is given up, and begun anew once it is: it
//      must not hold the memory that fetching the profile may need.
//   4. A unit whose replica fails goes on at the next one at once, for what is still missing. A
//      replica that has asked not to be asked is come back to, if there is no other.
//      One that is late is read from a second replica too, into memory of its own; tiles go to the
//      engine's pages from one of the two only. Without memory for two, a silent one is ended
//      first.
//   5. When all units are over, or at the deadline, the gate to the engine's memory closes.
//
// Thread-safety: the handle's part is safe; the rest is owned by the I/O loop.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <vector>

#include "client/core/client_context.h"
#include "client/core/kv_copy.h"
#include "client/core/lookup_result.h"
#include "client/core/memory_gate.h"
#include "client/core/model.h"
#include "client/core/read_attempt.h"

namespace kdn::client {

class LoadOp final : public std::enable_shared_from_this<LoadOp> {
 public:
  LoadOp(std::shared_ptr<ClientContext> context, const Model& model, const LookupResult& found,
         std::unique_ptr<const KvCopy> kv, const LoadOptions& options);

  void Start();
  void Cancel();

  // The handle's part.
  [[nodiscard]] bool Done();
  [[nodiscard]] bool LayerReady(std::uint32_t layer);
  [[nodiscard]] bool WaitLayer(std::uint32_t layer);
  [[nodiscard]] std::uint64_t TokensReady();
  LoadReport Wait();

 private:
  struct Unit {
    std::size_t chunk = 0;  // index into state_.chunks
    std::size_t part = 0;   // index into its parts
    WantedObject wanted;
    std::uint64_t window_bytes = 0;
    std::vector<wire::ReplicaLocation> replicas;         // those still to be tried, best first
    std::size_t replicas_fresh = 0;                      // at their front: not tried at all
    std::vector<std::shared_ptr<ReadAttempt>> attempts;  // one, or a late one and its hedge
    std::set<std::uint64_t> tiles_out;   // by TilePlaceKey(): at the workers, for one attempt only
    std::set<std::uint64_t> tiles_done;  // the same, over all attempts
    std::vector<std::uint32_t>
        layer_missing;             // tiles yet to come, per layer from item.layers.first
    std::size_t missing = 0;       // tiles yet to come
    bool profile_coming = false;   // reading goes on once it is here
    bool profile_fetched = false;  // once: a replica that names another is not believed twice
    bool planned = false;
    bool started = false;
    bool asked = false;  // somebody has been sent a read
    bool over = false;
    bool complete = false;
  };

  // 1.
  [[nodiscard]] std::size_t ChunksCovered() const;
  void MakeUnits();
  void AddUnits(std::size_t chunk, std::uint64_t first_token, const Range& layers);
  void AddUnit(std::size_t chunk, std::size_t part, std::uint64_t first_token, const Range& layers);
  [[nodiscard]] std::vector<wire::ReplicaLocation> RankReplicas(const MatchedChunk& chunk,
                                                                const wire::PartLocation& part);
  // 2.
  struct Choice {
    std::size_t replica = 0;  // index into the unit's
    CallTarget target;
    Standing standing{};
  };
  void Pump();
  void StartUnit(std::size_t unit);
  // The best of those still to be tried; nothing if none of them would answer.
  [[nodiscard]] std::optional<Choice> ChooseReplica(const Unit& unit);
  [[nodiscard]] static wire::ReplicaLocation TakeReplica(Unit& unit, std::size_t replica);
  void StartRead(std::size_t unit, const wire::ReplicaLocation& replica, MutableBytes window,
                 bool hedge);
  void OnWindow(std::size_t unit, MutableBytes window);
  [[nodiscard]] wire::Priority priority() const {
    return options_.urgency == LoadUrgency::kPrefetch ? wire::Priority::kPrefetch
                                                      : wire::Priority::kLoad;
  }
  [[nodiscard]] std::string EndpointOf(NodeId node, const ChunkKey& key) const;
  // 3.
  void OnPiece(std::size_t unit, const std::shared_ptr<ReadAttempt>& attempt, std::size_t offset,
               std::size_t size_bytes);
  [[nodiscard]] bool TakeProfile(std::size_t unit, const std::shared_ptr<ReadAttempt>& attempt);
  void OnProfile(std::size_t unit, bool found);
  void PlanUnit(Unit& unit, const ReadAttempt& attempt);
  void Dispatch(std::size_t unit, const std::shared_ptr<ReadAttempt>& attempt,
                std::vector<std::uint32_t> jobs);
  void Decode(std::size_t unit, const std::shared_ptr<ReadAttempt>& attempt,
              std::vector<std::uint32_t> jobs, codec::CodecScratch& scratch);
  [[nodiscard]] Code DecodeJob(const ReadAttempt& attempt, std::uint32_t job,
                               codec::CodecScratch& scratch) const;
  [[nodiscard]] bool CountTile(std::size_t unit, const TileCoordinates& at);
  void OnDecoded(std::size_t unit, const std::shared_ptr<ReadAttempt>& attempt,
                 const std::vector<std::uint32_t>& jobs, const std::vector<Code>& codes);
  // 4.
  void OnCallOver(std::size_t unit, const std::shared_ptr<ReadAttempt>& attempt, Code code);
  void FailAttempt(ReadAttempt& attempt, bool corrupt, const WantedObject& wanted);
  void ReleaseHeld(std::size_t unit, const std::shared_ptr<ReadAttempt>& by);
  void Settle(std::size_t unit, const std::shared_ptr<ReadAttempt>& attempt);
  void GoOn(std::size_t unit, const ReadAttempt& after);
  // All tiles are there, while reads of them may still be under way: those are given up.
  void CompleteUnit(std::size_t unit, const ReadAttempt& winner);
  void CancelAttempts(Unit& unit);
  // load_op_late.cc
  void WatchLate(TimePoint when);
  void CheckLate();
  [[nodiscard]] TimePoint LateAt(const ReadAttempt& attempt) const;
  [[nodiscard]] bool IsSilent(const ReadAttempt& attempt, TimePoint now) const;
  void OnLate(std::size_t unit, const std::shared_ptr<ReadAttempt>& attempt, TimePoint now);
  void EndUnit(std::size_t unit, bool complete);
  void ReportCorrupt(const CallTarget& target, const WantedObject& wanted);
  // 5.
  void Close(Code code);
  void Finish();
  void PublishProgress();

  const std::shared_ptr<ClientContext> context_;
  const Model& model_;
  const LookupResult::State state_;
  const std::unique_ptr<const KvCopy> kv_;
  LoadOptions options_;  // with a trace id from its beginning
  const TimePoint begun_;
  const TimePoint deadline_;
  MemoryGate gate_;

  // Of the I/O loop.
  std::vector<Unit> units_;
  std::size_t next_unit_ = 0;
  std::size_t units_in_flight_ = 0;
  std::size_t units_over_ = 0;
  std::size_t first_open_ = 0;                  // units before it are over
  TimePoint late_check_at_ = TimePoint::max();  // when CheckLate() runs next
  std::size_t chunk_limit_ = 0;                 // chunks from here on are given up
  std::vector<std::uint32_t> chunk_units_;      // units yet to complete, per chunk
  std::vector<std::uint32_t> layer_units_;      // units yet to complete, per layer
  Code code_ = Code::kOk;
  bool closed_ = false;
  LoadReport report_;

  std::mutex mutex_;
  std::condition_variable changed_;
  bool done_ = false;               // guarded by mutex_
  std::vector<bool> layer_ready_;   // guarded by mutex_
  std::uint64_t tokens_ready_ = 0;  // guarded by mutex_
  LoadReport result_;               // guarded by mutex_
};

}  // namespace kdn::client

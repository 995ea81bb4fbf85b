// The profiles that a client has: which one the objects of a model are coded with now, those that
// objects name that it reads, and the one that it learns itself while a model has none.
//
// A thread of its own fetches, another one, of the lowest priority and only while there is
// something to learn, learns: neither an engine's call nor the I/O loop waits for either. Both
// begin with the first lossy level; who stores exact alone has neither. Where the system gives no
// thread, what waits for it ends as if the profile could not be had, and the next one asks again.
//
// Thread-safety: safe.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "client/core/client_context.h"
#include "client/core/interrupt.h"
#include "client/core/model.h"
#include "client/core/stored_profiles.h"
#include "kdn/client.h"

namespace kdn::client {

class Profiles {
 public:
  using LoadedRef = std::shared_ptr<const LoadedProfile>;  // shared with the work that uses it
  using OnFetched = std::function<void(const LoadedRef&)>;

  // Both outlive this object's Stop(). `context` is shared with the operations that are begun here.
  Profiles(Client& client, std::shared_ptr<ClientContext> context, StoredProfiles stored);
  ~Profiles();
  // Ends what is under way and joins the threads; nothing begins after it. To be called while the
  // I/O loop still runs.
  void Stop();

  // What an object of the model is to be coded with now; null: without a profile.
  [[nodiscard]] LoadedRef Current(const Model& model);
  // Null unless it is here already.
  [[nodiscard]] LoadedRef Find(const ProfileId& id);
  // Calls `done` on the I/O loop, later, with the profile, or with null if it cannot be had. Never,
  // once Stop() has begun.
  void Fetch(const Model& model, const ProfileId& id, OnFetched done);

  // A store of lossy levels begins: asks for the model's current profile if the last word on it is
  // old, and stores the model's spec the first time.
  void OnStoreBegun(const Model& model);
  // Chunks of lossy levels that are visible and were coded without a profile. Once there are
  // `profile_learn_chunks` of them, a profile is learned; if that fails, of as many later ones, not
  // before `profile_refresh` is over, and twice as long after each further failure.
  void OnStored(const Model& model, const std::vector<ChunkKey>& chain,
                const std::vector<std::size_t>& chunks);

  // The id of the model's current profile, zeros if it has none, as the cluster says now.
  // kUnavailable: it does not say by the deadline, or there is no thread to ask it; kNotFound:
  // there is one that cannot be had.
  [[nodiscard]] Result<ProfileId> Await(const Model& model, TimePoint deadline);

 private:
  // A stored chunk to learn from: the last of its chain.
  using Sample = std::vector<ChunkKey>;
  struct State {
    LoadedRef current;
    std::uint64_t asked = 0;     // how often it was asked for,
    std::uint64_t answered = 0;  // and how often that was over
    Status answer;
    TimePoint answered_at{};
    bool spec_stored = false;
    std::uint64_t chunks_stored = 0;  // without a profile
    std::vector<Sample> samples;
    bool learned = false;   // or never to be
    bool learning = false;  // now
    unsigned learn_failures = 0;
    TimePoint learn_after{};  // collects no samples before
  };

  [[nodiscard]] bool Post(std::function<void()> task, bool first);
  void Run();
  void Ask(const Model& model, State& state);
  void AskNow(const Model& model);
  void FetchNow(const Model& model, const ProfileId& id);
  void Keep(const LoadedRef& profile);
  Status StartLearning(const Model& model, State& state);
  void LearningFailed(State& state, const Status& why);
  void TellNotLearned(const Model& model, const Status& why);
  void Learn(const Model& model, const std::vector<Sample>& samples);
  [[nodiscard]] Status LearnAndOffer(const Model& model, const std::vector<Sample>& samples);
  [[nodiscard]] LookupResult LookUp(const Model& model, const Sample& sample);

  Client& client_;
  const std::shared_ptr<ClientContext> context_;
  const StoredProfiles stored_;
  Interrupt fetching_;
  Interrupt learning_;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<ModelFingerprint, State> models_;             // guarded by mutex_
  std::deque<LoadedRef> kept_;                           // latest first; guarded by mutex_
  std::map<ProfileId, std::vector<OnFetched>> fetches_;  // guarded by mutex_
  std::deque<std::function<void()>> tasks_;              // guarded by mutex_
  bool stopping_ = false;                                // guarded by mutex_
  bool learner_busy_ = false;                            // guarded by mutex_
  std::thread fetcher_;                                  // guarded by mutex_ until Stop()
  std::thread learner_;                                  // guarded by mutex_ until Stop()
};

}  // namespace kdn::client

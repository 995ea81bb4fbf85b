#include "client/core/profiles.h"

#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <system_error>
#include <utility>

#include "client/core/lookup_op.h"
#include "client/core/profile_study.h"

namespace kdn::client {
namespace {

constexpr std::size_t kKeptMax = 16;     // profiles in memory, those in use apart
constexpr std::size_t kTasksMax = 256;   // that wait for the thread
constexpr std::size_t kSamplesMax = 32;  // chunks to learn from
constexpr std::size_t kSamplesPerStore = 8;
constexpr unsigned kLearnDoublingsMax = 6;  // of the time between failures
constexpr std::size_t kLearnBytesMax = std::size_t{256} << 20;

// Whether learning from other chunks, at another time, may have another end.
bool IsTransient(Code code) {
  return code != Code::kUnimplemented && code != Code::kInvalidArgument;
}

// This thread gives way to every other one of the process, and of the machine.
void GiveWay() {
  // Where the system does not let it, it is an ordinary thread.
  [[maybe_unused]] const int set =
      setpriority(PRIO_PROCESS, static_cast<id_t>(syscall(SYS_gettid)), 19);
}

}  // namespace

Profiles::Profiles(Client& client, std::shared_ptr<ClientContext> context, StoredProfiles stored)
    : client_(client), context_(std::move(context)), stored_(std::move(stored)) {}

Profiles::~Profiles() {
  Stop();
}

void Profiles::Stop() {
  std::thread fetcher;
  std::thread learner;
  {
    const std::scoped_lock lock(mutex_);
    stopping_ = true;
    fetcher.swap(fetcher_);
    learner.swap(learner_);
  }
  changed_.notify_all();
  fetching_.Raise();
  learning_.Raise();
  if (fetcher.joinable()) fetcher.join();
  if (learner.joinable()) learner.join();
}

// -- What there is -----------------------------------------------------------------------------

Profiles::LoadedRef Profiles::Current(const Model& model) {
  const std::scoped_lock lock(mutex_);
  const auto state = models_.find(model.fingerprint());
  return state == models_.end() ? nullptr : state->second.current;
}

Profiles::LoadedRef Profiles::Find(const ProfileId& id) {
  const std::scoped_lock lock(mutex_);
  for (const auto& [model, state] : models_) {
    if (state.current && state.current->id == id) return state.current;
  }
  const auto kept = std::find_if(kept_.begin(), kept_.end(),
                                 [&](const LoadedRef& profile) { return profile->id == id; });
  if (kept == kept_.end()) return nullptr;
  LoadedRef found = *kept;
  kept_.erase(kept);
  kept_.push_front(found);
  return found;
}

// Requires: mutex_ is held.
void Profiles::Keep(const LoadedRef& profile) {
  std::erase_if(kept_, [&](const LoadedRef& kept) { return kept->id == profile->id; });
  kept_.push_front(profile);
  if (kept_.size() > kKeptMax) kept_.pop_back();
}

// -- The fetching thread -----------------------------------------------------------------------

// Requires: mutex_ is held. Starts the thread with the first task; false if there is none.
bool Profiles::Post(std::function<void()> task, bool first) {
  if (stopping_) return false;
  if (!fetcher_.joinable()) {
    try {
      fetcher_ = std::thread([this] { Run(); });
    } catch (const std::system_error&) {
      return false;  // the next task tries again
    }
  }
  if (first) {
    tasks_.push_front(std::move(task));
  } else {
    tasks_.push_back(std::move(task));
  }
  changed_.notify_all();
  return true;
}

void Profiles::Run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return stopping_ || !tasks_.empty(); });
    if (stopping_) return;
    const std::function<void()> task = std::move(tasks_.front());
    tasks_.pop_front();
    lock.unlock();
    task();
    lock.lock();
  }
}

void Profiles::Fetch(const Model& model, const ProfileId& id, OnFetched done) {
  const std::scoped_lock lock(mutex_);
  if (stopping_) return;
  const auto [fetch, is_new] = fetches_.try_emplace(id);
  fetch->second.push_back(std::move(done));
  // What is to be loaded goes before what is to be stored.
  if (!is_new || Post([this, &model, id] { FetchNow(model, id); }, /*first=*/true)) return;
  context_->metrics.profiles_missing.Add();
  context_->loop->Post([waiting = std::move(fetch->second)] {
    for (const OnFetched& each : waiting) each(nullptr);
  });
  fetches_.erase(fetch);
}

void Profiles::FetchNow(const Model& model, const ProfileId& id) {
  LoadedRef profile = Find(id);
  if (!profile) {
    auto fetched = stored_.Fetch(model, id, nullptr, fetching_);
    if (fetched) {
      profile = *std::move(fetched);
      context_->metrics.profiles_fetched.Add();
    } else {
      context_->metrics.profiles_missing.Add();
      context_->log->Write(LogLevel::kWarning, "a profile cannot be had: what needs it is a miss",
                           {{"profile", ToHex(id)}, {"error", fetched.error().ToString()}});
    }
  }
  std::vector<OnFetched> waiting;
  {
    const std::scoped_lock lock(mutex_);
    if (profile) Keep(profile);
    const auto fetch = fetches_.extract(id);
    if (fetch) waiting = std::move(fetch.mapped());
  }
  context_->loop->Post([waiting = std::move(waiting), profile] {
    for (const OnFetched& done : waiting) done(profile);
  });
}

// -- The current profile of a model ------------------------------------------------------------

// Requires: mutex_ is held.
void Profiles::Ask(const Model& model, State& state) {
  const bool room = tasks_.size() < kTasksMax;
  if (!room && state.asked != state.answered) return;  // an answer is on its way
  ++state.asked;
  if (room && Post([this, &model] { AskNow(model); }, /*first=*/false)) return;
  state.answered = state.asked;
  state.answered_at = context_->clock.Now();
  state.answer = Status(Code::kUnavailable);
  changed_.notify_all();
}

void Profiles::OnStoreBegun(const Model& model) {
  const std::scoped_lock lock(mutex_);
  State& state = models_[model.fingerprint()];
  const bool old = state.answered == 0 ||
                   context_->clock.Now() - state.answered_at >= context_->options.profile_refresh;
  if (state.asked == state.answered && old) Ask(model, state);
  if (!state.spec_stored && tasks_.size() < kTasksMax) {
    state.spec_stored = Post(
        [this, &model] {
          const Status status = stored_.StoreSpec(model.spec(), fetching_);
          if (status.ok()) return;
          const std::scoped_lock again(mutex_);
          models_[model.fingerprint()].spec_stored = false;
        },
        /*first=*/false);
  }
}

void Profiles::AskNow(const Model& model) {
  std::uint64_t asked = 0;
  LoadedRef known;
  {
    const std::scoped_lock lock(mutex_);
    const State& state = models_[model.fingerprint()];
    asked = state.asked;
    known = state.current;
  }
  const auto fetched = stored_.Fetch(model, std::nullopt, known, fetching_);
  const bool none = !fetched && fetched.error().code() == Code::kNotFound;
  const bool connected = client_.Connected();
  if (fetched && *fetched != known) context_->metrics.profiles_fetched.Add();
  {
    const std::scoped_lock lock(mutex_);
    State& state = models_[model.fingerprint()];
    state.answered = asked;
    state.answered_at = context_->clock.Now();
    state.answer = fetched || (none && connected) ? Status()
                   : none                         ? Status(Code::kUnavailable)
                                                  : Status(Code::kNotFound);
    if (fetched) {
      Keep(*fetched);
      state.current = *fetched;
    } else if (none && connected) {
      state.current = nullptr;  // an operator took it away
    }
  }
  changed_.notify_all();
}

Result<ProfileId> Profiles::Await(const Model& model, TimePoint deadline) {
  std::unique_lock lock(mutex_);
  State& state = models_[model.fingerprint()];  // a map's values stay where they are
  Ask(model, state);
  const std::uint64_t asked = state.asked;
  const bool answered =
      changed_.wait_until(lock, deadline, [&] { return stopping_ || state.answered >= asked; });
  if (!answered || stopping_) return Error(Code::kUnavailable);
  if (!state.answer.ok()) return std::unexpected(state.answer);
  return state.current ? state.current->id : ProfileId();
}

// -- Learning ----------------------------------------------------------------------------------

void Profiles::OnStored(const Model& model, const std::vector<ChunkKey>& chain,
                        const std::vector<std::size_t>& chunks) {
  const std::uint32_t wanted = context_->options.profile_learn_chunks;
  if (wanted == 0 || chunks.empty()) return;
  std::unique_lock lock(mutex_);
  State& state = models_[model.fingerprint()];
  // Before anybody has answered, the model may well have a profile.
  if (state.current || state.answered == 0 || !state.answer.ok()) return;
  if (state.learned || state.learning || context_->clock.Now() < state.learn_after) return;
  state.chunks_stored += chunks.size();
  const std::size_t step = (chunks.size() + kSamplesPerStore - 1) / kSamplesPerStore;
  for (std::size_t i = 0; i < chunks.size() && state.samples.size() < kSamplesMax; i += step) {
    const auto end = chain.begin() + static_cast<std::ptrdiff_t>(chunks[i] + 1);
    state.samples.emplace_back(chain.begin(), end);
  }
  if (state.chunks_stored < wanted) return;
  const Status started = StartLearning(model, state);
  lock.unlock();
  if (!started.ok()) TellNotLearned(model, started);
}

// Requires: mutex_ is held.
Status Profiles::StartLearning(const Model& model, State& state) {
  if (stopping_ || learner_busy_) return {};
  if (learner_.joinable()) learner_.join();  // it has ended
  try {
    learner_ = std::thread([this, &model, samples = std::exchange(state.samples, {})] {
      GiveWay();
      Learn(model, samples);
    });
    learner_busy_ = true;
    state.learning = true;
  } catch (const std::system_error&) {
    Status failed(Code::kUnavailable, "there is no thread to learn with");
    LearningFailed(state, failed);
    return failed;
  }
  return {};
}

// Not under mutex_: whoever writes the line may take his time, and loads take it, too.
void Profiles::TellNotLearned(const Model& model, const Status& why) {
  context_->log->Write(LogLevel::kWarning, "no profile was learned",
                       {{"model", model.spec().name}, {"error", why.ToString()}});
}

// Requires: mutex_ is held. What could not be read then may be gone: samples are collected anew.
void Profiles::LearningFailed(State& state, const Status& why) {
  state.learned = !IsTransient(why.code());
  state.samples.clear();
  state.chunks_stored = 0;
  const unsigned doublings = std::min(state.learn_failures++, kLearnDoublingsMax);
  state.learn_after = context_->clock.Now() + context_->options.profile_refresh * (1 << doublings);
}

void Profiles::Learn(const Model& model, const std::vector<Sample>& samples) {
  const Status status = LearnAndOffer(model, samples);
  if (status.ok()) {
    context_->metrics.profiles_learned.Add();
    context_->log->Write(
        LogLevel::kInfo, "a profile was learned",
        {{"model", model.spec().name}, {"chunks", std::to_string(samples.size())}});
  } else if (status.code() != Code::kCancelled && status.code() != Code::kAlreadyExists) {
    TellNotLearned(model, status);
  }
  const std::scoped_lock lock(mutex_);
  State& state = models_[model.fingerprint()];
  state.learning = false;
  learner_busy_ = false;
  if (status.code() == Code::kCancelled) return;
  if (status.ok() || status.code() == Code::kAlreadyExists) {
    state.learned = true;
    Ask(model, state);  // whoever was first, it is there now
  } else {
    LearningFailed(state, status);
  }
}

Status Profiles::LearnAndOffer(const Model& model, const std::vector<Sample>& samples) {
  const codec::LearnOptions options = codec::OptionsOf(codec::TransformChoices().front());
  auto study = ProfileStudy::Make(model, context_->options.chunk_tokens, options, kLearnBytesMax);
  if (!study) return study.error();
  for (const Sample& sample : samples) {
    const Status status =
        (*study)->Add(client_, LookUp(model, sample), sample.size() - 1, learning_);
    if (learning_.raised()) return Status(Code::kCancelled);
    // A chunk that is gone already is one to learn from less.
    if (!status.ok() && status.code() != Code::kUnavailable) return status;
  }
  const auto profile = (*study)->Learn();
  if (!profile) return profile.error();
  return stored_.Store(model.fingerprint(), profile->bytes(), /*as_current=*/true, learning_);
}

LookupResult Profiles::LookUp(const Model& model, const Sample& sample) {
  LookupOptions options;
  options.floor = ProvenanceKind::kUnknown;
  options.level_min = Level::kDraft;
  const auto op = std::make_shared<LookupOp>(context_, model, options);
  op->Start({sample}, sample.size() * context_->options.chunk_tokens);
  return learning_.During([&] { op->GiveUp(); }, [&] { return op->Take(); });
}

}  // namespace kdn::client

// How a load reads: units, attempts at replicas, tiles to the work pool.
#include <utility>

#include "client/core/load_op.h"
#include "client/core/profiles.h"

namespace kdn::client {
namespace {

// A tile's place, level aside, as one number: layer, head and plane are below 2^16, 2^16 and 2^8.
std::uint64_t TilePlaceKey(const TileCoordinates& at) {
  return (std::uint64_t{at.layers.first} << 32) | (std::uint64_t{at.kv_heads.first} << 8) |
         static_cast<std::uint64_t>(at.plane);
}

}  // namespace

std::string LoadOp::EndpointOf(NodeId node, const ChunkKey& key) const {
  return context_->nodes.EndpointOf(node, key, state_.nodes);
}

// -- 2. Reading --------------------------------------------------------------------------------

void LoadOp::StartUnit(std::size_t index) {
  Unit& unit = units_[index];
  if (closed_ || unit.over) return;
  const std::optional<Choice> choice =
      unit.chunk < chunk_limit_ ? ChooseReplica(unit) : std::nullopt;
  const bool pressed = choice && choice->standing == Standing::kPressed;
  const TimePoint pressed_until =
      pressed ? context_->health->PressedUntil(choice->target.node, priority()) : TimePoint{};
  if (!choice || pressed_until >= deadline_) {
    EndUnit(index, false);
    Pump();
    return;
  }
  if (pressed) {
    context_->loop->At(pressed_until, [weak = weak_from_this(), index] {
      if (const auto op = weak.lock()) op->StartUnit(index);
    });
    return;
  }
  context_->staging->Take(
      unit.window_bytes, StagingUse::kRead,
      [self = shared_from_this(), index](MutableBytes window) { self->OnWindow(index, window); });
}

std::optional<LoadOp::Choice> LoadOp::ChooseReplica(const Unit& unit) {
  std::optional<Choice> best;
  for (std::size_t i = 0; i < unit.replicas.size(); ++i) {
    const NodeId node = unit.replicas[i].node;
    Choice choice{i, {node, EndpointOf(node, unit.wanted.item.key)}, {}};
    choice.standing = context_->health->StandingOf(choice.target, priority());
    if (choice.standing == Standing::kGood && context_->loop->calls().Avoid(choice.target)) {
      choice.standing = Standing::kRefusing;
    }
    if (choice.standing == Standing::kSilent) continue;
    if (!best || choice.standing < best->standing) best = std::move(choice);
  }
  return best;
}

wire::ReplicaLocation LoadOp::TakeReplica(Unit& unit, std::size_t replica) {
  const wire::ReplicaLocation taken = unit.replicas[replica];
  unit.replicas.erase(unit.replicas.begin() + static_cast<std::ptrdiff_t>(replica));
  if (replica < unit.replicas_fresh) --unit.replicas_fresh;
  return taken;
}

// The replica is chosen only now: while the unit waited for memory a node may have gone.
void LoadOp::OnWindow(std::size_t index, MutableBytes window) {
  Unit& unit = units_[index];
  const bool wanted = !closed_ && !unit.over && !window.empty();
  const std::optional<Choice> choice = wanted ? ChooseReplica(unit) : std::nullopt;
  if (choice && choice->standing != Standing::kPressed) {
    StartRead(index, TakeReplica(unit, choice->replica), window, false);
    return;
  }
  context_->staging->Give(window, StagingUse::kRead);
  if (choice) {  // memory is not held while a node is waited for
    StartUnit(index);
    return;
  }
  EndUnit(index, false);
  if (!closed_) Pump();
}

void LoadOp::StartRead(std::size_t index, const wire::ReplicaLocation& replica, MutableBytes window,
                       bool hedge) {
  Unit& unit = units_[index];
  unit.wanted.item.window_offset = 0;
  unit.wanted.item.window_bytes = window.size();
  unit.attempts.push_back(std::make_shared<ReadAttempt>(model_.spec(), unit.wanted, window));
  const std::shared_ptr<ReadAttempt> attempt = unit.attempts.back();
  attempt->target = {replica.node, EndpointOf(replica.node, unit.wanted.item.key)};
  attempt->replica = replica;
  attempt->insisted = unit.replicas_fresh == 0;
  attempt->hedge = hedge;
  if (!unit.asked) context_->health->OnRequest();
  unit.asked = true;

  wire::ReadRequest request;
  request.head.trace = options_.trace;
  // What is usual is not said: nodes of the version before know of no priorities.
  if (priority() != wire::PriorityOf(request.head)) request.head.priority = priority();
  request.items.push_back(unit.wanted.item);
  CallRequest call;
  call.target = attempt->target;
  request.Encode(call.request);
  call.window = window;
  call.insist = attempt->insisted;
  // A replica that does not answer may use up its share of the time, not all of it.
  const TimePoint now = context_->loop->Now();
  attempt->progress_at = now;
  call.deadline = now + (deadline_ - now) / static_cast<Duration::rep>(unit.replicas.size() + 1);
  call.piece = [self = shared_from_this(), index, attempt](std::size_t offset, std::size_t size) {
    self->OnPiece(index, attempt, offset, size);
  };
  call.done = [self = shared_from_this(), index, attempt](Code code, ConstBytes response) {
    attempt->pressed = self->context_->health->OnEnd(attempt->target.node, code, response);
    attempt->costs_retry = code == Code::kDeadlineExceeded || code == Code::kResourceExhausted;
    const auto answer = wire::ReadResponse::Decode(response);
    if (code == Code::kOk) {
      code = answer && answer->items.size() == 1 ? answer->items[0].code : Code::kDataLoss;
    }
    self->OnCallOver(index, attempt, code);
  };
  attempt->call = context_->loop->calls().Start(std::move(call));
  if (context_->health->hedges()) {
    WatchLate(now + context_->health->SilenceAllowed(attempt->target.node));
  }
}

// -- 3. Pieces and tiles -----------------------------------------------------------------------

void LoadOp::OnPiece(std::size_t index, const std::shared_ptr<ReadAttempt>& attempt,
                     std::size_t offset, std::size_t size_bytes) {
  report_.bytes_received += size_bytes;
  context_->metrics.bytes_received.Add(size_bytes);
  const TimePoint now = context_->loop->Now();
  context_->health->OnPiece(attempt->target.node, now - attempt->progress_at);
  attempt->progress_at = now;
  if (attempt->failed || closed_) return;
  std::vector<std::uint32_t> ready;
  if (Status status = attempt->OnPiece(offset, size_bytes, ready); !status.ok()) {
    FailAttempt(*attempt, true, units_[index].wanted);
    context_->loop->calls().Cancel(attempt->call);
    return;
  }
  if (attempt->have_header() && !TakeProfile(index, attempt)) return;
  if (!ready.empty()) PlanUnit(units_[index], *attempt);
  Dispatch(index, attempt, std::move(ready));
}

// False if the profile has to be fetched: the attempt is then over.
bool LoadOp::TakeProfile(std::size_t index, const std::shared_ptr<ReadAttempt>& attempt) {
  const ProfileId& id = attempt->header().profile;
  const bool alone = (attempt->header().flags & kFlagExactAlone) != 0;  // it needs none
  if (attempt->profile || id.IsZero() || alone) return true;
  attempt->profile = context_->profiles->Find(id);
  if (attempt->profile) return true;
  Unit& unit = units_[index];
  attempt->failed = true;
  if (unit.profile_coming) {
    // Asked for by the other attempt.
  } else if (unit.profile_fetched) {
    unit.replicas.clear();  // it has gone again: others need more of them than this client keeps
  } else {
    unit.profile_coming = true;
    unit.replicas.insert(unit.replicas.begin(), attempt->replica);
    ++unit.replicas_fresh;
    context_->profiles->Fetch(model_, id,
                              [self = shared_from_this(), index](const Profiles::LoadedRef& found) {
                                self->OnProfile(index, found != nullptr);
                              });
  }
  context_->loop->calls().Cancel(attempt->call);
  return false;
}

void LoadOp::OnProfile(std::size_t index, bool found) {
  Unit& unit = units_[index];
  unit.profile_coming = false;
  unit.profile_fetched = true;
  if (!found) unit.replicas.clear();  // every replica names it: what it codes is a miss
  if (unit.attempts.empty()) StartUnit(index);
}

void LoadOp::PlanUnit(Unit& unit, const ReadAttempt& attempt) {
  if (unit.planned) return;
  unit.planned = true;
  unit.missing = attempt.job_count();
  for (std::uint32_t j = 0; j < attempt.job_count(); ++j) {
    const Range layers = attempt.entry(attempt.job(j).entries.front()).at.layers;
    for (std::uint32_t l = layers.first; l < layers.end(); ++l) {
      if (l < unit.wanted.item.layers.first || l >= unit.wanted.item.layers.end()) continue;
      ++unit.layer_missing[l - unit.wanted.item.layers.first];
    }
  }
}

// All tiles of a piece go to the workers as one piece of work and come back as one: waking a thread
// costs as much as decoding a small tile.
void LoadOp::Dispatch(std::size_t index, const std::shared_ptr<ReadAttempt>& attempt,
                      std::vector<std::uint32_t> jobs) {
  Unit& unit = units_[index];
  std::erase_if(jobs, [&](std::uint32_t job) {
    const std::uint64_t place = TilePlaceKey(attempt->entry(attempt->job(job).entries.front()).at);
    if (unit.tiles_done.contains(place)) return true;
    // Two may not write one place: this one's turn comes if the other's bytes are wrong.
    const bool taken = !unit.tiles_out.insert(place).second;
    if (taken) attempt->jobs_held.push_back(job);
    return taken;
  });
  if (jobs.empty()) return;
  attempt->jobs_out += static_cast<std::uint32_t>(jobs.size());
  context_->workers->Post([self = shared_from_this(), index, attempt,
                           jobs = std::move(jobs)](codec::CodecScratch& scratch) mutable {
    self->Decode(index, attempt, std::move(jobs), scratch);
  });
}

void LoadOp::Decode(std::size_t index, const std::shared_ptr<ReadAttempt>& attempt,
                    std::vector<std::uint32_t> jobs, codec::CodecScratch& scratch) {
  std::vector<Code> codes;
  bool last = false;
  for (const std::uint32_t job : jobs) {
    // The gate is passed for each tile anew: a load that is given up waits for one at most.
    if (!gate_.Enter()) {
      codes.push_back(Code::kCancelled);
      continue;
    }
    codes.push_back(DecodeJob(*attempt, job, scratch));
    last = gate_.Leave() || last;
  }
  context_->loop->Post([self = shared_from_this(), index, attempt, jobs = std::move(jobs),
                        codes = std::move(codes), last] {
    if (last) self->Finish();
    self->OnDecoded(index, attempt, jobs, codes);
  });
}

Code LoadOp::DecodeJob(const ReadAttempt& attempt, std::uint32_t job,
                       codec::CodecScratch& scratch) const {
  const ObjectTag tag = TagOf(attempt.header());
  std::vector<codec::TileBytes> tiles;
  for (const std::uint32_t i : attempt.job(job).entries) {
    if (!VerifyTile(tag, attempt.entry(i), attempt.bytes(i))) return Code::kDataLoss;
    tiles.push_back({attempt.entry(i), attempt.bytes(i)});
  }
  const codec::ChunkPlace place{attempt.header().first_position, attempt.header().token_count};
  return model_.codec()
      .DecodeTile(attempt.header(), tiles, kv_->kv(), kv_->blocks(), place,
                  attempt.profile ? &attempt.profile->profile : nullptr, scratch)
      .code();
}

void LoadOp::OnDecoded(std::size_t index, const std::shared_ptr<ReadAttempt>& attempt,
                       const std::vector<std::uint32_t>& jobs, const std::vector<Code>& codes) {
  attempt->jobs_out -= static_cast<std::uint32_t>(jobs.size());
  Unit& unit = units_[index];
  bool layer_done = false;
  for (std::size_t i = 0; i < jobs.size(); ++i) {
    const TileCoordinates& at = attempt->entry(attempt->job(jobs[i]).entries.front()).at;
    unit.tiles_out.erase(TilePlaceKey(at));
    if (codes[i] == Code::kOk) {
      layer_done = CountTile(index, at) || layer_done;
    } else if (codes[i] != Code::kCancelled && !attempt->failed) {
      FailAttempt(*attempt, true, units_[index].wanted);
      context_->loop->calls().Cancel(attempt->call);
    }
  }
  if (layer_done) PublishProgress();
  ReleaseHeld(index, attempt);
  if (!closed_ && !unit.over && unit.attempts.size() > 1 && unit.planned && unit.missing == 0) {
    CompleteUnit(index, *attempt);
  }
  Settle(index, attempt);
}

// Tiles of `by` have come back from the workers: others that waited for them may go.
void LoadOp::ReleaseHeld(std::size_t index, const std::shared_ptr<ReadAttempt>& by) {
  const auto attempts = units_[index].attempts;  // settling one takes it out
  for (const auto& other : attempts) {
    if (other == by || other->jobs_held.empty()) continue;
    Dispatch(index, other, std::exchange(other->jobs_held, {}));
    Settle(index, other);
  }
}

// True if this was the last tile that a layer waited for.
bool LoadOp::CountTile(std::size_t index, const TileCoordinates& at) {
  Unit& unit = units_[index];
  if (unit.over) return false;
  unit.tiles_done.insert(TilePlaceKey(at));
  --unit.missing;
  bool layer_done = false;
  for (std::uint32_t l = at.layers.first; l < at.layers.end(); ++l) {
    if (l < unit.wanted.item.layers.first || l >= unit.wanted.item.layers.end()) continue;
    std::uint32_t& missing = unit.layer_missing[l - unit.wanted.item.layers.first];
    if (--missing == 0 && --layer_units_[l] == 0) layer_done = true;
  }
  return layer_done;
}

// -- 4. Going on -------------------------------------------------------------------------------

void LoadOp::OnCallOver(std::size_t index, const std::shared_ptr<ReadAttempt>& attempt, Code code) {
  attempt->call_over = true;
  if (attempt->late && (code == Code::kCancelled || code == Code::kDeadlineExceeded)) {
    context_->health->OnWaited(attempt->target.node, context_->loop->Now() - attempt->progress_at);
  }
  // It may have been passed over as one that was out of reach a while ago: when the others have
  // failed too, it is tried in earnest.
  if ((code == Code::kUnavailable && !attempt->insisted) || attempt->pressed) {
    units_[index].replicas.push_back(attempt->replica);
  }
  if (!attempt->failed && (code != Code::kOk || !attempt->Complete())) {
    FailAttempt(*attempt, code == Code::kOk || code == Code::kDataLoss, units_[index].wanted);
  }
  Settle(index, attempt);
}

void LoadOp::FailAttempt(ReadAttempt& attempt, bool corrupt, const WantedObject& wanted) {
  attempt.failed = true;
  if (!corrupt || closed_) return;
  ++report_.pieces_corrupt;
  context_->metrics.pieces_corrupt.Add();
  ReportCorrupt(attempt.target, wanted);
}

void LoadOp::ReportCorrupt(const CallTarget& target, const WantedObject& wanted) {
  wire::ReportCorruptRequest request;
  request.head.trace = options_.trace;
  request.key = wanted.item.key;
  request.part = wanted.item.part;
  request.put_id = wanted.item.put_id;
  CallRequest call;
  call.target = target;
  request.Encode(call.request);
  call.deadline = context_->loop->Now() + context_->options.timeout;
  call.done = [](Code, ConstBytes) {};
  context_->loop->calls().Start(std::move(call));
}

// The attempt is over once its call is and no tile of it is at the workers: only then is its window
// free, and no old bytes can be decoded beside those of the next replica.
void LoadOp::Settle(std::size_t index, const std::shared_ptr<ReadAttempt>& attempt) {
  if (!attempt->call_over || attempt->jobs_out != 0) return;
  Unit& unit = units_[index];
  const bool waits = !attempt->jobs_held.empty() && !attempt->failed;
  if (waits && !unit.over && !closed_) return;
  if (std::erase(unit.attempts, attempt) == 0) return;
  context_->staging->Give(attempt->window(), StagingUse::kRead);
  if (closed_ || unit.over || unit.profile_coming) return;
  if (unit.planned && unit.missing == 0) {
    CompleteUnit(index, *attempt);
  } else if (unit.attempts.empty()) {
    GoOn(index, *attempt);
  }
}

void LoadOp::CompleteUnit(std::size_t index, const ReadAttempt& winner) {
  if (winner.hedge) context_->metrics.hedges_won.Add();
  EndUnit(index, true);
  CancelAttempts(units_[index]);
  Pump();
}

// Nobody reads the unit any more, and something of it is missing.
void LoadOp::GoOn(std::size_t index, const ReadAttempt& after) {
  Unit& unit = units_[index];
  // Its own replica again, now that the profile is there, is no failover.
  const bool again =
      unit.profile_fetched && !unit.replicas.empty() && unit.replicas.front() == after.replica;
  const bool may =
      !unit.replicas.empty() && (again || !after.costs_retry || context_->health->TakeRetry());
  if (!may) {
    EndUnit(index, false);
    Pump();
    return;
  }
  if (!again) {
    ++report_.replicas_failed_over;
    context_->metrics.failovers.Add();
  }
  StartUnit(index);
}

}  // namespace kdn::client

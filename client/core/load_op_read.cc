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
  if (unit.chunk >= chunk_limit_ || unit.replicas.empty()) {
    EndUnit(index, false);
    Pump();
    return;
  }
  const wire::ReplicaLocation replica = unit.replicas.front();
  unit.replicas.erase(unit.replicas.begin());
  if (unit.replicas_fresh > 0) --unit.replicas_fresh;
  context_->staging->Take(unit.window_bytes,
                          [self = shared_from_this(), index, replica](MutableBytes window) {
                            self->StartRead(index, replica, window);
                          });
}

void LoadOp::StartRead(std::size_t index, const wire::ReplicaLocation& replica,
                       MutableBytes window) {
  Unit& unit = units_[index];
  if (closed_ || unit.over || window.empty()) {
    context_->staging->Give(window);
    EndUnit(index, false);
    if (!closed_) Pump();
    return;
  }
  unit.wanted.item.window_offset = 0;
  unit.wanted.item.window_bytes = window.size();
  unit.attempt = std::make_shared<ReadAttempt>(model_.spec(), unit.wanted, window);
  const std::shared_ptr<ReadAttempt> attempt = unit.attempt;
  attempt->target = {replica.node, EndpointOf(replica.node, unit.wanted.item.key)};
  attempt->replica = replica;
  attempt->insisted = unit.replicas_fresh == 0;

  wire::ReadRequest request;
  request.head.trace = options_.trace;
  request.items.push_back(unit.wanted.item);
  CallRequest call;
  call.target = attempt->target;
  request.Encode(call.request);
  call.window = window;
  call.insist = attempt->insisted;
  // A replica that does not answer may use up its share of the time, not all of it.
  const TimePoint now = context_->loop->Now();
  call.deadline = now + (deadline_ - now) / static_cast<Duration::rep>(unit.replicas.size() + 1);
  call.piece = [self = shared_from_this(), index, attempt](std::size_t offset, std::size_t size) {
    self->OnPiece(index, attempt, offset, size);
  };
  call.done = [self = shared_from_this(), index, attempt](Code code, ConstBytes response) {
    const auto answer = wire::ReadResponse::Decode(response);
    if (code == Code::kOk) {
      code = answer && answer->items.size() == 1 ? answer->items[0].code : Code::kDataLoss;
    }
    self->OnCallOver(index, attempt, code);
  };
  attempt->call = context_->loop->calls().Start(std::move(call));
}

// -- 3. Pieces and tiles -----------------------------------------------------------------------

void LoadOp::OnPiece(std::size_t index, const std::shared_ptr<ReadAttempt>& attempt,
                     std::size_t offset, std::size_t size_bytes) {
  report_.bytes_received += size_bytes;
  context_->metrics.bytes_received.Add(size_bytes);
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
  if (unit.profile_fetched) {
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
  if (!unit.attempt) StartUnit(index);
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
  std::erase_if(jobs, [&](std::uint32_t job) {
    const TileEntry& entry = attempt->entry(attempt->job(job).entries.front());
    return units_[index].tiles_done.contains(TilePlaceKey(entry.at));
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
  bool layer_done = false;
  for (std::size_t i = 0; i < jobs.size(); ++i) {
    if (codes[i] == Code::kOk) {
      layer_done =
          CountTile(index, attempt->entry(attempt->job(jobs[i]).entries.front()).at) || layer_done;
    } else if (codes[i] != Code::kCancelled && !attempt->failed) {
      FailAttempt(*attempt, true, units_[index].wanted);
      context_->loop->calls().Cancel(attempt->call);
    }
  }
  if (layer_done) PublishProgress();
  Settle(index, attempt);
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
  // It may have been passed over as one that was out of reach a while ago: when the others have
  // failed too, it is tried in earnest.
  if (code == Code::kUnavailable && !attempt->insisted) {
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
  if (unit.attempt != attempt) return;
  unit.attempt.reset();
  context_->staging->Give(attempt->window());
  if (closed_ || unit.over || unit.profile_coming) return;
  if (unit.planned && unit.missing == 0) {
    EndUnit(index, true);
    Pump();
  } else if (unit.replicas.empty()) {
    EndUnit(index, false);
    Pump();
  } else {
    // Its own replica again, now that the profile is there, is no failover.
    const bool again = unit.profile_fetched && unit.replicas.front() == attempt->replica;
    if (!again) {
      ++report_.replicas_failed_over;
      context_->metrics.failovers.Add();
    }
    StartUnit(index);
  }
}

}  // namespace kdn::client

// A load's plan, its end, and what its handle sees. load_op_read.cc has the reads between.
#include "client/core/load_op.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "client/core/coverage.h"
#include "client/core/replica_rank.h"

namespace kdn::client {
namespace {

constexpr std::size_t kUnitsInFlightMax = 32;

// All levels up to the finest wanted; where exact stands alone there is no other.
LevelSet LevelsToRead(const LevelBytes& level_bytes, Level level_max) {
  const LevelSet there = LevelsWithBytes(level_bytes);
  if (!there.Has(Level::kDraft)) return there;
  LevelSet wanted;
  for (const LevelInfo& info : Levels()) {
    if (there.Has(info.level) && info.level <= level_max) wanted.Add(info.level);
  }
  return wanted;
}

}  // namespace

LoadOp::LoadOp(std::shared_ptr<ClientContext> context, const Model& model,
               const LookupResult& found, std::unique_ptr<const KvCopy> kv,
               const LoadOptions& options)
    : context_(std::move(context)),
      model_(model),
      state_(found.state()),
      kv_(std::move(kv)),
      options_(options),
      begun_(context_->clock.Now()),
      deadline_(context_->DeadlineOr(options.deadline)),
      chunk_limit_(state_.chunks.size()),
      layer_ready_(model.layer_count()) {
  options_.trace = context_->TraceOr(options_.trace);
}

void LoadOp::Start() {
  context_->loop->Post([self = shared_from_this()] {
    self->MakeUnits();
    self->context_->loop->At(self->deadline_, [weak = self->weak_from_this()] {
      if (const auto op = weak.lock()) op->Close(Code::kDeadlineExceeded);
    });
    self->PublishProgress();
    self->Pump();
  });
}

// -- 1. Units ----------------------------------------------------------------------------------

// Only a prefix counts, and a chunk whose parts leave out something of ours would leave a hole.
std::size_t LoadOp::ChunksCovered() const {
  std::uint64_t token = 0;
  for (std::size_t c = 0; c < state_.chunks.size(); ++c) {
    const wire::ChunkLocation& where = state_.chunks[c].where;
    if (token >= options_.skip_tokens &&
        !PartsCover({where.parts.data(), where.parts.size()}, *kv_))
      return c;
    token += where.token_count;
  }
  return state_.chunks.size();
}

void LoadOp::MakeUnits() {
  chunk_limit_ = ChunksCovered();
  if (chunk_limit_ < state_.chunks.size()) code_ = Code::kUnavailable;
  chunk_units_.assign(state_.chunks.size(), 0);
  layer_units_.assign(model_.layer_count(), 0);
  const Range all = kv_->layers();
  const std::uint16_t step =
      options_.order == LoadOrder::kLayerByLayer ? model_.options().layers_per_group : all.count;
  for (std::uint32_t first = all.first; first < all.end();) {
    // Cut at the groups' absolute borders, so that no tile is read for two units.
    const std::uint32_t end = step >= all.count
                                  ? all.end()
                                  : std::min<std::uint32_t>((first / step + 1) * step, all.end());
    const Range layers{static_cast<std::uint16_t>(first), static_cast<std::uint16_t>(end - first)};
    std::uint64_t token = 0;
    for (std::size_t c = 0; c < chunk_limit_; ++c) {
      if (token >= options_.skip_tokens) AddUnits(c, token, layers);
      token += state_.chunks[c].where.token_count;
    }
    first = end;
  }
}

void LoadOp::AddUnits(std::size_t chunk, std::uint64_t first_token, const Range& layers) {
  const auto& parts = state_.chunks[chunk].where.parts;
  for (std::size_t p = 0; p < parts.size(); ++p) AddUnit(chunk, p, first_token, layers);
}

void LoadOp::AddUnit(std::size_t chunk, std::size_t part, std::uint64_t first_token,
                     const Range& layers) {
  const MatchedChunk& matched = state_.chunks[chunk];
  const wire::PartLocation& where = matched.where.parts[part];
  Unit unit;
  unit.chunk = chunk;
  unit.part = part;
  wire::ReadItem& item = unit.wanted.item;
  item.layers = Intersection(layers, where.shape.layers);
  item.kv_heads = Intersection(kv_->kv_heads(), where.shape.kv_heads);
  // Layers of a hybrid model may have fewer heads than this part's first: no tile comes for them.
  std::vector<std::uint32_t> layers_to_come;
  for (std::uint32_t l = item.layers.first; l < item.layers.end(); ++l) {
    if (HeadsOfLayer(model_.spec(), l, item.kv_heads).count > 0) layers_to_come.push_back(l);
  }
  if (layers_to_come.empty()) return;
  item.key = matched.key;
  item.part = where.shape.number;
  item.put_id = matched.where.put_id;
  item.levels = LevelsToRead(where.level_bytes, options_.level_max);
  unit.wanted.kind = model_.kind();
  unit.wanted.shape = where.shape;
  unit.wanted.model = state_.model;
  unit.wanted.token_count = matched.where.token_count;
  unit.wanted.first_position = first_token;
  unit.window_bytes = wire::ReadWindowBytes(where.level_bytes, item.levels);
  unit.layer_missing.assign(item.layers.count, 0);
  unit.replicas = RankReplicas(matched, where);
  unit.replicas_fresh = unit.replicas.size();
  ++chunk_units_[chunk];
  for (const std::uint32_t l : layers_to_come) ++layer_units_[l];
  units_.push_back(std::move(unit));
}

std::vector<wire::ReplicaLocation> LoadOp::RankReplicas(const MatchedChunk& chunk,
                                                        const wire::PartLocation& part) {
  return client::RankReplicas(part, chunk.key, [&](const wire::ReplicaLocation& replica) {
    const CallTarget target{replica.node, EndpointOf(replica.node, chunk.key)};
    return context_->loop->calls().Avoid(target) ||
           context_->health->StandingOf(target, priority()) != Standing::kGood;
  });
}

void LoadOp::Pump() {
  while (!closed_ && next_unit_ < units_.size() && units_in_flight_ < kUnitsInFlightMax) {
    const std::size_t unit = next_unit_++;
    if (units_[unit].chunk >= chunk_limit_) {
      EndUnit(unit, false);
      continue;
    }
    units_[unit].started = true;
    ++units_in_flight_;
    StartUnit(unit);
  }
  if (!closed_ && units_over_ == units_.size()) Close(code_);
}

// -- 5. The end --------------------------------------------------------------------------------

void LoadOp::EndUnit(std::size_t index, bool complete) {
  Unit& unit = units_[index];
  if (unit.over) return;
  unit.over = true;
  unit.complete = complete;
  ++units_over_;
  if (unit.started) --units_in_flight_;
  if (complete) {
    --chunk_units_[unit.chunk];
  } else if (unit.chunk < chunk_limit_) {
    // What follows a chunk that will not come is useless: only a prefix counts.
    chunk_limit_ = unit.chunk;
    if (code_ == Code::kOk) code_ = Code::kUnavailable;
    for (std::size_t u = 0; u < units_.size(); ++u) {
      Unit& other = units_[u];
      if (other.over || !other.started || other.chunk < chunk_limit_) continue;
      if (other.attempts.empty()) continue;
      other.replicas.clear();
      CancelAttempts(other);
    }
  }
  PublishProgress();
}

void LoadOp::CancelAttempts(Unit& unit) {
  for (const auto& attempt : unit.attempts) {
    attempt->failed = true;
    if (!attempt->call_over) context_->loop->calls().Cancel(attempt->call);
  }
}

void LoadOp::PublishProgress() {
  std::uint64_t tokens = 0;
  for (std::size_t c = 0; c < chunk_limit_ && chunk_units_[c] == 0; ++c) {
    tokens += state_.chunks[c].where.token_count;
  }
  {
    const std::scoped_lock lock(mutex_);
    tokens_ready_ = tokens;
    for (std::size_t l = 0; l < layer_units_.size(); ++l) {
      if (layer_units_[l] == 0 && chunk_limit_ == state_.chunks.size()) layer_ready_[l] = true;
    }
  }
  changed_.notify_all();
}

void LoadOp::Close(Code code) {
  if (closed_) return;
  closed_ = true;
  code_ = code;
  for (Unit& unit : units_) {
    if (!unit.over) CancelAttempts(unit);
  }
  if (gate_.Close()) Finish();
}

void LoadOp::Finish() {
  PublishProgress();
  {
    const std::scoped_lock lock(mutex_);
    if (done_) return;
    done_ = true;
    result_ = report_;
    result_.code = code_;
    result_.tokens_loaded = tokens_ready_;
    result_.provenance = kExactProvenance;
    std::uint64_t tokens = 0;
    for (const MatchedChunk& chunk : state_.chunks) {
      if (tokens >= tokens_ready_) break;
      tokens += chunk.where.token_count;
      result_.provenance = WorseOf(result_.provenance, chunk.where.provenance);
    }
    // What is computed over values of a lossy level is no better than they are.
    for (const Unit& unit : units_) {
      const LevelSet levels = unit.wanted.item.levels;
      if (unit.chunk >= state_.chunks.size() || levels.Has(Level::kExact)) continue;
      const Level finest = levels.Has(Level::kFine)       ? Level::kFine
                           : levels.Has(Level::kStandard) ? Level::kStandard
                                                          : Level::kDraft;
      result_.provenance = WorseOf(result_.provenance, {ProvenanceKind::kLossy, finest, 0});
    }
    if (tokens == 0) result_.provenance = {};
    context_->metrics.loads.Add();
    if (code_ != Code::kOk) context_->metrics.loads_short.Add();
    const Duration took = context_->clock.Now() - begun_;
    context_->metrics.load_seconds.Record(took);
    if (const auto level = context_->LineOf(took)) {
      context_->log->Write(*level, "load over",
                           {{"trace", ToHex(options_.trace)},
                            TookField(took),
                            {"tokens", std::to_string(result_.tokens_loaded)},
                            {"bytes", std::to_string(result_.bytes_received)},
                            {"failovers", std::to_string(result_.replicas_failed_over)},
                            {"code", std::string(CodeName(result_.code))}});
    }
  }
  changed_.notify_all();
}

// -- The handle's part -------------------------------------------------------------------------

void LoadOp::Cancel() {
  context_->loop->Post([self = shared_from_this()] { self->Close(Code::kCancelled); });
}

bool LoadOp::Done() {
  const std::scoped_lock lock(mutex_);
  return done_;
}

bool LoadOp::LayerReady(std::uint32_t layer) {
  const std::scoped_lock lock(mutex_);
  return layer < layer_ready_.size() && layer_ready_[layer];
}

bool LoadOp::WaitLayer(std::uint32_t layer) {
  std::unique_lock lock(mutex_);
  if (layer >= layer_ready_.size()) return false;
  changed_.wait(lock, [&] { return done_ || layer_ready_[layer]; });
  return layer_ready_[layer];
}

std::uint64_t LoadOp::TokensReady() {
  const std::scoped_lock lock(mutex_);
  return tokens_ready_;
}

LoadReport LoadOp::Wait() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return done_; });
  return result_;
}

}  // namespace kdn::client

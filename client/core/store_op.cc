// A store's objects, their encoding, and what its handle sees. store_op_send.cc has the sending and
// committing.
#include "client/core/store_op.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "client/core/profiles.h"

namespace kdn::client {
namespace {

constexpr std::size_t kObjectsInFlightMax = 16;
// A store is bounded by its tickets' expiry; this bounds a coordinator that gave none.
constexpr std::chrono::seconds kStoreTimeMax{60};

}  // namespace

StoreOp::StoreOp(std::shared_ptr<ClientContext> context, const Model& model, const StorePlan& plan,
                 const PartShape& shape, std::unique_ptr<const KvCopy> kv)
    : context_(std::move(context)),
      model_(model),
      plan_(plan.state()),
      shape_(shape),
      kv_(std::move(kv)),
      begun_(context_->clock.Now()),
      deadline_(begun_ + kStoreTimeMax),
      trace_(context_->TraceOr(plan_.trace)) {}

void StoreOp::Start() {
  context_->loop->Post([self = shared_from_this()] {
    self->MakeObjects();
    if (self->TakesProfile()) self->context_->profiles->OnStoreBegun(self->model_);
    self->context_->loop->At(self->deadline_, [weak = self->weak_from_this()] {
      if (const auto op = weak.lock()) op->Close(Code::kDeadlineExceeded);
    });
    if (self->objects_.empty()) self->NameContext();
    self->Pump();
  });
}

// -- 1. Objects --------------------------------------------------------------------------------

void StoreOp::MakeObjects() {
  grants_.resize(plan_.grants.size());
  chunk_stored_.assign(plan_.chunks.size(), false);
  std::uint64_t token = 0;
  for (std::size_t c = 0; c < plan_.chunks.size(); ++c) {
    const PlannedChunk& chunk = plan_.chunks[c];
    if (chunk.verdict == wire::PutVerdict::kPresent) {
      ++report_.chunks_present;
      chunk_stored_[c] = true;
      last_chunk_visible_ = c + 1 == plan_.chunks.size();
    } else if (chunk.verdict == wire::PutVerdict::kStore && chunk.grant < grants_.size()) {
      Object object;
      object.chunk = c;
      object.header = HeaderOf(c, token);
      grants_[chunk.grant].objects.push_back(objects_.size());
      ++grants_[chunk.grant].objects_open;
      objects_.push_back(std::move(object));
    } else {
      ++report_.chunks_failed;
    }
    token += chunk.token_count;
  }
  objects_to_encode_ = objects_.size();
  grants_open_ = static_cast<std::size_t>(std::count_if(
      grants_.begin(), grants_.end(), [](const Grant& g) { return g.objects_open > 0; }));
  if (objects_.empty()) {
    const std::scoped_lock lock(mutex_);
    read_ = true;
  }
  changed_.notify_all();
}

ObjectHeader StoreOp::HeaderOf(std::size_t chunk, std::uint64_t first_token) const {
  const PlannedChunk& planned = plan_.chunks[chunk];
  ObjectHeader header;
  header.kind = model_.kind();
  header.tenant = context_->options.tenant;
  header.secret = plan_.secret;
  header.key = planned.key;
  if (chunk > 0) header.parent = plan_.chunks[chunk - 1].key;
  header.chain_root = plan_.chunks.front().key;
  header.match_hash = plan_.match_hash;
  header.put_id = plan_.grants[planned.grant].put_id;
  header.model = plan_.model;
  header.part = shape_;
  header.layers_per_group = model_.options().layers_per_group;
  header.heads_per_group = model_.options().heads_per_group;
  header.token_count = planned.token_count;
  header.first_position = first_token;
  header.provenance = plan_.provenance;
  header.dtype = model_.spec().dtype;
  header.levels_encoded = plan_.levels;
  // Angles that depend on the sequence's length stay in the keys: those cannot be moved.
  const Rotary& rotary = model_.spec().rotary;
  if (rotary.scaling == RotaryScaling::kDynamicNtk) header.flags |= kFlagCodedRotated;
  return header;
}

// Profiles are of the coarser levels, and of keys without their position.
bool StoreOp::TakesProfile() const {
  return plan_.levels.Has(Level::kDraft) &&
         model_.spec().rotary.scaling != RotaryScaling::kDynamicNtk;
}

void StoreOp::Pump() {
  if (pumping_) return;  // an object ended in here: the loop below goes on with the next
  pumping_ = true;
  while (!closed_ && next_object_ < objects_.size() && objects_in_flight_ < kObjectsInFlightMax) {
    const std::size_t index = next_object_++;
    ++objects_in_flight_;
    const PlannedChunk& chunk = plan_.chunks[objects_[index].chunk];
    if (NobodyLeft(plan_.grants[chunk.grant], chunk.key)) {
      OnEncoded(index, Status(Code::kUnavailable), 0);
      continue;
    }
    const std::size_t bytes_max = model_.codec().EncodedBytesMax(objects_[index].header);
    context_->staging->Take(
        bytes_max, StagingUse::kStore, [self = shared_from_this(), index](MutableBytes run) {
          self->objects_[index].staging = run;
          if (run.empty() || self->closed_) {
            self->OnEncoded(index, Status(Code::kResourceExhausted), 0);
            return;
          }
          self->context_->workers->Post(
              [self, index](codec::CodecScratch& scratch) { self->Encode(index, scratch); });
        });
  }
  pumping_ = false;
}

void StoreOp::Encode(std::size_t index, codec::CodecScratch& scratch) {
  Result<std::size_t> size = Error(Code::kCancelled);
  bool last = false;
  // Object and its staging run are this worker's until OnEncoded(): the loop does not touch them.
  Object& object = objects_[index];
  if (gate_.Enter()) {
    const Profiles::LoadedRef profile =
        TakesProfile() ? context_->profiles->Current(model_) : nullptr;
    if (profile) object.header.profile = profile->id;
    const codec::ChunkPlace place{object.header.first_position, object.header.token_count};
    size = model_.codec().EncodeInto(object.staging, object.header, kv_->kv(), kv_->blocks(), place,
                                     profile ? &profile->profile : nullptr, scratch);
    last = gate_.Leave();
  }
  const Status status = size ? Status() : size.error();
  context_->loop->Post([self = shared_from_this(), index, status, last, bytes = size.value_or(0)] {
    if (last) self->Finish();
    self->OnEncoded(index, status, bytes);
  });
}

void StoreOp::OnEncoded(std::size_t index, Status status, std::size_t size_bytes) {
  if (--objects_to_encode_ == 0) {
    {
      const std::scoped_lock lock(mutex_);
      read_ = true;
    }
    changed_.notify_all();
  }
  Object& object = objects_[index];
  if (status.ok()) {
    const auto header = DecodeHeader(object.staging.first(size_bytes));
    if (header) {
      object.header = *header;
    } else {
      status = header.error();
    }
  }
  if (!status.ok() || closed_) {
    if (!status.ok() && code_ == Code::kOk && !closed_) code_ = status.code();
    EndObject(index);
    return;
  }
  object.size_bytes = size_bytes;
  report_.bytes_raw += BytesPerToken(model_.spec()) * object.header.token_count / shape_.count;
  Send(index);
}

// -- The handle's part -------------------------------------------------------------------------

void StoreOp::Close(Code code) {
  if (closed_) return;
  closed_ = true;
  code_ = code;
  for (const CallId call : calls_) context_->loop->calls().Cancel(call);
  if (code != Code::kOk) {
    for (std::size_t g = 0; g < grants_.size(); ++g) {
      if (grants_[g].objects_open > 0) Abort(g);
    }
  }
  if (gate_.Close()) Finish();
}

void StoreOp::Finish() {
  {
    const std::scoped_lock lock(mutex_);
    if (done_) return;
    done_ = true;
    read_ = true;
    report_.code = code_;
    result_ = report_;
  }
  changed_.notify_all();
  context_->metrics.stores.Add();
  context_->metrics.chunks_stored.Add(report_.chunks_stored);
  const Duration took = context_->clock.Now() - begun_;
  context_->metrics.store_seconds.Record(took);
  if (const auto level = context_->LineOf(took)) {
    context_->log->Write(*level, "store over",
                         {{"trace", ToHex(trace_)},
                          TookField(took),
                          {"chunks", std::to_string(result_.chunks_stored)},
                          {"failed", std::to_string(result_.chunks_failed)},
                          {"bytes", std::to_string(result_.bytes_sent)},
                          {"code", std::string(CodeName(result_.code))}});
  }
}

void StoreOp::Cancel() {
  context_->loop->Post([self = shared_from_this()] { self->Close(Code::kCancelled); });
}

bool StoreOp::Done() {
  const std::scoped_lock lock(mutex_);
  return done_;
}

Status StoreOp::WaitRead() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return read_; });
  return done_ && result_.code != Code::kOk ? Status(result_.code) : Status();
}

StoreReport StoreOp::Wait() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return done_; });
  return result_;
}

}  // namespace kdn::client

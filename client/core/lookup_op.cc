#include "client/core/lookup_op.h"

#include <algorithm>
#include <set>
#include <utility>

#include "base/limits.h"
#include "proto/wire/context.h"

namespace kdn::client {
namespace {

// The endpoints of every node that the chunks name, so that the result can be loaded from by a
// process that has never asked the coordinator.
std::vector<wire::NodeEndpoints> EndpointsOf(const std::vector<MatchedChunk>& chunks,
                                             const NodeDirectory& nodes) {
  std::set<NodeId> wanted;
  for (const MatchedChunk& chunk : chunks) {
    for (const wire::PartLocation& part : chunk.where.parts) {
      for (const wire::ReplicaLocation& replica : part.replicas) wanted.insert(replica.node);
    }
  }
  std::vector<wire::NodeEndpoints> endpoints;
  for (const NodeId node : wanted) {
    if (const wire::NodeEndpoints* found = nodes.Find(node)) endpoints.push_back(*found);
  }
  return endpoints;
}

}  // namespace

LookupOp::LookupOp(std::shared_ptr<ClientContext> context, const Model& model,
                   LookupOptions options)
    : context_(std::move(context)),
      model_(model.fingerprint()),
      chunk_tokens_(model.ChunkTokensOr(context_->options.chunk_tokens)),
      options_(std::move(options)),
      begun_(context_->clock.Now()),
      deadline_(context_->DeadlineOr(options_.deadline)) {
  options_.trace = context_->TraceOr(options_.trace);
}

void LookupOp::Start(std::vector<std::vector<ChunkKey>> chains, std::uint64_t token_count) {
  token_count_ = token_count;
  if (chains.empty() || chains.front().empty()) {
    Finish({});
    return;
  }
  context_->loop->Post([self = shared_from_this(), chains = std::move(chains)]() mutable {
    self->AskDirectory(std::move(chains));
  });
}

void LookupOp::StartContext(std::string name) {
  context_->loop->Post([self = shared_from_this(), name = std::move(name)]() mutable {
    self->AskContext(std::move(name));
  });
}

// The coordinator has asked not to be asked for now: a miss, and at once.
bool LookupOp::Pressed() const {
  const TimePoint until = context_->health->PressedUntil(NodeId{}, wire::Priority::kLoad);
  return context_->loop->Now() < until;
}

void LookupOp::AskContext(std::string name) {
  if (Pressed()) return Finish({});
  wire::ContextGetRequest request;
  request.head.trace = options_.trace;
  request.name = std::move(name);
  CallRequest call;
  request.Encode(call.request);
  call.deadline = deadline_;
  call.done = [self = shared_from_this()](Code code, ConstBytes response) {
    self->OnContext(code, response);
  };
  call_ = context_->loop->calls().Start(std::move(call));
}

void LookupOp::OnContext(Code code, ConstBytes response) {
  if (code == Code::kResourceExhausted) context_->health->OnEnd(NodeId{}, code, response);
  if (code != Code::kOk) return Finish({});
  auto answer = wire::ContextGetResponse::Decode(response);
  if (!answer || answer->model != model_ || answer->keys.empty()) return Finish({});
  token_count_ = answer->token_count;
  const std::size_t count = std::min<std::size_t>(answer->keys.size(), limits::kKeysPerCallMax);
  answer->keys.resize(count);
  AskDirectory({std::move(answer->keys)});
}

void LookupOp::AskDirectory(std::vector<std::vector<ChunkKey>> chains) {
  if (Pressed()) return Finish({});
  wire::LookupRequest request;
  request.head.trace = options_.trace;
  if (context_->compact_lookups) request.head.version = wire::kLookupVersionCompact;
  request.floor = options_.floor;
  request.level_min = options_.level_min;
  request.known_map_version = context_->nodes.version();
  request.chains = chains;
  CallRequest call;
  request.Encode(call.request);
  call.deadline = deadline_;
  call.done = [self = shared_from_this(), chains = std::move(chains),
               compact = context_->compact_lookups](Code code, ConstBytes response) mutable {
    if (code == Code::kUnimplemented && compact) {
      self->context_->compact_lookups = false;
      self->AskDirectory(std::move(chains));
      return;
    }
    self->OnDirectory(chains, code, response);
  };
  call_ = context_->loop->calls().Start(std::move(call));
}

void LookupOp::OnDirectory(const std::vector<std::vector<ChunkKey>>& chains, Code code,
                           ConstBytes response) {
  if (code == Code::kResourceExhausted) context_->health->OnEnd(NodeId{}, code, response);
  if (code != Code::kOk) return Finish({});
  auto answer = wire::LookupResponse::Decode(response);
  if (!answer || answer->chain >= chains.size() ||
      answer->chunks.size() > chains[answer->chain].size()) {
    return Finish({});
  }
  context_->nodes.Update(answer->map);
  LookupResult::State state;
  state.model = model_;
  state.chunk_tokens = chunk_tokens_;
  state.floor = options_.floor;
  state.level_min = options_.level_min;
  for (std::size_t i = 0; i < answer->chunks.size(); ++i) {
    // Only the last chunk of a chain may be partial: what would follow it has no place.
    const std::uint32_t tokens = answer->chunks[i].token_count;
    if (tokens == 0 || tokens > state.chunk_tokens) break;
    state.chunks.push_back({chains[answer->chain][i], std::move(answer->chunks[i])});
    if (tokens < state.chunk_tokens) break;
  }
  state.nodes = EndpointsOf(state.chunks, context_->nodes);
  Finish(LookupAccess::Make(std::move(state)));
}

void LookupOp::Finish(LookupResult result) {
  {
    const std::scoped_lock lock(mutex_);
    if (done_) return;
    done_ = true;
    context_->metrics.lookups.Add();
    context_->metrics.lookup_tokens.Add(token_count_);
    context_->metrics.hit_tokens.Add(result.tokens_matched());
    const Duration took = context_->clock.Now() - begun_;
    context_->metrics.lookup_seconds.Record(took);
    if (const auto level = context_->LineOf(took)) {
      context_->log->Write(*level, "lookup over",
                           {{"trace", ToHex(options_.trace)},
                            TookField(took),
                            {"tokens", std::to_string(token_count_)},
                            {"found", std::to_string(result.tokens_matched())}});
    }
    result_ = std::move(result);
  }
  changed_.notify_all();
}

bool LookupOp::Done() {
  const std::scoped_lock lock(mutex_);
  return done_;
}

LookupResult LookupOp::Take() {
  std::unique_lock lock(mutex_);
  if (!changed_.wait_until(lock, deadline_, [this] { return done_; })) return {};
  return result_;
}

void LookupOp::GiveUp() {
  context_->loop->Post([self = shared_from_this()] {
    if (self->call_ != CallId{}) self->context_->loop->calls().Cancel(self->call_);
  });
}

}  // namespace kdn::client

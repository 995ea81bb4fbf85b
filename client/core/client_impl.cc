#include "client/core/client_impl.h"

#include <algorithm>
#include <condition_variable>
#include <string>
#include <utility>

#include "base/limits.h"
#include "client/core/load_op.h"
#include "client/core/lookup_op.h"
#include "client/core/profiles.h"
#include "client/core/store_op.h"
#include "proto/wire/context.h"
#include "proto/wire/read.h"

namespace kdn::client {
namespace {

class LookupHandleImpl final : public LookupHandle {
 public:
  explicit LookupHandleImpl(std::shared_ptr<LookupOp> op) : op_(std::move(op)) {}
  ~LookupHandleImpl() override {
    if (!op_->Done()) op_->GiveUp();
  }
  bool Done() override { return op_->Done(); }
  LookupResult Take() override { return op_->Take(); }
  void Cancel() override { op_->GiveUp(); }

 private:
  std::shared_ptr<LookupOp> op_;
};

class LoadHandleImpl final : public LoadHandle {
 public:
  explicit LoadHandleImpl(std::shared_ptr<LoadOp> op) : op_(std::move(op)) {}
  ~LoadHandleImpl() override {
    if (op_->Done()) return;
    op_->Cancel();
    op_->Wait();
  }
  bool Done() override { return op_->Done(); }
  bool LayerReady(std::uint32_t layer) override { return op_->LayerReady(layer); }
  bool WaitLayer(std::uint32_t layer) override { return op_->WaitLayer(layer); }
  std::uint64_t TokensReady() override { return op_->TokensReady(); }
  void Cancel() override { op_->Cancel(); }
  LoadReport Wait() override { return op_->Wait(); }

 private:
  std::shared_ptr<LoadOp> op_;
};

class StoreHandleImpl final : public StoreHandle {
 public:
  explicit StoreHandleImpl(std::shared_ptr<StoreOp> op) : op_(std::move(op)) {}
  ~StoreHandleImpl() override {
    if (op_->Done()) return;
    op_->Cancel();
    op_->Wait();
  }
  bool Done() override { return op_->Done(); }
  Status WaitRead() override { return op_->WaitRead(); }
  void Cancel() override { op_->Cancel(); }
  StoreReport Wait() override { return op_->Wait(); }

 private:
  std::shared_ptr<StoreOp> op_;
};

// Whether none of the chunks is skipped in its middle: its first tokens would be skipped, and the
// rest not be loaded either. More than was found skips all of it.
bool AtChunkBorder(const LookupResult::State& found, std::uint64_t skip_tokens) {
  std::uint64_t token = 0;
  for (const MatchedChunk& chunk : found.chunks) {
    if (token >= skip_tokens) break;
    token += chunk.where.token_count;
  }
  return token <= skip_tokens;
}

// PutStart's answer, handed from the I/O loop to the thread that waits for it.
struct Answer {
  std::mutex mutex;
  std::condition_variable changed;
  bool done = false;                       // guarded by mutex
  Code code = Code::kUnavailable;          // guarded by mutex
  wire::PutStartResponse response;         // guarded by mutex
  std::vector<wire::NodeEndpoints> nodes;  // guarded by mutex
};

class ClientImpl final : public Client {
 public:
  explicit ClientImpl(std::shared_ptr<ClientContext> context) : context_(std::move(context)) {}
  ~ClientImpl() override {
    // What fetches and learns uses the loop; the loop's end cancels all calls, whose callbacks use
    // workers and models.
    if (profiles_) profiles_->Stop();
    context_->loop->Stop();
    context_->workers->Stop();
  }

  // Before anything else.
  Status Prepare() {
    auto stored = StoredProfiles::Make(*this);
    if (!stored) return stored.error();
    profiles_ = std::make_unique<Profiles>(*this, context_, *std::move(stored));
    context_->profiles = profiles_.get();
    return Status();
  }

  Result<const Model*> UseModel(const ModelSpec& spec, const ModelOptions& options) override {
    KDN_ASSIGN_OR_RETURN(std::unique_ptr<const Model> model, Model::Make(spec, options));
    const std::scoped_lock lock(mutex_);
    models_.push_back(std::move(model));
    return models_.back().get();
  }

  std::unique_ptr<LookupHandle> Lookup(const Model& model, std::span<const TokenId> tokens,
                                       const LookupOptions& options) override {
    auto op = std::make_shared<LookupOp>(context_, model, options);
    std::vector<std::vector<ChunkKey>> chains;
    const std::uint32_t chunk_tokens = model.ChunkTokensOr(context_->options.chunk_tokens);
    const std::size_t tokens_max = std::size_t{limits::kKeysPerCallMax} * chunk_tokens;
    tokens = tokens.first(std::min(tokens.size(), tokens_max));
    for (const ChunkSecret& secret : context_->options.chunk_secrets) {
      const ChunkHasher hasher = model.Hasher(secret, options.extras);
      chains.push_back(hasher.ChainOf(tokens, chunk_tokens, /*with_partial=*/true));
    }
    op->Start(std::move(chains), tokens.size());
    return std::make_unique<LookupHandleImpl>(std::move(op));
  }

  std::unique_ptr<LookupHandle> LookupContext(const Model& model, std::string_view context,
                                              const LookupOptions& options) override {
    auto op = std::make_shared<LookupOp>(context_, model, options);
    op->StartContext(std::string(context.substr(0, limits::kContextNameBytesMax)));
    return std::make_unique<LookupHandleImpl>(std::move(op));
  }

  Result<std::unique_ptr<LoadHandle>> Load(const Model& model, const LookupResult& found,
                                           const codec::PagedKv& kv,
                                           const codec::BlockTables& blocks,
                                           const LoadOptions& options) override {
    if (found.chunks_matched() > 0 && found.state().model != model.fingerprint()) {
      return Error(Code::kInvalidArgument, "the lookup was made for another model");
    }
    if (!AtChunkBorder(found.state(), options.skip_tokens)) {
      return Error(Code::kInvalidArgument,
                   "skip_tokens is not where a chunk that was found begins");
    }
    KDN_ASSIGN_OR_RETURN(auto copy, KvCopy::Make(model.spec(), kv, blocks, found.tokens_matched()));
    auto op = std::make_shared<LoadOp>(context_, model, found, std::move(copy), options);
    op->Start();
    return std::make_unique<LoadHandleImpl>(std::move(op));
  }

  Result<StorePlan> PlanStore(const Model& model, std::span<const TokenId> tokens,
                              const StorePlanOptions& options) override;

  Result<std::unique_ptr<StoreHandle>> Store(const Model& model, const StorePlan& plan,
                                             const PartShape& shape, const codec::PagedKv& kv,
                                             const codec::BlockTables& blocks) override {
    const StorePlan::State& state = plan.state();
    if (!state.chunks.empty() && state.model != model.fingerprint()) {
      return Error(Code::kInvalidArgument, "the plan was made for another model");
    }
    PartShape whole = shape;
    if (whole.layers.count == 0) {
      whole.layers = {0, static_cast<std::uint16_t>(model.layer_count())};
    }
    if (whole.kv_heads.count == 0) whole.kv_heads = {0, model.kv_heads_max()};
    if (whole.count != state.part_count || whole.number >= whole.count) {
      return Error(Code::kInvalidArgument, "the part does not fit the plan's part_count");
    }
    const bool inside =
        whole.layers.end() <= model.layer_count() && whole.kv_heads.end() <= model.kv_heads_max();
    const bool all =
        whole.layers.count == model.layer_count() && whole.kv_heads.count == model.kv_heads_max();
    if (!inside || (whole.count == 1 && !all)) {
      return Error(Code::kInvalidArgument, "the parts do not make up the model");
    }
    std::uint64_t token_count = 0;
    for (const PlannedChunk& chunk : state.chunks) token_count += chunk.token_count;
    KDN_ASSIGN_OR_RETURN(auto copy, KvCopy::Make(model.spec(), kv, blocks, token_count));
    auto op = std::make_shared<StoreOp>(context_, model, plan, whole, std::move(copy));
    op->Start();
    return std::make_unique<StoreHandleImpl>(std::move(op));
  }

  Result<ProfileId> AwaitProfile(const Model& model, TimePoint deadline) override {
    return profiles_->Await(model, context_->DeadlineOr(deadline));
  }

  bool Connected() const override { return context_->loop->calls().Connected(); }
  std::string Metrics() const override { return context_->registry.Render(); }

 private:
  wire::PutStartRequest PlanRequest(const Model& model, const StorePlanOptions& options,
                                    StorePlan::State& state) const;
  void Ask(wire::PutStartRequest request, TimePoint deadline, std::shared_ptr<Answer> answer);

  std::shared_ptr<ClientContext> context_;  // shared with operations that a deadline cut off
  std::unique_ptr<Profiles> profiles_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<const Model>> models_;  // guarded by mutex_
};

wire::PutStartRequest ClientImpl::PlanRequest(const Model& model, const StorePlanOptions& options,
                                              StorePlan::State& state) const {
  wire::PutStartRequest request;
  request.head.trace = state.trace;
  request.model = state.model;
  request.provenance = options.provenance;
  request.part_count = options.part_count;
  request.replicas = options.replicas;
  ObjectHeader whole;
  whole.part.layers = {0, static_cast<std::uint16_t>(model.layer_count())};
  whole.part.kv_heads = {0, model.kv_heads_max()};
  whole.layers_per_group = model.options().layers_per_group;
  whole.heads_per_group = model.options().heads_per_group;
  whole.levels_encoded = options.levels;
  whole.dtype = model.spec().dtype;
  for (std::size_t c = 0; c < state.chunks.size(); ++c) {
    whole.token_count = state.chunks[c].token_count;
    request.chunks.push_back({state.chunks[c].key, c == 0 ? ChunkKey{} : state.chunks[c - 1].key,
                              state.chunks[c].token_count, model.codec().EncodedBytesMax(whole)});
  }
  return request;
}

void ClientImpl::Ask(wire::PutStartRequest request, TimePoint deadline,
                     std::shared_ptr<Answer> answer) {
  context_->loop->Post([context = context_, request = std::move(request), deadline,
                        answer = std::move(answer)]() mutable {
    request.known_map_version = context->nodes.version();
    const TimePoint pressed = context->health->PressedUntil(NodeId{}, wire::Priority::kPut);
    if (context->loop->Now() < pressed) {
      const std::scoped_lock lock(answer->mutex);
      answer->done = true;
      answer->code = Code::kResourceExhausted;
      answer->changed.notify_all();
      return;
    }
    CallRequest call;
    request.Encode(call.request);
    call.deadline = deadline;
    call.done = [context, answer](Code code, ConstBytes bytes) {
      if (code == Code::kResourceExhausted) context->health->OnEnd(NodeId{}, code, bytes);
      auto response = wire::PutStartResponse::Decode(bytes);
      if (code == Code::kOk && !response) code = Code::kInternal;
      {
        const std::scoped_lock lock(answer->mutex);
        answer->done = true;
        answer->code = code;
        if (code == Code::kOk) {
          context->nodes.Update(response->map);
          for (const wire::PutGrant& grant : response->grants) {
            for (const NodeId node : grant.nodes) {
              if (const auto* found = context->nodes.Find(node)) answer->nodes.push_back(*found);
            }
          }
          answer->response = *std::move(response);
        }
      }
      answer->changed.notify_all();
    };
    context->loop->calls().Start(std::move(call));
  });
}

Result<StorePlan> ClientImpl::PlanStore(const Model& model, std::span<const TokenId> tokens,
                                        const StorePlanOptions& options) {
  const std::uint32_t chunk_tokens = model.ChunkTokensOr(context_->options.chunk_tokens);
  if (options.part_count == 0 || options.part_count > limits::kPartsPerChunkMax) {
    return Error(Code::kInvalidArgument, "part_count is out of bounds");
  }
  if (!codec::CanEncode(options.levels)) {
    return Error(Code::kInvalidArgument, "levels are exact alone, or draft and what follows it");
  }
  if (options.context.size() > limits::kContextNameBytesMax) {
    return Error(Code::kInvalidArgument, "a context's name is longer than the limit");
  }
  if (model.kind() == ObjectKind::kChunk && options.context.starts_with(wire::kOwnContextPrefix)) {
    return Error(Code::kInvalidArgument,
                 "names that begin with kdn/ are not for contexts of chunks");
  }
  if (tokens.size() > std::size_t{limits::kKeysPerCallMax} * chunk_tokens) {
    return Error(Code::kInvalidArgument, "more tokens than one store can take");
  }
  const ChunkSecret& secret = context_->options.chunk_secrets.front();
  StorePlan::State state;
  state.model = model.fingerprint();
  state.secret = secret.id;
  state.provenance = options.provenance;
  state.levels = options.levels;
  state.part_count = options.part_count;
  state.context = options.context;
  state.trace = context_->TraceOr(options.trace);
  std::size_t left = tokens.size();
  for (const ChunkKey& key :
       model.Hasher(secret, options.extras).ChainOf(tokens, chunk_tokens, options.with_partial)) {
    const auto count = static_cast<std::uint32_t>(std::min<std::size_t>(left, chunk_tokens));
    state.chunks.push_back({key, count, wire::PutVerdict::kRefused, wire::kNoGrant});
    left -= count;
  }
  if (state.chunks.empty()) return StoreAccess::Make(std::move(state));

  const TimePoint deadline = context_->DeadlineOr(options.deadline);
  auto answer = std::make_shared<Answer>();
  Ask(PlanRequest(model, options, state), deadline, answer);
  std::unique_lock lock(answer->mutex);
  if (!answer->changed.wait_until(lock, deadline, [&] { return answer->done; })) {
    return Error(Code::kDeadlineExceeded);
  }
  if (answer->code != Code::kOk) return Error(answer->code);
  const wire::PutStartResponse& response = answer->response;
  if (response.verdicts.size() != state.chunks.size() ||
      response.grant_of.size() != state.chunks.size()) {
    return Error(Code::kInternal, "the coordinator answered for another number of chunks");
  }
  for (std::size_t c = 0; c < state.chunks.size(); ++c) {
    state.chunks[c].verdict = response.verdicts[c];
    state.chunks[c].grant = response.grant_of[c];
  }
  state.grants = response.grants;
  state.nodes = answer->nodes;
  return StoreAccess::Make(std::move(state));
}

// A probe is a read of nothing: every node answers it at once.
std::unique_ptr<NodeHealth> MakeHealth(ClientContext& context) {
  const ClientOptions& options = context.options;
  const HealthOptions health{.hedge_floor = options.hedge_floor,
                             .hedge_ceiling = options.hedge_ceiling,
                             .hedge_percentile = options.hedge_percentile,
                             .breaker = {.failures_max = options.breaker_failures,
                                         .pause_min = options.breaker_pause,
                                         .pause_max = options.breaker_pause * 16},
                             .retry_percent = options.retry_percent};
  return std::make_unique<NodeHealth>(
      health, context.clock, context.random, context.registry,
      [&context](const CallTarget& target, Duration patience, std::function<void(Code)> answer) {
        CallRequest call;
        call.target = target;
        wire::ReadRequest{}.Encode(call.request);
        call.deadline = context.loop->Now() + patience;
        call.insist = true;
        call.done = [answer = std::move(answer)](Code code, ConstBytes) { answer(code); };
        context.loop->calls().Start(std::move(call));
      });
}

}  // namespace

Status ValidateOptions(const ClientOptions& options) {
  const auto refuse = [](const char* message) { return Status(Code::kInvalidArgument, message); };
  if (options.chunk_tokens == 0 || options.chunk_tokens > limits::kTokensPerChunkMax) {
    return refuse("chunk_tokens must be between 1 and 4096");
  }
  if (options.chunk_secrets.empty() || options.chunk_secrets.size() > 4) {
    return refuse("between one and four chunk secrets are needed");
  }
  for (const ChunkSecret& secret : options.chunk_secrets) {
    if (secret.bytes.empty()) return refuse("a chunk secret is empty");
  }
  if (options.decode_threads == 0 || options.decode_threads > 256) {
    return refuse("decode_threads must be between 1 and 256");
  }
  if (options.io_threads > 16) return refuse("io_threads must be at most 16");
  if (options.spin.count() < 0 || options.spin > std::chrono::seconds(1)) {
    return refuse("spin must be between 0 and 1 s");
  }
  if (options.staging_bytes < limits::kMiB) return refuse("staging_bytes must be 1 MiB or more");
  if (options.timeout.count() <= 0) return refuse("timeout must be over 0");
  if (options.hedge_floor.count() < 1 || options.hedge_ceiling.count() < 0) {
    return refuse("hedge_floor must be 1 ms or more, hedge_ceiling 0 or more");
  }
  if (options.hedge_percentile < 50 || options.hedge_percentile > 99) {
    return refuse("hedge_percentile must be between 50 and 99");
  }
  if (options.breaker_failures == 0 || options.breaker_pause.count() < 1) {
    return refuse("breaker_failures must be over 0, breaker_pause 1 ms or more");
  }
  if (options.retry_percent > 100) return refuse("retry_percent must be at most 100");
  return {};
}

Result<std::unique_ptr<Client>> MakeClient(const ClientOptions& options,
                                           std::shared_ptr<ClientContext> context,
                                           std::unique_ptr<Calls> calls) {
  KDN_ASSIGN_OR_RETURN(auto memory, calls->MakeMemory(StagingPool::Rounded(options.staging_bytes)));
  context->staging = std::make_unique<StagingPool>(std::move(memory));
  KDN_ASSIGN_OR_RETURN(context->workers, WorkPool::Start(options.decode_threads));
  context->health = MakeHealth(*context);
  KDN_ASSIGN_OR_RETURN(context->loop,
                       IoLoop::Start(std::move(calls), context->clock, options.spin));
  auto client = std::make_unique<ClientImpl>(std::move(context));
  if (Status status = client->Prepare(); !status.ok()) return std::unexpected(status);
  return client;
}

}  // namespace kdn::client

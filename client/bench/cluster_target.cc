#include "client/bench/cluster_target.h"

#include <algorithm>
#include <condition_variable>
#include <numeric>
#include <thread>

namespace kdn::bench {
namespace {

constexpr std::uint64_t kInsertsMax = std::uint64_t{1} << 22;
constexpr std::uint32_t kNameTokens = 4;
// Errors of Gaussian values at draft, standard and fine are below 0.45, 0.25 and 0.13; another
// object's are at 1.41.
constexpr std::array<double, kLevelCount> kErrorMost = {0.6, 0.35, 0.2, 0.0};

using std::chrono::steady_clock;

double ShareOf(const Plan& plan, Kind kind) {
  return plan.mix[static_cast<std::size_t>(kind)];
}

}  // namespace

// A chunk chain to be looked up, loaded or stored: a record at a version, or a chain's prefix.
struct Chain {
  bool is_record = true;
  std::uint64_t number = 0;
  std::uint32_t version = 0;
  std::uint32_t chunks = 1;
  std::uint32_t tokens = 0;  // of all chunks
};

class ClusterWorker final : public Worker {
 public:
  ClusterWorker(ClusterTarget& target, std::uint32_t number)
      : target_(target),
        client_(*target.clients_[number % target.clients_.size()]),
        model_(*target.models_[number % target.clients_.size()]),
        lots_(Mix(target.options_.seed) ^ (number + 1)) {}

  Operation Draw() override;
  Answer Run(const Operation& operation) override;

  // Stores the chain unless it is there. Answers whether all of it is visible then.
  bool Store(const Chain& chain, Answer& answer);
  [[nodiscard]] Chain RecordAt(std::uint64_t record, std::uint32_t version) const;
  [[nodiscard]] Chain Prefix(std::uint64_t chain, std::uint32_t chunks) const;

 private:
  void Read(const Chain& chain, bool load, Answer& answer);
  void Update(std::uint64_t record, Answer& answer);
  void Verify(const Chain& chain, Answer& answer);
  void NameTokens(const Chain& chain);
  Pages& PagesFor(std::uint32_t chunks);
  [[nodiscard]] std::uint64_t IdentityOf(const Chain& chain, std::uint32_t chunk) const;
  [[nodiscard]] std::uint32_t TokensOf(const Chain& chain, std::uint32_t chunk) const;

  ClusterTarget& target_;
  client::Client& client_;
  const client::Model& model_;
  Lots lots_;
  std::uint64_t sequence_ = 0;
  std::unique_ptr<Pages> pages_;
  std::uint32_t pages_chunks_ = 0;
  std::vector<client::TokenId> tokens_;
};

Chain ClusterWorker::RecordAt(std::uint64_t record, std::uint32_t version) const {
  const Plan& plan = target_.plan_;
  Chain chain{.number = record, .version = version};
  chain.tokens = plan.shape.gaussian
                     ? plan.shape.chunk_tokens
                     : plan.shape.TokensFor(plan.sizes.Of(target_.options_.seed, record));
  return chain;
}

Chain ClusterWorker::Prefix(std::uint64_t chain, std::uint32_t chunks) const {
  return {.is_record = false,
          .number = chain,
          .chunks = chunks,
          .tokens = chunks * target_.plan_.shape.chunk_tokens};
}

std::uint64_t ClusterWorker::IdentityOf(const Chain& chain, std::uint32_t chunk) const {
  return Mix(Mix(Mix(target_.options_.seed) ^ (chain.number * 2 + (chain.is_record ? 1 : 0))) ^
             ((std::uint64_t{chain.version} << 32) + chunk));
}

std::uint32_t ClusterWorker::TokensOf(const Chain& chain, std::uint32_t chunk) const {
  const std::uint32_t full = target_.plan_.shape.chunk_tokens;
  return std::min(full, chain.tokens - chunk * full);
}

// Four tokens say which chain it is; the others only count.
void ClusterWorker::NameTokens(const Chain& chain) {
  tokens_.resize(chain.tokens);
  std::iota(tokens_.begin(), tokens_.end(), 0U);
  const std::uint64_t number = chain.number * 2 + (chain.is_record ? 1 : 0);
  const std::array<client::TokenId, kNameTokens> name = {
      static_cast<client::TokenId>(Mix(target_.options_.seed)),
      static_cast<client::TokenId>(number), static_cast<client::TokenId>(number >> 32),
      chain.version};
  std::copy_n(name.begin(), std::min<std::size_t>(kNameTokens, chain.tokens), tokens_.begin());
}

Pages& ClusterWorker::PagesFor(std::uint32_t chunks) {
  if (!pages_ || pages_chunks_ < chunks) {
    pages_ = std::make_unique<Pages>(target_.plan_.shape, chunks);
    pages_chunks_ = chunks;
  }
  return *pages_;
}

Operation ClusterWorker::Draw() {
  Operation operation{.sequence = sequence_++};
  double at = lots_.Share();
  for (std::size_t kind = 0; kind < kKinds; ++kind) {
    if (target_.plan_.mix[kind] > 0.0) operation.kind = static_cast<Kind>(kind);
    if ((at -= target_.plan_.mix[kind]) < 0.0) break;
  }
  const Options& options = target_.options_;
  if (operation.kind == Kind::kScan || operation.kind == Kind::kLookup) {
    operation.record = target_.chooser_.Choose(options.chains, lots_);
    operation.chunks = operation.kind == Kind::kLookup
                           ? options.chain_chunks
                           : static_cast<std::uint32_t>(1 + lots_.Below(options.chain_chunks));
  } else if (operation.kind == Kind::kInsert) {
    operation.record = target_.records_.Insert();
  } else {
    operation.record = target_.chooser_.Choose(target_.records_.count(), lots_);
  }
  return operation;
}

Answer ClusterWorker::Run(const Operation& operation) {
  Answer answer;
  const auto version = [&] { return target_.records_.VersionOf(operation.record); };
  switch (operation.kind) {
    case Kind::kRead:
      Read(RecordAt(operation.record, version()), true, answer);
      break;
    case Kind::kReadModifyWrite:
      Read(RecordAt(operation.record, version()), true, answer);
      if (answer.outcome != Outcome::kDone) break;
      answer.own += steady_clock::now() - answer.finished;  // it was verified
      Update(operation.record, answer);
      break;
    case Kind::kUpdate:
      Update(operation.record, answer);
      break;
    case Kind::kInsert:
      Store(RecordAt(operation.record, 0), answer);
      target_.records_.EndInsert(operation.record);
      break;
    case Kind::kScan:
      Read(Prefix(operation.record, operation.chunks), true, answer);
      break;
    case Kind::kLookup:
      Read(Prefix(operation.record, operation.chunks), false, answer);
      break;
  }
  return answer;
}

void ClusterWorker::Read(const Chain& chain, bool load, Answer& answer) {
  NameTokens(chain);
  Pages* pages = load ? &PagesFor(chain.chunks) : nullptr;
  const auto begun = steady_clock::now();
  client::LookupOptions lookup;
  lookup.level_min = target_.plan_.read_level;
  const client::LookupResult found = client_.Lookup(model_, tokens_, lookup)->Take();
  answer.finished = steady_clock::now();
  answer.lookup = answer.finished - begun;
  if (found.tokens_matched() == 0) {
    answer.outcome = Outcome::kMiss;
    return;
  }
  if (found.tokens_matched() < chain.tokens) answer.outcome = Outcome::kShort;
  if (!load) return;
  const auto loading = steady_clock::now();
  client::LoadOptions options;
  options.level_max = target_.plan_.read_level;
  auto handle = client_.Load(model_, found, pages->kv(), pages->blocks(), options);
  const client::LoadReport report = handle ? (*handle)->Wait() : client::LoadReport{};
  answer.finished = steady_clock::now();
  answer.load = answer.finished - loading;
  answer.bytes += report.tokens_loaded * target_.plan_.shape.token_bytes();
  if (report.tokens_loaded < chain.tokens) {
    answer.outcome = report.tokens_loaded == 0 ? Outcome::kMiss : Outcome::kShort;
  }
  const std::uint32_t every = target_.options_.verify_every;
  if (every > 0 && sequence_ % every == 0 && report.tokens_loaded > 0) {
    Chain loaded = chain;
    loaded.tokens = static_cast<std::uint32_t>(report.tokens_loaded);
    Verify(loaded, answer);
  }
}

void ClusterWorker::Verify(const Chain& chain, Answer& answer) {
  const Plan& plan = target_.plan_;
  const std::uint32_t full = plan.shape.chunk_tokens;
  for (std::uint32_t chunk = 0; chunk * full < chain.tokens; ++chunk) {
    for (std::uint32_t region = 0; region < plan.shape.regions; ++region) {
      const ConstBytes got = pages_->Region(chunk, region, TokensOf(chain, chunk));
      const std::uint64_t identity = IdentityOf(chain, chunk);
      const bool right = plan.read_level == Level::kExact
                             ? target_.pattern_.Matches(identity, region, got)
                             : target_.pattern_.Error(identity, region, got) <=
                                   kErrorMost[static_cast<std::size_t>(plan.read_level)];
      if (!right) answer.outcome = Outcome::kWrong;
    }
  }
  target_.bytes_verified_ += chain.tokens * plan.shape.token_bytes();
}

bool ClusterWorker::Store(const Chain& chain, Answer& answer) {
  const Plan& plan = target_.plan_;
  NameTokens(chain);
  Pages& pages = PagesFor(chain.chunks);
  const auto begun = steady_clock::now();
  client::StorePlanOptions options;
  options.provenance = kExactProvenance;
  options.replicas = static_cast<std::uint8_t>(target_.options_.replicas);
  options.with_partial = true;
  options.levels = plan.store_levels;
  const auto store_plan = client_.PlanStore(model_, tokens_, options);
  const auto planned = steady_clock::now();
  answer.finished = planned;
  if (!store_plan) {
    answer.outcome = Outcome::kFailed;
    return false;
  }
  if (store_plan->chunks_to_store() > 0) {
    for (std::uint32_t chunk = 0; chunk < chain.chunks; ++chunk) {
      for (std::uint32_t region = 0; region < plan.shape.regions; ++region) {
        target_.pattern_.Fill(IdentityOf(chain, chunk), region,
                              pages.Region(chunk, region, TokensOf(chain, chunk)));
      }
    }
  }
  // An engine has its values already: making them is no part of storing them.
  const auto filled = steady_clock::now();
  auto handle = client_.Store(model_, *store_plan, {}, pages.kv(), pages.blocks());
  const client::StoreReport report =
      handle ? (*handle)->Wait() : client::StoreReport{.code = handle.error().code()};
  answer.finished = steady_clock::now();
  answer.own += filled - planned;
  answer.store = answer.finished - begun - (filled - planned);
  answer.bytes += chain.tokens * plan.shape.token_bytes();
  target_.under_replicated_ += report.chunks_under_replicated;
  const bool whole =
      report.code == Code::kOk && report.chunks_stored + report.chunks_present == chain.chunks;
  if (!whole) answer.outcome = Outcome::kFailed;
  return whole;
}

void ClusterWorker::Update(std::uint64_t record, Answer& answer) {
  const std::uint32_t version = target_.records_.NextVersion(record);
  if (Store(RecordAt(record, version), answer)) target_.records_.Acknowledge(record, version);
}

ClusterTarget::ClusterTarget(const Options& options, const Plan& plan)
    : options_(options),
      plan_(plan),
      pattern_(options.seed, plan.shape.gaussian),
      chooser_(plan.popularity, options.theta),
      records_(options.records, ShareOf(plan, Kind::kInsert) > 0.0 ? kInsertsMax : 0) {}

Result<std::unique_ptr<ClusterTarget>> ClusterTarget::Open(
    const Options& options, const Plan& plan, const client::ClientOptions& client_options) {
  std::unique_ptr<ClusterTarget> target(new ClusterTarget(options, plan));
  for (std::uint32_t i = 0; i < options.instances; ++i) {
    KDN_ASSIGN_OR_RETURN(auto client, client::OpenClient(client_options));
    KDN_ASSIGN_OR_RETURN(const client::Model* model,
                         client->UseModel(plan.shape.spec, plan.shape.tiles));
    // Waits for an answer, whatever it is; a profile that the model has will be used then.
    const auto profile = client->AwaitProfile(*model, TimePoint{});
    if (!profile && !client->Connected()) {
      return Error(Code::kUnavailable,
                   "the coordinator at " + client_options.coordinator +
                       " does not answer, or refuses. `kdnctl status` says whether it runs");
    }
    target->clients_.push_back(std::move(client));
    target->models_.push_back(model);
  }
  return target;
}

Status ClusterTarget::Load(std::uint32_t threads, const std::atomic<bool>& stop) {
  std::atomic<std::uint64_t> next{0};
  std::atomic<std::uint64_t> failed{0};
  const std::uint64_t all = options_.records + options_.chains;
  {
    std::vector<std::jthread> loaders;
    for (std::uint32_t t = 0; t < threads; ++t) {
      loaders.emplace_back([&, t] {
        ClusterWorker worker(*this, t);
        for (std::uint64_t i = next++; i < all && !stop; i = next++) {
          Answer answer;
          const Chain chain = i < options_.records
                                  ? worker.RecordAt(i, 0)
                                  : worker.Prefix(i - options_.records, options_.chain_chunks);
          if (!worker.Store(chain, answer)) ++failed;
        }
      });
    }
  }
  if (failed == 0) return {};
  return Status(Code::kUnavailable,
                std::to_string(failed) + " of " + std::to_string(all) +
                    " records and chains could not be stored. `kdnctl nodes` shows whether nodes "
                    "are alive and have room");
}

std::unique_ptr<Worker> ClusterTarget::NewWorker(std::uint32_t number) {
  return std::make_unique<ClusterWorker>(*this, number);
}

}  // namespace kdn::bench

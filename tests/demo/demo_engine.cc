#include "tests/demo/demo_engine.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <fstream>
#include <iterator>
#include <utility>

#include "base/crypto.h"
#include "tests/demo/head_share.h"

namespace kdn::demo {
namespace {

using SteadyTime = std::chrono::steady_clock::time_point;

constexpr TokenId kTextBegin = 0;  // NUL
constexpr TokenId kLineEnd = '\n';

SteadyTime Now() {
  return std::chrono::steady_clock::now();
}

double MsSince(SteadyTime start) {
  return std::chrono::duration<double, std::milli>(Now() - start).count();
}

// Other weights are another revision, whoever changed them.
Result<std::string> RevisionOf(const std::string& model_folder) {
  const std::string path = model_folder + "/model.safetensors";
  std::ifstream file(path, std::ios::binary);
  if (!file) return Error(Code::kNotFound, "cannot open " + path);
  const std::string weights{std::istreambuf_iterator<char>(file), {}};
  const auto digest = Sha256(std::as_bytes(std::span(weights)));
  std::string revision;
  for (const std::byte byte : std::span(digest).first(8)) {
    revision += "0123456789abcdef"[std::to_integer<unsigned>(byte) >> 4];
    revision += "0123456789abcdef"[std::to_integer<unsigned>(byte) & 15];
  }
  return revision;
}

// Multiples of the prefill's step: only there does a resumed prefill have the bits of a whole one.
// The last token is always computed, its logits are what is wanted.
std::uint64_t Resumable(std::uint64_t tokens_there, std::size_t prompt_tokens) {
  const std::uint64_t usable = std::min<std::uint64_t>(tokens_there, prompt_tokens - 1);
  return usable - usable % llama::kStepTokens;
}

}  // namespace

bool SameBits(const Answer& a, const Answer& b) {
  return a.logits.size() == b.logits.size() && a.text == b.text &&
         std::memcmp(a.logits.data(), b.logits.data(), a.logits.size() * sizeof(float)) == 0;
}

// -- Making ------------------------------------------------------------------------------------

Engine::Engine(std::unique_ptr<llama::Executor> executor, llama::Tokenizer tokenizer,
               const EngineOptions& options, client::Client& client)
    : options_(options),
      client_(client),
      executor_(std::move(executor)),
      tokenizer_(std::move(tokenizer)) {}

Result<std::unique_ptr<Engine>> Engine::Open(const EngineOptions& options, client::Client& client) {
  KDN_ASSIGN_OR_RETURN(auto executor,
                       llama::Executor::Load(options.model_folder, {.threads = options.threads}));
  KDN_ASSIGN_OR_RETURN(auto tokenizer,
                       llama::Tokenizer::FromFile(options.model_folder + "/vocab.txt"));
  KDN_ASSIGN_OR_RETURN(const std::string revision, RevisionOf(options.model_folder));
  std::unique_ptr<Engine> engine(
      new Engine(std::move(executor), std::move(tokenizer), options, client));
  const ModelSpec spec =
      llama::MakeModelSpec(engine->executor_->config(), DType::kBf16, "demo-llama", revision);
  KDN_ASSIGN_OR_RETURN(engine->model_, client.UseModel(spec, options.tiles));
  return engine;
}

std::vector<TokenId> Engine::TokensOf(std::string_view document) const {
  std::vector<TokenId> tokens = tokenizer_.Encode(document);
  tokens.insert(tokens.begin(), kTextBegin);
  return tokens;
}

std::vector<TokenId> Engine::PromptOf(std::string_view document, std::string_view question) const {
  std::vector<TokenId> prompt = TokensOf(document);
  const std::vector<TokenId> asked = tokenizer_.Encode(question);
  prompt.insert(prompt.end(), asked.begin(), asked.end());
  return prompt;
}

Result<Engine::Sequence> Engine::NewSequence(std::size_t token_count) {
  constexpr std::uint32_t kBlockTokens = 16;
  KDN_ASSIGN_OR_RETURN(auto cache,
                       llama::PagedCache::Make(executor_->config(),
                                               {.block_count = options_.cache_tokens / kBlockTokens,
                                                .block_tokens = kBlockTokens}));
  cache.Poison();
  llama::BlockTable table;
  if (Status status = cache.Grow(table, token_count); !status.ok()) {
    return std::unexpected(std::move(status));
  }
  return Sequence{std::move(cache), std::move(table)};
}

Status Engine::WarmUp() {
  const std::vector<TokenId> tokens(llama::kStepTokens + 1, kTextBegin);
  const auto recomputed = Ask(tokens, {.how = How::kRecompute, .answer_tokens = 1});
  if (!recomputed) return recomputed.error();
  (void)client_.Lookup(*model_, tokens, {})->Take();
  return client_.Connected() ? Status()
                             : Status(Code::kUnavailable, "the coordinator does not answer");
}

// -- Storing -----------------------------------------------------------------------------------

Result<client::StoreReport> Engine::Remember(std::string_view name, std::span<const TokenId> tokens,
                                             std::uint16_t writers) {
  KDN_ASSIGN_OR_RETURN(Sequence sequence, NewSequence(tokens.size()));
  const auto logits = executor_->Prefill(tokens, 0, {sequence.cache, sequence.table.blocks()});
  if (!logits) return std::unexpected(logits.error());

  client::StorePlanOptions options;
  options.context = std::string(name);
  options.provenance = kExactProvenance;  // computed from the first token, nothing was loaded
  options.part_count = writers;
  KDN_ASSIGN_OR_RETURN(const auto plan, client_.PlanStore(*model_, tokens, options));
  const std::vector<HeadShare> shares = SharesOf(sequence.cache.view(), writers);
  const Range layers{0, static_cast<std::uint16_t>(executor_->config().layers)};
  std::vector<std::unique_ptr<client::StoreHandle>> stores;
  for (const HeadShare& share : shares) {
    const PartShape shape{static_cast<std::uint16_t>(stores.size()), writers, layers,
                          share.heads()};
    KDN_ASSIGN_OR_RETURN(auto store,
                         client_.Store(*model_, plan, shape, share.view(), sequence.table.view()));
    stores.push_back(std::move(store));
  }
  client::StoreReport all;
  for (const auto& store : stores) {
    const client::StoreReport report = store->Wait();
    if (report.code != Code::kOk) all.code = report.code;
    all.chunks_stored += report.chunks_stored;
    all.chunks_present = std::max(all.chunks_present, report.chunks_present);
    all.chunks_failed += report.chunks_failed;
    all.chunks_on_disk += report.chunks_on_disk;
    all.bytes_sent += report.bytes_sent;
    all.bytes_raw += report.bytes_raw;
  }
  return all;
}

// -- Answering ---------------------------------------------------------------------------------

// One fetch under way: what each reader loads, and what came of it.
struct Engine::Fetch {
  std::vector<HeadShare> shares;
  std::vector<std::unique_ptr<client::LoadHandle>> loads;
  std::uint64_t wanted_tokens = 0;  // 0: nothing is fetched
  SteadyTime loads_began;
  Answer answer;

  Status WaitLayer(std::uint32_t layer) {
    for (const auto& load : loads) {
      if (!load->WaitLayer(layer)) return Status(Code::kUnavailable);
    }
    return {};
  }

  // Waits for all readers; tokens that every one of them has.
  std::uint64_t Finish() {
    std::uint64_t tokens = wanted_tokens;
    for (const auto& load : loads) {
      const client::LoadReport report = load->Wait();
      tokens = std::min(tokens, report.tokens_loaded);
      answer.bytes += report.bytes_received;
      answer.replicas_failed_over += report.replicas_failed_over;
    }
    if (!loads.empty()) answer.load_ms = MsSince(loads_began);
    loads.clear();
    return tokens;
  }
};

Status Engine::StartFetch(std::span<const TokenId> prompt, const AskOptions& options,
                          Sequence& sequence, Fetch& fetch) {
  const SteadyTime began = Now();
  client::LookupResult found = client_.Lookup(*model_, prompt, {})->Take();
  fetch.answer.lookup_ms = MsSince(began);
  fetch.wanted_tokens = Resumable(found.tokens_matched(), prompt.size());
  if (fetch.wanted_tokens == 0) return {};
  found.Truncate(fetch.wanted_tokens);
  fetch.answer.tier = found.tier();
  fetch.shares = SharesOf(sequence.cache.view(), options.readers);
  client::LoadOptions load_options;
  load_options.order = options.order;
  fetch.loads_began = Now();
  for (const HeadShare& share : fetch.shares) {
    auto load = client_.Load(*model_, found, share.view(), sequence.table.view(), load_options);
    if (!load) return std::move(load).error();
    fetch.loads.push_back(*std::move(load));
  }
  return {};
}

Result<std::span<const float>> Engine::PrefillBehind(Fetch& fetch, std::span<const TokenId> prompt,
                                                     const AskOptions& options,
                                                     Sequence& sequence) {
  const llama::SequenceKv kv{sequence.cache, sequence.table.blocks()};
  if (options.order == client::LoadOrder::kLayerByLayer && fetch.wanted_tokens > 0) {
    llama::PrefillOptions waiting;
    waiting.hooks.before_layer = [&](std::uint32_t layer) { return fetch.WaitLayer(layer); };
    const auto logits =
        executor_->Prefill(prompt.subspan(fetch.wanted_tokens), fetch.wanted_tokens, kv, waiting);
    const std::uint64_t loaded = fetch.Finish();
    if (logits && loaded == fetch.wanted_tokens) {
      fetch.answer.hit_tokens = loaded;
      return logits;
    }
    fetch.answer.hit_tokens = Resumable(loaded, prompt.size());
  } else {
    fetch.answer.hit_tokens = Resumable(fetch.Finish(), prompt.size());
  }
  const std::uint64_t first = fetch.answer.hit_tokens;
  return executor_->Prefill(prompt.subspan(first), first, kv);
}

Result<Answer> Engine::Ask(std::span<const TokenId> prompt, const AskOptions& options) {
  if (prompt.empty()) return Error(Code::kInvalidArgument, "the prompt has no tokens");
  KDN_ASSIGN_OR_RETURN(Sequence sequence, NewSequence(prompt.size() + options.answer_tokens));
  Fetch fetch;
  const SteadyTime began = Now();
  if (options.how == How::kFetch) {
    Status status = StartFetch(prompt, options, sequence, fetch);
    if (!status.ok()) return std::unexpected(std::move(status));
  }
  const SteadyTime prefill_began = Now();
  KDN_ASSIGN_OR_RETURN(const auto logits, PrefillBehind(fetch, prompt, options, sequence));
  Answer& answer = fetch.answer;
  answer.prefill_ms = MsSince(prefill_began);
  answer.first_token_ms = MsSince(began);
  answer.prompt_tokens = prompt.size();
  answer.logits.assign(logits.begin(), logits.end());
  KDN_ASSIGN_OR_RETURN(auto ids, executor_->Generate(answer.logits, prompt.size(),
                                                     {sequence.cache, sequence.table.blocks()},
                                                     options.answer_tokens, kLineEnd));
  if (!ids.empty() && ids.back() == kLineEnd) ids.pop_back();
  KDN_ASSIGN_OR_RETURN(answer.text, tokenizer_.Decode(ids));
  return std::move(answer);
}

Result<double> Engine::PrefillMs(std::span<const TokenId> prompt, std::uint64_t first_position) {
  KDN_ASSIGN_OR_RETURN(Sequence sequence, NewSequence(prompt.size()));
  const llama::SequenceKv kv{sequence.cache, sequence.table.blocks()};
  if (first_position > 0) {
    const auto past = executor_->Prefill(prompt.first(first_position), 0, kv);
    if (!past) return std::unexpected(past.error());
  }
  const SteadyTime began = Now();
  const auto logits = executor_->Prefill(prompt.subspan(first_position), first_position, kv);
  if (!logits) return std::unexpected(logits.error());
  return MsSince(began);
}

}  // namespace kdn::demo

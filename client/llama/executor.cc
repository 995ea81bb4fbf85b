#include "client/llama/executor.h"

#include <algorithm>
#include <thread>
#include <utility>

#include "client/llama/product.h"

namespace kdn::llama {
namespace {

constexpr std::size_t kThreadsMax = 256;
constexpr std::size_t kThreadsByDefaultMax = 16;

Status Invalid(std::string message) {
  return {Code::kInvalidArgument, std::move(message)};
}

}  // namespace

Result<std::unique_ptr<Executor>> Executor::Load(const std::string& folder,
                                                 const ExecutorOptions& options) {
  if (options.threads > kThreadsMax) return std::unexpected(Invalid("threads must be 0 to 256"));
  KDN_ASSIGN_OR_RETURN(const Kernels* kernels, SelectKernels(options.kernels));
  KDN_ASSIGN_OR_RETURN(const LlamaConfig config, ReadConfig(folder));
  KDN_ASSIGN_OR_RETURN(Weights weights, ReadWeights(folder, config));
  const std::size_t cores = std::max(1U, std::thread::hardware_concurrency());
  const std::size_t threads =
      options.threads > 0 ? options.threads : std::min(cores, kThreadsByDefaultMax);
  UseOneBlasThread();
  return std::unique_ptr<Executor>(new Executor(config, std::move(weights), *kernels, threads));
}

Executor::Executor(const LlamaConfig& config, Weights weights, const Kernels& kernels,
                   std::size_t thread_count)
    : config_(config),
      weights_(std::move(weights)),
      kernels_(kernels),
      workers_(thread_count),
      runner_(config_, weights_, kernels_, workers_),
      logits_(config.vocab_size) {}

Status Executor::Check(std::span<const TokenId> tokens, std::uint64_t first_position,
                       const SequenceKv& kv) const {
  if (tokens.empty()) return Invalid("no tokens to compute");
  if (first_position > config_.positions_max ||
      tokens.size() > config_.positions_max - first_position) {
    return {Code::kOutOfRange,
            "the model has " + std::to_string(config_.positions_max) + " positions"};
  }
  if (kv.cache.layers() != config_.layers || kv.cache.kv_heads() != config_.kv_heads ||
      kv.cache.head_size() != config_.head_size) {
    return Invalid("the cache was made for a model of another shape");
  }
  const std::uint64_t end = first_position + tokens.size();
  const PagedCacheOptions& cache = kv.cache.options();
  if (kv.blocks.size() < (end + cache.block_tokens - 1) / cache.block_tokens) {
    return Invalid("the block table is too short for " + std::to_string(end) + " tokens");
  }
  if (std::ranges::any_of(kv.blocks, [&](std::uint32_t b) { return b >= cache.block_count; })) {
    return Invalid("the block table names a block that the cache lacks");
  }
  if (std::ranges::any_of(tokens, [&](TokenId id) { return id >= config_.vocab_size; })) {
    return Invalid("a token id is beyond the vocabulary");
  }
  return {};
}

Result<std::span<const float>> Executor::Prefill(std::span<const TokenId> tokens,
                                                 std::uint64_t first_position, const SequenceKv& kv,
                                                 const PrefillOptions& options) {
  if (Status checked = Check(tokens, first_position, kv); !checked.ok()) {
    return std::unexpected(std::move(checked));
  }
  const std::size_t vocabulary = config_.vocab_size;
  const std::size_t logit_rows = options.all_logits ? tokens.size() : 1;
  if (logits_.size() < logit_rows * vocabulary) logits_.resize(logit_rows * vocabulary);
  float* to = logits_.data();
  while (!tokens.empty()) {
    const std::size_t rows =
        std::min<std::size_t>(tokens.size(), kStepTokens - first_position % kStepTokens);
    const Step step{tokens.first(rows), first_position, &kv.cache, kv.blocks};
    if (Status ran = runner_.Run(step, options.hooks); !ran.ok()) {
      return std::unexpected(std::move(ran));
    }
    tokens = tokens.subspan(rows);
    first_position += rows;
    if (options.all_logits) {
      runner_.Logits(0, rows, to);
      to += rows * vocabulary;
    } else if (tokens.empty()) {
      runner_.Logits(rows - 1, 1, to);
    }
  }
  return std::span<const float>(logits_).first(logit_rows * vocabulary);
}

Result<TokenId> Executor::Decode(TokenId token, std::uint64_t position, const SequenceKv& kv) {
  KDN_ASSIGN_OR_RETURN(const std::span<const float> logits,
                       Prefill(std::span(&token, 1), position, kv));
  return Likeliest(logits);
}

Result<std::vector<TokenId>> Executor::Generate(std::span<const float> logits,
                                                std::uint64_t position, const SequenceKv& kv,
                                                std::size_t count, TokenId stop) {
  std::vector<TokenId> tokens;
  if (count == 0 || logits.size() != config_.vocab_size) return tokens;
  tokens.push_back(Likeliest(logits));
  while (tokens.size() < count && tokens.back() != stop) {
    KDN_ASSIGN_OR_RETURN(const TokenId next, Decode(tokens.back(), position++, kv));
    tokens.push_back(next);
  }
  return tokens;
}

TokenId Likeliest(std::span<const float> logits) {
  return static_cast<TokenId>(std::ranges::max_element(logits) - logits.begin());
}

}  // namespace kdn::llama

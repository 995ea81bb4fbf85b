#include "tests/bench/coded_context.h"

#include <algorithm>
#include <utility>

#include "client/llama/config.h"
#include "client/llama/weights.h"
#include "proto/object/header.h"
#include "proto/object/segment.h"

namespace kdn::bench {
namespace {

constexpr std::uint32_t kChunkTokens = 256;
constexpr LevelSet kLossy{0b0111};

}  // namespace

CodedContext::CodedContext(std::unique_ptr<llama::Executor> executor, ModelSpec spec,
                           codec::ObjectCodec codec, Sequence plain, Sequence coded)
    : executor_(std::move(executor)),
      spec_(std::move(spec)),
      codec_(std::move(codec)),
      plain_(std::move(plain)),
      coded_(std::move(coded)) {}

Result<std::unique_ptr<CodedContext>> CodedContext::Open(const std::string& model_folder,
                                                         std::size_t threads,
                                                         std::uint32_t tokens_max) {
  KDN_ASSIGN_OR_RETURN(auto executor, llama::Executor::Load(model_folder, {.threads = threads}));
  KDN_ASSIGN_OR_RETURN(std::string revision, llama::WeightsRevision(model_folder));
  ModelSpec spec = llama::MakeModelSpec(executor->config(), DType::kBf16, "tiny", revision);
  KDN_ASSIGN_OR_RETURN(auto codec, codec::ObjectCodec::Make(spec));
  const auto make = [&]() -> Result<Sequence> {
    constexpr std::uint32_t kBlockTokens = 16;
    const std::uint32_t block_count = (tokens_max + kBlockTokens - 1) / kBlockTokens;
    KDN_ASSIGN_OR_RETURN(
        auto cache, llama::PagedCache::Make(executor->config(), {.block_count = block_count,
                                                                 .block_tokens = kBlockTokens}));
    Sequence sequence{std::move(cache), {}};
    sequence.cache.Poison();
    if (Status grown = sequence.cache.Grow(sequence.blocks, tokens_max); !grown.ok()) {
      return std::unexpected(std::move(grown));
    }
    return sequence;
  };
  KDN_ASSIGN_OR_RETURN(Sequence plain, make());
  KDN_ASSIGN_OR_RETURN(Sequence coded, make());
  return std::unique_ptr<CodedContext>(new CodedContext(
      std::move(executor), std::move(spec), std::move(codec), std::move(plain), std::move(coded)));
}

Status CodedContext::Prefill(std::span<const llama::TokenId> context) {
  const auto logits = executor_->Prefill(context, 0, {plain_.cache, plain_.blocks.blocks()});
  if (!logits) return logits.error();
  tokens_ = static_cast<std::uint32_t>(context.size());
  return {};
}

Status CodedContext::Encode(const codec::Profile* profile) {
  profile_ = profile;
  chunks_.resize((tokens_ + kChunkTokens - 1) / kChunkTokens);
  for (std::size_t c = 0; c < chunks_.size(); ++c) {
    Chunk& chunk = chunks_[c];
    const auto first = static_cast<std::uint32_t>(c) * kChunkTokens;
    chunk.place = {.first_token = first, .token_count = std::min(tokens_ - first, kChunkTokens)};
    ObjectHeader header;
    header.key.bytes[0] = std::byte{1};
    if (profile != nullptr) header.profile = profile->id();
    header.part.layers = {0, static_cast<std::uint16_t>(config().layers)};
    header.part.kv_heads = {0, static_cast<std::uint16_t>(config().kv_heads)};
    header.heads_per_group = header.part.kv_heads.count;
    header.token_count = chunk.place.token_count;
    header.first_position = first;
    header.levels_encoded = kLossy;
    chunk.object.clear();
    KDN_RETURN_IF_ERROR(codec_.Encode(header, plain_.cache.view(), plain_.blocks.view(),
                                      chunk.place, profile, chunk.object, scratch_));
    KDN_RETURN_IF_ERROR(OpenObject(chunk));
  }
  return {};
}

Status CodedContext::OpenObject(Chunk& chunk) {
  const auto header = DecodeHeader(chunk.object);
  if (!header) return header.error();
  chunk.header = *header;
  chunk.tiles.clear();
  std::size_t at = kObjectHeaderBytes;
  for (const LevelInfo& info : Levels()) {
    if (!kLossy.Has(info.level)) continue;
    const ConstBytes segment = ConstBytes(chunk.object).subspan(at);
    const auto index = DecodeIndex(segment, TagOf(chunk.header));
    if (!index) return index.error();
    chunk.tiles.resize(index->tiles.size());
    const ConstBytes tiles = segment.subspan(index->IndexBytes(), index->TileBytes());
    for (std::size_t t = 0; t < index->tiles.size(); ++t) {
      const TileEntry& entry = index->tiles[t];
      chunk.tiles[t].push_back({entry, tiles.subspan(entry.offset, entry.size_bytes)});
    }
    at += index->IndexBytes() + index->TileBytes();
  }
  return {};
}

Status CodedContext::Decode(Level level) {
  for (const Chunk& chunk : chunks_) {
    for (const std::vector<codec::TileBytes>& tiles : chunk.tiles) {
      KDN_RETURN_IF_ERROR(codec_.DecodeTile(
          chunk.header, std::span(tiles).first(static_cast<std::size_t>(level) + 1),
          coded_.cache.view(), coded_.blocks.view(), chunk.place, profile_, scratch_));
    }
  }
  return {};
}

Result<std::span<const float>> CodedContext::ContinueOver(Sequence& over,
                                                          std::span<const llama::TokenId> tokens) {
  return executor_->Prefill(tokens, tokens_, {over.cache, over.blocks.blocks()},
                            {.hooks = {}, .all_logits = true});
}

Status CodedContext::Teach(codec::ProfileLearner& learner) {
  return learner.Add(plain_.cache.view(), plain_.blocks.view(),
                     {.first_token = 0, .token_count = tokens_}, 0);
}

std::size_t CodedContext::CodedBytes(Level level) const {
  std::size_t bytes = 0;
  for (const Chunk& chunk : chunks_) {
    for (std::size_t l = 0; l <= static_cast<std::size_t>(level); ++l) {
      bytes += chunk.header.level_bytes[l];
    }
  }
  return bytes;
}

std::size_t CodedContext::Values() const {
  return std::size_t{2} * config().layers * config().kv_width() * tokens_;
}

}  // namespace kdn::bench

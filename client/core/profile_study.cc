#include "client/core/profile_study.h"

#include <algorithm>
#include <utility>

#include "client/core/lookup_result.h"

namespace kdn::client {
namespace {

std::size_t ElementBytes(const ModelSpec& spec) {
  std::size_t values = 0;
  for (const KvGroup& group : spec.groups) {
    values +=
        group.layers.size() * group.kv_heads * (std::size_t{group.k_head_size} + group.v_head_size);
  }
  return BytesPerToken(spec) / values;
}

}  // namespace

ChunkMemory::ChunkMemory(const ModelSpec& spec, std::uint32_t chunk_tokens)
    : bytes_(BytesPerToken(spec) * chunk_tokens) {
  const std::size_t element_bytes = ElementBytes(spec);
  std::size_t at = 0;
  for (const KvGroup& group : spec.groups) {
    codec::KvPool pool;
    pool.block_tokens = chunk_tokens;
    pool.block_count = 1;
    pool.head_count = group.kv_heads;
    for (std::size_t plane = 0; plane < pool.planes.size(); ++plane) {
      const std::size_t head_bytes =
          element_bytes * (plane == 0 ? group.k_head_size : group.v_head_size);
      codec::PlaneMap& map = pool.planes[plane];
      map.dim_stride = static_cast<std::ptrdiff_t>(element_bytes);
      map.head_stride = static_cast<std::ptrdiff_t>(head_bytes);
      map.slot_stride = static_cast<std::ptrdiff_t>(head_bytes * group.kv_heads);
      map.block_stride = map.slot_stride * chunk_tokens;
      std::vector<std::byte*>& base = bases_.emplace_back();
      for (std::size_t layer = 0; head_bytes > 0 && layer < group.layers.size(); ++layer) {
        base.push_back(bytes_.data() + at);
        at += head_bytes * group.kv_heads * chunk_tokens;
      }
    }
    pools_.push_back(pool);
  }
  for (std::size_t i = 0; i < bases_.size(); ++i) {
    pools_[i / 2].planes[i % 2].base = bases_[i];
  }
}

codec::BlockTables ChunkMemory::BlocksUpTo(std::size_t chunk) {
  table_.assign(chunk + 1, 0);
  tables_.assign(pools_.size(), std::span<const std::uint32_t>(table_));
  return {tables_};
}

Result<std::unique_ptr<ProfileStudy>> ProfileStudy::Make(const Model& model,
                                                         std::uint32_t chunk_tokens,
                                                         const codec::LearnOptions& options,
                                                         std::size_t memory_bytes_max) {
  const std::size_t bytes = BytesPerToken(model.spec()) * chunk_tokens +
                            codec::ProfileLearner::BytesFor(model.spec(), options.block);
  if (bytes > memory_bytes_max) {
    return Error(Code::kResourceExhausted, "learning takes more memory than it is given");
  }
  KDN_ASSIGN_OR_RETURN(auto learner, codec::ProfileLearner::Make(model.spec(), options.block));
  return std::unique_ptr<ProfileStudy>(
      new ProfileStudy(model, chunk_tokens, options, std::move(learner)));
}

ProfileStudy::ProfileStudy(const Model& model, std::uint32_t chunk_tokens,
                           codec::LearnOptions options, codec::ProfileLearner learner)
    : model_(model),
      chunk_tokens_(chunk_tokens),
      options_(std::move(options)),
      learner_(std::move(learner)),
      memory_(model.spec(), chunk_tokens) {}

Status ProfileStudy::Add(Client& client, LookupResult found, std::size_t chunk,
                         Interrupt& interrupt, std::uint64_t tokens_max) {
  const std::uint64_t first = std::uint64_t{chunk_tokens_} * chunk;
  if (found.chunks_matched() <= chunk) return Status(Code::kUnavailable);
  const std::uint32_t count = found.state().chunks[chunk].where.token_count;
  found.Truncate(first + count);
  LoadOptions options;
  options.skip_tokens = first;
  auto load = client.Load(model_, found, memory_.kv(), memory_.BlocksUpTo(chunk), options);
  if (!load) return load.error();
  const LoadReport report =
      interrupt.During([&] { (*load)->Cancel(); }, [&] { return (*load)->Wait(); });
  if (report.tokens_loaded < first + count) return Status(Code::kUnavailable);
  // Only whole chunks can be read.
  const auto learned = static_cast<std::uint32_t>(std::min<std::uint64_t>(count, tokens_max));
  return learner_.Add(memory_.kv(), memory_.BlocksUpTo(chunk),
                      {.first_token = first, .token_count = learned}, first);
}

Result<codec::Profile> ProfileStudy::Learn() const {
  return learner_.Learn(model_.fingerprint(), options_);
}

}  // namespace kdn::client

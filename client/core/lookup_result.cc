#include "client/core/lookup_result.h"

#include <algorithm>
#include <utility>

#include "base/limits.h"

namespace kdn::client {
namespace {

// "KDNL", then the version of this layout. A result is carried between processes of one engine
// deployment, where a rolling upgrade may mix versions: N reads N-1.
constexpr std::uint32_t kMagic = 0x4C4E444B;
constexpr std::uint16_t kVersion = 1;

}  // namespace

LookupResult LookupAccess::Make(LookupResult::State state) {
  LookupResult result;
  *result.state_ = std::move(state);
  return result;
}

LookupResult::LookupResult() : state_(std::make_unique<State>()) {}
LookupResult::LookupResult(const LookupResult& other)
    : state_(std::make_unique<State>(*other.state_)) {}
LookupResult::LookupResult(LookupResult&& other) noexcept : LookupResult() {
  state_.swap(other.state_);
}
LookupResult& LookupResult::operator=(const LookupResult& other) {
  *state_ = *other.state_;
  return *this;
}
LookupResult& LookupResult::operator=(LookupResult&& other) noexcept {
  state_.swap(other.state_);
  return *this;
}
LookupResult::~LookupResult() = default;

std::uint64_t LookupResult::tokens_matched() const {
  std::uint64_t tokens = 0;
  for (const MatchedChunk& chunk : state_->chunks) tokens += chunk.where.token_count;
  return tokens;
}

std::uint32_t LookupResult::chunks_matched() const {
  return static_cast<std::uint32_t>(state_->chunks.size());
}

std::uint64_t LookupResult::bytes() const {
  std::uint64_t bytes = 0;
  for (const MatchedChunk& chunk : state_->chunks) {
    for (const wire::PartLocation& part : chunk.where.parts) {
      for (const std::uint32_t level_bytes : part.level_bytes) bytes += level_bytes;
    }
  }
  return bytes;
}

Provenance LookupResult::provenance() const {
  if (state_->chunks.empty()) return {};
  Provenance worst = kExactProvenance;
  for (const MatchedChunk& chunk : state_->chunks) worst = WorseOf(worst, chunk.where.provenance);
  return worst;
}

std::string_view LookupResult::tier() const {
  bool dram = false;
  bool disk = false;
  for (const MatchedChunk& chunk : state_->chunks) {
    for (const wire::PartLocation& part : chunk.where.parts) {
      const bool in_dram =
          std::any_of(part.replicas.begin(), part.replicas.end(),
                      [](const wire::ReplicaLocation& r) { return !r.in_dram.empty(); });
      (in_dram ? dram : disk) = true;
    }
  }
  if (dram && disk) return "mixed";
  if (dram) return "dram";
  return disk ? "disk" : "";
}

void LookupResult::Truncate(std::uint64_t tokens) {
  std::uint64_t kept = 0;
  std::size_t count = 0;
  while (count < state_->chunks.size() &&
         kept + state_->chunks[count].where.token_count <= tokens) {
    kept += state_->chunks[count++].where.token_count;
  }
  state_->chunks.resize(count);
}

std::vector<std::byte> LookupResult::Serialize() const {
  // Locations and endpoints travel as the lookup's answer does: one layout, one parser.
  wire::LookupResponse response;
  response.map.nodes = state_->nodes;
  for (const MatchedChunk& chunk : state_->chunks) response.chunks.push_back(chunk.where);
  wire::Buffer encoded;
  response.Encode(encoded);

  std::vector<std::byte> out;
  ByteWriter writer(out);
  writer.Integer(kMagic);
  writer.Integer(kVersion);
  writer.Integer(state_->floor);
  writer.Integer(state_->level_min);
  writer.Integer(state_->chunk_tokens);
  writer.Id(state_->model);
  writer.Integer(static_cast<std::uint32_t>(state_->chunks.size()));
  for (const MatchedChunk& chunk : state_->chunks) writer.Id(chunk.key);
  writer.Sized(encoded);
  return out;
}

Result<LookupResult> LookupResult::Deserialize(ConstBytes bytes) {
  ByteReader reader(bytes);
  if (reader.Integer<std::uint32_t>() != kMagic || reader.Integer<std::uint16_t>() != kVersion) {
    return Error(Code::kInvalidArgument, "these bytes are no lookup result of this version");
  }
  State state;
  state.floor = static_cast<ProvenanceKind>(reader.Integer<std::uint8_t>());
  state.level_min = static_cast<Level>(reader.Integer<std::uint8_t>());
  state.chunk_tokens = reader.Integer<std::uint32_t>();
  state.model = reader.OpaqueId<ModelFingerprint>();
  const auto count = reader.Integer<std::uint32_t>();
  const bool fields_hold =
      state.floor <= ProvenanceKind::kExact && state.level_min <= Level::kExact &&
      state.chunk_tokens <= limits::kTokensPerChunkMax && count <= limits::kKeysPerCallMax;
  if (!reader.ok() || !fields_hold || reader.rest().size() < count * ChunkKey::kSize) {
    return Error(Code::kInvalidArgument, "a lookup result's bytes are damaged");
  }
  std::vector<ChunkKey> keys(count);
  for (ChunkKey& key : keys) key = reader.OpaqueId<ChunkKey>();
  const ConstBytes encoded = reader.Sized(limits::kResponseBytesMax);
  auto response = wire::LookupResponse::Decode(encoded);
  if (!reader.AtEnd() || !response || response->chunks.size() != count) {
    return Error(Code::kInvalidArgument, "a lookup result's locations are damaged");
  }
  state.nodes = std::move(response->map.nodes);
  state.chunks.reserve(count);
  for (std::uint32_t i = 0; i < count; ++i) {
    state.chunks.push_back({keys[i], std::move(response->chunks[i])});
  }
  return LookupAccess::Make(std::move(state));
}

}  // namespace kdn::client

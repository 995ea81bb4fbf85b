#include "client/core/store_plan.h"

#include <algorithm>
#include <utility>

#include "base/limits.h"

namespace kdn::client {
namespace {

constexpr std::uint32_t kMagic = 0x504E444B;  // "KDNP"
constexpr std::uint16_t kVersion = 3;

}  // namespace

StorePlan StoreAccess::Make(StorePlan::State state) {
  StorePlan plan;
  *plan.state_ = std::move(state);
  return plan;
}

StorePlan::StorePlan() : state_(std::make_unique<State>()) {}
StorePlan::StorePlan(const StorePlan& other) : state_(std::make_unique<State>(*other.state_)) {}
StorePlan::StorePlan(StorePlan&& other) noexcept : StorePlan() {
  state_.swap(other.state_);
}
StorePlan& StorePlan::operator=(const StorePlan& other) {
  *state_ = *other.state_;
  return *this;
}
StorePlan& StorePlan::operator=(StorePlan&& other) noexcept {
  state_.swap(other.state_);
  return *this;
}
StorePlan::~StorePlan() = default;

std::uint32_t StorePlan::chunks() const {
  return static_cast<std::uint32_t>(state_->chunks.size());
}

std::uint32_t StorePlan::chunks_to_store() const {
  return static_cast<std::uint32_t>(std::count_if(
      state_->chunks.begin(), state_->chunks.end(),
      [](const PlannedChunk& chunk) { return chunk.verdict == wire::PutVerdict::kStore; }));
}

std::vector<std::byte> StorePlan::Serialize() const {
  // Verdicts, grants and endpoints travel as PutStart's answer does: one layout, one parser.
  wire::PutStartResponse response;
  response.map.nodes = state_->nodes;
  response.grants = state_->grants;
  for (const PlannedChunk& chunk : state_->chunks) {
    response.verdicts.push_back(chunk.verdict);
    response.grant_of.push_back(chunk.grant);
  }
  wire::Buffer encoded;
  response.Encode(encoded);

  std::vector<std::byte> out;
  ByteWriter writer(out);
  writer.Integer(kMagic);
  writer.Integer(kVersion);
  writer.Integer(state_->part_count);
  writer.Integer(state_->secret);
  writer.Integer(state_->match_hash);
  writer.Integer(PackProvenance(state_->provenance));
  writer.Integer(state_->levels.bits());
  writer.Id(state_->model);
  writer.Id(state_->trace);
  writer.Sized(AsBytes(state_->context));
  writer.Integer(static_cast<std::uint32_t>(state_->chunks.size()));
  for (const PlannedChunk& chunk : state_->chunks) {
    writer.Id(chunk.key);
    writer.Integer(chunk.token_count);
  }
  writer.Sized(encoded);
  return out;
}

Result<StorePlan> StorePlan::Deserialize(ConstBytes bytes) {
  ByteReader reader(bytes);
  if (reader.Integer<std::uint32_t>() != kMagic || reader.Integer<std::uint16_t>() != kVersion) {
    return Error(Code::kInvalidArgument, "these bytes are no store plan of this version");
  }
  State state;
  state.part_count = reader.Integer<std::uint16_t>();
  state.secret = reader.Integer<SecretId>();
  state.match_hash = reader.Integer<MatchHash>();
  const auto provenance = UnpackProvenance(reader.Integer<std::uint32_t>());
  state.levels = LevelSet(reader.Integer<std::uint8_t>());
  state.model = reader.OpaqueId<ModelFingerprint>();
  state.trace = reader.OpaqueId<TraceId>();
  state.context = AsText(reader.Sized(limits::kContextNameBytesMax));
  const auto count = reader.Integer<std::uint32_t>();
  const bool good = reader.ok() && provenance && state.levels.Valid();
  if (!good || count > limits::kKeysPerCallMax) {
    return Error(Code::kInvalidArgument, "a store plan's bytes are damaged");
  }
  state.provenance = *provenance;
  for (std::uint32_t i = 0; i < count && reader.ok(); ++i) {
    PlannedChunk chunk;
    chunk.key = reader.OpaqueId<ChunkKey>();
    chunk.token_count = reader.Integer<std::uint32_t>();
    state.chunks.push_back(chunk);
  }
  const ConstBytes encoded = reader.Sized(limits::kResponseBytesMax);
  auto response = wire::PutStartResponse::Decode(encoded);
  if (!reader.AtEnd() || !response || response->verdicts.size() != count ||
      response->grant_of.size() != count) {
    return Error(Code::kInvalidArgument, "a store plan's grants are damaged");
  }
  for (std::uint32_t i = 0; i < count; ++i) {
    state.chunks[i].verdict = response->verdicts[i];
    state.chunks[i].grant = response->grant_of[i];
    if (state.chunks[i].grant != wire::kNoGrant &&
        state.chunks[i].grant >= response->grants.size()) {
      return Error(Code::kInvalidArgument, "a store plan names a grant it does not have");
    }
  }
  state.grants = std::move(response->grants);
  state.nodes = std::move(response->map.nodes);
  return StoreAccess::Make(std::move(state));
}

}  // namespace kdn::client

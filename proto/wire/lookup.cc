#include "proto/wire/lookup.h"

#include <bit>
#include <cstring>

#include "proto/wire/fields.h"

namespace kdn::wire {
namespace {

constexpr std::size_t kRequestFixedBytes = kRequestHeadBytes + 16;
constexpr std::size_t kNodeBytesMin = 24;
constexpr std::size_t kChunkBytes = 28;
constexpr std::size_t kPartBytes = 32;
constexpr std::size_t kReplicaBytes = 8;
constexpr std::size_t kChunkCountAt = 8;
constexpr std::size_t kChainAt = 4;

// The answer's chunks are laid out and read through these two, a bounds check per record and a
// store or load per field: a coordinator core is to answer millions of keys a second.
template <class T>
void Store(std::byte* at, T value) {
  static_assert(std::endian::native == std::endian::little);
  std::memcpy(at, &value, sizeof(T));
}
template <class T>
T Load(const std::byte* at) {
  T value;
  std::memcpy(&value, at, sizeof(T));
  return value;
}

std::byte* Grow(Buffer& out, std::size_t size_bytes) {
  const std::size_t old = out.size();
  out.resize(old + size_bytes);
  return out.data() + old;
}

void StoreShape(std::byte* at, const PartShape& shape) {
  Store(at, shape.number);
  Store(at + 2, shape.count);
  Store(at + 4, shape.layers.first);
  Store(at + 6, shape.layers.count);
  Store(at + 8, shape.kv_heads.first);
  Store(at + 10, shape.kv_heads.count);
}

PartShape LoadShape(const std::byte* at) {
  return {.number = Load<std::uint16_t>(at),
          .count = Load<std::uint16_t>(at + 2),
          .layers = {Load<std::uint16_t>(at + 4), Load<std::uint16_t>(at + 6)},
          .kv_heads = {Load<std::uint16_t>(at + 8), Load<std::uint16_t>(at + 10)}};
}

bool ShapeHolds(const PartShape& shape, std::size_t number, std::size_t count) {
  return shape.number == number && shape.count == count &&
         shape.layers.end() <= limits::kLayersMax && shape.kv_heads.end() <= limits::kKvHeadsMax;
}

bool LoadReplica(const std::byte* at, ReplicaLocation& replica) {
  replica.node = static_cast<NodeId>(Load<std::uint32_t>(at));
  replica.in_dram = LevelSet(Load<std::uint8_t>(at + 4));
  replica.on_disk = LevelSet(Load<std::uint8_t>(at + 5));
  return replica.in_dram.Valid() && replica.on_disk.Valid() && Load<std::uint16_t>(at + 6) == 0;
}

// Reads the part of this number at the front of `in` and drops it from there.
bool LoadPart(ConstBytes& in, std::size_t number, std::size_t count, PartLocation& part) {
  if (in.size() < kPartBytes) return false;
  const std::byte* at = in.data();
  part.shape = LoadShape(at);
  if (!ShapeHolds(part.shape, number, count)) return false;
  for (std::size_t level = 0; level < kLevelCount; ++level) {
    part.level_bytes[level] = Load<std::uint32_t>(at + 12 + 4 * level);
    if (part.level_bytes[level] > limits::kSegmentBytesMax) return false;
  }
  // The replica count's upper bytes are reserved, so it is read as one number.
  const auto replica_count = Load<std::uint32_t>(at + 28);
  if (replica_count == 0 || replica_count > limits::kReplicasMax) return false;
  in = in.subspan(kPartBytes);
  if (in.size() < replica_count * kReplicaBytes) return false;
  for (std::uint32_t i = 0; i < replica_count; ++i) {
    ReplicaLocation replica;
    if (!LoadReplica(in.data() + i * kReplicaBytes, replica)) return false;
    part.replicas.push_back(replica);
  }
  in = in.subspan(replica_count * kReplicaBytes);
  return true;
}

bool LoadChunk(ConstBytes& in, ChunkLocation& chunk) {
  if (in.size() < kChunkBytes) return false;
  const std::byte* at = in.data();
  std::memcpy(chunk.put_id.bytes.data(), at, PutId::kSize);
  const Result<Provenance> provenance = UnpackProvenance(Load<std::uint32_t>(at + 16));
  chunk.token_count = Load<std::uint32_t>(at + 20);
  const auto part_count = Load<std::uint32_t>(at + 24);
  if (!provenance || chunk.token_count > limits::kTokensPerChunkMax) return false;
  if (part_count == 0 || part_count > limits::kPartsPerChunkMax) return false;
  chunk.provenance = *provenance;
  in = in.subspan(kChunkBytes);
  if (in.size() < part_count * (kPartBytes + kReplicaBytes)) return false;
  chunk.parts.resize(part_count);
  for (std::uint32_t i = 0; i < part_count; ++i) {
    if (!LoadPart(in, i, part_count, chunk.parts[i])) return false;
  }
  return true;
}

// id (4) ‖ shard count (2) ‖ 0 (2) ‖ host (16) ‖ endpoints, each after its length (4)
void EncodeNode(const NodeEndpoints& node, ByteWriter& out) {
  out.Integer(node.node);
  out.Integer(static_cast<std::uint16_t>(node.shards.size()));
  out.Zeros(2);
  out.Id(node.host);
  for (const std::string& endpoint : node.shards) out.Sized(AsBytes(endpoint));
}

NodeEndpoints DecodeNode(ByteReader& in) {
  NodeEndpoints node;
  node.node = in.Integer<NodeId>();
  const auto shard_count = DecodeAtMost<std::uint16_t>(in, limits::kShardsPerNodeMax);
  in.Zeros(2);
  node.host = in.OpaqueId<HostId>();
  for (std::size_t i = 0; i < shard_count && in.ok(); ++i) {
    node.shards.push_back(DecodeText(limits::kEndpointBytesMax, in));
  }
  return node;
}

}  // namespace

// head ‖ floor (1) ‖ level at least (1) ‖ chain count (2) ‖ keys of each chain (4) ‖
// map version (8) ‖ keys (32 each), chain by chain
void LookupRequest::Encode(Buffer& out) const {
  const std::size_t chain_keys = chains.empty() ? 0 : chains.front().size();
  out.reserve(out.size() + kRequestFixedBytes + chains.size() * chain_keys * ChunkKey::kSize);
  ByteWriter writer(out);
  EncodeHead(head, writer);
  writer.Integer(floor);
  writer.Integer(level_min);
  writer.Integer(static_cast<std::uint16_t>(chains.size()));
  writer.Integer(static_cast<std::uint32_t>(chain_keys));
  writer.Integer(known_map_version);
  for (const std::vector<ChunkKey>& chain : chains) EncodeIds(chain, writer);
}

Result<LookupRequest> LookupRequest::Decode(ConstBytes bytes) {
  ByteReader in(bytes);
  LookupRequest request;
  request.head = DecodeHead(MessageType::kLookup, in);
  request.floor =
      DecodeAtMost<ProvenanceKind>(in, static_cast<std::uint64_t>(ProvenanceKind::kExact));
  request.level_min = DecodeAtMost<Level>(in, static_cast<std::uint64_t>(Level::kExact));
  const auto chain_count = DecodeAtMost<std::uint16_t>(in, kChainsPerLookupMax);
  const auto key_count = DecodeAtMost<std::uint32_t>(in, limits::kKeysPerCallMax);
  request.known_map_version = in.Integer<std::uint64_t>();
  if (chain_count == 0) in.Fail();
  if (!in.ok() || in.rest().size() != std::size_t{chain_count} * key_count * ChunkKey::kSize) {
    return Error(Code::kInvalidArgument);
  }
  request.chains.resize(chain_count);
  for (std::vector<ChunkKey>& chain : request.chains) chain = DecodeIds<ChunkKey>(key_count, in);
  return Decoded(std::move(request), in);
}

// version (8) ‖ node count (4) ‖ 0 (4) ‖ nodes
void NodeMap::Encode(ByteWriter& out) const {
  out.Integer(version);
  out.Integer(static_cast<std::uint32_t>(nodes.size()));
  out.Zeros(4);
  for (const NodeEndpoints& node : nodes) EncodeNode(node, out);
}

NodeMap NodeMap::Decode(ByteReader& in) {
  NodeMap map;
  map.version = in.Integer<std::uint64_t>();
  const auto count = DecodeCount<std::uint32_t>(in, limits::kNodesMax, kNodeBytesMin);
  in.Zeros(4);
  if (!in.ok()) return map;
  map.nodes.reserve(count);
  NodeId last{};  // is no node: each id must be higher than the one before
  for (std::size_t i = 0; i < count && in.ok(); ++i) {
    map.nodes.push_back(DecodeNode(in));
    if (map.nodes.back().node <= last) in.Fail();
    last = map.nodes.back().node;
  }
  return map;
}

// epoch (4) ‖ chain (2) ‖ 0 (2) ‖ chunk count (4) ‖ 0 (4) ‖ map ‖ chunks
LookupResponseWriter::LookupResponseWriter(Buffer& out, Epoch epoch, const NodeMap& map)
    : out_(out), start_(out.size()) {
  ByteWriter writer(out);
  writer.Integer(epoch);
  writer.Zeros(12);
  map.Encode(writer);
}

void LookupResponseWriter::SetChain(std::uint16_t chain) {
  Store(out_.data() + start_ + kChainAt, chain);
}

// put id (16) ‖ provenance (4) ‖ token count (4) ‖ part count (2) ‖ 0 (2) ‖ parts
void LookupResponseWriter::BeginChunk(const PutId& put_id, const Provenance& provenance,
                                      std::uint32_t token_count, std::uint16_t part_count) {
  std::byte* at = Grow(out_, kChunkBytes);
  std::memcpy(at, put_id.bytes.data(), PutId::kSize);
  Store(at + 16, PackProvenance(provenance));
  Store(at + 20, token_count);
  Store(at + 24, std::uint32_t{part_count});
  ++chunk_count_;
  Store(out_.data() + start_ + kChunkCountAt, chunk_count_);
}

// part (12) ‖ level bytes (16) ‖ replica count (1) ‖ 0 (3) ‖ per replica: node (4) ‖
// levels in dram (1) ‖ on disk (1) ‖ 0 (2)
void LookupResponseWriter::AddPart(const PartShape& shape, const LevelBytes& level_bytes,
                                   std::span<const ReplicaLocation> replicas) {
  std::byte* at = Grow(out_, kPartBytes + replicas.size() * kReplicaBytes);
  StoreShape(at, shape);
  for (std::size_t level = 0; level < kLevelCount; ++level) {
    Store(at + 12 + 4 * level, level_bytes[level]);
  }
  Store(at + 28, static_cast<std::uint32_t>(replicas.size()));
  at += kPartBytes;
  for (const ReplicaLocation& replica : replicas) {
    Store(at, replica.node);
    Store(at + 4, replica.in_dram.bits());
    Store(at + 5, replica.on_disk.bits());
    at += kReplicaBytes;
  }
}

void LookupResponse::Encode(Buffer& out) const {
  LookupResponseWriter writer(out, epoch, map);
  writer.SetChain(chain);
  for (const ChunkLocation& chunk : chunks) {
    writer.BeginChunk(chunk.put_id, chunk.provenance, chunk.token_count,
                      static_cast<std::uint16_t>(chunk.parts.size()));
    for (const PartLocation& part : chunk.parts) {
      writer.AddPart(part.shape, part.level_bytes, {part.replicas.data(), part.replicas.size()});
    }
  }
}

Result<LookupResponse> LookupResponse::Decode(ConstBytes bytes) {
  ByteReader in(bytes);
  LookupResponse response;
  response.epoch = in.Integer<Epoch>();
  response.chain = DecodeAtMost<std::uint16_t>(in, kChainsPerLookupMax - 1);
  in.Zeros(2);
  const auto chunk_count = DecodeAtMost<std::uint32_t>(in, limits::kKeysPerCallMax);
  in.Zeros(4);
  response.map = NodeMap::Decode(in);
  ConstBytes rest = in.rest();
  constexpr std::size_t kChunkBytesMin = kChunkBytes + kPartBytes + kReplicaBytes;
  if (!in.ok() || chunk_count > rest.size() / kChunkBytesMin) return Error(Code::kInvalidArgument);
  response.chunks.resize(chunk_count);
  for (ChunkLocation& chunk : response.chunks) {
    if (!LoadChunk(rest, chunk)) return Error(Code::kInvalidArgument);
  }
  if (!rest.empty()) return Error(Code::kInvalidArgument);
  return response;
}

}  // namespace kdn::wire

#include "proto/wire/lookup.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "proto/wire/fields.h"
#include "proto/wire/lookup_chunks.h"

namespace kdn::wire {
namespace {

constexpr std::size_t kRequestFixedBytes = kRequestHeadBytes + 16;
constexpr std::size_t kNodeBytesMin = 24;
constexpr std::size_t kChunkCountAt = 8;
constexpr std::size_t kChainAt = 4;
constexpr std::size_t kWriterStepBytes = 4096;

template <class T>
void Store(std::byte* at, T value) {
  static_assert(std::endian::native == std::endian::little);
  std::memcpy(at, &value, sizeof(T));
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

Result<LookupRequestView> LookupRequestView::Decode(ConstBytes bytes) {
  ByteReader in(bytes);
  LookupRequestView request;
  request.head = DecodeHead(MessageType::kLookup, in);
  request.floor =
      DecodeAtMost<ProvenanceKind>(in, static_cast<std::uint64_t>(ProvenanceKind::kExact));
  request.level_min = DecodeAtMost<Level>(in, static_cast<std::uint64_t>(Level::kExact));
  const auto chain_count = DecodeAtMost<std::uint16_t>(in, kChainsPerLookupMax);
  const auto key_count = DecodeAtMost<std::uint32_t>(in, limits::kKeysPerCallMax);
  request.known_map_version = in.Integer<std::uint64_t>();
  const ConstBytes keys = in.rest();
  if (!in.ok() || chain_count == 0 ||
      keys.size() != std::size_t{chain_count} * key_count * ChunkKey::kSize) {
    return Error(Code::kInvalidArgument);
  }
  static_assert(sizeof(ChunkKey) == ChunkKey::kSize && alignof(ChunkKey) == 1);
  const auto* first = reinterpret_cast<const ChunkKey*>(keys.data());
  for (std::size_t i = 0; i < chain_count; ++i) {
    request.chains.push_back({first + i * key_count, key_count});
  }
  return request;
}

Result<LookupRequest> LookupRequest::Decode(ConstBytes bytes) {
  KDN_ASSIGN_OR_RETURN(const LookupRequestView view, LookupRequestView::Decode(bytes));
  LookupRequest request{.head = view.head,
                        .floor = view.floor,
                        .level_min = view.level_min,
                        .known_map_version = view.known_map_version,
                        .chains = {}};
  for (const auto& chain : view.chains) request.chains.emplace_back(chain.begin(), chain.end());
  return request;
}

LookupRequestView LookupRequest::View() const {
  LookupRequestView view{.head = head,
                         .floor = floor,
                         .level_min = level_min,
                         .known_map_version = known_map_version,
                         .chains = {}};
  for (const std::vector<ChunkKey>& chain : chains) view.chains.push_back(chain);
  return view;
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

// epoch (4) ‖ chain (2) ‖ layout (2) ‖ chunk count (4) ‖ 0 (4) ‖ map ‖ chunks
LookupResponseWriter::LookupResponseWriter(Buffer& out, Epoch epoch, const NodeMap& map,
                                           LookupLayout layout)
    : out_(out), layout_(layout), start_(out.size()), before_(&kNoChunk) {
  ByteWriter writer(out);
  writer.Integer(epoch);
  writer.Zeros(2);
  writer.Integer(layout);
  writer.Zeros(8);
  map.Encode(writer);
  size_ = out.size();
}

void LookupResponseWriter::SetChain(std::uint16_t chain) {
  Store(out_.data() + start_ + kChainAt, chain);
}

void LookupResponseWriter::Add(const ChunkLocation& chunk) {
  const std::size_t most = ChunkBytesMax(chunk.parts.size());
  if (out_.size() - size_ < most) out_.resize(size_ + std::max(most, kWriterStepBytes));
  std::byte* at = out_.data() + size_;
  const std::byte* end =
      layout_ == LookupLayout::kCompact ? StoreCompact(at, chunk, *before_) : StorePlain(at, chunk);
  size_ += static_cast<std::size_t>(end - at);
  ++chunk_count_;
  before_ = &chunk;
}

void LookupResponseWriter::Finish() {
  out_.resize(size_);
  Store(out_.data() + start_ + kChunkCountAt, chunk_count_);
}

void LookupResponse::Encode(Buffer& out) const {
  LookupResponseWriter writer(out, epoch, map, layout);
  writer.SetChain(chain);
  for (const ChunkLocation& chunk : chunks) writer.Add(chunk);
  writer.Finish();
}

Result<LookupResponse> LookupResponse::Decode(ConstBytes bytes) {
  ByteReader in(bytes);
  LookupResponse response;
  response.epoch = in.Integer<Epoch>();
  response.chain = DecodeAtMost<std::uint16_t>(in, kChainsPerLookupMax - 1);
  response.layout =
      DecodeAtMost<LookupLayout>(in, static_cast<std::uint64_t>(LookupLayout::kCompact));
  const auto chunk_count = DecodeAtMost<std::uint32_t>(in, limits::kKeysPerCallMax);
  in.Zeros(4);
  response.map = NodeMap::Decode(in);
  ConstBytes rest = in.rest();
  const bool compact = response.layout == LookupLayout::kCompact;
  const std::size_t chunk_bytes_min = compact ? kCompactChunkBytesMin : kPlainChunkBytesMin;
  if (!in.ok() || chunk_count > rest.size() / chunk_bytes_min) {
    return Error(Code::kInvalidArgument);
  }
  response.chunks.resize(chunk_count);
  const ChunkLocation* before = &kNoChunk;
  for (ChunkLocation& chunk : response.chunks) {
    if (!(compact ? LoadCompact(rest, *before, chunk) : LoadPlain(rest, chunk))) {
      return Error(Code::kInvalidArgument);
    }
    before = &chunk;
  }
  if (!rest.empty()) return Error(Code::kInvalidArgument);
  return response;
}

}  // namespace kdn::wire

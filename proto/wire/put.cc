#include "proto/wire/put.h"

#include "proto/wire/fields.h"
#include "proto/wire/ticket.h"

namespace kdn::wire {
namespace {

constexpr std::size_t kStartChunkBytes = 80;
constexpr std::size_t kGrantBytesMin = 28;
constexpr std::size_t kAckBytes = 20;
constexpr std::size_t kCommitObjectBytesMin = 64 + kAckBytes;
constexpr std::size_t kCommitObjectsMax = kChunksPerTicketMax * limits::kPartsPerChunkMax;

Buffer DecodeTicket(ByteReader& in) {
  Buffer ticket = DecodeBuffer(limits::kTicketBytesMax, in);
  if (ticket.empty()) in.Fail();
  return ticket;
}

void EncodeAck(const ReplicaAck& ack, ByteWriter& out) {
  out.Integer(ack.node);
  out.Id(ack.digest.checksum);
}

ReplicaAck DecodeAck(ByteReader& in) {
  ReplicaAck ack;
  ack.node = in.Integer<NodeId>();
  ack.digest.checksum = in.OpaqueId<Checksum>();
  return ack;
}

// put id (16) ‖ node count (1) ‖ replicas wanted (1) ‖ 0 (2) ‖ nodes (4 each) ‖ ticket after its
// length (4)
void EncodeGrant(const PutGrant& grant, ByteWriter& out) {
  out.Id(grant.put_id);
  out.Integer(static_cast<std::uint8_t>(grant.nodes.size()));
  out.Integer(grant.replicas);
  out.Zeros(2);
  for (const NodeId node : grant.nodes) out.Integer(node);
  out.Sized(grant.ticket);
}

PutGrant DecodeGrant(ByteReader& in) {
  PutGrant grant;
  grant.put_id = in.OpaqueId<PutId>();
  const auto node_count = DecodeCount<std::uint8_t>(in, limits::kReplicasMax, sizeof(NodeId));
  grant.replicas = in.Integer<std::uint8_t>();
  in.Zeros(2);
  if (node_count == 0 || grant.replicas < node_count) in.Fail();
  if (grant.replicas > limits::kReplicasMax) in.Fail();
  if (in.ok()) grant.nodes.resize(node_count);
  for (NodeId& node : grant.nodes) node = in.Integer<NodeId>();
  grant.ticket = DecodeTicket(in);
  return grant;
}

// A chunk is to be stored if and only if one of the grants covers it.
bool GrantsCover(const PutStartResponse& response) {
  for (std::size_t i = 0; i < response.verdicts.size(); ++i) {
    const bool covered = response.grant_of[i] != kNoGrant;
    if (covered != (response.verdicts[i] == PutVerdict::kStore)) return false;
    if (covered && response.grant_of[i] >= response.grants.size()) return false;
  }
  return true;
}

// key (32) ‖ part (12) ‖ level bytes (16) ‖ ack count (1) ‖ 0 (3) ‖ acks (20 each)
void EncodeCommitObject(const PutCommitRequest::Object& object, ByteWriter& out) {
  out.Id(object.key);
  EncodePartShape(object.shape, out);
  EncodeLevelBytes(object.level_bytes, out);
  out.Integer(static_cast<std::uint8_t>(object.acks.size()));
  out.Zeros(3);
  for (const ReplicaAck& ack : object.acks) EncodeAck(ack, out);
}

PutCommitRequest::Object DecodeCommitObject(ByteReader& in) {
  PutCommitRequest::Object object;
  object.key = in.OpaqueId<ChunkKey>();
  object.shape = DecodePartShape(in);
  object.level_bytes = DecodeLevelBytes(in);
  const auto ack_count = DecodeCount<std::uint8_t>(in, limits::kReplicasMax, kAckBytes);
  in.Zeros(3);
  if (ack_count == 0) in.Fail();
  if (in.ok()) object.acks.resize(ack_count);
  for (ReplicaAck& ack : object.acks) ack = DecodeAck(in);
  return object;
}

}  // namespace

// head ‖ model (32) ‖ provenance (4) ‖ part count (2) ‖ replicas (1) ‖ 0 (1) ‖ map version (8) ‖
// chunk count (4) ‖ 0 (4) ‖ per chunk: key (32) ‖ parent (32) ‖ token count (4) ‖ 0 (4) ‖
// object bytes at most (8)
void PutStartRequest::Encode(Buffer& out) const {
  ByteWriter writer(out);
  EncodeHead(head, writer);
  writer.Id(model);
  writer.Integer(PackProvenance(provenance));
  writer.Integer(part_count);
  writer.Integer(replicas);
  writer.Zeros(1);
  writer.Integer(known_map_version);
  writer.Integer(static_cast<std::uint32_t>(chunks.size()));
  writer.Zeros(4);
  for (const Chunk& chunk : chunks) {
    writer.Id(chunk.key);
    writer.Id(chunk.parent);
    writer.Integer(chunk.token_count);
    writer.Zeros(4);
    writer.Integer(chunk.object_bytes_max);
  }
}

Result<PutStartRequest> PutStartRequest::Decode(ConstBytes bytes) {
  ByteReader in(bytes);
  PutStartRequest request;
  request.head = DecodeHead(MessageType::kPutStart, in);
  request.model = in.OpaqueId<ModelFingerprint>();
  request.provenance = DecodeProvenance(in);
  request.part_count = DecodeAtMost<std::uint16_t>(in, limits::kPartsPerChunkMax);
  if (request.part_count == 0) in.Fail();
  request.replicas = DecodeAtMost<std::uint8_t>(in, limits::kReplicasMax);
  in.Zeros(1);
  request.known_map_version = in.Integer<std::uint64_t>();
  const auto count = DecodeCount<std::uint32_t>(in, limits::kKeysPerCallMax, kStartChunkBytes);
  in.Zeros(4);
  if (in.ok()) request.chunks.resize(count);
  for (Chunk& chunk : request.chunks) {
    chunk.key = in.OpaqueId<ChunkKey>();
    chunk.parent = in.OpaqueId<ChunkKey>();
    chunk.token_count = DecodeAtMost<std::uint32_t>(in, limits::kTokensPerChunkMax);
    in.Zeros(4);
    chunk.object_bytes_max = DecodeAtMost<std::uint64_t>(in, limits::kObjectBytesMax);
  }
  return Decoded(std::move(request), in);
}

// map ‖ chunk count (4) ‖ grant count (4) ‖ per chunk: verdict (1) ‖ 0 (1) ‖ grant (2) ‖ grants
void PutStartResponse::Encode(Buffer& out) const {
  ByteWriter writer(out);
  map.Encode(writer);
  writer.Integer(static_cast<std::uint32_t>(verdicts.size()));
  writer.Integer(static_cast<std::uint32_t>(grants.size()));
  for (std::size_t i = 0; i < verdicts.size(); ++i) {
    writer.Integer(verdicts[i]);
    writer.Zeros(1);
    writer.Integer(grant_of[i]);
  }
  for (const PutGrant& grant : grants) EncodeGrant(grant, writer);
}

Result<PutStartResponse> PutStartResponse::Decode(ConstBytes bytes) {
  ByteReader in(bytes);
  PutStartResponse response;
  response.map = NodeMap::Decode(in);
  const auto chunk_count = DecodeCount<std::uint32_t>(in, limits::kKeysPerCallMax, 4);
  const auto grant_count = DecodeCount<std::uint32_t>(in, chunk_count, kGrantBytesMin);
  if (in.ok()) {
    response.verdicts.resize(chunk_count);
    response.grant_of.resize(chunk_count);
    response.grants.resize(grant_count);
  }
  for (std::size_t i = 0; i < response.verdicts.size(); ++i) {
    response.verdicts[i] =
        DecodeAtMost<PutVerdict>(in, static_cast<std::uint64_t>(PutVerdict::kRefused));
    in.Zeros(1);
    response.grant_of[i] = in.Integer<std::uint16_t>();
  }
  for (PutGrant& grant : response.grants) grant = DecodeGrant(in);
  if (!GrantsCover(response)) in.Fail();
  return Decoded(std::move(response), in);
}

// head ‖ ticket after its length (4) ‖ key (32) ‖ part (2) ‖ hop (1) ‖ 0 (1) ‖ object bytes (8) ‖
// offset (8) ‖ size (4)
void PutPieceRequest::Encode(Buffer& out) const {
  ByteWriter writer(out);
  EncodeHead(head, writer);
  writer.Sized(ticket);
  writer.Id(key);
  writer.Integer(part);
  writer.Integer(hop);
  writer.Zeros(1);
  writer.Integer(object_bytes);
  writer.Integer(offset);
  writer.Integer(size_bytes);
}

Result<PutPieceRequest> PutPieceRequest::Decode(ConstBytes bytes) {
  ByteReader in(bytes);
  PutPieceRequest request;
  request.head = DecodeHead(MessageType::kPutPiece, in);
  request.ticket = DecodeTicket(in);
  request.key = in.OpaqueId<ChunkKey>();
  request.part = DecodeAtMost<std::uint16_t>(in, limits::kPartsPerChunkMax - 1);
  request.hop = DecodeAtMost<std::uint8_t>(in, limits::kReplicasMax - 1);
  in.Zeros(1);
  request.object_bytes = DecodeAtMost<std::uint64_t>(in, limits::kObjectBytesMax);
  request.offset = DecodeAtMost<std::uint64_t>(in, request.object_bytes);
  request.size_bytes = DecodeAtMost<std::uint32_t>(in, limits::kPieceBytesMax);
  if (request.size_bytes == 0 || request.size_bytes > request.object_bytes - request.offset) {
    in.Fail();
  }
  return Decoded(std::move(request), in);
}

// ack count (1) ‖ failed count (1) ‖ 0 (2) ‖ acks (20 each) ‖ failed nodes (4 each)
void PutPieceResponse::Encode(Buffer& out) const {
  ByteWriter writer(out);
  writer.Integer(static_cast<std::uint8_t>(acks.size()));
  writer.Integer(static_cast<std::uint8_t>(failed.size()));
  writer.Zeros(2);
  for (const ReplicaAck& ack : acks) EncodeAck(ack, writer);
  for (const NodeId node : failed) writer.Integer(node);
}

Result<PutPieceResponse> PutPieceResponse::Decode(ConstBytes bytes) {
  ByteReader in(bytes);
  PutPieceResponse response;
  const auto ack_count = DecodeAtMost<std::uint8_t>(in, limits::kReplicasMax);
  const auto failed_count = DecodeAtMost<std::uint8_t>(in, limits::kReplicasMax);
  in.Zeros(2);
  if (in.ok()) {
    response.acks.resize(ack_count);
    response.failed.resize(failed_count);
  }
  for (ReplicaAck& ack : response.acks) ack = DecodeAck(in);
  for (NodeId& node : response.failed) node = in.Integer<NodeId>();
  return Decoded(std::move(response), in);
}

// head ‖ ticket after its length (4) ‖ object count (4) ‖ objects
void PutCommitRequest::Encode(Buffer& out) const {
  ByteWriter writer(out);
  EncodeHead(head, writer);
  writer.Sized(ticket);
  writer.Integer(static_cast<std::uint32_t>(objects.size()));
  for (const Object& object : objects) EncodeCommitObject(object, writer);
}

Result<PutCommitRequest> PutCommitRequest::Decode(ConstBytes bytes) {
  ByteReader in(bytes);
  PutCommitRequest request;
  request.head = DecodeHead(MessageType::kPutCommit, in);
  request.ticket = DecodeTicket(in);
  const auto count = DecodeCount<std::uint32_t>(in, kCommitObjectsMax, kCommitObjectBytesMin);
  request.objects.resize(count);
  for (Object& object : request.objects) object = DecodeCommitObject(in);
  return Decoded(std::move(request), in);
}

// object count (4) ‖ per object: state (1) ‖ replicas (1) ‖ on disk (1) ‖ code (1)
void PutCommitResponse::Encode(Buffer& out) const {
  ByteWriter writer(out);
  writer.Integer(static_cast<std::uint32_t>(objects.size()));
  for (const Object& object : objects) {
    writer.Integer(object.state);
    writer.Integer(object.replicas);
    writer.Integer(object.replicas_on_disk);
    writer.Integer(static_cast<std::uint8_t>(object.code));
  }
}

Result<PutCommitResponse> PutCommitResponse::Decode(ConstBytes bytes) {
  ByteReader in(bytes);
  PutCommitResponse response;
  response.objects.resize(DecodeCount<std::uint32_t>(in, kCommitObjectsMax, 4));
  for (Object& object : response.objects) {
    object.state = DecodeAtMost<CommitState>(in, static_cast<std::uint64_t>(CommitState::kFailed));
    object.replicas = DecodeAtMost<std::uint8_t>(in, limits::kReplicasMax);
    object.replicas_on_disk = DecodeAtMost<std::uint8_t>(in, object.replicas);
    object.code = DecodeCode(in);
    if (object.state != CommitState::kFailed && object.code != Code::kOk) in.Fail();
  }
  return Decoded(std::move(response), in);
}

// head ‖ ticket after its length (4)
void PutAbortRequest::Encode(Buffer& out) const {
  ByteWriter writer(out);
  EncodeHead(head, writer);
  writer.Sized(ticket);
}

Result<PutAbortRequest> PutAbortRequest::Decode(ConstBytes bytes) {
  ByteReader in(bytes);
  PutAbortRequest request;
  request.head = DecodeHead(MessageType::kPutAbort, in);
  request.ticket = DecodeTicket(in);
  return Decoded(std::move(request), in);
}

}  // namespace kdn::wire

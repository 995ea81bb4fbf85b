#include "proto/wire/node_ops.h"

#include "proto/wire/fields.h"

namespace kdn::wire {
namespace {

constexpr std::size_t kObjectNameBytes = 60;

// tenant (8) ‖ key (32) ‖ put id (16) ‖ part (2) ‖ 0 (2)
void EncodeName(const ObjectName& name, ByteWriter& out) {
  out.Integer(name.tenant);
  out.Id(name.key);
  out.Id(name.put_id);
  out.Integer(name.part);
  out.Zeros(2);
}

ObjectName DecodeName(ByteReader& in) {
  ObjectName name;
  name.tenant = in.Integer<TenantId>();
  name.key = in.OpaqueId<ChunkKey>();
  name.put_id = in.OpaqueId<PutId>();
  name.part = DecodeAtMost<std::uint16_t>(in, limits::kPartsPerChunkMax - 1);
  in.Zeros(2);
  return name;
}

// What all three requests begin with: head ‖ epoch (4) ‖ object count (4)
template <class Request>
void EncodeFront(const Request& request, ByteWriter& out) {
  EncodeHead(request.head, out);
  out.Integer(request.epoch);
  out.Integer(static_cast<std::uint32_t>(request.objects.size()));
}

template <class Request>
void DecodeFront(std::size_t object_bytes, ByteReader& in, Request& request) {
  request.head = DecodeHead(request.head.type, in);
  request.epoch = in.Integer<Epoch>();
  const auto count = DecodeCount<std::uint32_t>(in, kObjectsPerRequestMax, object_bytes);
  if (in.ok()) request.objects.resize(count);
}

}  // namespace

// front ‖ per object: name (60) ‖ digest (16)
void CommitObjectsRequest::Encode(Buffer& out) const {
  ByteWriter writer(out);
  EncodeFront(*this, writer);
  for (const Object& object : objects) {
    EncodeName(object.name, writer);
    writer.Id(object.digest.checksum);
  }
}

Result<CommitObjectsRequest> CommitObjectsRequest::Decode(ConstBytes bytes) {
  ByteReader in(bytes);
  CommitObjectsRequest request;
  DecodeFront(kObjectNameBytes + Checksum::kSize, in, request);
  for (Object& object : request.objects) {
    object.name = DecodeName(in);
    object.digest.checksum = in.OpaqueId<Checksum>();
  }
  return Decoded(std::move(request), in);
}

// front ‖ per object: name (60) ‖ levels (1) ‖ 0 (3)
void DropObjectsRequest::Encode(Buffer& out) const {
  ByteWriter writer(out);
  EncodeFront(*this, writer);
  for (const Object& object : objects) {
    EncodeName(object.name, writer);
    writer.Integer(object.levels.bits());
    writer.Zeros(3);
  }
}

Result<DropObjectsRequest> DropObjectsRequest::Decode(ConstBytes bytes) {
  ByteReader in(bytes);
  DropObjectsRequest request;
  DecodeFront(kObjectNameBytes + 4, in, request);
  for (Object& object : request.objects) {
    object.name = DecodeName(in);
    object.levels = DecodeLevels(in);
    in.Zeros(3);
  }
  return Decoded(std::move(request), in);
}

// front ‖ per object: name (60)
void VerifyObjectsRequest::Encode(Buffer& out) const {
  ByteWriter writer(out);
  EncodeFront(*this, writer);
  for (const ObjectName& name : objects) EncodeName(name, writer);
}

Result<VerifyObjectsRequest> VerifyObjectsRequest::Decode(ConstBytes bytes) {
  ByteReader in(bytes);
  VerifyObjectsRequest request;
  DecodeFront(kObjectNameBytes, in, request);
  for (ObjectName& name : request.objects) name = DecodeName(in);
  return Decoded(std::move(request), in);
}

// object count (4) ‖ per object: code (1) ‖ levels on disk (1) ‖ 0 (2)
void ObjectCodesResponse::Encode(Buffer& out) const {
  ByteWriter writer(out);
  writer.Integer(static_cast<std::uint32_t>(objects.size()));
  for (const Object& object : objects) {
    writer.Integer(object.code);
    writer.Integer(object.on_disk.bits());
    writer.Zeros(2);
  }
}

Result<ObjectCodesResponse> ObjectCodesResponse::Decode(ConstBytes bytes) {
  ByteReader in(bytes);
  ObjectCodesResponse response;
  response.objects.resize(DecodeCount<std::uint32_t>(in, kObjectsPerRequestMax, 4));
  for (Object& object : response.objects) {
    object.code = DecodeCode(in);
    object.on_disk = DecodeLevels(in);
    in.Zeros(2);
  }
  return Decoded(std::move(response), in);
}

}  // namespace kdn::wire

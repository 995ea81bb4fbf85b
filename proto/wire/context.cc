#include "proto/wire/context.h"

#include "proto/wire/fields.h"

namespace kdn::wire {
namespace {

std::string DecodeName(ByteReader& in) {
  std::string name = DecodeText(limits::kContextNameBytesMax, in);
  if (name.empty()) in.Fail();
  return name;
}

}  // namespace

// head ‖ name ‖ model (32) ‖ first chunk (4) ‖ key count (4) ‖ token count (8) ‖ keys (32 each)
void ContextUpdateRequest::Encode(Buffer& out) const {
  ByteWriter writer(out);
  EncodeHead(head, writer);
  writer.Sized(AsBytes(name));
  writer.Id(model);
  writer.Integer(first_chunk);
  writer.Integer(static_cast<std::uint32_t>(keys.size()));
  writer.Integer(token_count);
  EncodeIds(keys, writer);
}

Result<ContextUpdateRequest> ContextUpdateRequest::Decode(ConstBytes bytes) {
  ByteReader in(bytes);
  ContextUpdateRequest request;
  request.head = DecodeHead(MessageType::kContextUpdate, in);
  request.name = DecodeName(in);
  request.model = in.OpaqueId<ModelFingerprint>();
  request.first_chunk = DecodeAtMost<std::uint32_t>(in, limits::kChunksPerContextMax);
  const auto count = DecodeCount<std::uint32_t>(in, limits::kKeysPerCallMax, ChunkKey::kSize);
  if (request.first_chunk + count > limits::kChunksPerContextMax) in.Fail();
  request.token_count = in.Integer<std::uint64_t>();
  if (in.ok()) request.keys = DecodeIds<ChunkKey>(count, in);
  return Decoded(std::move(request), in);
}

// head ‖ name
void ContextGetRequest::Encode(Buffer& out) const {
  ByteWriter writer(out);
  EncodeHead(head, writer);
  writer.Sized(AsBytes(name));
}

Result<ContextGetRequest> ContextGetRequest::Decode(ConstBytes bytes) {
  ByteReader in(bytes);
  ContextGetRequest request;
  request.head = DecodeHead(MessageType::kContextGet, in);
  request.name = DecodeName(in);
  return Decoded(std::move(request), in);
}

// model (32) ‖ token count (8) ‖ key count (4) ‖ 0 (4) ‖ keys (32 each)
void ContextGetResponse::Encode(Buffer& out) const {
  ByteWriter writer(out);
  writer.Id(model);
  writer.Integer(token_count);
  writer.Integer(static_cast<std::uint32_t>(keys.size()));
  writer.Zeros(4);
  EncodeIds(keys, writer);
}

Result<ContextGetResponse> ContextGetResponse::Decode(ConstBytes bytes) {
  ByteReader in(bytes);
  ContextGetResponse response;
  response.model = in.OpaqueId<ModelFingerprint>();
  response.token_count = in.Integer<std::uint64_t>();
  const auto count = DecodeCount<std::uint32_t>(in, limits::kChunksPerContextMax, ChunkKey::kSize);
  in.Zeros(4);
  if (in.ok()) response.keys = DecodeIds<ChunkKey>(count, in);
  return Decoded(std::move(response), in);
}

}  // namespace kdn::wire

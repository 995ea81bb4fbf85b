#include "proto/wire/message.h"

#include "proto/wire/fields.h"

namespace kdn::wire {
namespace {

constexpr std::uint16_t kVersion = 1;  // of every layout so far

bool IsKnown(MessageType type) {
  switch (type) {
    case MessageType::kLookup:
    case MessageType::kPutStart:
    case MessageType::kPutCommit:
    case MessageType::kPutAbort:
    case MessageType::kContextUpdate:
    case MessageType::kContextGet:
    case MessageType::kRead:
    case MessageType::kPutPiece:
    case MessageType::kReportCorrupt:
    case MessageType::kCommitObjects:
    case MessageType::kDropObjects:
    case MessageType::kVerifyObjects:
      return true;
  }
  return false;
}

RequestHead ReadHead(ByteReader& in) {
  RequestHead head;
  head.type = in.Integer<MessageType>();
  head.version = in.Integer<std::uint16_t>();
  head.reserved = DecodeAtMost<std::uint32_t>(in, 0);
  head.trace = in.OpaqueId<TraceId>();
  return head;
}

}  // namespace

void EncodeHead(const RequestHead& head, ByteWriter& out) {
  out.Integer(head.type);
  out.Integer(head.version);
  out.Integer(head.reserved);
  out.Id(head.trace);
}

Result<RequestHead> PeekHead(ConstBytes request) {
  ByteReader in(request);
  const RequestHead head = ReadHead(in);
  if (!in.ok()) return Error(Code::kInvalidArgument);
  if (!IsKnown(head.type) || head.version != kVersion) return Error(Code::kUnimplemented);
  return head;
}

RequestHead DecodeHead(MessageType type, ByteReader& in) {
  const RequestHead head = ReadHead(in);
  if (head.type != type || head.version != kVersion) in.Fail();
  return head;
}

LevelSet DecodeLevels(ByteReader& in) {
  const LevelSet levels(in.Integer<std::uint8_t>());
  if (!levels.Valid()) in.Fail();
  return levels;
}

Code DecodeCode(ByteReader& in) {
  return DecodeAtMost<Code>(in, static_cast<std::uint64_t>(Code::kUnauthenticated));
}

Provenance DecodeProvenance(ByteReader& in) {
  const Result<Provenance> provenance = UnpackProvenance(in.Integer<std::uint32_t>());
  if (!provenance) {
    in.Fail();
    return {};
  }
  return *provenance;
}

void EncodeRange(const Range& range, ByteWriter& out) {
  out.Integer(range.first);
  out.Integer(range.count);
}

Range DecodeRange(std::uint32_t end_max, ByteReader& in) {
  Range range;
  range.first = in.Integer<std::uint16_t>();
  range.count = in.Integer<std::uint16_t>();
  if (range.end() > end_max) in.Fail();
  return range;
}

void EncodePartShape(const PartShape& shape, ByteWriter& out) {
  out.Integer(shape.number);
  out.Integer(shape.count);
  EncodeRange(shape.layers, out);
  EncodeRange(shape.kv_heads, out);
}

PartShape DecodePartShape(ByteReader& in) {
  PartShape shape;
  shape.number = in.Integer<std::uint16_t>();
  shape.count = in.Integer<std::uint16_t>();
  shape.layers = DecodeRange(limits::kLayersMax, in);
  shape.kv_heads = DecodeRange(limits::kKvHeadsMax, in);
  if (shape.count > limits::kPartsPerChunkMax || shape.number >= shape.count) in.Fail();
  return shape;
}

void EncodeLevelBytes(const LevelBytes& bytes, ByteWriter& out) {
  for (const std::uint32_t size : bytes) out.Integer(size);
}

LevelBytes DecodeLevelBytes(ByteReader& in) {
  LevelBytes bytes{};
  for (std::uint32_t& size : bytes) {
    size = DecodeAtMost<std::uint32_t>(in, limits::kSegmentBytesMax);
  }
  return bytes;
}

std::vector<std::byte> DecodeBuffer(std::size_t size_max, ByteReader& in) {
  const ConstBytes raw = in.Sized(size_max);
  return {raw.begin(), raw.end()};
}

std::string DecodeText(std::size_t size_max, ByteReader& in) {
  return std::string(AsText(in.Sized(size_max)));
}

}  // namespace kdn::wire

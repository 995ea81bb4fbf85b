#include "proto/wire/fields.h"

namespace kdn::wire {

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

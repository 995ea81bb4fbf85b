#include "proto/wire/read.h"

#include "proto/wire/fields.h"

namespace kdn::wire {
namespace {

constexpr std::size_t kItemBytes = 80;
constexpr std::size_t kItemAnswerBytes = 16;

// key (32) ‖ put id (16) ‖ part (2) ‖ levels (1) ‖ 0 (5) ‖ layers (4) ‖ heads (4) ‖
// window offset (8) ‖ window bytes (8)
void EncodeItem(const ReadItem& item, ByteWriter& out) {
  out.Id(item.key);
  out.Id(item.put_id);
  out.Integer(item.part);
  out.Integer(item.levels.bits());
  out.Zeros(5);
  EncodeRange(item.layers, out);
  EncodeRange(item.kv_heads, out);
  out.Integer(item.window_offset);
  out.Integer(item.window_bytes);
}

ReadItem DecodeItem(ByteReader& in) {
  ReadItem item;
  item.key = in.OpaqueId<ChunkKey>();
  item.put_id = in.OpaqueId<PutId>();
  item.part = DecodeAtMost<std::uint16_t>(in, limits::kPartsPerChunkMax - 1);
  item.levels = DecodeLevels(in);
  in.Zeros(5);
  item.layers = DecodeRange(limits::kLayersMax, in);
  item.kv_heads = DecodeRange(limits::kKvHeadsMax, in);
  item.window_offset = DecodeAtMost<std::uint64_t>(in, limits::kBulkBytesMax);
  item.window_bytes = DecodeAtMost<std::uint64_t>(in, limits::kBulkBytesMax - item.window_offset);
  return item;
}

}  // namespace

// head ‖ item count (4) ‖ 0 (4) ‖ items (80 each)
void ReadRequest::Encode(Buffer& out) const {
  ByteWriter writer(out);
  EncodeHead(head, writer);
  writer.Integer(static_cast<std::uint32_t>(items.size()));
  writer.Zeros(4);
  for (const ReadItem& item : items) EncodeItem(item, writer);
}

Result<ReadRequest> ReadRequest::Decode(ConstBytes bytes) {
  ByteReader in(bytes);
  ReadRequest request;
  request.head = DecodeHead(MessageType::kRead, in);
  const auto count = DecodeCount<std::uint32_t>(in, kReadItemsMax, kItemBytes);
  in.Zeros(4);
  if (in.ok()) request.items.resize(count);
  for (ReadItem& item : request.items) item = DecodeItem(in);
  return Decoded(std::move(request), in);
}

// item count (4) ‖ 0 (4) ‖ per item: code (1) ‖ levels (1) ‖ 0 (2) ‖ entry count (4) ‖ bytes (8)
void ReadResponse::Encode(Buffer& out) const {
  ByteWriter writer(out);
  writer.Integer(static_cast<std::uint32_t>(items.size()));
  writer.Zeros(4);
  for (const Item& item : items) {
    writer.Integer(item.code);
    writer.Integer(item.levels.bits());
    writer.Zeros(2);
    writer.Integer(item.entry_count);
    writer.Integer(item.size_bytes);
  }
}

Result<ReadResponse> ReadResponse::Decode(ConstBytes bytes) {
  ByteReader in(bytes);
  ReadResponse response;
  const auto count = DecodeCount<std::uint32_t>(in, kReadItemsMax, kItemAnswerBytes);
  in.Zeros(4);
  if (in.ok()) response.items.resize(count);
  for (Item& item : response.items) {
    item.code = DecodeCode(in);
    item.levels = DecodeLevels(in);
    in.Zeros(2);
    item.entry_count = DecodeAtMost<std::uint32_t>(in, kLevelCount * limits::kTilesPerSegmentMax);
    item.size_bytes = DecodeAtMost<std::uint64_t>(in, limits::kBulkBytesMax);
  }
  return Decoded(std::move(response), in);
}

std::uint64_t ReadWindowBytes(const LevelBytes& level_bytes, LevelSet levels) {
  return kObjectHeaderBytes + SumOfLevels(level_bytes, levels);
}

// head ‖ key (32) ‖ put id (16) ‖ part (2) ‖ 0 (6)
void ReportCorruptRequest::Encode(Buffer& out) const {
  ByteWriter writer(out);
  EncodeHead(head, writer);
  writer.Id(key);
  writer.Id(put_id);
  writer.Integer(part);
  writer.Zeros(6);
}

Result<ReportCorruptRequest> ReportCorruptRequest::Decode(ConstBytes bytes) {
  ByteReader in(bytes);
  ReportCorruptRequest request;
  request.head = DecodeHead(MessageType::kReportCorrupt, in);
  request.key = in.OpaqueId<ChunkKey>();
  request.put_id = in.OpaqueId<PutId>();
  request.part = DecodeAtMost<std::uint16_t>(in, limits::kPartsPerChunkMax - 1);
  in.Zeros(6);
  return Decoded(std::move(request), in);
}

}  // namespace kdn::wire

// A frame's header from bytes that anyone may have written: refused, or within the limits and
// sealed alike. Tried as it is and with its checksum put right.
#include <algorithm>
#include <cstdint>
#include <cstdlib>

#include "transport/frame.h"

namespace {

using namespace kdn::transport;

void Check(kdn::ConstBytes bytes) {
  const std::optional<FrameHeader> header = OpenFrame(bytes);
  if (!header) return;
  const bool message = HasMessageBody(header->type);
  const std::size_t most = message ? kdn::limits::kResponseBytesMax : kSliceBytesMax;
  if (header->size > most || header->size_a > kdn::limits::kBulkBytesMax) std::abort();
  // Where a request's bulk lies in shared memory, `offset` is a place in a region, which may be
  // larger than any bulk; the region's bounds are checked where the region is known.
  const bool placed = header->type == FrameType::kRequest && header->piece != 0;
  const std::uint64_t bulk = message ? header->size_a : header->size + header->size_a;
  if (!placed && header->offset + bulk > kdn::limits::kBulkBytesMax) std::abort();
  if (message && !BodyIsIntact(bytes, {})) return;
  FrameBytes again;
  Seal(*header, {}, again);
  // A code that is no Code reads as kUnknown, and only that may differ, with the checksum.
  if (header->code == kdn::Code::kUnknown) return;
  if (!std::equal(again.begin(), again.end(), bytes.begin())) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const kdn::ConstBytes bytes = std::as_bytes(std::span(data, size));
  Check(bytes);
  if (size < kFrameHeaderBytes) return 0;
  Check(bytes.first(kFrameHeaderBytes));
  FrameBytes repaired;
  FrameHeader header;
  kdn::ByteReader fields(bytes.subspan(2));
  header.type = fields.Integer<FrameType>();
  header.code = kdn::CodeFromNumber(fields.Integer<std::uint8_t>());
  header.call = fields.Integer<std::uint32_t>();
  header.piece = fields.Integer<std::uint32_t>();
  header.size = fields.Integer<std::uint32_t>();
  header.offset = fields.Integer<std::uint64_t>();
  header.size_a = fields.Integer<std::uint64_t>();
  header.size_b = fields.Integer<std::uint64_t>();
  header.remaining_us = fields.Integer<std::uint64_t>();
  Seal(header, {}, repaired);
  Check(repaired);
  return 0;
}

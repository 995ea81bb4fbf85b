#include "transport/frame.h"

#include <xxhash.h>

#include <algorithm>
#include <cstring>

namespace kdn::transport {
namespace {

constexpr std::uint16_t kFrameMagic = 0x464B;  // "KF"
constexpr std::size_t kChecksumAt = kFrameHeaderBytes - sizeof(std::uint64_t);

template <class T>
void Put(FrameBytes& out, std::size_t& at, T value) {
  for (std::size_t i = 0; i < sizeof(T); ++i) {
    out[at++] = static_cast<std::byte>(static_cast<std::uint64_t>(value) >> (8 * i));
  }
}

std::uint64_t ChecksumOf(ConstBytes header, ConstBytes body) {
  const std::uint64_t of_header = XXH3_64bits(header.data(), kChecksumAt);
  if (body.empty()) return of_header;
  return XXH3_64bits_withSeed(body.data(), body.size(), of_header);
}

bool IsSharedBulk(const FrameHeader& header) {
  const SharedBulk bulk = UnpackSharedBulk(header.piece);
  if (bulk.region == 0) return bulk.gate == 0 && header.offset == 0;
  // One run of bytes, and so one direction.
  return bulk.region <= kSharedRegionsMax && bulk.gate < kSharedGatesMax &&
         (header.size_a == 0) != (header.size_b == 0);
}

bool SizesAreInBounds(const FrameHeader& header) {
  const auto is = [&](FrameType type) { return header.type == type; };
  if (!is(FrameType::kRequest) && (header.size_b != 0 || header.remaining_us != 0)) return false;
  switch (header.type) {
    case FrameType::kRequest:
      return header.size <= limits::kRequestBytesMax && header.size_a <= limits::kBulkBytesMax &&
             header.size_b <= limits::kBulkBytesMax && IsSharedBulk(header);
    case FrameType::kResponse:
      return header.size <= limits::kResponseBytesMax && header.size_a == 0 && header.offset == 0 &&
             header.piece == 0;
    case FrameType::kSlice:
      return header.size > 0 && header.size <= kSliceBytesMax && header.size_a == 0 &&
             header.offset <= limits::kBulkBytesMax - header.size;
    case FrameType::kPieceEnd:
    case FrameType::kPull:
      return header.size == 0 && header.size_a <= limits::kPieceBytesMax &&
             header.offset <= limits::kBulkBytesMax - header.size_a;
    case FrameType::kCancel:
    case FrameType::kGoodbye:
      return header.size == 0 && header.size_a == 0 && header.offset == 0 && header.piece == 0;
  }
  return false;
}

}  // namespace

void Seal(const FrameHeader& header, ConstBytes body, FrameBytes& out) {
  std::size_t at = 0;
  Put(out, at, kFrameMagic);
  Put(out, at, static_cast<std::uint8_t>(header.type));
  Put(out, at, static_cast<std::uint8_t>(header.code));
  Put(out, at, header.call);
  Put(out, at, header.piece);
  Put(out, at, header.size);
  Put(out, at, header.offset);
  Put(out, at, header.size_a);
  Put(out, at, header.size_b);
  Put(out, at, header.remaining_us);
  Put(out, at, ChecksumOf(out, HasMessageBody(header.type) ? body : ConstBytes{}));
}

std::optional<FrameHeader> OpenFrame(ConstBytes bytes) {
  ByteReader in(bytes);
  FrameHeader header;
  const auto magic = in.Integer<std::uint16_t>();
  header.type = in.Integer<FrameType>();
  header.code = CodeFromNumber(in.Integer<std::uint8_t>());
  header.call = in.Integer<std::uint32_t>();
  header.piece = in.Integer<std::uint32_t>();
  header.size = in.Integer<std::uint32_t>();
  header.offset = in.Integer<std::uint64_t>();
  header.size_a = in.Integer<std::uint64_t>();
  header.size_b = in.Integer<std::uint64_t>();
  header.remaining_us = in.Integer<std::uint64_t>();
  header.checksum = in.Integer<std::uint64_t>();
  if (!in.AtEnd() || magic != kFrameMagic || !SizesAreInBounds(header)) return std::nullopt;
  if (!HasMessageBody(header.type) && header.checksum != ChecksumOf(bytes, {})) {
    return std::nullopt;
  }
  return header;
}

bool BodyIsIntact(ConstBytes bytes, ConstBytes body) {
  ByteReader checksum(bytes.subspan(kChecksumAt));
  return checksum.Integer<std::uint64_t>() == ChecksumOf(bytes, body);
}

}  // namespace kdn::transport

// An object from bytes that anyone may have written: refused, or all of it is covered by checksums,
// so that no single change of it verifies. Tried as it is and with all checksums put right.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "proto/object/object.h"
#include "tests/proto/object/repair.h"

namespace {

void Check(std::vector<std::byte> bytes, std::size_t position) {
  const kdn::Result<kdn::ObjectLayout> layout = kdn::LayoutOf(bytes);
  const kdn::Result<kdn::ObjectDigest> digest = kdn::VerifyObject(bytes);
  if (!digest) {
    const kdn::Code code = digest.error().code();
    if (code != kdn::Code::kDataLoss && code != kdn::Code::kUnimplemented) std::abort();
    return;
  }
  if (!layout || bytes.size() > layout->size_bytes) std::abort();
  bytes[position % bytes.size()] ^= std::byte{0x04};
  if (kdn::VerifyObject(bytes)) std::abort();
}

std::vector<std::byte> Repaired(std::vector<std::byte> bytes) {
  if (bytes.size() < kdn::kObjectHeaderBytes) return bytes;
  kdn::test::RepairHeader(bytes);
  const kdn::Result<kdn::ObjectLayout> layout = kdn::LayoutOf(bytes);
  if (!layout) return bytes;
  for (std::size_t level = 0; level < kdn::kLevelCount; ++level) {
    const std::uint64_t offset = layout->offset[level];
    if (offset == 0 || offset > bytes.size()) continue;
    const std::size_t size =
        std::min<std::size_t>(bytes.size() - offset, layout->header.level_bytes[level]);
    kdn::test::RepairTiles(kdn::MutableBytes(bytes).subspan(offset, size),
                           kdn::TagOf(layout->header));
  }
  return bytes;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const kdn::ConstBytes bytes = std::as_bytes(std::span(data, size));
  std::vector<std::byte> object(bytes.begin(), bytes.end());
  const std::size_t position = size < 2 ? 0 : data[0] + 256 * std::size_t{data[size - 1]};
  Check(object, position);
  Check(Repaired(std::move(object)), position);
  return 0;
}

// An index from bytes that anyone may have written: refused, or it means exactly those bytes and
// its tiles lie one after the other within bounds.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "base/limits.h"
#include "proto/object/segment.h"
#include "tests/proto/object/golden_cases.h"
#include "tests/proto/object/repair.h"

namespace {

void Check(kdn::ConstBytes bytes, const kdn::ObjectTag& tag) {
  const kdn::Result<kdn::SegmentIndex> index = kdn::DecodeIndex(bytes, tag);
  if (!index) {
    if (index.error().code() != kdn::Code::kDataLoss) std::abort();
    return;
  }
  std::uint64_t offset = 0;
  for (const kdn::TileEntry& tile : index->tiles) {
    if (tile.offset != offset || tile.at.level != index->level) std::abort();
    offset += tile.size_bytes;
  }
  if (offset > kdn::limits::kSegmentBytesMax || offset != index->TileBytes()) std::abort();
  const std::vector<std::byte> again = kdn::EncodeIndex(*index, tag);
  if (again.size() > bytes.size()) std::abort();
  if (!std::equal(again.begin(), again.end(), bytes.begin())) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const kdn::ObjectTag tag = kdn::test::GoldenTag();
  const kdn::ConstBytes bytes = std::as_bytes(std::span(data, size));
  Check(bytes, tag);
  std::vector<std::byte> repaired(bytes.begin(), bytes.end());
  kdn::test::RepairIndex(repaired, tag);
  Check(repaired, tag);
  return 0;
}

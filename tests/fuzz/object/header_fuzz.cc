// A header from bytes that anyone may have written: refused, or it means exactly those bytes. Tried
// as they are and with the checksum put right, or no mutation would come past it.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "proto/object/header.h"
#include "tests/proto/object/repair.h"

namespace {

void Check(kdn::ConstBytes bytes) {
  const kdn::Result<kdn::ObjectHeader> header = kdn::DecodeHeader(bytes);
  if (!header) {
    const kdn::Code code = header.error().code();
    if (code != kdn::Code::kDataLoss && code != kdn::Code::kUnimplemented) std::abort();
    return;
  }
  const kdn::HeaderBytes again = kdn::EncodeHeader(*header);
  if (!std::equal(again.begin(), again.end(), bytes.begin())) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const kdn::ConstBytes bytes = std::as_bytes(std::span(data, size));
  Check(bytes);
  if (size < kdn::kObjectHeaderBytes) return 0;
  std::vector<std::byte> repaired(bytes.begin(), bytes.end());
  kdn::test::RepairHeader(repaired);
  Check(repaired);
  return 0;
}

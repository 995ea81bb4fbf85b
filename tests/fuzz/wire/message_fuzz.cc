// A data-plane message from bytes that anyone may have written: it is refused, or it means exactly
// those bytes.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <span>

#include "tests/proto/wire/message_cases.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const kdn::test::MessageCase& message = kdn::test::FindMessageCase(KDN_MESSAGE);
  const kdn::ConstBytes bytes = std::as_bytes(std::span(data, size));
  const std::optional<kdn::wire::Buffer> again = message.reencode(bytes);
  if (again && !std::equal(again->begin(), again->end(), bytes.begin(), bytes.end())) std::abort();
  return 0;
}

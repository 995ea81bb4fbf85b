// One full example of every data-plane message, and decoding by name: what golden, round-trip and
// fuzz tests run over.
//
// Thread-safety: pure functions.
#pragma once

#include <optional>
#include <span>
#include <string_view>

#include "base/bytes.h"
#include "proto/wire/message.h"

namespace kdn::test {

struct MessageCase {
  std::string_view name;  // of the golden file, "lookup_request"
  bool has_head;
  // Every field set, every list of more than one element.
  wire::Buffer (*sample)();
  // What Encode() makes of what Decode() read; nullopt if it refused with kInvalidArgument. Aborts
  // on any other code.
  std::optional<wire::Buffer> (*reencode)(ConstBytes bytes);
};

[[nodiscard]] std::span<const MessageCase> MessageCases();
// Aborts if there is no such message.
[[nodiscard]] const MessageCase& FindMessageCase(std::string_view name);

}  // namespace kdn::test

// Ids for profiles of tests and benches, which nobody stores: any number does that is not zero.
//
// Thread-safety: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/ids.h"

namespace kdn::codec {

[[nodiscard]] inline ProfileId NumberedProfileId(std::uint64_t number) {
  ProfileId id;
  id.bytes[0] = std::byte{9};
  for (std::size_t i = 0; i < sizeof(number); ++i) {
    id.bytes[1 + i] = static_cast<std::byte>(number >> (8 * i));
  }
  return id;
}

}  // namespace kdn::codec

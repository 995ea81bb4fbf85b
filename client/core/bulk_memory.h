// Memory that compressed bytes pass through on their way in and out, however it came to be.
//
// Thread-safety: immutable after construction; the bytes are the user's business.
#pragma once

#include <cstddef>
#include <memory>

#include "base/bytes.h"
#include "base/result.h"

namespace kdn::client {

class BulkMemory {
 public:
  virtual ~BulkMemory() = default;
  [[nodiscard]] virtual MutableBytes bytes() const = 0;
};

// Pages of this process alone, which take no memory before they are touched. kResourceExhausted if
// they cannot be had.
[[nodiscard]] Result<std::unique_ptr<BulkMemory>> MapPrivateMemory(std::size_t size_bytes);

}  // namespace kdn::client

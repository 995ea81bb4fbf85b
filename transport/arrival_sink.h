// Told of a call's bulk while it comes, so that what is done with all of it anyway, such as its
// checksum, is done while the caches have it.
#pragma once

#include <cstddef>

namespace kdn::transport {

class ArrivalSink {
 public:
  virtual ~ArrivalSink() = default;
  // Bytes [offset, offset + size_bytes) of the call's window are there: of a piece that may not be
  // whole yet, and is told of in any case once it is. They do not change any more. Called by one
  // thread after another, which need not be the one that polls.
  virtual void OnArrived(std::size_t offset, std::size_t size_bytes) = 0;
};

}  // namespace kdn::transport

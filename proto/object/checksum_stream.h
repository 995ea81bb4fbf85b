// Checksums of bytes that do not lie in one run.
#pragma once

#include <memory>

#include "base/bytes.h"
#include "base/ids.h"
#include "proto/object/segment.h"

namespace kdn {

// ChecksumOf() bytes that come one run after another: none is copied together first.
//
// Thread-safety: not safe; caller synchronises.
class ChecksumStream {
 public:
  ChecksumStream();
  ~ChecksumStream();
  ChecksumStream(ChecksumStream&&) noexcept;
  ChecksumStream& operator=(ChecksumStream&&) noexcept;

  // Forgets what was added.
  void Reset();
  void Add(ConstBytes bytes);
  // ChecksumOf() all that was added since the last Reset(); more may be added after.
  [[nodiscard]] Checksum Sum() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// VerifyTile() of a tile whose bytes were not at hand together: `bytes` is ChecksumOf() them, and
// their number is known to be entry.size_bytes.
[[nodiscard]] bool VerifyTileSum(const ObjectTag& tag, const TileEntry& entry,
                                 const Checksum& bytes);

}  // namespace kdn

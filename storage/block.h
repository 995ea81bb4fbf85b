// Bytes in the arena: one put's whole object, or one segment that was read back from disk. Frees
// its runs when it goes.
//
// Thread-safety: owned by one shard, which alone makes, trims and drops blocks. While it keeps one
// untrimmed, other threads may fill or read its bytes.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "base/bytes.h"
#include "storage/arena.h"

namespace kdn::storage {

class Block {
 public:
  // Null if the arena has no room that `wanted` is content with. Requires: size_bytes > 0; the
  // arena outlives the block.
  static std::shared_ptr<Block> Make(Arena& arena, std::size_t size_bytes,
                                     Runs wanted = Runs::kAny);
  ~Block() { arena_.Free(runs_); }
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;

  [[nodiscard]] std::size_t size() const { return size_bytes_; }

  // Appends bytes [offset, offset + size_bytes) to `out`, as few runs as there are. A run that
  // continues the last one of `out` is joined to it if that is not older than `out[joinable]`.
  // Requires: the range lies in the block.
  template <class Bytes>
  void Append(std::size_t offset, std::size_t size_bytes, std::vector<Bytes>& out,
              std::size_t joinable = 0) const;

  // Bytes [offset, offset + size_bytes) in one piece: a view if they lie so, else copied into
  // `scratch`. Valid until either changes. Requires: the range lies in the block.
  [[nodiscard]] ConstBytes Gather(std::size_t offset, std::size_t size_bytes,
                                  std::vector<std::byte>& scratch) const;

  // Gives up all behind the first `size_bytes`. Requires: 0 < size_bytes, nobody uses the rest.
  void Trim(std::size_t size_bytes);

 private:
  Block(Arena& arena, std::vector<MutableBytes> runs, std::size_t size_bytes);
  // The run that holds `offset`.
  [[nodiscard]] std::size_t RunAt(std::size_t offset) const;

  Arena& arena_;
  std::vector<MutableBytes> runs_;
  std::vector<std::size_t> begins_;  // of each run, within the block
  std::size_t size_bytes_;
};

// Shared by the levels of an object, the reads that lend its bytes out and the disk's jobs over
// them: whichever of the shard's tables lets go last frees it.
using BlockRef = std::shared_ptr<Block>;

template <class Bytes>
void Block::Append(std::size_t offset, std::size_t size_bytes, std::vector<Bytes>& out,
                   std::size_t joinable) const {
  for (std::size_t run = size_bytes > 0 ? RunAt(offset) : 0; size_bytes > 0; ++run) {
    const std::size_t skipped = offset - begins_[run];
    const std::size_t taken = std::min(size_bytes, runs_[run].size() - skipped);
    const MutableBytes bytes = runs_[run].subspan(skipped, taken);
    if (out.size() > joinable && out.back().data() + out.back().size() == bytes.data()) {
      out.back() = Bytes(out.back().data(), out.back().size() + taken);
    } else {
      out.push_back(bytes);
    }
    offset += taken;
    size_bytes -= taken;
  }
}

}  // namespace kdn::storage

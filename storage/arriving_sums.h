// The checksums of an object's tiles, summed while it arrives and lies in the caches: the check of
// the whole object then has nothing left to read but its indices.
//
// Thread-safety: not safe; caller synchronises.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "proto/object/checksum_stream.h"
#include "proto/object/header.h"
#include "proto/object/segment.h"
#include "storage/block.h"

namespace kdn::storage {

class ArrivingSums {
 public:
  // The first `bytes` of the block are there, and stay as they are. What makes no sense is not
  // summed; the check says what is wrong.
  void Advance(const Block& block, std::size_t bytes);
  // How many of the block's first bytes have been looked at.
  [[nodiscard]] std::size_t seen() const { return seen_; }
  // Bytes that were looked at may change: nothing is known, for good.
  void GiveUp();

  // ChecksumOf() the tile of `size_bytes` at `offset` of the block, if it was summed.
  [[nodiscard]] std::optional<Checksum> Find(std::size_t offset, std::size_t size_bytes) const;

 private:
  struct Tile {
    std::size_t begin = 0;
    std::size_t end = 0;
    Checksum sum;
  };
  enum class Step : std::uint8_t { kGoOn, kWait, kGiveUp };
  [[nodiscard]] Step ReadHeader(const Block& block);
  [[nodiscard]] Step ReadIndex(const Block& block);
  [[nodiscard]] Step SumTile(const Block& block);

  bool given_up_ = false;
  std::size_t seen_ = 0;
  std::optional<ObjectHeader> header_;
  std::size_t segment_ = 0;  // where the one at hand begins, or the next one
  std::size_t level_ = 0;    // of the segment at hand: what is next in Levels()
  bool in_tiles_ = false;    // the segment's index has been read: tiles_ from next_ on are its own
  std::vector<Tile> tiles_;  // by offset; those before next_ are summed
  std::size_t next_ = 0;
  std::size_t summed_ = 0;  // of the block: bytes before it are in a sum
  ChecksumStream stream_;
  std::vector<ConstBytes> runs_;
  std::vector<std::byte> scratch_;
};

}  // namespace kdn::storage

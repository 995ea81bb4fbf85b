// The checksums of a read's tiles, summed as their bytes come and lie in the caches, instead of in
// a pass of its own afterwards. Knows the layout of a read's answer (proto/wire/read.h) and
// believes nothing of it: a tile's sum is of the bytes that lie where the entries say, and whoever
// asks for it compares it.
//
// Thread-safety: OnArrived() is for one thread at a time. SumOf() is safe beside it for tiles whose
// piece has been told of as whole.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "base/bytes.h"
#include "base/limits.h"
#include "proto/object/checksum_stream.h"
#include "proto/object/header.h"
#include "transport/arrival_sink.h"

namespace kdn::client {

// Windows from this size on are summed as they fill: of smaller ones the caches have all until the
// end, and telling of them costs more than it saves.
inline constexpr std::size_t kSummedWindowMin = 512 * limits::kKiB;

class TileSums final : public transport::ArrivalSink {
 public:
  // How many entries follow this header; 0 if it is not the one that was asked for.
  using CountEntries = std::function<std::size_t(const ObjectHeader&)>;

  // `window` stays where it is. `count_entries` is called by who calls OnArrived().
  TileSums(ConstBytes window, CountEntries count_entries)
      : window_(window), count_entries_(std::move(count_entries)) {}

  void OnArrived(std::size_t offset, std::size_t size_bytes) override;

  // ChecksumOf() the bytes of tile number `entry`; nothing if they came in another way than from
  // the first byte to the last, or their front makes no sense.
  [[nodiscard]] std::optional<Checksum> SumOf(std::uint32_t entry) const {
    return entry < sums_.size() ? sums_[entry] : std::nullopt;
  }

 private:
  [[nodiscard]] bool Plan();
  [[nodiscard]] bool PlanTiles();
  void SumTiles();

  const ConstBytes window_;
  const CountEntries count_entries_;
  bool given_up_ = false;
  std::size_t arrived_ = 0;        // bytes from the window's beginning
  std::size_t front_bytes_ = 0;    // header and entries; 0: the header is not here yet
  std::vector<std::size_t> ends_;  // of each tile, in the window
  std::size_t tile_ = 0;           // the first that is not summed
  std::size_t summed_ = 0;         // bytes up to here are in a sum
  ChecksumStream stream_;          // of tile_
  std::vector<std::optional<Checksum>> sums_;
};

}  // namespace kdn::client

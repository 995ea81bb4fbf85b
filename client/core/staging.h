// The memory through which compressed bytes pass on their way in and out: one region, registered
// with the transport once, handed out in contiguous runs. It bounds what a client has in flight;
// who finds it empty waits for its turn.
//
// Stores may hold three quarters of it, or one run: a store keeps its memory for as long as a node
// does not answer, and reads, which somebody waits for, have other nodes to go to meanwhile.
//
// Thread-safety: owned by the I/O loop; the bytes of a run may be read and written by others.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>

#include "base/bytes.h"
#include "client/core/bulk_memory.h"

namespace kdn::client {

enum class StagingUse : std::uint8_t { kRead, kStore };

class StagingPool {
 public:
  // `memory` begins at a page.
  explicit StagingPool(std::unique_ptr<BulkMemory> memory);
  StagingPool(const StagingPool&) = delete;
  StagingPool& operator=(const StagingPool&) = delete;

  // What a run of `size_bytes` takes of the pool: whole pages.
  [[nodiscard]] static std::size_t Rounded(std::size_t size_bytes);

  // Gives `ready` a run of `size_bytes`, now or when one is free, first come first served, but that
  // reads do not wait for what stores hold; an empty run if the size is larger than the whole pool.
  void Take(std::size_t size_bytes, StagingUse use, std::function<void(MutableBytes run)> ready);
  // A run for a read, if one is free at once and no read waits for one; else an empty run.
  [[nodiscard]] MutableBytes TakeNow(std::size_t size_bytes);
  // Requires: `run` came from Take() for the same use, or from TakeNow() for a read, and is given
  // back once. Empty runs are ignored.
  void Give(MutableBytes run, StagingUse use);

 private:
  [[nodiscard]] bool BeyondShare(std::size_t rounded, StagingUse use) const;
  MutableBytes TryTake(std::size_t size_bytes, StagingUse use);
  void ServeWaiting();
  [[nodiscard]] bool ServeFirst();

  struct Waiting {
    std::size_t size_bytes;
    StagingUse use;
    std::function<void(MutableBytes)> ready;
  };
  std::unique_ptr<BulkMemory> owned_;
  MutableBytes memory_;
  std::map<std::size_t, std::size_t> free_;  // offset -> size; neighbours are merged
  std::array<std::size_t, 2> held_bytes_{};  // by StagingUse
  std::deque<Waiting> waiting_;
  bool serving_ = false;
};

}  // namespace kdn::client

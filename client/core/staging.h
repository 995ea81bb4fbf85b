// The memory through which compressed bytes pass on their way in and out: one region, registered
// with the transport once, handed out in contiguous runs. It bounds what a client has in flight;
// who finds it empty waits for its turn.
//
// Thread-safety: owned by the I/O loop; the bytes of a run may be read and written by others.
#pragma once

#include <cstddef>
#include <deque>
#include <functional>
#include <map>
#include <memory>

#include "base/bytes.h"
#include "client/core/bulk_memory.h"

namespace kdn::client {

class StagingPool {
 public:
  // `memory` begins at a page.
  explicit StagingPool(std::unique_ptr<BulkMemory> memory);
  StagingPool(const StagingPool&) = delete;
  StagingPool& operator=(const StagingPool&) = delete;

  // What a run of `size_bytes` takes of the pool: whole pages.
  [[nodiscard]] static std::size_t Rounded(std::size_t size_bytes);

  // Gives `ready` a run of `size_bytes`, now or when one is free, first come first served; an empty
  // run if the size is larger than the whole pool.
  void Take(std::size_t size_bytes, std::function<void(MutableBytes run)> ready);
  // A run if one is free at once and nobody waits for one; else an empty run.
  [[nodiscard]] MutableBytes TakeNow(std::size_t size_bytes);
  // Requires: `run` came from Take() or TakeNow() and is given back once. Empty runs are ignored.
  void Give(MutableBytes run);

 private:
  MutableBytes TryTake(std::size_t size_bytes);
  void ServeWaiting();

  struct Waiting {
    std::size_t size_bytes;
    std::function<void(MutableBytes)> ready;
  };
  std::unique_ptr<BulkMemory> owned_;
  MutableBytes memory_;
  std::map<std::size_t, std::size_t> free_;  // offset -> size; neighbours are merged
  std::deque<Waiting> waiting_;
  bool serving_ = false;
};

}  // namespace kdn::client

// A server's side of shared memory: what clients of its host have shown it, mapped within bounds,
// and where in it the bulk of a call lies.
//
// Thread-safety: a MappingTable is safe; the rest is immutable after construction.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "transport/channel.h"
#include "transport/frame.h"
#include "transport/shm/gate.h"
#include "transport/shm/offer.h"
#include "transport/shm/shared_memory.h"

namespace kdn::transport::shm {

// Which process an offer came from, as the kernel says it.
struct Owner {
  uid_t user = 0;
  pid_t process = 0;
  friend auto operator<=>(const Owner&, const Owner&) = default;
};

class MappingTable;

// A client's memory as it is mapped here; ends with the last connection that it was shown to.
class ClientMemory {
 public:
  ClientMemory(MappingTable& table, Owner owner, Mapping mapping)
      : table_(table), owner_(owner), mapping_(std::move(mapping)) {}
  ClientMemory(const ClientMemory&) = delete;
  ClientMemory& operator=(const ClientMemory&) = delete;
  ~ClientMemory();
  [[nodiscard]] MutableBytes bytes() const { return mapping_.bytes(); }

 private:
  MappingTable& table_;
  const Owner owner_;
  Mapping mapping_;
};

// What the servers of one domain have mapped: each memory once, however many connections and shards
// it is shown to.
class MappingTable {
 public:
  // `options` outlives it, and it outlives what it maps.
  explicit MappingTable(const SharedMemoryOptions& options) : options_(options) {}

  // kInvalidArgument for a descriptor that could do harm, kResourceExhausted beyond the bounds.
  // Shared: by the connections that it was shown to.
  [[nodiscard]] Result<std::shared_ptr<const ClientMemory>> Map(int fd, std::uint64_t size_bytes,
                                                                Owner owner);
  [[nodiscard]] std::uint64_t bytes() const;

 private:
  friend class ClientMemory;
  void Forget(Owner owner, std::uint64_t size_bytes);

  const SharedMemoryOptions& options_;
  mutable std::mutex mutex_;
  std::uint64_t bytes_ = 0;  // guarded by mutex_, as all that follows
  std::map<Owner, std::uint64_t> bytes_of_;
  // By owner, device and inode.
  std::map<std::pair<Owner, std::pair<dev_t, ino_t>>, std::weak_ptr<const ClientMemory>> known_;
};

// The bulk of one call, in memory of the client's. Its bytes may change at any time: nothing is
// decided by what is read there, only by a copy of it.
struct SharedPlace {
  std::byte* begin = nullptr;  // null: there is none
  std::size_t size_bytes = 0;
  GateWord* gate = nullptr;
  std::uint64_t key = 0;

  [[nodiscard]] bool valid() const { return begin != nullptr; }
  // Copies all of `from` to `offset`, or from there into all of `into`. False: the call has ended
  // at its caller, and what was copied counts for nothing. Requires: it lies inside.
  [[nodiscard]] bool Write(std::size_t offset, std::span<const ConstBytes> from) const;
  [[nodiscard]] bool Read(std::size_t offset, std::span<const MutableBytes> into) const;
};

// Everything that came with one offer: gates and regions.
class OfferedMemory {
 public:
  // `fds`: of the gates, then of the regions.
  static Result<std::shared_ptr<const OfferedMemory>> Map(const MemoryOffer& offer,
                                                          std::span<const Fd> fds, Owner owner,
                                                          MappingTable& table);

  // Where the bulk of a request lies that came on connection number `connection` of the offer;
  // nothing if it does not lie inside what was offered.
  [[nodiscard]] std::optional<SharedPlace> Find(const FrameHeader& request,
                                                std::uint32_t connection) const;

 private:
  std::shared_ptr<const ClientMemory> gates_;
  std::vector<std::shared_ptr<const ClientMemory>> regions_;
};

}  // namespace kdn::transport::shm

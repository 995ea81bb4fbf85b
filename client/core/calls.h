// The seam between what the client does and who answers it: requests of proto/wire, each answered
// once. client/remote sends them to a cluster; client/embedded answers them in this process from
// storage. What a request means to the engine is not known here.
//
// Thread-safety: owned by the I/O loop; callbacks run on its thread, never inside Start().
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/ids.h"
#include "base/status.h"
#include "client/core/bulk_memory.h"

namespace kdn::client {

enum class CallId : std::uint64_t {};

// Whom a request is for: the coordinator, or the shard of a node that listens at `endpoint`.
struct CallTarget {
  NodeId node{};         // 0: the coordinator
  std::string endpoint;  // of the node's shard

  [[nodiscard]] bool IsCoordinator() const { return node == NodeId{}; }
};

struct CallRequest {
  CallTarget target;
  std::vector<std::byte> request;
  std::vector<ConstBytes> send_bulk;  // stays as it is until `done`
  MutableBytes window;                // filled piece by piece until `done`
  TimePoint deadline;
  // There is nobody else to ask: tries even a peer that was out of reach a moment ago.
  bool insist = false;
  // Bytes [offset, offset + size) of the window are there. May be empty.
  std::function<void(std::size_t offset, std::size_t size_bytes)> piece;
  // Comes exactly once, at the latest at the deadline; bulk memory is not touched after it.
  std::function<void(Code code, ConstBytes response)> done;
};

class Calls {
 public:
  virtual ~Calls() = default;  // `done` comes for all calls under way, with kCancelled

  // Requires: `done` is set, sizes are inside base/limits.h.
  virtual CallId Start(CallRequest request) = 0;
  // `done` comes soon, with kCancelled unless the call has ended. Unknown ids are ignored.
  virtual void Cancel(CallId id) = 0;
  // Whether a node's shard is known to be out of reach just now: another replica is better.
  [[nodiscard]] virtual bool Avoid(const CallTarget& target) const = 0;
  // When bytes last came from there, be it for another call; the zero time: never.
  [[nodiscard]] virtual TimePoint LastHeard(const CallTarget& target) const = 0;
  // Whether the coordinator answers. Safe from any thread.
  [[nodiscard]] virtual bool Connected() const = 0;

  // Runs callbacks of what has happened. True if anything did.
  virtual bool Poll() = 0;
  // Readable when Poll() has something to do.
  [[nodiscard]] virtual int WaitFd() const = 0;

  // Memory from which and into which bulk may be moved, `size_bytes` rounded up to pages, each of
  // them for one call at a time. Called once, before any Start(). kResourceExhausted if it cannot
  // be had.
  virtual Result<std::unique_ptr<BulkMemory>> MakeMemory(std::size_t size_bytes) = 0;
};

}  // namespace kdn::client

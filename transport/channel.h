// Calls to peers that answer. A call is a small request and response, plus bulk memory that moves
// without a copy made here. Nothing that includes this header knows verbs from sockets, or what the
// bytes mean.
//
// The peer moves the bulk: by RDMA it reads and writes the memory that this call offered, on TCP
// the bytes follow the message. It holds no key to that memory beyond this call.
//
// Thread-safety: a Domain is safe. A Channel belongs to the thread that polls it; it never blocks,
// and unless Options::threads allows more, nobody else has a part in it. A Server and its Exchanges
// likewise.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/ids.h"
#include "base/log.h"
#include "base/random.h"
#include "base/result.h"

namespace kdn::transport {

// No call lives longer, whatever its deadline: a peer cannot make another hold on to memory for it.
inline constexpr std::chrono::seconds kCallTimeMax{60};

struct Call {
  std::uint64_t tag = 0;  // returned in every Event; unique among the channel's calls
  ConstBytes request;     // at most limits::kRequestBytesMax; copied by Submit()
  std::span<const ConstBytes> send_bulk;  // read by the peer as if it were one run of bytes; the
                                          // outer span is copied, the bytes stay until kDone
  MutableBytes receive_bulk;              // a window that the peer fills, piece by piece
  TimePoint deadline;
};

enum class EventKind : std::uint8_t { kPiece, kDone };

struct Event {
  std::uint64_t tag = 0;
  EventKind kind = EventKind::kDone;
  Code code = Code::kOk;       // of kDone; a piece that arrived is whole
  std::uint32_t piece = 0;     // of kPiece: its number, as the peer counts
  std::size_t offset = 0;      // of kPiece: where in receive_bulk it lies
  std::size_t size_bytes = 0;  // of kPiece
  ConstBytes response{};       // of kDone; valid until the next Poll()
};

class Channel {
 public:
  virtual ~Channel() = default;

  // Starts the call, or none of it. kResourceExhausted means that the queue is full: Poll() and try
  // again. kUnavailable: the peer is gone; open another channel. A call that was started yields
  // exactly one kDone, also when the peer dies, and at the latest at its deadline or kCallTimeMax
  // from now; after that event its bulk memory is not touched again. Requires: bulk memory is
  // registered with the domain.
  virtual Status Submit(const Call& call) = 0;

  // Ends the call early unless it has ended: its kDone, of kCancelled, comes within 10 ms.
  virtual void Cancel(std::uint64_t tag) = 0;

  // Moves what has happened into `events` and returns how many. Pieces may arrive in any order.
  virtual std::size_t Poll(std::span<Event> events) = 0;

  // Readable when Poll() has something to say, deadlines included; for callers that would rather
  // wait than spin.
  [[nodiscard]] virtual int WaitFd() const = 0;

  // Bytes that have come from the peer so far, as of the last Poll(); pieces that are not whole yet
  // counted in. It tells a peer that is slow from one that is silent.
  [[nodiscard]] virtual std::uint64_t BytesReceived() const = 0;

  // False once the peer is known to be gone, as of the last Poll(): Submit() only says so too.
  [[nodiscard]] virtual bool Alive() const = 0;
};

enum class MemoryKind : std::uint8_t { kHost, kDevice };

struct MemoryRegion {
  std::byte* address = nullptr;
  std::size_t size_bytes = 0;
  MemoryKind kind = MemoryKind::kHost;
  int device = 0;  // of kDevice: its ordinal
  // Of kHost: whence a process of this host can map the same memory from its first byte
  // (transport/shm/shared_memory.h), open until Unregister(); -1: it cannot. In such a region a
  // window that begins at a page owns whole pages: nobody else writes to the rest of its last one.
  int fd = -1;
};

enum class PeerRole : std::uint8_t { kClient = 0, kNode = 1, kCoordinator = 2, kAdmin = 3 };

// Who is at the other end, as proved in the Hello.
struct Peer {
  PeerRole role = PeerRole::kClient;
  TenantId tenant{};
  PeerId id;
  HostId host;
  std::uint16_t version = 0;  // of the protocol that both speak
};

// One call on the side that answers it. The bulk of both directions is moved from here, into and
// out of memory that stays registered and unchanged until OnMoved().
//
// Destroying it gives up the pieces that are in flight: their memory is not touched again and they
// report no OnMoved(). Unless it was finished and nothing was in flight, its caller gets kInternal.
// It may outlive its Server, and does nothing then.
class Exchange {
 public:
  virtual ~Exchange() = default;
  [[nodiscard]] virtual ConstBytes request() const = 0;
  [[nodiscard]] virtual const Peer& peer() const = 0;
  // When the caller gives up, by this side's clock.
  [[nodiscard]] virtual TimePoint deadline() const = 0;
  // What the caller offers: bytes it would send, and bytes it has room for.
  [[nodiscard]] virtual std::size_t send_bulk_bytes() const = 0;
  [[nodiscard]] virtual std::size_t receive_bulk_bytes() const = 0;

  // Moves `from`, as one piece, to `offset` of the caller's receive_bulk. Requires: at most
  // limits::kPieceBytesMax bytes, inside receive_bulk_bytes(). `piece` comes back in OnMoved() once
  // the memory may change again. The outer span is copied. Once the call is finished or abandoned
  // nothing moves any more, and OnMoved() says kCancelled; so with ReceivePiece().
  virtual void SendPiece(std::uint32_t piece, std::size_t offset,
                         std::span<const ConstBytes> from) = 0;
  // Moves bytes [offset, offset + size of `into`) of the caller's send_bulk here. Requires: at most
  // limits::kPieceBytesMax bytes, inside send_bulk_bytes(). The outer span is copied.
  virtual void ReceivePiece(std::uint32_t piece, std::size_t offset,
                            std::span<const MutableBytes> into) = 0;
  // Answers the call, after all pieces sent before; `response`, at most limits::kResponseBytesMax,
  // is copied. OnMoved() still comes for pieces in flight: kCancelled for those being received.
  virtual void Finish(Code code, ConstBytes response) = 0;
};

// What a daemon does with calls. Called from Server::Poll() and ~Server() only, never from inside a
// method of an Exchange; an Exchange may be used from there or, on the same thread, between polls.
class Service {
 public:
  virtual ~Service() = default;
  virtual void OnCall(std::unique_ptr<Exchange> call) = 0;
  // A piece of `call` has moved (kOk) or will never move; its memory is free again. Comes once for
  // every SendPiece() and ReceivePiece(), also when the caller is gone. `call` may be finished and
  // destroyed in it.
  virtual void OnMoved(Exchange& call, std::uint32_t piece, Code code) = 0;
  // The first `size_bytes` of a piece that is being received are there. Comes as often as the
  // transport likes, or never, before its OnMoved(); the call must not be used in it.
  virtual void OnArrived(Exchange& /*call*/, std::uint32_t /*piece*/, std::size_t /*size_bytes*/) {}
  // The caller cancelled, ran out of time, took nothing of what is sent to it for long, or died, or
  // the Server is being destroyed. Pieces in flight report OnMoved() after it, unless the call is
  // destroyed here; Finish() has no effect any more. Calls that are already finished get no
  // OnAbandoned().
  virtual void OnAbandoned(Exchange& call) = 0;
};

class Server {
 public:
  virtual ~Server() = default;  // ends every call with kUnavailable at its caller
  virtual std::size_t Poll() = 0;
  [[nodiscard]] virtual int WaitFd() const = 0;
  // Where it listens, with the port that the system chose if the endpoint's was 0.
  [[nodiscard]] virtual std::string endpoint() const = 0;
};

enum class HelloScheme : std::uint8_t { kNone = 0, kHmac = 1, kTls = 2 };

// Who this process says it is when it connects (docs/protocol.md, Hello).
struct Identity {
  ClusterId cluster;
  PeerRole role = PeerRole::kClient;
  TenantId tenant{};
  PeerId peer;
  HostId host;
  HelloScheme scheme = HelloScheme::kNone;
  // Of kHmac: the tenant's access secret, or the cluster's secret for daemons.
  std::vector<std::byte> secret;
};

// What a server asks to judge a Hello. Called on the polling thread, by loopback on the connecting
// one; must not block.
class Authenticator {
 public:
  virtual ~Authenticator() = default;
  // The access secret of this tenant, or of this role's daemons; empty if there is none.
  [[nodiscard]] virtual std::vector<std::byte> SecretOf(PeerRole role, TenantId tenant) const = 0;
  // Whether a peer may come without a proof. Asked only for connections over loopback.
  [[nodiscard]] virtual bool AllowsNone(PeerRole role, TenantId tenant) const = 0;
  // What the answer to a Hello carries.
  [[nodiscard]] virtual Epoch epoch() const = 0;
  [[nodiscard]] virtual std::uint64_t map_version() const = 0;
};

// What the channels of one process share: registered memory, devices, credentials. It outlives its
// channels and servers.
class Domain {
 public:
  virtual ~Domain() = default;

  // Lets memory be offered as bulk on every channel of this domain, once for all peers. The caller
  // keeps owning it, and keeps it alive until Unregister(), which waits for calls that use it.
  virtual Status Register(const MemoryRegion& region) = 0;
  virtual Status Unregister(const std::byte* address) = 0;

  // kUnavailable if nothing answers at `endpoint` by then, or its name is not found by then;
  // kUnauthenticated or kFailedPrecondition if the peer refuses the Hello. The only call that may
  // block, and not beyond `deadline`; over TCP, another thread must be polling the server
  // meanwhile.
  [[nodiscard]] virtual Result<std::unique_ptr<Channel>> Connect(std::string_view endpoint,
                                                                 const Identity& identity,
                                                                 TimePoint deadline) = 0;

  // Starts answering calls at `endpoint` ("host:port"). `service` and `authenticator` outlive the
  // Server.
  [[nodiscard]] virtual Result<std::unique_ptr<Server>> Listen(
      std::string_view endpoint, const ClusterId& cluster, const PeerId& self, Service& service,
      const Authenticator& authenticator) = 0;
};

// Memory shared with peers of the same host, in the place of sockets for bulk (docs/protocol.md).
struct SharedMemoryOptions {
  // Lets channels show the memory that is registered with a descriptor by then to peers of this
  // host, and servers take it from theirs.
  bool enabled = false;
  HostId host{};  // of servers: this one
  // Bytes of clients' memory that servers of the domain map at most: together, and of one process.
  std::uint64_t bytes_max = std::uint64_t{4} << 30;
  std::uint64_t process_bytes_max = std::uint64_t{1} << 30;
  // Whose processes may: of every user, or of this process's own, root and these.
  bool any_user = false;
  std::vector<std::uint32_t> users{};
};

struct Options {
  std::string kind = "tcp";              // a name in registry.cc
  std::uint32_t queue_depth = 256;       // calls per channel
  std::uint32_t connections = 0;         // per peer; 0: min(cores, 4)
  std::uint32_t connections_max = 4096;  // per server
  // That move bulk for a channel: 1 is who polls it, more are started by the domain (of TCP) and
  // shared by all its channels. A channel has at least as many connections.
  std::uint32_t threads = 1;
  // How long a thread of the domain's own looks for work before it sleeps: saves the time of a
  // wake-up and costs a core. For machines with cores to spare.
  std::chrono::microseconds spin{0};
  bool insecure = false;             // allows plaintext off loopback
  std::string congestion_control{};  // of TCP; empty: the system's
  // Of TCP: bytes a second that one connection sends at most, either side's own; 0: any number.
  std::uint64_t connection_rate_max = 0;
  SharedMemoryOptions shared_memory{};
};

// What Options::kind may be in this build.
[[nodiscard]] std::vector<std::string> DomainKinds();

// kNotFound if this build has no transport of options.kind. `clock`, `random` and `log` outlive
// the domain.
[[nodiscard]] Result<std::unique_ptr<Domain>> OpenDomain(const Options& options, const Clock& clock,
                                                         Random& random, Log& log);

}  // namespace kdn::transport

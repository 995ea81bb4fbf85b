// What transport tests run in: a domain for each side, a server on a thread of its own whose
// service a test writes as functions, and a client that waits for events instead of sleeping.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/log.h"
#include "base/random.h"
#include "transport/channel.h"
#include "transport/lanes/laned_channel.h"
#include "transport/lanes/mover.h"
#include "transport/shm/shared_memory.h"
#include "transport/wakeup.h"

namespace kdn::transport::test {

inline constexpr TenantId kTenant{7};

[[nodiscard]] ClusterId TestCluster();
[[nodiscard]] std::vector<std::byte> Bytes(std::string_view text);
// `count` bytes that differ from place to place and from seed to seed.
[[nodiscard]] std::vector<std::byte> Pattern(std::size_t count, std::uint64_t seed);
[[nodiscard]] bool Same(ConstBytes a, ConstBytes b);
[[nodiscard]] bool AllAre(ConstBytes bytes, std::byte value);

// Knows tenant kTenant by the secret "open sesame"; `none` is allowed to whom the test says.
class TestAuthenticator final : public Authenticator {
 public:
  bool allows_none = true;
  [[nodiscard]] std::vector<std::byte> SecretOf(PeerRole role, TenantId tenant) const override;
  [[nodiscard]] bool AllowsNone(PeerRole, TenantId) const override { return allows_none; }
  [[nodiscard]] Epoch epoch() const override { return Epoch{3}; }
  [[nodiscard]] std::uint64_t map_version() const override { return 12; }
};

[[nodiscard]] Identity ClientIdentity();  // scheme none
[[nodiscard]] Identity HmacIdentity(std::string_view secret, TenantId tenant = kTenant);

// Keeps every call until the test, on the server's thread, takes it; notes what it is told.
class TestService final : public Service {
 public:
  struct Moved {
    std::string request;
    std::uint32_t piece;
    Code code;
  };

  // Called on the server's thread, if set; the call is in `open` by then.
  std::function<void(Exchange&)> on_call;
  std::function<void(Exchange&, std::uint32_t, Code)> on_moved;
  std::function<void(Exchange&, std::uint32_t, std::size_t)> on_arrived;
  bool drop_on_abandoned = true;  // destroys abandoned calls

  void OnCall(std::unique_ptr<Exchange> call) override;
  void OnMoved(Exchange& call, std::uint32_t piece, Code code) override;
  void OnArrived(Exchange& call, std::uint32_t piece, std::size_t size_bytes) override {
    if (on_arrived) on_arrived(call, piece, size_bytes);
  }
  void OnAbandoned(Exchange& call) override;

  // On the server's thread.
  void Drop(Exchange& call) { open_.erase(&call); }
  [[nodiscard]] Exchange* Find(std::string_view request);
  [[nodiscard]] std::size_t open_count() const { return open_.size(); }

  // On any thread: blocks until it is so.
  void AwaitMoved(std::size_t count);
  void AwaitAbandoned(std::size_t count);
  void AwaitCalls(std::size_t count);
  [[nodiscard]] std::vector<Moved> moved();
  [[nodiscard]] std::size_t abandoned();

 private:
  void Await(const std::function<bool()>& what);

  std::map<Exchange*, std::unique_ptr<Exchange>> open_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Moved> moved_;
  std::size_t abandoned_ = 0;
  std::size_t calls_ = 0;
};

// A server and the thread that polls it.
class ServerThread {
 public:
  ServerThread(Domain& domain, Service& service, const Authenticator& authenticator,
               std::string_view endpoint = "127.0.0.1:0");
  ~ServerThread() { Stop(); }
  // Destroys the server, on its thread.
  void Stop();
  // Runs `task` between two polls and returns when it is done.
  void Run(const std::function<void()>& task);
  // Lets nothing happen on the server's thread until Resume().
  void Pause();
  void Resume();
  [[nodiscard]] const std::string& endpoint() const { return endpoint_; }

 private:
  void Loop();

  std::unique_ptr<Server> server_;
  std::string endpoint_;
  Signal wake_;
  std::mutex mutex_;
  std::condition_variable done_;
  std::deque<std::function<void()>> tasks_;  // guarded by mutex_
  bool stopping_ = false;                    // guarded by mutex_
  bool paused_ = false;                      // guarded by mutex_
  std::thread thread_;
};

// An event with what it referred to.
struct Seen {
  Event event;
  std::string response;
};

// Polls a channel and keeps what it says.
class Client {
 public:
  explicit Client(std::unique_ptr<Channel> channel) : channel_(std::move(channel)) {}
  [[nodiscard]] Channel& channel() { return *channel_; }
  void Close() { channel_.reset(); }

  // Polls, waiting on WaitFd(), until the call is done; fails the test after ten seconds.
  Seen AwaitDone(std::uint64_t tag);
  // The same until `count` pieces of any call are there.
  void AwaitPieces(std::size_t count);
  // Polls once without waiting.
  void PollOnce();
  [[nodiscard]] std::vector<Event> PiecesOf(std::uint64_t tag) const;
  [[nodiscard]] std::size_t piece_count() const { return pieces_.size(); }
  [[nodiscard]] bool IsDone(std::uint64_t tag) const { return done_.contains(tag); }

 private:
  void WaitAndPoll();

  std::unique_ptr<Channel> channel_;
  std::map<std::uint64_t, Seen> done_;
  std::vector<Event> pieces_;
};

// The two sides of one kind of transport: a name of the registry, "tcp_lanes" for TCP of which two
// lanes are polled by movers, "tcp_movers" for TCP of which all is, "shm" for TCP between sides
// that share memory, "shm_lanes" for both.
class World {
 public:
  explicit World(std::string_view kind, Options options = {});

  [[nodiscard]] Domain& client_domain() { return *client_; }
  [[nodiscard]] Domain& server_domain() { return *server_; }
  [[nodiscard]] Result<std::unique_ptr<Channel>> Connect(const std::string& endpoint,
                                                         const Identity& identity);
  // Memory that is registered with the client's domain; of "shm" at most twice, and 128 MiB each.
  [[nodiscard]] MutableBytes Memory(std::size_t size);
  Status Unregister(const std::byte* address);
  [[nodiscard]] TimePoint In(Duration duration) { return clock_.Now() + duration; }
  [[nodiscard]] const Clock& clock() const { return clock_; }

 private:
  SteadyClock clock_;
  SystemRandom random_;
  NullLog log_;
  bool only_movers_ = false;
  std::uint32_t queue_depth_ = 0;
  std::atomic<std::size_t> owner_calls_{0};
  RegionTable regions_;
  std::unique_ptr<lanes::Mover> mover_;
  std::unique_ptr<Domain> client_;
  std::unique_ptr<Domain> server_;
  std::vector<std::vector<std::byte>> memory_;
  std::vector<shm::SharedMemory> shared_;  // of "shm": registered before anybody connects
  std::size_t shared_used_ = 0;
};

}  // namespace kdn::transport::test

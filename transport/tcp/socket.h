// The few things TCP needs of the operating system: addresses, connecting with a deadline,
// listening, and zeros to send.
//
// Thread-safety: not safe; caller synchronises.
#pragma once

#include <sys/socket.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/result.h"
#include "transport/wakeup.h"

namespace kdn::transport::tcp {

struct Address {
  sockaddr_storage storage{};
  socklen_t size = 0;

  [[nodiscard]] bool IsLoopback() const;
  [[nodiscard]] std::string ToString() const;  // "127.0.0.1:7400", "[::1]:7400"
};

// Reads "host:port"; the host may be a name, an IPv4 address or an IPv6 address in brackets.
// kInvalidArgument for anything else, kUnavailable if the name does not resolve. May block on DNS,
// without a bound: who has a deadline asks a Resolver.
[[nodiscard]] Result<Address> Resolve(std::string_view endpoint);
// The same for a host in numbers; never blocks. kNotFound for a name.
[[nodiscard]] Result<Address> ResolveNumeric(std::string_view endpoint);

struct SocketOptions {
  std::string congestion_control;  // empty: the system's
  std::uint64_t rate_max = 0;      // bytes a second that are sent at most; 0: any number
};

// A connected socket, non-blocking and tuned. kUnavailable if there is none by `deadline`.
[[nodiscard]] Result<Fd> Dial(const Address& address, const SocketOptions& options,
                              const Clock& clock, TimePoint deadline);
// A listening socket, non-blocking, and where it listens.
[[nodiscard]] Result<Fd> ListenOn(const Address& address);
[[nodiscard]] Address LocalAddress(int fd);
[[nodiscard]] Address RemoteAddress(int fd);
// No delay for small messages, large buffers, dead peers noticed.
[[nodiscard]] Status Tune(int fd, const SocketOptions& options);
// kInvalidArgument if the system has none of this name for us; an empty one leaves it to the
// system.
[[nodiscard]] Status SetCongestionControl(int fd, const std::string& name);

// Waits until `fd` can be read (POLLIN) or written (POLLOUT). False at the deadline.
[[nodiscard]] bool WaitFor(int fd, short events, const Clock& clock, TimePoint deadline);

// Zeros to send in the place of bytes that were given up: one mapping that costs no memory.
class ZeroBlock {
 public:
  explicit ZeroBlock(std::size_t size_bytes);
  ZeroBlock(const ZeroBlock&) = delete;
  ZeroBlock& operator=(const ZeroBlock&) = delete;
  ~ZeroBlock();
  [[nodiscard]] void* data() const { return data_; }

 private:
  void* data_;
  std::size_t size_bytes_;
};

}  // namespace kdn::transport::tcp

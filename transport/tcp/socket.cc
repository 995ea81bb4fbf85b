#include "transport/tcp/socket.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>

namespace kdn::transport::tcp {
namespace {

constexpr int kSocketBufferBytes = 4 << 20;
constexpr int kBacklog = 512;
constexpr int kVanishedAfterMs = 15'000;

template <class T>
bool SetOption(int fd, int level, int name, const T& value) {
  return setsockopt(fd, level, name, &value, sizeof(value)) == 0;
}

// Beyond the system's limit if we may. Where we may not, a buffer of the limit's size would be
// smaller than what the kernel's own tuning reaches, so nothing is set.
void EnlargeBuffer(int fd, int option) {
  SetOption(fd, SOL_SOCKET, option, kSocketBufferBytes);
}

std::string ErrnoText() {
  return std::strerror(errno);
}

}  // namespace

bool Address::IsLoopback() const {
  if (storage.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(storage);
    return (ntohl(v4.sin_addr.s_addr) >> 24) == 127;
  }
  const auto& v6 = reinterpret_cast<const sockaddr_in6&>(storage);
  if (IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr)) return v6.sin6_addr.s6_addr[12] == 127;
  return IN6_IS_ADDR_LOOPBACK(&v6.sin6_addr);
}

std::string Address::ToString() const {
  char text[INET6_ADDRSTRLEN] = {};
  if (storage.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(storage);
    inet_ntop(AF_INET, &v4.sin_addr, text, sizeof(text));
    return std::string(text) + ":" + std::to_string(ntohs(v4.sin_port));
  }
  const auto& v6 = reinterpret_cast<const sockaddr_in6&>(storage);
  inet_ntop(AF_INET6, &v6.sin6_addr, text, sizeof(text));
  return "[" + std::string(text) + "]:" + std::to_string(ntohs(v6.sin6_port));
}

namespace {

Result<Address> ResolveWith(std::string_view endpoint, int flags) {
  const std::size_t colon = endpoint.rfind(':');
  if (colon == std::string_view::npos || colon == 0 || colon + 1 == endpoint.size()) {
    return Error(Code::kInvalidArgument,
                 "'" + std::string(endpoint) + "' is no endpoint; expected host:port");
  }
  std::string host(endpoint.substr(0, colon));
  const std::string port(endpoint.substr(colon + 1));
  std::uint16_t number = 0;
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), number);
  if (error != std::errc() || end != port.data() + port.size()) {
    return Error(Code::kInvalidArgument, "'" + port + "' is no port");
  }
  if (host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV | flags;
  addrinfo* found = nullptr;
  const int failed = getaddrinfo(host.c_str(), port.c_str(), &hints, &found);
  if (failed != 0) {
    const bool is_name = failed == EAI_NONAME && (flags & AI_NUMERICHOST) != 0;
    return Error(is_name ? Code::kNotFound : Code::kUnavailable,
                 host + ": " + gai_strerror(failed));
  }
  Address address;
  address.size = found->ai_addrlen;
  std::memcpy(&address.storage, found->ai_addr, found->ai_addrlen);
  freeaddrinfo(found);
  return address;
}

}  // namespace

Result<Address> Resolve(std::string_view endpoint) {
  return ResolveWith(endpoint, 0);
}

Result<Address> ResolveNumeric(std::string_view endpoint) {
  return ResolveWith(endpoint, AI_NUMERICHOST);
}

Status Tune(int fd, const SocketOptions& options) {
  SetOption(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  EnlargeBuffer(fd, SO_SNDBUFFORCE);
  EnlargeBuffer(fd, SO_RCVBUFFORCE);
  // A peer whose machine vanished says nothing; without these its connection would stay for hours.
  // The first bounds how long what was sent may stay unacknowledged, the others are for idle ones.
  SetOption(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, kVanishedAfterMs);
  SetOption(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
  SetOption(fd, IPPROTO_TCP, TCP_KEEPIDLE, 10);
  SetOption(fd, IPPROTO_TCP, TCP_KEEPINTVL, 5);
  SetOption(fd, IPPROTO_TCP, TCP_KEEPCNT, 3);
  if (options.rate_max > 0 && !SetOption(fd, SOL_SOCKET, SO_MAX_PACING_RATE, options.rate_max)) {
    return Status(Code::kUnavailable, "a connection's rate cannot be bounded: " + ErrnoText());
  }
  return SetCongestionControl(fd, options.congestion_control);
}

Status SetCongestionControl(int fd, const std::string& name) {
  if (name.empty()) return Status();
  if (setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name.data(),
                 static_cast<socklen_t>(name.size())) != 0) {
    return Status(Code::kInvalidArgument, "congestion control '" + name + "': " + ErrnoText());
  }
  return Status();
}

bool WaitFor(int fd, short events, const Clock& clock, TimePoint deadline) {
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - clock.Now()).count();
    if (left <= 0) return false;
    pollfd poll_fd{fd, events, 0};
    const int ready = poll(&poll_fd, 1, static_cast<int>(std::min<long long>(left, 1000)));
    if (ready > 0) return true;
    if (ready < 0 && errno != EINTR) return false;
  }
}

Result<Fd> Dial(const Address& address, const SocketOptions& options, const Clock& clock,
                TimePoint deadline) {
  Fd fd(socket(address.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return Error(Code::kUnavailable, "socket: " + ErrnoText());
  if (Status tuned = Tune(fd.get(), options); !tuned.ok()) return std::unexpected(tuned);
  const auto* to = reinterpret_cast<const sockaddr*>(&address.storage);
  if (connect(fd.get(), to, address.size) != 0) {
    if (errno != EINPROGRESS) {
      return Error(Code::kUnavailable, address.ToString() + ": " + ErrnoText());
    }
    if (!WaitFor(fd.get(), POLLOUT, clock, deadline)) {
      return Error(Code::kUnavailable, address.ToString() + ": no answer in time");
    }
    int error = 0;
    socklen_t size = sizeof(error);
    getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &error, &size);
    if (error != 0) {
      return Error(Code::kUnavailable, address.ToString() + ": " + std::strerror(error));
    }
  }
  return fd;
}

Result<Fd> ListenOn(const Address& address) {
  Fd fd(socket(address.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return Error(Code::kUnavailable, "socket: " + ErrnoText());
  SetOption(fd.get(), SOL_SOCKET, SO_REUSEADDR, 1);
  const auto* at = reinterpret_cast<const sockaddr*>(&address.storage);
  if (bind(fd.get(), at, address.size) != 0 || listen(fd.get(), kBacklog) != 0) {
    return Error(Code::kUnavailable, "cannot listen on " + address.ToString() + ": " + ErrnoText());
  }
  return fd;
}

Address LocalAddress(int fd) {
  Address address;
  address.size = sizeof(address.storage);
  getsockname(fd, reinterpret_cast<sockaddr*>(&address.storage), &address.size);
  return address;
}

Address RemoteAddress(int fd) {
  Address address;
  address.size = sizeof(address.storage);
  getpeername(fd, reinterpret_cast<sockaddr*>(&address.storage), &address.size);
  return address;
}

ZeroBlock::ZeroBlock(std::size_t size_bytes)
    : data_(
          mmap(nullptr, size_bytes, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)),
      size_bytes_(size_bytes) {}

ZeroBlock::~ZeroBlock() {
  if (data_ != MAP_FAILED) munmap(data_, size_bytes_);
}

}  // namespace kdn::transport::tcp

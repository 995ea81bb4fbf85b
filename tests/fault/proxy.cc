#include "tests/fault/proxy.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <utility>

#include "base/random.h"
#include "tests/fault/address.h"

namespace kdn::fault {

Result<std::unique_ptr<FlippingProxy>> FlippingProxy::Start(const std::string& listen,
                                                            const std::string& target) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int one = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
  const sockaddr_in address = AddressOf(listen);
  if (bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0 ||
      ::listen(fd, 64) != 0) {
    close(fd);
    return Error(Code::kUnavailable, "the proxy cannot listen at " + listen);
  }
  std::unique_ptr<FlippingProxy> proxy(new FlippingProxy(fd, target));
  proxy->acceptor_ = std::thread([raw = proxy.get()] { raw->Accept(); });
  return proxy;
}

FlippingProxy::~FlippingProxy() {
  shutdown(listener_, SHUT_RDWR);
  acceptor_.join();
  close(listener_);
  std::vector<std::thread> threads;
  {
    const std::scoped_lock lock(mutex_);
    for (const int fd : sockets_) shutdown(fd, SHUT_RDWR);
    threads.swap(threads_);
  }
  for (std::thread& thread : threads) thread.join();
  for (const int fd : sockets_) close(fd);
}

void FlippingProxy::Accept() {
  for (;;) {
    const int from = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (from < 0) return;
    const int to = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const sockaddr_in address = AddressOf(target_);
    if (connect(to, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
      close(from);
      close(to);
      continue;
    }
    const int one = 1;
    setsockopt(from, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    setsockopt(to, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    const std::scoped_lock lock(mutex_);
    sockets_.push_back(from);
    sockets_.push_back(to);
    threads_.emplace_back([this, from, to] { Forward(from, to, sent_every_); });
    threads_.emplace_back([this, from, to] { Forward(to, from, answers_every_); });
  }
}

void FlippingProxy::Forward(int from, int to, const std::atomic<std::uint64_t>& every_bytes) {
  SeededRandom random(static_cast<std::uint64_t>(from) + flips_.load() * 7919);
  std::vector<char> buffer(256 * 1024);
  for (;;) {
    const ssize_t count = recv(from, buffer.data(), buffer.size(), 0);
    if (count <= 0) break;
    const std::uint64_t every = every_bytes.load();
    const auto size = static_cast<std::uint64_t>(count);
    if (every > 0 && random.Next() % every < size) {
      const std::uint64_t bit = random.Next() % (8 * size);
      buffer[bit / 8] = static_cast<char>(buffer[bit / 8] ^ (1 << (bit % 8)));
      flips_.fetch_add(1);
    }
    for (ssize_t sent = 0; sent < count;) {
      const ssize_t now =
          send(to, buffer.data() + sent, static_cast<std::size_t>(count - sent), MSG_NOSIGNAL);
      if (now <= 0) break;
      sent += now;
    }
  }
  shutdown(from, SHUT_RDWR);
  shutdown(to, SHUT_RDWR);
}

}  // namespace kdn::fault

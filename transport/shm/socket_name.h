// The address of an AF_UNIX socket from its name: a path if it begins with '/', else an abstract
// name, which is visible within one network namespace.
//
// Thread-safety: a value.
#pragma once

#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cstddef>
#include <string_view>

namespace kdn::transport::shm {

class SocketName {
 public:
  // What is longer than an address can be is cut off.
  explicit SocketName(std::string_view name) {
    address_.sun_family = AF_UNIX;
    const bool is_path = name.starts_with('/');
    const std::size_t skip = is_path ? 0 : 1;
    const std::size_t count = std::min(name.size(), sizeof(address_.sun_path) - 1);
    std::copy_n(name.data(), count, address_.sun_path + skip);
    size_ = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + count + 1);
  }
  [[nodiscard]] const sockaddr* address() const {
    return reinterpret_cast<const sockaddr*>(&address_);
  }
  [[nodiscard]] socklen_t size() const { return size_; }

 private:
  sockaddr_un address_{};
  socklen_t size_ = 0;
};

}  // namespace kdn::transport::shm

#include "tests/support/free_port.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <random>

namespace kdn::test {

std::uint16_t FreePort() {
  // Below the range from which the kernel gives ports to connections of other tests.
  std::random_device random;
  std::uniform_int_distribution<std::uint16_t> ports(15000, 32000);
  for (;;) {
    const std::uint16_t port = ports(random);
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(port);
    const bool free = bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0;
    const bool taken = errno == EADDRINUSE;
    if (fd >= 0) close(fd);
    if (free) return port;
    if (!taken) {
      std::perror("FreePort");
      std::abort();
    }
  }
}

}  // namespace kdn::test

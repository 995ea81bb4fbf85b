#include "tests/fault/address.h"

#include <arpa/inet.h>

#include <charconv>
#include <cstdint>

namespace kdn::fault {

sockaddr_in AddressOf(const std::string& endpoint) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  const std::size_t colon = endpoint.rfind(':');
  if (colon == std::string::npos) return address;
  std::uint16_t port = 0;
  std::from_chars(endpoint.data() + colon + 1, endpoint.data() + endpoint.size(), port);
  address.sin_port = htons(port);
  inet_pton(AF_INET, endpoint.substr(0, colon).c_str(), &address.sin_addr);
  return address;
}

}  // namespace kdn::fault

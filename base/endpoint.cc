#include "base/endpoint.h"

#include <arpa/inet.h>

#include <charconv>

namespace kdn {

std::optional<HostPort> SplitEndpoint(std::string_view endpoint) {
  const std::size_t colon = endpoint.rfind(':');
  if (colon == std::string_view::npos || colon == 0) return std::nullopt;
  HostPort parts{std::string(endpoint.substr(0, colon)), 0};
  const char* end = endpoint.data() + endpoint.size();
  const auto [at, error] = std::from_chars(endpoint.data() + colon + 1, end, parts.port);
  if (error != std::errc() || at != end) return std::nullopt;
  return parts;
}

bool IsLoopback(std::string_view host) {
  if (host == "localhost" || host == "[::1]") return true;
  // A name may begin with "127." too, and lead anywhere.
  in_addr address{};
  return host.starts_with("127.") && inet_pton(AF_INET, std::string(host).c_str(), &address) == 1;
}

}  // namespace kdn

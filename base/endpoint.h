// Endpoints: "host:port", as settings and messages carry them. A host is a name or an address; an
// IPv6 address stands in brackets.
//
// Thread-safety: safe.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace kdn {

struct HostPort {
  std::string host;
  std::uint16_t port = 0;
};

// Nothing unless `endpoint` is a host that is not empty, ':' and a port in decimal. Looks no name
// up.
[[nodiscard]] std::optional<HostPort> SplitEndpoint(std::string_view endpoint);

// By the text alone: "localhost", an address in 127.0.0.0/8, and "[::1]".
[[nodiscard]] bool IsLoopback(std::string_view host);

}  // namespace kdn

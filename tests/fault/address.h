// Where a daemon's endpoint is, for cases that dial it themselves. Knows nothing of what is said
// there.
//
// Thread-safety: a pure function.
#pragma once

#include <netinet/in.h>

#include <string>

namespace kdn::fault {

// Of "host:port", the host an IPv4 address in figures; port 0 if there is none.
[[nodiscard]] sockaddr_in AddressOf(const std::string& endpoint);

}  // namespace kdn::fault

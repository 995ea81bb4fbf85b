// A TCP port on loopback that nothing listens on now, for programs that must be told their port
// beforehand. Who can listen on port 0 and ask afterwards does that instead: another process may
// take this port first.
//
// Thread-safety: safe.
#pragma once

#include <cstdint>

namespace kdn::test {

// Drawn at random; aborts if sockets cannot be had at all.
[[nodiscard]] std::uint16_t FreePort();

}  // namespace kdn::test

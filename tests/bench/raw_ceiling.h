// What the machine's sockets can do at most: a bare program that sends and receives objects with
// blocking sockets and nothing else, request and response, two objects asked for at a time. Benches
// measure it in the same run as what they compare with it.
//
// Thread-safety: pure functions, apart from the threads they start and join.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace kdn::bench {

struct RawCeilingOptions {
  std::size_t object_bytes = 1 << 20;
  std::size_t total_bytes = std::size_t{2} << 30;    // in one measurement, over all connections
  std::size_t source_bytes = std::size_t{64} << 20;  // what the sender walks through
  std::uint32_t depth = 2;                           // objects asked for at a time, per connection
  std::string congestion_control;                    // empty: the system's
  bool huge_pages = false;  // wishes for them, as the product's own memory does
};

// Bytes per second over `connections` loopback connections, a sending and a receiving thread each.
// Negative, with a line on standard error, if there are no sockets to be had.
[[nodiscard]] double RawRate(const RawCeilingOptions& options, std::uint32_t connections);

// The best of 1, 2 and 4 connections, one measurement each.
[[nodiscard]] double RawCeiling(const RawCeilingOptions& options);

// Microseconds of each of `count` objects over one connection, one asked for after another.
// Empty, with a line on standard error, if there are no sockets to be had.
[[nodiscard]] std::vector<double> RawPingPong(const RawCeilingOptions& options, std::size_t count);

}  // namespace kdn::bench

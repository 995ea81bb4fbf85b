// Programs that others wrote, measured beside ours in the same run: iperf3 as one more word on what
// sockets can do, Redis as the peer that everybody has. Each is started here and ended here.
//
// Thread-safety: pure functions, apart from the processes they start and wait for; a RedisServer
// belongs to one thread.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace kdn::bench {

// Whether a program of this name can be started.
[[nodiscard]] bool HasProgram(const std::string& name);

// A process that is ended with this object.
class ChildProcess {
 public:
  // Starts `command`, words apart by blanks, with nothing to read and what it prints thrown away.
  explicit ChildProcess(const std::string& command);
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;
  ~ChildProcess();

 private:
  pid_t pid_ = -1;
};

// Bytes per second that iperf3 moves over `connections` loopback connections in a second; negative,
// with a line on standard error, if it cannot be run.
[[nodiscard]] double Iperf3Rate(int connections, const std::string& congestion_control);

// A Redis that keeps `values` values of `value_bytes` in memory and nothing on disk.
class RedisServer {
 public:
  // Null, with a line on standard error, if there is no Redis here.
  static std::unique_ptr<RedisServer> Start(std::size_t value_bytes, std::size_t values);

  // Bytes of values per second that `redis-benchmark` gets with so many clients; negative if it
  // fails.
  [[nodiscard]] double GetRate(int clients, std::uint64_t requests) const;

 private:
  RedisServer(std::size_t value_bytes, std::size_t values);
  [[nodiscard]] double Benchmark(const std::string& arguments) const;

  const std::size_t value_bytes_;
  const std::size_t values_;
  std::uint16_t port_;
  std::unique_ptr<ChildProcess> process_;
};

}  // namespace kdn::bench

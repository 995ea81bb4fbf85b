#include "tests/bench/raw_ceiling.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <span>
#include <thread>
#include <vector>

#include "tests/bench/bulk_memory.h"

namespace kdn::bench {
namespace {

struct Pair {
  int sender = -1;
  int receiver = -1;
};

void TuneSocket(int fd, const std::string& congestion_control) {
  const int one = 1;
  const int buffer = 4 << 20;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
  setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &buffer, sizeof(buffer));
  setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof(buffer));
  if (!congestion_control.empty()) {
    setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, congestion_control.data(),
               static_cast<socklen_t>(congestion_control.size()));
  }
}

bool ConnectPairs(std::vector<Pair>& pairs, const std::string& congestion_control) {
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  auto* raw = reinterpret_cast<sockaddr*>(&address);
  bool ok = bind(listener, raw, size) == 0 && listen(listener, 16) == 0 &&
            getsockname(listener, raw, &size) == 0;
  for (Pair& pair : pairs) {
    pair.receiver = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    TuneSocket(pair.receiver, congestion_control);
    ok = ok && connect(pair.receiver, raw, size) == 0;
    pair.sender = ok ? accept(listener, nullptr, nullptr) : -1;
    TuneSocket(pair.sender, congestion_control);
    ok = ok && pair.sender >= 0;
  }
  close(listener);
  if (!ok) std::perror("raw ceiling");
  return ok;
}

bool SendFully(int fd, const std::byte* data, std::size_t size) {
  while (size > 0) {
    const ssize_t sent = send(fd, data, size, MSG_NOSIGNAL);
    if (sent <= 0) return false;
    data += sent;
    size -= static_cast<std::size_t>(sent);
  }
  return true;
}

bool ReceiveFully(int fd, std::byte* data, std::size_t size) {
  return recv(fd, data, size, MSG_WAITALL) == static_cast<ssize_t>(size);
}

// Answers each request, the number of an object, with that object.
void Serve(int fd, std::span<const std::byte> source, std::size_t object_bytes) {
  std::uint64_t number = 0;
  const std::size_t objects = source.size() / object_bytes;
  while (ReceiveFully(fd, reinterpret_cast<std::byte*>(&number), sizeof(number))) {
    if (!SendFully(fd, source.data() + (number % objects) * object_bytes, object_bytes)) return;
  }
}

void Fetch(int fd, const RawCeilingOptions& options, std::uint64_t count, std::span<std::byte> into,
           std::atomic<bool>& failed) {
  std::uint64_t asked = 0;
  const std::size_t slots = into.size() / options.object_bytes;
  for (std::uint64_t got = 0; got < count; ++got) {
    for (; asked < std::min<std::uint64_t>(count, got + options.depth); ++asked) {
      if (!SendFully(fd, reinterpret_cast<const std::byte*>(&asked), sizeof(asked))) failed = true;
    }
    std::byte* to = into.data() + (got % slots) * options.object_bytes;
    if (!ReceiveFully(fd, to, options.object_bytes)) failed = true;
    if (failed) return;
  }
}

}  // namespace

double RawRate(const RawCeilingOptions& options, std::uint32_t connections) {
  std::vector<Pair> pairs(connections);
  std::atomic<bool> failed = !ConnectPairs(pairs, options.congestion_control);
  const BulkMemory source(std::max(options.source_bytes, options.object_bytes), options.huge_pages);
  std::vector<BulkMemory> targets;
  for (std::uint32_t i = 0; i < connections; ++i) {
    targets.emplace_back(std::max(options.source_bytes / connections, options.object_bytes),
                         options.huge_pages);
  }
  const std::uint64_t count =
      std::max<std::uint64_t>(1, options.total_bytes / options.object_bytes / connections);
  const auto start = std::chrono::steady_clock::now();
  std::vector<std::thread> receivers;
  std::vector<std::thread> senders;
  for (std::uint32_t i = 0; i < connections && !failed; ++i) {
    senders.emplace_back([&, i] { Serve(pairs[i].sender, source.bytes(), options.object_bytes); });
    receivers.emplace_back(
        [&, i] { Fetch(pairs[i].receiver, options, count, targets[i].bytes(), failed); });
  }
  for (std::thread& receiver : receivers) receiver.join();
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  for (const Pair& pair : pairs) {
    if (pair.receiver >= 0) close(pair.receiver);
  }
  for (std::thread& sender : senders) sender.join();
  for (const Pair& pair : pairs) {
    if (pair.sender >= 0) close(pair.sender);
  }
  if (failed) return -1;
  return static_cast<double>(count * connections * options.object_bytes) / took.count();
}

std::vector<double> RawPingPong(const RawCeilingOptions& options, std::size_t count) {
  std::vector<Pair> pairs(1);
  const BulkMemory source(std::max(options.source_bytes, options.object_bytes), options.huge_pages);
  const BulkMemory target(options.object_bytes, options.huge_pages);
  std::vector<double> latencies;
  bool ok = ConnectPairs(pairs, options.congestion_control);
  {
    std::jthread sender;
    if (ok) {
      sender = std::jthread([&] { Serve(pairs[0].sender, source.bytes(), options.object_bytes); });
    }
    for (std::uint64_t number = 0; ok && number < count; ++number) {
      const auto begun = std::chrono::steady_clock::now();
      ok = SendFully(pairs[0].receiver, reinterpret_cast<const std::byte*>(&number),
                     sizeof(number)) &&
           ReceiveFully(pairs[0].receiver, target.bytes().data(), options.object_bytes);
      const std::chrono::duration<double, std::micro> took =
          std::chrono::steady_clock::now() - begun;
      latencies.push_back(took.count());
    }
    if (pairs[0].receiver >= 0) close(pairs[0].receiver);
  }
  if (pairs[0].sender >= 0) close(pairs[0].sender);
  if (!ok) latencies.clear();
  return latencies;
}

double RawCeiling(const RawCeilingOptions& options) {
  double best = -1;
  for (const std::uint32_t connections : {1U, 2U, 4U}) {
    best = std::max(best, RawRate(options, connections));
  }
  return best;
}

}  // namespace kdn::bench

#include "tests/bench/peer_programs.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <sstream>
#include <vector>

extern char** environ;

namespace kdn::bench {
namespace {

constexpr int kStartTries = 500;
constexpr int kTryMs = 10;

sockaddr_in Loopback(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

// One that nobody listened at a moment ago.
std::uint16_t FreePort() {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = Loopback(0);
  socklen_t size = sizeof(address);
  auto* raw = reinterpret_cast<sockaddr*>(&address);
  if (bind(fd, raw, size) != 0 || getsockname(fd, raw, &size) != 0) address.sin_port = 0;
  close(fd);
  return ntohs(address.sin_port);
}

// Tries until somebody listens there.
bool AwaitListener(std::uint16_t port) {
  for (int i = 0; i < kStartTries; ++i) {
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const sockaddr_in address = Loopback(port);
    const bool up = connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
    close(fd);
    if (up) return true;
    poll(nullptr, 0, kTryMs);
  }
  return false;
}

// What a command prints; empty if it fails.
std::string OutputOf(const std::string& command) {
  FILE* const pipe = popen((command + " 2>/dev/null").c_str(), "r");
  if (pipe == nullptr) return {};
  std::string output;
  std::array<char, 4096> buffer;
  while (const std::size_t got = fread(buffer.data(), 1, buffer.size(), pipe)) {
    output.append(buffer.data(), got);
  }
  return pclose(pipe) == 0 ? output : std::string();
}

}  // namespace

bool HasProgram(const std::string& name) {
  return !OutputOf("command -v " + name).empty();
}

ChildProcess::ChildProcess(const std::string& command) {
  std::istringstream in(command);
  std::vector<std::string> words;
  for (std::string word; in >> word;) words.push_back(word);
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_addopen(&files, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  if (posix_spawnp(&pid_, arguments[0], &files, nullptr, arguments.data(), environ) != 0) pid_ = -1;
  posix_spawn_file_actions_destroy(&files);
}

ChildProcess::~ChildProcess() {
  if (pid_ <= 0) return;
  kill(pid_, SIGTERM);
  waitpid(pid_, nullptr, 0);
}

double Iperf3Rate(int connections, const std::string& congestion_control) {
  if (!HasProgram("iperf3")) {
    std::fprintf(stderr, "iperf3 is not installed: SKIPPED as a part of the ceiling\n");
    return -1;
  }
  const std::string port = std::to_string(FreePort());
  const ChildProcess server("iperf3 -s -p " + port);
  std::string command = "iperf3 -c 127.0.0.1 -J -t 1 -l 1M -p " + port;
  command += " -P " + std::to_string(connections);
  if (!congestion_control.empty()) command += " -C " + congestion_control;
  // Not AwaitListener(): it would take a connection for a test.
  for (int i = 0; i < kStartTries; ++i) {
    const std::string output = OutputOf(command);
    const auto result = nlohmann::json::parse(output, nullptr, false);
    const nlohmann::json::json_pointer where("/end/sum_received/bits_per_second");
    if (result.is_object() && result.contains(where)) return result[where].get<double>() / 8;
    poll(nullptr, 0, kTryMs);
  }
  std::fprintf(stderr, "iperf3 does not run here: SKIPPED as a part of the ceiling\n");
  return -1;
}

std::unique_ptr<RedisServer> RedisServer::Start(std::size_t value_bytes, std::size_t values) {
  if (!HasProgram("redis-server") || !HasProgram("redis-benchmark")) {
    std::fprintf(stderr, "Redis is not installed: SKIPPED\n");
    return nullptr;
  }
  std::unique_ptr<RedisServer> redis(new RedisServer(value_bytes, values));
  // Keys are drawn at random: so many requests that hardly one is left out.
  const std::string fill = "-t set -c 2 -n " + std::to_string(8 * values);
  if (AwaitListener(redis->port_) && redis->Benchmark(fill) > 0) return redis;
  std::fprintf(stderr, "Redis does not run here: SKIPPED\n");
  return nullptr;
}

RedisServer::RedisServer(std::size_t value_bytes, std::size_t values)
    : value_bytes_(value_bytes), values_(values), port_(FreePort()) {
  process_ = std::make_unique<ChildProcess>(
      "redis-server --bind 127.0.0.1 --save --appendonly no --daemonize no --port " +
      std::to_string(port_));
}

double RedisServer::Benchmark(const std::string& arguments) const {
  std::string command = "redis-benchmark --csv -p " + std::to_string(port_);
  command += " -d " + std::to_string(value_bytes_) + " -r " + std::to_string(values_) + " ";
  const std::string output = OutputOf(command + arguments);
  // "test","rps",... and then "GET","1234.5",...
  const std::size_t line = output.rfind("\"GET\",\"");
  const std::size_t at = line == std::string::npos ? output.rfind("\"SET\",\"") : line;
  if (at == std::string::npos) return -1;
  return std::atof(output.c_str() + at + 7) * static_cast<double>(value_bytes_);
}

double RedisServer::GetRate(int clients, std::uint64_t requests) const {
  return Benchmark("-t get -c " + std::to_string(clients) + " -n " + std::to_string(requests));
}

}  // namespace kdn::bench

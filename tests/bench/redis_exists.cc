#include "tests/bench/redis_exists.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "base/bytes.h"
#include "base/clock.h"
#include "tests/support/free_port.h"

namespace kdn::bench {
namespace {

constexpr std::size_t kBatchKeys = 64;
constexpr std::size_t kFillKeys = 512;  // of one MSET
constexpr std::chrono::seconds kStartTimeout{10};

[[noreturn]] void Die(const char* what) {
  std::fprintf(stderr, "redis: %s\n", what);
  std::exit(2);
}

int Connect(std::uint16_t port) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) {
    ::close(fd);
    return -1;
  }
  const int on = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  return fd;
}

// -1 if there is no such program.
pid_t Spawn(std::uint16_t port, const std::string& folder) {
  std::string words[] = {"/usr/bin/redis-server",
                         "--port",
                         std::to_string(port),
                         "--bind",
                         "127.0.0.1",
                         "--save",
                         "",
                         "--appendonly",
                         "no",
                         "--dir",
                         folder,
                         "--logfile",
                         folder + "/log"};
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  pid_t pid = -1;
  return ::posix_spawn(&pid, argv[0], nullptr, nullptr, argv.data(), environ) == 0 ? pid : -1;
}

void AppendBulk(std::string_view bytes, std::string& out) {
  out += "$" + std::to_string(bytes.size()) + "\r\n";
  out += bytes;
  out += "\r\n";
}

void AppendKey(const ChunkKey& key, std::string& out) {
  out += "$32\r\n";
  out += AsText(key.bytes);
  out += "\r\n";
}

}  // namespace

std::unique_ptr<RedisExists> RedisExists::Start(std::span<const ChunkKey> keys) {
  auto redis = std::unique_ptr<RedisExists>(new RedisExists(keys));
  const std::uint16_t port = test::FreePort();
  redis->pid_ = Spawn(port, redis->folder_.path().string());
  if (redis->pid_ <= 0) return nullptr;
  const SteadyClock clock;
  const TimePoint end = clock.Now() + kStartTimeout;
  while (redis->socket_ < 0 && clock.Now() < end) {
    redis->socket_ = Connect(port);
    if (redis->socket_ < 0) (void)::poll(nullptr, 0, 1);
  }
  if (redis->socket_ < 0) Die("it was started and does not answer");
  redis->Fill();
  return redis;
}

RedisExists::RedisExists(std::span<const ChunkKey> keys) : keys_(keys), received_(1 << 16) {}

RedisExists::~RedisExists() {
  if (socket_ >= 0) ::close(socket_);
  if (pid_ <= 0) return;
  ::kill(pid_, SIGKILL);
  (void)::waitpid(pid_, nullptr, 0);
}

void RedisExists::SendAll(const std::string& bytes) {
  for (std::size_t done = 0; done < bytes.size();) {
    const ssize_t sent = ::send(socket_, bytes.data() + done, bytes.size() - done, MSG_NOSIGNAL);
    if (sent <= 0) Die("it is gone");
    done += static_cast<std::size_t>(sent);
  }
}

std::size_t RedisExists::TakeReplies(std::string_view expected) {
  const ssize_t got = ::recv(socket_, received_.data(), received_.size(), 0);
  if (got <= 0) Die("it is gone");
  left_.append(received_.data(), static_cast<std::size_t>(got));
  std::size_t count = 0;
  std::size_t at = 0;
  for (; left_.size() - at >= expected.size(); at += expected.size(), ++count) {
    if (std::string_view(left_).substr(at, expected.size()) != expected) Die("a wrong answer");
  }
  left_.erase(0, at);
  return count;
}

void RedisExists::Fill() {
  for (std::size_t from = 0; from < keys_.size(); from += kFillKeys) {
    const auto some = keys_.subspan(from, std::min(kFillKeys, keys_.size() - from));
    sent_ = "*" + std::to_string(1 + 2 * some.size()) + "\r\n";
    AppendBulk("MSET", sent_);
    for (const ChunkKey& key : some) {
      AppendKey(key, sent_);
      AppendBulk("1", sent_);
    }
    SendAll(sent_);
    while (TakeReplies("+OK\r\n") == 0) {
    }
  }
}

// A run of batches of one chain at a time, as one lookup asks for one.
void RedisExists::Ask(std::size_t batches) {
  sent_.clear();
  const std::size_t run = batches * kBatchKeys;
  const auto some = keys_.subspan(random_.Next() % (keys_.size() / run) * run, run);
  for (std::size_t i = 0; i < run; ++i) {
    if (i % kBatchKeys == 0) {
      sent_ += "*" + std::to_string(1 + kBatchKeys) + "\r\n";
      AppendBulk("EXISTS", sent_);
    }
    AppendKey(some[i], sent_);
  }
  SendAll(sent_);
}

double RedisExists::Run(std::size_t runs_in_flight, std::size_t run_keys, double seconds) {
  const SteadyClock clock;
  const std::size_t batches = run_keys / kBatchKeys;
  const TimePoint began = clock.Now();
  const auto length = std::chrono::duration<double>(seconds);
  std::size_t answered = 0;
  std::size_t asked = 0;
  for (; asked < runs_in_flight * batches; asked += batches) Ask(batches);
  while (clock.Now() - began < length) {
    answered += TakeReplies(":64\r\n");
    for (; asked + batches <= answered + runs_in_flight * batches; asked += batches) Ask(batches);
  }
  const std::chrono::duration<double> took = clock.Now() - began;
  const double rate = static_cast<double>(answered * kBatchKeys) / took.count();
  while (answered < asked) answered += TakeReplies(":64\r\n");
  return rate;
}

}  // namespace kdn::bench

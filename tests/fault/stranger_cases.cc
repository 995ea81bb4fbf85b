// Peers that say no proper Hello, or only half of one.
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <utility>
#include <vector>

#include "base/limits.h"
#include "base/random.h"
#include "tests/fault/address.h"
#include "tests/fault/cases.h"
#include "transport/hello.h"
#include "transport/wakeup.h"

namespace kdn::fault {
namespace {

using Bytes = std::vector<std::byte>;

// What a daemon has to do with a stranger who sent all he has to send.
enum class Fate : std::uint8_t {
  kClosed,    // without an answer
  kAnswered,  // with a Hello in which it says no, or asks for the proof; and then closed
  kHeld,      // until the time for a Hello is over
};

struct Stranger {
  Bytes bytes;
  Fate fate = Fate::kClosed;
};

Bytes RandomBytes(SeededRandom& random, std::size_t count) {
  Bytes bytes(count);
  random.Fill(bytes);
  return bytes;
}

void Append(Bytes& to, const Bytes& more) {
  to.insert(to.end(), more.begin(), more.end());
}

// A Hello message's prefix that claims a body of `size` bytes.
Bytes Prefix(transport::HelloKind kind, std::uint16_t size) {
  Bytes bytes = {std::byte{'K'}, std::byte{'D'}, std::byte{'N'}, std::byte{'H'}};
  bytes.push_back(static_cast<std::byte>(kind));
  bytes.push_back(std::byte{0});
  bytes.push_back(static_cast<std::byte>(size & 0xFF));
  bytes.push_back(static_cast<std::byte>(size >> 8));
  return bytes;
}

// A Hello that is right in all but the secret, of which it has none.
Bytes RightHello(std::size_t credential_bytes) {
  transport::ClientHello hello;
  hello.scheme = transport::HelloScheme::kHmac;
  hello.tenant = TenantId{1};
  hello.credential.resize(credential_bytes);
  Bytes bytes;
  hello.Encode(bytes);
  return bytes;
}

constexpr int kKinds = 10;

// Each claims sizes that would hurt whoever believed them.
Stranger StrangerOf(int kind, SeededRandom& random) {
  using transport::HelloKind;
  constexpr std::uint16_t kBody = transport::kHelloBodyBytesMax;
  const Bytes much = RandomBytes(random, 100'000);
  Stranger stranger;
  Bytes& bytes = stranger.bytes;
  switch (kind) {
    case 0:  // no Hello at all
      bytes = much;
      return stranger;
    case 1:  // a body beyond the limit, and all of it
      bytes = Prefix(HelloKind::kClientHello, 0xFFFF);
      Append(bytes, much);
      return stranger;
    case 2:  // a message that is not the client's to send
      bytes = Prefix(HelloKind::kServerHello, kBody);
      Append(bytes, much);
      return stranger;
    case 3:  // the largest body there may be, of random fields
      bytes = Prefix(HelloKind::kClientHello, kBody);
      Append(bytes, RandomBytes(random, kBody));
      stranger.fate = Fate::kAnswered;
      return stranger;
    case 4:  // a credential of 4 GiB
      bytes = RightHello(0);
      std::fill(bytes.end() - 4, bytes.end(), std::byte{0xFF});
      stranger.fate = Fate::kAnswered;
      return stranger;
    case 5:  // a proof beyond the limit
      bytes = RightHello(transport::kCredentialBytesMax);
      Append(bytes, Prefix(HelloKind::kClientProof, 0xFFFF));
      Append(bytes, much);
      stranger.fate = Fate::kAnswered;
      return stranger;
    case 6:  // a proof of 4 GiB
      bytes = RightHello(0);
      Append(bytes, Prefix(HelloKind::kClientProof, 4));
      bytes.insert(bytes.end(), 4, std::byte{0xFF});
      stranger.fate = Fate::kAnswered;
      return stranger;
    case 7:  // frames instead of a proof
      bytes = RightHello(0);
      Append(bytes, {std::byte{'K'}, std::byte{'F'}, std::byte{1}, std::byte{0}});
      bytes.insert(bytes.end(), 100'000, std::byte{0xFF});
      stranger.fate = Fate::kAnswered;
      return stranger;
    case 8:  // the largest body there may be, all but its last byte
      bytes = Prefix(HelloKind::kClientHello, kBody);
      Append(bytes, RandomBytes(random, kBody - 1));
      stranger.fate = Fate::kHeld;
      return stranger;
    default:  // the largest Hello, and half of the largest proof
      bytes = RightHello(transport::kCredentialBytesMax);
      Append(bytes, Prefix(HelloKind::kClientProof, kBody));
      Append(bytes, RandomBytes(random, kBody / 2));
      stranger.fate = Fate::kHeld;
      return stranger;
  }
}

// A connection on which everything is said that this stranger has to say.
transport::Fd Enter(const std::string& endpoint, const Bytes& bytes) {
  const sockaddr_in address = AddressOf(endpoint);
  transport::Fd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const timeval patience{8, 0};
  setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
  if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0) {
    [[maybe_unused]] const ssize_t sent = send(fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
  }
  return fd;
}

// Waits until the daemon closes. What it does not do, or says before, that it should not.
std::string ClosedAs(const transport::Fd& fd, Fate fate) {
  char answer[4096];
  std::size_t size = 0;
  ssize_t got = 0;
  while ((got = recv(fd.get(), answer + size, sizeof(answer) - size, 0)) > 0) {
    size += static_cast<std::size_t>(got);
    if (size == sizeof(answer)) return "answers more than a Hello";
  }
  // A reset may have overtaken what was said before it.
  const bool reset = got < 0 && errno == ECONNRESET;
  if (got < 0 && !reset) return "keeps a stranger's connection";
  const bool answered = size >= 4 && std::string(answer, 4) == "KDNH";
  if (fate == Fate::kAnswered && !answered && !reset) return "does not read a Hello";
  if (fate == Fate::kClosed && size > 0) return "answers what is no Hello";
  return "";
}

std::uint64_t FieldOfKiB(pid_t pid, const std::string& field) {
  std::ifstream status("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(field)) return std::strtoull(line.c_str() + field.size(), nullptr, 10);
  }
  return 0;
}

// From here on VmHWM is the most that was resident since now.
void ResetPeak(pid_t pid) {
  std::ofstream("/proc/" + std::to_string(pid) + "/clear_refs") << 5;
}

// One crowd: all kinds at once, of whom those that are to be held stay until the peak was read.
// `grown_kib`: per connection.
std::string Visit(const admin::LocalCluster::Daemon& daemon, SeededRandom& random, bool to_the_end,
                  double& grown_kib) {
  constexpr int kOfEach = 6;
  constexpr double kKiBMax = static_cast<double>(limits::kPreHelloBytesMax) / 1024 * kSlowdown;
  const std::uint64_t before = FieldOfKiB(daemon.pid, "VmRSS:");
  ResetPeak(daemon.pid);
  std::vector<std::pair<transport::Fd, Fate>> held;
  std::vector<std::pair<transport::Fd, Fate>> leaving;
  for (int i = 0; i < kOfEach * kKinds; ++i) {
    const Stranger stranger = StrangerOf(kKinds - 1 - i / kOfEach, random);
    auto& list = stranger.fate == Fate::kHeld ? held : leaving;
    list.emplace_back(Enter(daemon.endpoints[0], stranger.bytes), stranger.fate);
  }
  for (const auto& [fd, fate] : leaving) {
    if (const std::string why = ClosedAs(fd, fate); !why.empty()) return daemon.name + " " + why;
  }
  // The ones that are held were there first, so they have been read by now too.
  const std::uint64_t peak = FieldOfKiB(daemon.pid, "VmHWM:");
  if (peak == 0) return daemon.name + " died";
  const double grown = peak > before ? static_cast<double>(peak - before) : 0;
  grown_kib = std::max(grown_kib, grown / (kOfEach * kKinds));
  if (grown_kib > kKiBMax) {
    return daemon.name + " grew by " + std::to_string(static_cast<int>(grown_kib)) +
           " KiB a connection";
  }
  for (const auto& [fd, fate] : held) {
    if (!to_the_end) break;
    if (const std::string why = ClosedAs(fd, fate); !why.empty()) return daemon.name + " " + why;
  }
  return "";
}

}  // namespace

CaseOutcome Strangers(const CaseOptions& options) {
  auto rig = Rig::Make(RigOf(options, {.nodes = 1}));
  if (!rig) return Broken(0, rig.error().ToString());
  if (!(*rig)->Put(1).ok()) return Broken(0, "a put failed before any fault");
  SeededRandom random(5);
  double grown_kib = 0;
  for (int trial = 0; trial < options.trials; ++trial) {
    const bool last = trial + 1 == options.trials;
    for (const auto& daemon : (*rig)->cluster().daemons()) {
      const std::string why = Visit(daemon, random, last, grown_kib);
      if (!why.empty()) return Broken(trial, why);
    }
  }
  const GetOutcome got = (*rig)->Get(1);
  if (!got.whole || got.wrong) return Broken(options.trials, "a get failed afterwards");
  char text[64];
  std::snprintf(text, sizeof(text), "all refused; daemons grew by %.1f KiB a connection",
                grown_kib);
  return {true, options.trials, text, ""};
}

}  // namespace kdn::fault

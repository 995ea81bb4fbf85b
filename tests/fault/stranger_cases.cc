// Peers that should not be there: garbage before a Hello, wrong secrets, foreign tenants.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <vector>

#include "base/random.h"
#include "base/secret_file.h"
#include "tests/fault/cases.h"

namespace kdn::fault {
namespace {

// Connects, sends, and waits until the peer closes. False if it does not within five seconds.
bool SendAndWaitClosed(const std::string& endpoint, const std::vector<char>& bytes) {
  const std::size_t colon = endpoint.rfind(':');
  std::uint16_t port = 0;
  std::from_chars(endpoint.data() + colon + 1, endpoint.data() + endpoint.size(), port);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  inet_pton(AF_INET, endpoint.substr(0, colon).c_str(), &address.sin_addr);
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const timeval patience{5, 0};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
  bool closed = connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0;
  if (!closed) {
    [[maybe_unused]] const ssize_t sent = send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    char answer[4096];
    ssize_t count = 0;
    do {
      count = recv(fd, answer, sizeof(answer), 0);
    } while (count > 0);
    closed = count == 0 || errno == ECONNRESET;
  }
  close(fd);
  return closed;
}

std::uint64_t ResidentKiB(pid_t pid) {
  std::ifstream status("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmRSS:")) return std::strtoull(line.c_str() + 6, nullptr, 10);
  }
  return 0;
}

// Random bytes; every third time behind a Hello's own first bytes, every other time claiming sizes
// that would hurt.
std::vector<char> Garbage(SeededRandom& random, int trial) {
  std::vector<char> bytes(1 + random.Next() % 100'000);
  for (char& byte : bytes) byte = static_cast<char>(random.Next());
  if (trial % 2 == 0 && bytes.size() > 16) {
    for (int i = 4; i < 16; ++i) bytes[static_cast<std::size_t>(i)] = static_cast<char>(0xFF);
  }
  return bytes;
}

}  // namespace

CaseOutcome Strangers(const CaseOptions& options) {
  auto rig = Rig::Make({.program_folder = options.program_folder, .nodes = 1});
  if (!rig) return Broken(0, rig.error().ToString());
  if ((*rig)->Put(1).code != Code::kOk) return Broken(0, "a put failed before any fault");
  SeededRandom random(5);
  std::vector<std::uint64_t> before;
  for (const auto& daemon : (*rig)->cluster().daemons()) before.push_back(ResidentKiB(daemon.pid));
  for (int trial = 0; trial < options.trials; ++trial) {
    for (const auto& daemon : (*rig)->cluster().daemons()) {
      if (!SendAndWaitClosed(daemon.endpoints[0], Garbage(random, trial))) {
        return Broken(trial, daemon.name + " keeps a stranger's connection");
      }
    }
  }
  const GetOutcome got = (*rig)->Get(1);
  if (!got.whole || got.wrong) return Broken(options.trials, "a get failed afterwards");
  std::uint64_t grown = 0;
  for (std::size_t d = 0; d < before.size(); ++d) {
    const std::uint64_t now = ResidentKiB((*rig)->cluster().daemons()[d].pid);
    if (now == 0) return Broken(options.trials, "a daemon died");
    grown = std::max(grown, now > before[d] ? now - before[d] : 0);
  }
  if (grown > 16 * 1024) {
    return Broken(options.trials, "a daemon grew by " + std::to_string(grown) + " KiB");
  }
  return {true, options.trials,
          "all refused; daemons grew by " + std::to_string(grown) + " KiB at most", ""};
}

CaseOutcome WrongSecrets(const CaseOptions& options) {
  auto rig = Rig::Make({.program_folder = options.program_folder,
                        .nodes = 1,
                        .timeout = std::chrono::milliseconds(300)});
  if (!rig) return Broken(0, rig.error().ToString());
  admin::LocalCluster& cluster = (*rig)->cluster();
  // A second tenant, known to the cluster, with a secret of its own.
  SystemRandom system;
  std::vector<std::byte> other_secret(32);
  system.Fill(other_secret);
  {
    std::ofstream tenants(cluster.folder() + "/tenants.toml", std::ios::app);
    tenants << "[[tenant]]\nname = \"other\"\nid = 2\naccess_secret = \""
            << SecretText(other_secret) << "\"\n";
  }
  Status status = cluster.Signal(0, SIGTERM);
  if (status.ok()) status = cluster.Restart(0);
  if (status.ok()) status = cluster.WaitAlive(1, std::chrono::seconds(30));
  if (status.ok()) status = (*rig)->Reconnect();
  if (!status.ok()) return Broken(0, status.ToString());
  if ((*rig)->Put(1).code != Code::kOk) return Broken(0, "the tenant's own put failed");
  const client::LookupResult right = (*rig)->Lookup(1);
  if (right.tokens_matched() == 0) return Broken(0, "the tenant's own lookup missed");

  for (int trial = 0; trial < options.trials; ++trial) {
    client::ClientOptions options_of_stranger = (*rig)->client_options();
    const bool foreign_tenant = trial % 2 == 0;
    if (foreign_tenant) {
      // Authenticated, and with our chunk secret: it knows our keys, and still may not read them.
      options_of_stranger.tenant = TenantId{2};
      options_of_stranger.access_secret = other_secret;
    } else {
      options_of_stranger.access_secret[static_cast<std::size_t>(trial) % 32] ^= std::byte{1};
    }
    auto stranger = (*rig)->OpenClient(options_of_stranger);
    if (!stranger) return Broken(trial, stranger.error().ToString());
    const test::EngineShape shape;
    const auto model = (*stranger)->UseModel(test::SpecOf(shape), {2, 2, {}});
    const auto tokens = test::TokensOf(1, Rig::kTokens);
    const auto found = (*stranger)->Lookup(**model, tokens, {})->Take();
    if (found.tokens_matched() > 0) return Broken(trial, "a stranger's lookup hit");
    test::TestEngine engine(shape);
    engine.Poison();
    auto load = (*stranger)->Load(**model, right, engine.kv(), engine.blocks(), {});
    if (!load || (*load)->Wait().tokens_loaded > 0 || !engine.AllPoison()) {
      return Broken(trial, "a stranger read a tenant's chunk");
    }
    if (!foreign_tenant && (*stranger)->PlanStore(**model, tokens, {})) {
      return Broken(trial, "a stranger was granted a put");
    }
  }
  return {true, options.trials, "every lookup, read and put refused or missed", ""};
}

}  // namespace kdn::fault

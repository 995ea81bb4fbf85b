// Many peers who are a burden and no help: readers that take nothing, connections that do nothing,
// connections without end. What others get is timed before and beside them, in turns.
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <functional>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/log.h"
#include "base/random.h"
#include "client/core/lookup_result.h"
#include "proto/wire/read.h"
#include "tests/fault/address.h"
#include "tests/fault/cases.h"
#include "tests/fault/load.h"
#include "tests/fault/rig.h"
#include "transport/channel.h"
#include "transport/hello.h"
#include "transport/wakeup.h"

namespace kdn::fault {
namespace {

constexpr std::uint64_t kLargeDocuments = 2;  // what the crowd reads
constexpr std::uint64_t kVictims = 8;         // what is timed: short documents
constexpr int kGetsPerTurn = 200;

// Peers with the tenant's own secret, without the client library.
class Crowd {
 public:
  explicit Crowd(Rig& rig)
      : rig_(rig), domain_(*transport::OpenDomain({.connections = 1}, clock_, random_, log_)) {
    window_.resize(kWindowBytes);
    [[maybe_unused]] const Status status =
        domain_->Register({window_.data(), window_.size(), transport::MemoryKind::kHost, 0});
    identity_.tenant = TenantId{1};
    identity_.scheme = transport::HelloScheme::kHmac;
    identity_.secret = rig.client_options().access_secret;
  }
  ~Crowd() { Leave(); }
  Crowd(const Crowd&) = delete;
  Crowd& operator=(const Crowd&) = delete;

  // Null if the daemon does not take it.
  std::unique_ptr<transport::Channel> Enter(std::size_t daemon) {
    auto channel = domain_->Connect(rig_.cluster().daemons()[daemon].endpoints[0], identity_,
                                    clock_.Now() + std::chrono::seconds(5));
    return channel ? *std::move(channel) : nullptr;
  }

  // Readers that ask for all there is and then take nothing of it.
  void ReadAndStall(int readers) {
    const client::LookupResult found = rig_.Lookup(0);
    for (int i = 0; i < readers; ++i) {
      const std::size_t daemon = 1 + static_cast<std::size_t>(i) % 2;
      auto channel = Enter(daemon);
      if (!channel) continue;
      std::uint64_t tag = 0;
      for (int call = 0; call < 64; ++call) {
        for (const client::MatchedChunk& chunk : found.state().chunks) {
          AskFor(*channel, chunk, ++tag);
        }
      }
      held_.push_back(std::move(channel));
    }
  }

  // Of ten, nine say a whole Hello, and one nothing at all. How many came in.
  std::size_t Idle(std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
      transport::Fd fd = Dial(1 + i % 2);
      if (i % 10 == 0 || SayHello(fd.get())) sockets_.push_back(std::move(fd));
    }
    return sockets_.size();
  }

  // One after the other, as fast as they go, each with a Hello and no more.
  void Storm() {
    storming_ = std::thread([this] {
      // This machine has few cores: what is measured is the daemons, not who gets the processor.
      setpriority(PRIO_PROCESS, 0, 19);
      for (std::size_t i = 0; !stop_.load(); ++i) {
        if (i % 2 == 0) {
          (void)Enter(1 + i / 2 % 2);
        } else {
          (void)Dial(1 + i / 2 % 2);
        }
        ++came_;
      }
    });
  }

  void Leave() {
    stop_.store(true);
    if (storming_.joinable()) storming_.join();
    held_.clear();
    sockets_.clear();
    stop_.store(false);
  }
  [[nodiscard]] std::uint64_t came() const { return came_.load(); }

 private:
  static constexpr std::size_t kWindowBytes = std::size_t{1} << 20;

  void AskFor(transport::Channel& channel, const client::MatchedChunk& chunk, std::uint64_t tag) {
    wire::ReadRequest request;
    wire::ReadItem item;
    item.key = chunk.key;
    item.put_id = chunk.where.put_id;
    item.levels = kAllLevels;
    item.layers = chunk.where.parts[0].shape.layers;
    item.kv_heads = chunk.where.parts[0].shape.kv_heads;
    item.window_bytes = kWindowBytes;
    request.items.push_back(item);
    wire::Buffer bytes;
    request.Encode(bytes);
    transport::Call call;
    call.tag = tag;
    call.request = bytes;
    call.receive_bulk = window_;  // of all of them: nobody looks at it
    call.deadline = clock_.Now() + std::chrono::seconds(30);
    [[maybe_unused]] const Status status = channel.Submit(call);
  }

  // Without a channel, which takes several descriptors: of those there are too few for 10^4.
  bool SayHello(int fd) {
    transport::Nonce nonce;
    random_.Fill(nonce);
    std::vector<std::byte> out;
    transport::HelloClient hello(identity_, nonce, out, 0);
    std::array<std::byte, 1024> in;
    for (;;) {
      if (send(fd, out.data(), out.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(out.size())) {
        return false;
      }
      out.clear();
      if (hello.state() == transport::HelloState::kAccepted) return true;
      if (hello.state() == transport::HelloState::kRefused) return false;
      const ssize_t got = recv(fd, in.data(), std::min(hello.wanted(), in.size()), 0);
      if (got <= 0) return false;
      hello.Feed({in.data(), static_cast<std::size_t>(got)}, out);
    }
  }

  transport::Fd Dial(std::size_t daemon) {
    const std::string& endpoint = rig_.cluster().daemons()[daemon].endpoints[0];
    const sockaddr_in address = AddressOf(endpoint);
    transport::Fd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const timeval patience{5, 0};
    setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    [[maybe_unused]] const int connected =
        connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address));
    return fd;
  }

  Rig& rig_;
  SteadyClock clock_;
  SystemRandom random_;
  NullLog log_;
  std::vector<std::byte> window_;
  std::unique_ptr<transport::Domain> domain_;
  transport::Identity identity_;
  std::vector<std::unique_ptr<transport::Channel>> held_;
  std::vector<transport::Fd> sockets_;
  std::atomic<bool> stop_{false};
  std::atomic<std::uint64_t> came_{0};
  std::thread storming_;
};

Milliseconds P99(std::vector<Milliseconds> times) {
  if (times.empty()) return {};
  std::ranges::sort(times);
  return times[(times.size() * 99 - 1) / 100];
}

// Times `kGetsPerTurn` gets. Says what broke.
std::string TimeGets(Rig& rig, std::vector<Milliseconds>& times) {
  for (int i = 0; i < kGetsPerTurn; ++i) {
    const GetOutcome got = rig.Get(Rig::kFirstShort + static_cast<std::uint64_t>(i) % kVictims);
    if (got.wrong) return "a get delivered wrong bytes";
    if (!got.whole) return "a get failed";
    times.push_back(got.took);
  }
  return "";
}

// `come` lets the crowd in and says who they are; nothing if some of them were not let in.
CaseOutcome Beside(const CaseOptions& options, const std::function<std::string(Crowd&)>& come) {
  auto rig = Rig::Make(RigOf(
      options,
      {.nodes = 2, .node_settings = {"node.connections_max=16384"}, .size = DocumentSize::kLarge}));
  if (!rig) return Broken(0, rig.error().ToString());
  for (std::uint64_t d = 0; d < kLargeDocuments + kVictims; ++d) {
    const std::uint64_t seed = d < kLargeDocuments ? d : Rig::kFirstShort + d - kLargeDocuments;
    if (!(*rig)->Put(seed).ok()) return Broken(0, "a put failed before any fault");
  }
  Crowd crowd(**rig);
  std::vector<Milliseconds> alone;
  std::vector<Milliseconds> beside;
  std::string who;
  for (int trial = 0; trial < options.trials; ++trial) {
    std::string why = TimeGets(**rig, alone);
    who = come(crowd);
    if (who.empty()) why = "not all of the crowd came in";
    if (why.empty()) why = TimeGets(**rig, beside);
    crowd.Leave();
    if (!why.empty()) return Broken(trial, why);
  }
  const Milliseconds before = P99(alone);
  const Milliseconds during = P99(beside);
  if (crowd.came() > 0) who = std::to_string(crowd.came()) + " connections";
  char text[160];
  std::snprintf(text, sizeof(text), "p99 of a get %.2f ms alone, %.2f ms beside %s: %.2f x",
                before.count(), during.count(), who.c_str(), during / before);
  const Milliseconds allowed = 2 * before + (BesideOthers() ? late_max : Milliseconds(0));
  if (during > allowed) return Broken(options.trials, text);
  return {true, options.trials, text, ""};
}

}  // namespace

CaseOutcome SlowReaders(const CaseOptions& options) {
  constexpr int kReaders = 16;
  return Beside(options, [](Crowd& crowd) {
    crowd.ReadAndStall(kReaders);
    return std::to_string(kReaders) + " readers that take nothing";
  });
}

CaseOutcome IdleConnections(const CaseOptions& options) {
  constexpr std::size_t kConnections = 10'000;
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  if (files.rlim_cur < kConnections + 1000) {
    return {.why = "fewer than 11000 file descriptors are allowed", .skipped = true};
  }
  // Each trial takes as long as it takes to let so many in: ten have to do for a hundred.
  constexpr int kTrialsMax = 10;
  CaseOptions few = options;
  few.trials = std::min(options.trials, kTrialsMax);
  return Beside(few, [](Crowd& crowd) {
    const bool all = crowd.Idle(kConnections) == kConnections;
    return all ? std::to_string(kConnections) + " idle connections" : "";
  });
}

CaseOutcome ConnectionStorm(const CaseOptions& options) {
  return Beside(options, [](Crowd& crowd) {
    crowd.Storm();
    return std::string("connections without end");
  });
}

}  // namespace kdn::fault

// Goal: TCP moves 1 MiB objects at half of the rate of a bare send and receive program, or more.
// Method: a client asks server threads, each with a port of its own as the shards of a node have,
// for objects, some at a time, over our transport with a service that does nothing else; between
// measurements of the bare program (best of 1, 2 and 4 connections). Both sides wish for huge
// pages. The medians are compared.
#include <poll.h>
#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/log.h"
#include "base/random.h"
#include "tests/bench/bulk_memory.h"
#include "tests/bench/raw_ceiling.h"
#include "tests/bench/report.h"
#include "transport/channel.h"

namespace kdn::bench {
namespace {

using transport::Call;
using transport::Event;
using transport::EventKind;
using transport::Exchange;

constexpr double kBar = 0.5;
constexpr int kWaitMs = 100;

// Sends the object that the request names, and forgets the call once it has moved.
class ObjectService final : public transport::Service {
 public:
  ObjectService(ConstBytes source, std::size_t object_bytes)
      : source_(source), object_bytes_(object_bytes), calls_(1024) {}

  void OnCall(std::unique_ptr<Exchange> call) override {
    std::uint64_t number = 0;
    std::memcpy(&number, call->request().data(), sizeof(number));
    const std::size_t objects = source_.size() / object_bytes_;
    const ConstBytes object = source_.subspan((number % objects) * object_bytes_, object_bytes_);
    call->SendPiece(0, 0, {&object, 1});
    call->Finish(Code::kOk, {});
    *std::find(calls_.begin(), calls_.end(), nullptr) = std::move(call);
  }
  void OnMoved(Exchange& call, std::uint32_t, Code) override { Forget(call); }
  void OnAbandoned(Exchange& call) override { Forget(call); }

 private:
  void Forget(Exchange& call) {
    std::find_if(calls_.begin(), calls_.end(), [&](const auto& held) {
      return held.get() == &call;
    })->reset();
  }
  ConstBytes source_;
  std::size_t object_bytes_;
  std::vector<std::unique_ptr<Exchange>> calls_;
};

class OpenAuthenticator final : public transport::Authenticator {
 public:
  [[nodiscard]] std::vector<std::byte> SecretOf(transport::PeerRole, TenantId) const override {
    return {};
  }
  [[nodiscard]] bool AllowsNone(transport::PeerRole, TenantId) const override { return true; }
  [[nodiscard]] Epoch epoch() const override { return Epoch{}; }
  [[nodiscard]] std::uint64_t map_version() const override { return 0; }
};

struct Settings {
  RawCeilingOptions raw;
  std::uint32_t connections = 0;
  std::uint32_t depth = 4;
  std::uint32_t servers = 1;
  std::uint32_t threads = 1;
  int repeats = 5;
};

void WaitReadable(int fd) {
  pollfd poll_fd{fd, POLLIN, 0};
  poll(&poll_fd, 1, kWaitMs);
}

void Require(bool holds, const std::string& what) {
  if (holds) return;
  std::fprintf(stderr, "transport_bench: %s\n", what.c_str());
  std::exit(2);
}

// A server and the thread that polls it.
class ServerThread {
 public:
  ServerThread(transport::Domain& domain, ConstBytes source, std::size_t object_bytes)
      : service_(source, object_bytes) {
    auto server = domain.Listen("127.0.0.1:0", ClusterId{}, PeerId{}, service_, authenticator_);
    Require(server.has_value(), server ? "" : server.error().ToString());
    server_ = *std::move(server);
    thread_ = std::thread([this] {
      while (!stop_) {
        if (server_->Poll() == 0) WaitReadable(server_->WaitFd());
      }
      server_.reset();
    });
  }
  ~ServerThread() {
    stop_ = true;
    thread_.join();
  }
  [[nodiscard]] std::string endpoint() const { return server_->endpoint(); }

 private:
  OpenAuthenticator authenticator_;
  ObjectService service_;
  std::unique_ptr<transport::Server> server_;
  std::atomic<bool> stop_ = false;
  std::thread thread_;
};

class Rig {
 public:
  explicit Rig(const Settings& settings)
      : settings_(settings),
        source_(settings.raw.source_bytes),
        memory_(settings.raw.object_bytes * settings.depth) {
    transport::Options options;
    options.connections = settings.connections;
    options.threads = settings.threads;
    options.congestion_control = settings.raw.congestion_control;
    auto domain = transport::OpenDomain(options, clock_, random_, log_);
    Require(domain.has_value(), domain ? "" : domain.error().ToString());
    domain_ = *std::move(domain);
    transport::MemoryRegion region;
    region.address = memory_.bytes().data();
    region.size_bytes = memory_.bytes().size();
    Require(domain_->Register(region).ok(), "cannot register memory");
    for (std::uint32_t i = 0; i < settings.servers; ++i) {
      servers_.push_back(
          std::make_unique<ServerThread>(*domain_, source_.bytes(), settings.raw.object_bytes));
      auto channel = domain_->Connect(servers_.back()->endpoint(), transport::Identity{},
                                      clock_.Now() + std::chrono::seconds(5));
      Require(channel.has_value(), channel ? "" : channel.error().ToString());
      channels_.push_back(*std::move(channel));
    }
  }
  ~Rig() { channels_.clear(); }

  double Rate() {
    const std::uint64_t count = settings_.raw.total_bytes / settings_.raw.object_bytes;
    const auto start = std::chrono::steady_clock::now();
    Fetch(count);
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    return static_cast<double>(count * settings_.raw.object_bytes) / took.count();
  }

 private:
  // Asks the servers in turn.
  void Submit(std::uint64_t number, std::uint64_t slot) {
    Call call;
    call.tag = slot;
    call.request = std::as_bytes(std::span(&number, 1));
    call.receive_bulk =
        memory_.bytes().subspan(slot * settings_.raw.object_bytes, settings_.raw.object_bytes);
    call.deadline = clock_.Now() + std::chrono::seconds(30);
    const Status submitted = channels_[number % channels_.size()]->Submit(call);
    Require(submitted.ok(), submitted.ToString());
  }
  // Asks for `count` objects, `depth` at a time.
  void Fetch(std::uint64_t count) {
    std::uint64_t asked = 0;
    std::uint64_t done = 0;
    std::array<Event, 64> events;
    for (; asked < std::min<std::uint64_t>(count, settings_.depth); ++asked) Submit(asked, asked);
    while (done < count) {
      std::size_t seen = 0;
      for (const auto& channel : channels_) {
        const std::size_t got = channel->Poll(events);
        seen += got;
        for (std::size_t i = 0; i < got; ++i) {
          if (events[i].kind != EventKind::kDone) continue;
          Require(events[i].code == Code::kOk, std::string(CodeName(events[i].code)));
          ++done;
          if (asked < count) Submit(asked++, events[i].tag);
        }
      }
      if (seen == 0) Wait();
    }
  }
  void Wait() const {
    std::vector<pollfd> fds;
    for (const auto& channel : channels_) fds.push_back({channel->WaitFd(), POLLIN, 0});
    poll(fds.data(), fds.size(), kWaitMs);
  }

  Settings settings_;
  SteadyClock clock_;
  SystemRandom random_;
  NullLog log_;
  BulkMemory source_;
  BulkMemory memory_;
  std::unique_ptr<transport::Domain> domain_;
  std::vector<std::unique_ptr<ServerThread>> servers_;
  std::vector<std::unique_ptr<transport::Channel>> channels_;
};

// Processor time of all threads here, the kernel's for them counted in.
double CpuSeconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

Comparison Measure(const Settings& settings) {
  Rig rig(settings);
  rig.Rate();  // warms up: calls, buffers, page tables
  std::vector<double> ours;
  std::vector<double> theirs;
  for (int i = 0; i < settings.repeats; ++i) {
    theirs.push_back(RawCeiling(settings.raw));
    Require(theirs.back() > 0, "the bare program failed");
    const double bare_before = CpuSeconds();
    Require(RawRate(settings.raw, 2) > 0, "the bare program failed");
    const double before = CpuSeconds();
    ours.push_back(rig.Rate());
    const double gigabytes = static_cast<double>(settings.raw.total_bytes) / 1e9;
    std::printf("  bare %.2f GB/s, ours %.2f GB/s; of processors, bare %.3f s/GB, ours %.3f s/GB\n",
                theirs.back() / 1e9, ours.back() / 1e9, (before - bare_before) / gigabytes,
                (CpuSeconds() - before) / gigabytes);
  }
  Comparison comparison;
  comparison.ours = Median(ours) / 1e9;
  comparison.theirs = Median(theirs) / 1e9;
  comparison.ratio = comparison.ours / comparison.theirs;
  return comparison;
}

}  // namespace
}  // namespace kdn::bench

int main(int argc, char** argv) {
  kdn::bench::Settings settings;
  std::string json_path;
  std::size_t total_mib = 1024;
  std::size_t object_kib = 1024;
  CLI::App app{"1 MiB objects over our TCP against a bare send and receive program"};
  app.add_option("--json", json_path, "Write the result to this file");
  app.add_option("--congestion", settings.raw.congestion_control, "Congestion control of both");
  app.add_option("--connections", settings.connections, "Of ours; 0: as many as it chooses");
  app.add_option("--servers", settings.servers, "Threads that serve")->check(CLI::Range(1, 16));
  app.add_option("--threads", settings.threads, "Threads that move the client's bulk");
  app.add_option("--depth", settings.depth, "Objects that ours asks for at a time");
  app.add_option("--repeats", settings.repeats, "Measurements of each")->check(CLI::Range(1, 99));
  app.add_option("--total-mib", total_mib, "Bytes in one measurement, in MiB");
  app.add_option("--object-kib", object_kib, "Size of an object, in KiB");
  CLI11_PARSE(app, argc, argv);
  settings.raw.huge_pages = true;
  settings.raw.total_bytes = total_mib << 20;
  settings.raw.object_bytes = object_kib << 10;
  kdn::bench::Comparison result = kdn::bench::Measure(settings);
  result.name = "transport_bench";
  result.group = "path";
  result.unit = "GB/s";
  result.bar = kdn::bench::kBar;
  result.command = kdn::bench::CommandLine(argc, argv);
  return kdn::bench::Report(result, json_path);
}

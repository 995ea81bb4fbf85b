#include "tests/fault/net_lab.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>
#include <utility>

#include "client/admin/process.h"

namespace kdn::fault {
namespace {

constexpr const char* kEnter = "/usr/bin/nsenter";
constexpr const char* kNet = "127.77.0.";

Status Cannot(const std::string& what) {
  return Status(Code::kUnimplemented, what + ": " + std::strerror(errno));
}

transport::Fd OpenOwnNamespace() {
  return transport::Fd(open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
}

std::string PathOf(const transport::Fd& space) {
  return "/proc/" + std::to_string(getpid()) + "/fd/" + std::to_string(space.get());
}

}  // namespace

std::string DropFrom(const std::string& address) {
  return "ip saddr " + address + " counter drop";
}

std::string LosePercent(int percent) {
  return "numgen random mod 100 < " + std::to_string(percent) + " counter drop";
}

Result<std::unique_ptr<NetLab>> NetLab::Make(std::size_t nodes, const std::string& folder) {
  if (geteuid() != 0) return Error(Code::kUnimplemented, "network namespaces need root");
  for (const char* tool : {kEnter, "/usr/sbin/nft", "/usr/sbin/ip", "/usr/bin/ss"}) {
    if (access(tool, X_OK) != 0) {
      return Error(Code::kUnimplemented, std::string("there is no ") + tool);
    }
  }
  std::unique_ptr<NetLab> lab(new NetLab(folder));
  if (Status status = lab->Build(nodes + 2); !status.ok()) return std::unexpected(status);
  return lab;
}

NetLab::~NetLab() {
  if (own_.valid()) setns(own_.get(), CLONE_NEWNET);
}

Result<transport::Fd> NetLab::NewNamespace() const {
  if (unshare(CLONE_NEWNET) != 0) return std::unexpected(Cannot("no network namespace"));
  transport::Fd made = OpenOwnNamespace();
  setns(own_.get(), CLONE_NEWNET);
  if (!made.valid()) return std::unexpected(Cannot("no network namespace"));
  return made;
}

Status NetLab::Build(std::size_t hosts) {
  own_ = OpenOwnNamespace();
  if (!own_.valid()) return Cannot("no namespaces");
  auto bridge = NewNamespace();
  if (!bridge) return bridge.error();
  bridge_ = *std::move(bridge);
  KDN_RETURN_IF_ERROR(
      Run(bridge_, "ip link add name bridge0 type bridge && ip link set bridge0 up"));
  for (std::size_t host = 0; host < hosts; ++host) KDN_RETURN_IF_ERROR(AddHost(host));
  // Whether this kernel can do all that the cases ask for.
  KDN_RETURN_IF_ERROR(Filter(client(), {"ct state established numgen random mod 2 < 1 tcp dport 1 "
                                        "counter reject with tcp reset"}));
  return Lift();
}

Status NetLab::AddHost(std::size_t host) {
  auto made = NewNamespace();
  if (!made) return made.error();
  hosts_.push_back(*std::move(made));
  filtered_.push_back(false);
  const transport::Fd& space = hosts_.back();
  const std::string port = "p" + std::to_string(host);
  // Loopback as a whole would swallow the network's addresses; 127.0.0.1 alone is left of it.
  // Without gso_max_segs packets of 64 KiB would pass, and be lost, as one.
  KDN_RETURN_IF_ERROR(
      Run(space,
          "echo 1 > /proc/sys/net/ipv4/conf/all/route_localnet && ip link set lo up && "
          "ip route del local 127.0.0.0/8 dev lo table local && "
          "ip link add name eth0 type veth peer name " +
              port + " netns " + PathOf(bridge_) + " && ip addr add " + AddressOf(host) +
              "/24 dev eth0 && ip link set eth0 gso_max_segs 1 && ip link set eth0 up"));
  return Run(bridge_, "ip link set " + port + " gso_max_segs 1 && ip link set " + port +
                          " master bridge0 && ip link set " + port + " up");
}

std::vector<std::string> NetLab::LauncherInto(const transport::Fd& space) const {
  return {kEnter, "--net=" + PathOf(space)};
}

Status NetLab::Run(const transport::Fd& space, const std::string& commands) const {
  const std::string log = folder_ + "/net.log";
  std::ofstream(log, std::ios::trunc) << commands << '\n';
  std::vector<std::string> argv = LauncherInto(space);
  argv.insert(argv.end(), {"/bin/sh", "-c", "PATH=/usr/sbin:/usr/bin:/sbin:/bin\n" + commands});
  const auto pid = admin::StartProcess(argv, log);
  if (!pid) return pid.error();
  int status = 0;
  while (waitpid(*pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return {};
  std::stringstream said;
  said << std::ifstream(log).rdbuf();
  // What the kernel refuses is missing here; anything else is a mistake of ours.
  const bool refused = said.str().find("Could not process rule") != std::string::npos ||
                       said.str().find("RTNETLINK answers") != std::string::npos;
  return Status(refused ? Code::kUnimplemented : Code::kInternal, said.str());
}

std::string NetLab::AddressOf(std::size_t host) const {
  return kNet + std::to_string(host + 1);
}

std::vector<admin::DaemonPlace> NetLab::places() const {
  std::vector<admin::DaemonPlace> places;
  for (std::size_t host = 0; host < client(); ++host) {
    places.push_back({AddressOf(host), LauncherInto(hosts_[host])});
  }
  return places;
}

Status NetLab::EnterClient() {
  if (setns(hosts_[client()].get(), CLONE_NEWNET) != 0) return Cannot("cannot enter a namespace");
  return {};
}

Status NetLab::Filter(std::size_t host, const std::vector<std::string>& rules) {
  std::string table = "table inet kdn { chain arriving { type filter hook input priority 0;\n";
  for (const std::string& rule : rules) table += rule + "\n";
  table += "}\n}\n";
  const std::string clear = "add table inet kdn\ndelete table inet kdn\n";
  filtered_[host] = true;
  return Run(hosts_[host], "nft -f - <<'END'\n" + clear + table + "END\n");
}

Status NetLab::ResetBetween(std::size_t host, std::size_t other) {
  KDN_RETURN_IF_ERROR(Run(hosts_[host], "ss -K dst " + AddressOf(other) + " >/dev/null"));
  return Run(hosts_[other], "ss -K dst " + AddressOf(host) + " >/dev/null");
}

Result<std::uint64_t> NetLab::PacketsHit() const {
  const std::string counted = folder_ + "/counted";
  std::uint64_t hit = 0;
  for (std::size_t host = 0; host < hosts_.size(); ++host) {
    if (!filtered_[host]) continue;
    const Status status = Run(hosts_[host], "nft list table inet kdn >" + counted);
    if (!status.ok()) return std::unexpected(status);
    // Rules read "... counter packets 12 bytes 3456 drop".
    std::ifstream text(counted);
    for (std::string word; text >> word;) {
      std::uint64_t packets = 0;
      if (word == "packets" && text >> packets) hit += packets;
    }
  }
  return hit;
}

Status NetLab::Lift() {
  for (std::size_t host = 0; host < hosts_.size(); ++host) {
    if (!filtered_[host]) continue;
    KDN_RETURN_IF_ERROR(Run(hosts_[host], "nft delete table inet kdn"));
    filtered_[host] = false;
  }
  return {};
}

}  // namespace kdn::fault

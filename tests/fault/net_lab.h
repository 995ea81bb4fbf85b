// A network of its own for a cluster: each daemon and the client in a network namespace, all joined
// by a bridge, and packets between them lost, refused or let through as a case says. Addresses lie
// in 127.77.0.0/24, which these namespaces route like any other network, so that daemons speak to
// each other as on one machine; packets pass a veth pair each way and are cut as on a wire.
//
// Faults are nftables rules where packets arrive, so that who sends notices nothing. Namespaces are
// held open by file descriptors: whatever ends this process, nothing is left of them.
//
// Needs root and nft. Thread-safety: not safe; caller synchronises.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "client/admin/local_cluster.h"
#include "transport/wakeup.h"

namespace kdn::fault {

class NetLab {
 public:
  // Hosts are numbered as a LocalCluster's daemons: the coordinator, the nodes; the client is last.
  // `folder` exists and is for scratch files. kUnimplemented with the reason where this machine or
  // user cannot do it.
  static Result<std::unique_ptr<NetLab>> Make(std::size_t nodes, const std::string& folder);
  ~NetLab();
  NetLab(const NetLab&) = delete;
  NetLab& operator=(const NetLab&) = delete;

  [[nodiscard]] std::size_t client() const { return hosts_.size() - 1; }
  [[nodiscard]] std::string AddressOf(std::size_t host) const;
  [[nodiscard]] std::vector<admin::DaemonPlace> places() const;

  // From now on what this thread and its children open is on the client's host.
  Status EnterClient();

  // Filters what arrives at `host`, in place of what filtered there before: nftables rules, each of
  // which ends with "counter" and a verdict.
  Status Filter(std::size_t host, const std::vector<std::string>& rules);
  // Resets every connection between two hosts, on both sides.
  Status ResetBetween(std::size_t host, std::size_t other);
  // How many packets the rules that are there have hit.
  [[nodiscard]] Result<std::uint64_t> PacketsHit() const;
  // Lets everything through again.
  Status Lift();

 private:
  explicit NetLab(std::string folder) : folder_(std::move(folder)) {}
  Status Build(std::size_t hosts);
  Status AddHost(std::size_t host);
  [[nodiscard]] Result<transport::Fd> NewNamespace() const;
  [[nodiscard]] std::vector<std::string> LauncherInto(const transport::Fd& space) const;
  // Runs shell commands in a namespace; what they print is in the status if they fail.
  Status Run(const transport::Fd& space, const std::string& commands) const;

  const std::string folder_;
  transport::Fd own_;     // where this process came from
  transport::Fd bridge_;  // the namespace of the bridge
  std::vector<transport::Fd> hosts_;
  std::vector<bool> filtered_;
};

// Rules for NetLab::Filter().
[[nodiscard]] std::string DropFrom(const std::string& address);
// Of every packet, with this probability.
[[nodiscard]] std::string LosePercent(int percent);

}  // namespace kdn::fault

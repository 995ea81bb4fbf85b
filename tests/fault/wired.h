// A cluster in a network that a case can break, and what cases on it have in common.
//
// Thread-safety: not safe; caller synchronises.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tests/fault/cases.h"
#include "tests/fault/net_lab.h"

namespace kdn::fault {

constexpr std::uint32_t kNodes = 3;
constexpr std::size_t kCoordinator = 0;
constexpr std::uint64_t kDocuments = 4;  // stored before any fault
// From the end of a fault until the coordinator counts all nodes, and until gets are whole and puts
// reach two nodes.
constexpr std::chrono::seconds kNodesBackMax{5 * kSlowdown};
constexpr std::chrono::seconds kBackMax{10 * kSlowdown};

// A cluster whose network a case can break.
struct Wired {
  std::unique_ptr<NetLab> lab;
  std::unique_ptr<Rig> rig;  // gone before the lab
};

// With kDocuments stored, each on two nodes. kUnimplemented where this machine cannot do it.
Result<Wired> Wire(const CaseOptions& options, std::chrono::milliseconds timeout);
// Why there is none.
[[nodiscard]] CaseOutcome Unwired(const Status& why);

// What was seen over all trials.
struct Seen {
  Latest latest;
  Milliseconds slowest_hit{};
  Milliseconds slowest_back{};
  std::uint64_t packets = 0;  // that a rule hit
  std::uint64_t gets = 0;
  std::uint64_t missed = 0;
  std::uint64_t puts = 0;
  std::uint64_t acknowledged = 0;

  [[nodiscard]] std::string ToString() const;
};

// Waits until gets of these documents and the first ones are whole, and puts reach two nodes. Why
// it is not so in time; empty: it is.
[[nodiscard]] std::string ComeBack(Rig& rig, const std::vector<std::uint64_t>& stored,
                                   std::uint64_t next_new, Seen& seen);

}  // namespace kdn::fault

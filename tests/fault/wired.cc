#include "tests/fault/wired.h"

#include <algorithm>
#include <filesystem>

namespace kdn::fault {

Result<Wired> Wire(const CaseOptions& options, std::chrono::milliseconds timeout) {
  std::error_code error;
  std::filesystem::create_directories(options.folder, error);
  Wired wired;
  KDN_ASSIGN_OR_RETURN(wired.lab, NetLab::Make(kNodes, options.folder));
  if (Status in = wired.lab->EnterClient(); !in.ok()) return std::unexpected(in);
  KDN_ASSIGN_OR_RETURN(
      wired.rig,
      Rig::Make(
          RigOf(options, {.nodes = kNodes, .timeout = timeout, .places = wired.lab->places()})));
  for (std::uint64_t d = 0; d < kDocuments; ++d) {
    if (!wired.rig->Put(d).ok() || wired.rig->ReplicasOf(d) != 2) {
      return Error(Code::kInternal, "a put failed before any fault");
    }
  }
  return wired;
}

CaseOutcome Unwired(const Status& why) {
  if (why.code() == Code::kUnimplemented) return Skipped(why.message());
  return Broken(0, why.ToString());
}

std::string Seen::ToString() const {
  return std::to_string(packets) + " packets hit; " + latest.ToString() + "; " +
         std::to_string(missed) + " of " + std::to_string(gets) +
         " gets missed, slowest where a replica was in reach " + MillisecondsText(slowest_hit) +
         "; " + std::to_string(acknowledged) + " of " + std::to_string(puts) +
         " puts acknowledged on two nodes; whole again within " + MillisecondsText(slowest_back);
}

std::string ComeBack(Rig& rig, const std::vector<std::uint64_t>& stored, std::uint64_t next_new,
                     Seen& seen) {
  const TimePoint lifted = std::chrono::steady_clock::now();
  const auto since = [&] { return Milliseconds(std::chrono::steady_clock::now() - lifted); };
  Status status = rig.cluster().WaitAlive(kNodes, kNodesBackMax);
  if (!status.ok()) return "nodes did not come back: " + status.ToString();
  std::vector<std::uint64_t> wanted(stored);
  for (std::uint64_t d = 0; d < kDocuments; ++d) wanted.push_back(d);
  for (std::size_t i = 0; i < wanted.size();) {
    const GetOutcome got = rig.Get(wanted[i]);
    if (got.wrong) return "a get delivered wrong bytes";
    seen.latest.Note(got.latest);
    if (got.whole) ++i;
    if (since() > kBackMax) {
      return "document " + std::to_string(wanted[i]) + " goes on missing";
    }
  }
  for (;;) {
    const PutOutcome put = rig.Put(next_new++);
    seen.latest.Note(put.latest);
    if (put.ok() && put.report.chunks_under_replicated == 0) break;
    if (since() > kBackMax) return "puts do not reach two nodes any more";
  }
  seen.slowest_back = std::max(seen.slowest_back, since());
  return "";
}

}  // namespace kdn::fault

// kdn-witness: the two processes beside the fault case `kill_loop`. `write` puts documents into a
// running cluster and writes down what it was told of each; `verify` begins anew, with nothing but
// that ledger, and holds the cluster to it.
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <cstdio>
#include <deque>
#include <string>

#include "base/random.h"
#include "base/secret_file.h"
#include "client/admin/coordinator_rpc.h"
#include "tests/fault/ledger.h"
#include "tests/fault/rig.h"

namespace kdn::fault {
namespace {

// As many are kept; older ones are dropped, so that disks have something to clear away.
constexpr std::size_t kKeptMax = 200;
// How long something that is there may be out of reach, on a busy machine.
constexpr std::chrono::seconds kPatience{10 * kSlowdown};

std::atomic<bool> stop_asked{false};

class Writer {
 public:
  Writer(Rig& rig, Ledger ledger, std::uint64_t first)
      : rig_(rig), ledger_(std::move(ledger)), next_(first) {}

  Status Run() {
    while (!stop_asked.load()) {
      const std::uint64_t document = next_++;
      KDN_RETURN_IF_ERROR(ledger_.Append(Expected::kAnything, document));
      KDN_RETURN_IF_ERROR(PutUntilTold(document));
      if (kept_.empty()) continue;
      const std::uint64_t read = kept_[random_.Next() % kept_.size()];
      if (rig_.Get(read).wrong) KDN_RETURN_IF_ERROR(ledger_.Append(Expected::kWrong, read));
      if (kept_.size() > kKeptMax) KDN_RETURN_IF_ERROR(DropOldest());
    }
    return {};
  }

 private:
  Status PutUntilTold(std::uint64_t document) {
    while (!stop_asked.load()) {
      const PutOutcome put = rig_.Put(document);
      if (put.ok()) {
        const client::StoreReport& told = put.report;
        const bool disk = told.chunks_stored > 0 && told.chunks_on_disk == told.chunks_stored &&
                          told.chunks_present == 0;
        kept_.push_back(document);
        return ledger_.Append(disk ? Expected::kDisk : Expected::kMemory, document);
      }
      poll(nullptr, 0, 10);  // refused at once while a node is away
    }
    return {};
  }
  Status DropOldest() {
    const std::uint64_t document = kept_.front();
    kept_.pop_front();
    KDN_RETURN_IF_ERROR(ledger_.Append(Expected::kDropped, document));
    const auto secret = ReadSecretFile(rig_.folder() + "/cluster.secret");
    if (!secret) return secret.error();
    const admin::CoordinatorRpc rpc(rig_.cluster().daemons()[0].endpoints[1], *secret,
                                    std::chrono::milliseconds(1000));
    v1::DropRequest request;
    request.set_tenant_id(1);
    request.set_context(ContextName(document));
    // Whether it went or not, nothing is expected of it any more.
    [[maybe_unused]] const auto dropped = rpc.Drop(request);
    return {};
  }

  Rig& rig_;
  Ledger ledger_;
  std::uint64_t next_;
  std::deque<std::uint64_t> kept_;
  SeededRandom random_{3};
};

struct Verified {
  std::uint64_t disk = 0;
  std::uint64_t memory = 0;
  std::uint64_t memory_lost = 0;
  std::uint64_t others = 0;
  std::string broken;
};

// The writer goes on meanwhile; it says that it drops a document before it does.
bool DroppedMeanwhile(const std::string& path, std::uint64_t document) {
  const auto now = ReadLedger(path);
  return now && now->at(document) == Expected::kDropped;
}

void VerifyOne(Rig& rig, const std::string& path, std::uint64_t document, Expected expected,
               Verified& seen) {
  if (expected == Expected::kWrong) seen.broken = "a get under load delivered wrong bytes";
  const TimePoint begun = std::chrono::steady_clock::now();
  GetOutcome got = rig.Get(document);
  while (expected == Expected::kDisk && !got.whole && !got.wrong &&
         std::chrono::steady_clock::now() - begun < kPatience) {
    if (DroppedMeanwhile(path, document)) expected = Expected::kDropped;
    got = rig.Get(document);
  }
  const std::string name = "document " + std::to_string(document);
  if (got.wrong) seen.broken = name + " has wrong bytes";
  switch (expected) {
    case Expected::kDisk:
      ++seen.disk;
      if (!got.whole) seen.broken = name + " was acknowledged as on disk and is lost";
      return;
    case Expected::kMemory:
      ++(got.whole ? seen.memory : seen.memory_lost);
      return;
    default:
      ++seen.others;
  }
}

// Every document from `from` on, and each 16th before it.
int Verify(Rig& rig, const std::string& path, std::uint64_t from) {
  const auto ledger = ReadLedger(path);
  if (!ledger) {
    std::printf("broken %s\n", ledger.error().ToString().c_str());
    return 1;
  }
  Verified seen;
  for (const auto& [document, expected] : *ledger) {
    if (document < from && document % 16 != from % 16) continue;
    VerifyOne(rig, path, document, expected, seen);
    if (!seen.broken.empty()) {
      std::printf("broken %s\n", seen.broken.c_str());
      return 1;
    }
  }
  std::printf("held %llu %llu %llu %llu\n", static_cast<unsigned long long>(seen.disk),
              static_cast<unsigned long long>(seen.memory),
              static_cast<unsigned long long>(seen.memory_lost),
              static_cast<unsigned long long>(seen.others));
  return 0;
}

int Run(const std::string& verb, const std::string& folder, const std::string& path,
        std::uint64_t from) {
  auto rig = Rig::Attach({.folder = folder, .timeout = std::chrono::milliseconds(1000)});
  if (!rig) {
    std::printf("broken %s\n", rig.error().ToString().c_str());
    return 1;
  }
  if (verb == "verify") return Verify(**rig, path, from);
  auto ledger = Ledger::Open(path);
  if (!ledger) return 1;
  return Writer(**rig, *std::move(ledger), from).Run().ok() ? 0 : 1;
}

}  // namespace
}  // namespace kdn::fault

int main(int argc, char** argv) {
  // Whoever started it is its only reader.
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  signal(SIGTERM, [](int) { kdn::fault::stop_asked.store(true); });
  std::string verb;
  std::string folder;
  std::string ledger;
  std::uint64_t from = kdn::fault::Rig::kFirstShort;
  CLI::App app("Writes down what a cluster acknowledges, and holds it to that.", "kdn-witness");
  app.add_option("VERB", verb, "write or verify")
      ->required()
      ->check(CLI::IsMember({"write", "verify"}));
  app.add_option("--cluster", folder, "folder of a running cluster")->required();
  app.add_option("--ledger", ledger, "file of what must be so")->required();
  app.add_option("--from", from, "the first document")->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  return kdn::fault::Run(verb, folder, ledger, from);
}

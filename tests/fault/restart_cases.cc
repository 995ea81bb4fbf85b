// A coordinator that has forgotten all chunks: how soon its nodes have told it again.
#include <signal.h>

#include <algorithm>
#include <string>
#include <thread>
#include <vector>

#include "base/random.h"
#include "client/admin/coordinator_rpc.h"
#include "storage/disk_tier.h"
#include "tests/fault/cases.h"
#include "tests/fault/load.h"
#include "tests/support/test_object.h"

namespace kdn::fault {
namespace {

constexpr std::uint32_t kNodes = 2;
constexpr std::uint64_t kChainChunks = 64;
constexpr std::uint64_t kTicketChunks = 32;  // that share a put id
constexpr Milliseconds kBackMax{3000.0 * kSlowdown};

// Writes `count` small objects, each a chunk of its own in chains of 64, into the disk tier of a
// node that does not run, through the tier's own interface: to the node they are what it stored.
Status FillDisk(const std::string& folder, std::uint64_t count, std::uint64_t first_seed) {
  auto disk = storage::OpenRocksTier({.folder = folder, .sync = false});
  if (!disk) return disk.error();
  SeededRandom random(first_seed);
  const auto model = RandomId<ModelFingerprint>(random);
  PutId put;
  ChunkKey parent;
  ChunkKey root;
  for (std::uint64_t i = 0; i < count; ++i) {
    test::ObjectOptions options{.seed = first_seed + i, .size_bytes = 1};
    options.header.part.layers = {0, 1};
    options.header.part.kv_heads = {0, 1};
    options.header.layers_per_group = options.header.heads_per_group = 1;
    options.header.key = RandomId<ChunkKey>(random);
    if (i % kTicketChunks == 0) put = RandomId<PutId>(random);
    options.header.put_id = put;
    options.header.model = model;
    if (i % kChainChunks == 0) root = options.header.key;
    if (i % kChainChunks != 0) options.header.parent = parent;
    options.header.chain_root = root;
    parent = options.header.key;
    const test::TestObject object = test::MakeObject(options);
    const ConstBytes exact = test::SegmentOf(object, Level::kExact);
    storage::DiskTier::Segments segments;
    segments[static_cast<std::size_t>(Level::kExact)] = {&exact, 1};
    const ObjectHeader& header = object.header;
    KDN_RETURN_IF_ERROR(
        (*disk)->Write({header.tenant, header.key, header.part.number, header.put_id},
                       EncodeHeader(header), segments));
  }
  return (*disk)->Close();
}

// All nodes' disks at once; they are of different processes in life too.
Status FillNodes(admin::LocalCluster& cluster, std::uint64_t chunks) {
  std::vector<Status> filled(kNodes);
  std::vector<std::thread> threads;
  for (std::uint32_t n = 0; n < kNodes; ++n) {
    threads.emplace_back([&, n] {
      filled[n] = FillDisk(cluster.folder() + "/node" + std::to_string(n + 1) + "/objects",
                           chunks / kNodes, 1 + n * chunks);
    });
  }
  for (std::thread& thread : threads) thread.join();
  const auto failed = std::ranges::find_if(filled, [](const Status& one) { return !one.ok(); });
  return failed == filled.end() ? Status() : *failed;
}

Status RestartFilled(admin::LocalCluster& cluster, std::uint64_t chunks) {
  for (std::size_t node = 1; node <= kNodes; ++node) {
    KDN_RETURN_IF_ERROR(cluster.Signal(node, SIGTERM));
  }
  KDN_RETURN_IF_ERROR(FillNodes(cluster, chunks));
  for (std::size_t node = 1; node <= kNodes; ++node) KDN_RETURN_IF_ERROR(cluster.Restart(node));
  return cluster.WaitAlive(kNodes, std::chrono::seconds(60));
}

Result<std::uint64_t> ChunksKnown(const admin::LocalCluster& cluster) {
  KDN_ASSIGN_OR_RETURN(const admin::Settings settings, cluster.settings());
  KDN_ASSIGN_OR_RETURN(const std::vector<std::byte> secret, admin::ClusterSecretOf(settings));
  const admin::CoordinatorRpc rpc(settings.grpc, secret, std::chrono::seconds(5));
  KDN_ASSIGN_OR_RETURN(const v1::StatusResponse status, rpc.GetStatus());
  return status.chunks();
}

// Why something that was acknowledged is not there; empty: all is.
std::string LostOf(Rig& rig, const std::vector<std::uint64_t>& acknowledged) {
  for (const std::uint64_t document : acknowledged) {
    const auto context = rig.client().LookupContext(rig.model(), ContextName(document), {});
    if (context->Take().tokens_matched() != rig.TokensIn(document)) {
      return "an acknowledged context is lost: document " + std::to_string(document);
    }
    const GetOutcome got = rig.Get(document);
    if (got.wrong) return "a get delivered wrong bytes";
    if (!got.whole) return "an acknowledged put is lost: document " + std::to_string(document);
  }
  return "";
}

}  // namespace

CaseOutcome CoordinatorRestart(const CaseOptions& options) {
  auto made =
      Rig::Make(RigOf(options, {.nodes = kNodes, .timeout = std::chrono::milliseconds(1000)}));
  if (!made) return Broken(0, made.error().ToString());
  Rig& rig = **made;
  if (Status status = RestartFilled(rig.cluster(), options.chunks); !status.ok()) {
    return Broken(0, "nodes with so many chunks did not come up: " + status.ToString());
  }
  if (Status status = rig.Reconnect(); !status.ok()) return Broken(0, status.ToString());
  std::vector<std::uint64_t> acknowledged = {0, 1};
  for (const std::uint64_t document : acknowledged) {
    if (!rig.Put(document).ok()) return Broken(0, "a put failed before any fault");
  }
  Milliseconds slowest{};
  for (int trial = 0; trial < options.trials; ++trial) {
    // Contexts are being made when it dies.
    Load load(rig, {.documents = 2, .first_new = FirstNewOf(trial), .put_every = 1});
    load.WaitGets(4);
    if (!rig.cluster().Signal(0, SIGKILL).ok()) return Broken(trial, "cannot kill it");
    load.Stop();
    const TimePoint began = std::chrono::steady_clock::now();
    Status status = rig.cluster().Restart(0);
    if (status.ok()) status = rig.cluster().WaitAlive(kNodes, std::chrono::seconds(60));
    const Milliseconds took = std::chrono::steady_clock::now() - began;
    if (!status.ok()) return Broken(trial, "it did not come back: " + status.ToString());
    slowest = std::max(slowest, took);
    const auto chunks = ChunksKnown(rig.cluster());
    if (!chunks) return Broken(trial, chunks.error().ToString());
    if (*chunks < options.chunks / kNodes * kNodes) {
      return Broken(trial, "of " + std::to_string(options.chunks) + " chunks it knows " +
                               std::to_string(*chunks));
    }
    if (took > kBackMax) {
      return Broken(trial, "its directory was back after " + MillisecondsText(took));
    }
    if (load.wrong()) return Broken(trial, "a get delivered wrong bytes");
    acknowledged.insert(acknowledged.end(), load.stored().begin(), load.stored().end());
    if (status = rig.Reconnect(); !status.ok()) return Broken(trial, status.ToString());
    if (const std::string lost = LostOf(rig, load.stored()); !lost.empty()) {
      return Broken(trial, lost);
    }
  }
  if (const std::string lost = LostOf(rig, acknowledged); !lost.empty()) {
    return Broken(options.trials, lost);
  }
  return {true, options.trials,
          "slowest return of " + std::to_string(options.chunks) + " chunks " +
              MillisecondsText(slowest) + ", " + std::to_string(acknowledged.size()) +
              " contexts acknowledged, 0 lost",
          ""};
}

}  // namespace kdn::fault

// What node tests run in: nodes in this process, told by the test what a coordinator would tell
// them, and clients that wait for events instead of sleeping. Time stands still unless advanced.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/log.h"
#include "base/metrics.h"
#include "base/random.h"
#include "node/node.h"
#include "proto/wire/node_ops.h"
#include "proto/wire/put.h"
#include "proto/wire/read.h"
#include "proto/wire/ticket.h"
#include "tests/support/manual_clock.h"
#include "tests/support/temp_dir.h"
#include "tests/support/test_object.h"
#include "transport/channel.h"

namespace kdn::test {

inline constexpr TenantId kTenant{1};  // whose objects MakeObject() makes
inline constexpr TenantId kOtherTenant{2};
inline constexpr Epoch kEpoch{5};
inline constexpr std::uint64_t kCoordinatorNowMs = 1'000'000;

struct Answer {
  Code code = Code::kUnknown;
  wire::Buffer response;
  std::vector<transport::Event> pieces;
};

// One connection to a node, and the calls made over it one at a time.
class TestClient {
 public:
  TestClient(std::unique_ptr<transport::Channel> channel, transport::Domain& domain)
      : channel_(std::move(channel)), domain_(domain) {}

  [[nodiscard]] Answer Call(ConstBytes request, ConstBytes send_bulk = {},
                            MutableBytes receive_bulk = {});
  template <class Request>
  [[nodiscard]] Answer Send(const Request& request, ConstBytes send_bulk = {}) {
    wire::Buffer bytes;
    request.Encode(bytes);
    return Call(bytes, send_bulk);
  }
  // Starts a call and gives it up once its first piece has come, or at once if none will.
  void CallAndCancel(ConstBytes request, ConstBytes send_bulk, MutableBytes receive_bulk);

 private:
  [[nodiscard]] transport::Event NextEvent();

  std::unique_ptr<transport::Channel> channel_;
  transport::Domain& domain_;
  std::uint64_t next_tag_ = 1;
};

struct WorldOptions {
  std::size_t nodes = 1;
  std::string write_mode = "dram_only";
  std::int64_t shards = 1;
  std::int64_t dram_mib = 64;
};

class NodeWorld {
 public:
  explicit NodeWorld(const WorldOptions& options = {});
  ~NodeWorld();

  [[nodiscard]] node::Node& node(std::size_t index) { return *nodes_[index]; }
  [[nodiscard]] static NodeId IdOf(std::size_t index) { return static_cast<NodeId>(index + 1); }
  [[nodiscard]] std::uint32_t ShardOf(const TestObject& object) const;
  [[nodiscard]] std::string DataDir(std::size_t index) const;
  // Stops the node; its endpoints stay in the map of the others.
  void Stop(std::size_t index);
  // Starts it again from its data folder, and tells all nodes where it listens now.
  void Start(std::size_t index);
  // The coordinator is heard now, by all nodes, at kCoordinatorNowMs plus what was advanced.
  void Hear();

  [[nodiscard]] TestClient Connect(std::size_t index,
                                   transport::PeerRole role = transport::PeerRole::kClient,
                                   TenantId tenant = kTenant, std::uint32_t shard = 0);

  // What a connection under this secret comes to.
  [[nodiscard]] Code ConnectWith(std::size_t index, transport::PeerRole role, TenantId tenant,
                                 std::string_view secret);

  // A valid ticket for these objects, of one put id, on these nodes.
  [[nodiscard]] wire::Ticket TicketFor(const std::vector<const TestObject*>& objects,
                                       const std::vector<std::size_t>& nodes) const;
  [[nodiscard]] wire::Buffer Seal(const wire::Ticket& ticket) const;

  // Puts a whole object in pieces of `piece_bytes`, last piece first if `backwards`; the answers in
  // the order sent.
  std::vector<Answer> Put(TestClient& client, const TestObject& object, const wire::Ticket& ticket,
                          std::size_t piece_bytes, bool backwards = false);
  // Puts and commits on these nodes; expects all to go well.
  void Store(const TestObject& object, const std::vector<std::size_t>& nodes);
  // What the coordinator hears when it orders the commit.
  [[nodiscard]] wire::ObjectCodesResponse Commit(std::size_t index, const TestObject& object,
                                                 Epoch epoch = kEpoch);

  ManualClock clock;
  MetricRegistry registry;
  SystemRandom random;
  NullLog log;

 private:
  void TellMap();
  [[nodiscard]] Result<std::unique_ptr<transport::Channel>> Open(std::size_t index,
                                                                 transport::PeerRole role,
                                                                 TenantId tenant,
                                                                 std::uint32_t shard,
                                                                 std::vector<std::byte> secret);

  const WorldOptions options_;
  TempDir folder_;
  const ClusterId cluster_;
  std::unique_ptr<transport::Domain> domain_;
  std::vector<std::unique_ptr<node::Node>> nodes_;
  wire::NodeMap map_;
  TimePoint began_;
};

[[nodiscard]] wire::ObjectName NameOf(const TestObject& object);
[[nodiscard]] wire::PutPieceRequest PieceOf(const TestObject& object, ConstBytes ticket,
                                            std::size_t offset, std::size_t size_bytes);

// A read of one object, and what came of it.
struct ReadOutcome {
  Code call_code = Code::kUnknown;
  wire::ReadResponse::Item item;
  std::optional<ObjectHeader> header;
  std::vector<TileEntry> entries;
  std::vector<std::byte> tiles;  // one after the other, as entries list them
  std::size_t piece_count = 0;
};
[[nodiscard]] wire::ReadItem WholeOf(const TestObject& object);
[[nodiscard]] ReadOutcome ReadOne(TestClient& client, const wire::ReadItem& item);
// Every tile verifies, and the object's own bytes are those of its only segment.
void ExpectWhole(const ReadOutcome& outcome, const TestObject& object);

}  // namespace kdn::test

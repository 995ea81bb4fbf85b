#include "tests/node/node_world.h"

#include <gtest/gtest.h>
#include <poll.h>

#include <algorithm>
#include <array>

#include "base/limits.h"

namespace kdn::test {
namespace {

constexpr std::string_view kClusterSecret = "what all daemons know";

std::vector<std::byte> SecretOf(std::string_view text) {
  const ConstBytes bytes = AsBytes(text);
  return {bytes.begin(), bytes.end()};
}

std::vector<std::byte> TenantSecret(TenantId tenant) {
  return SecretOf("access secret of tenant " + std::to_string(static_cast<std::uint64_t>(tenant)));
}

// Registered while a call uses it.
class Registered {
 public:
  Registered(transport::Domain& domain, ConstBytes bytes)
      : domain_(domain), address_(const_cast<std::byte*>(bytes.data())) {
    if (bytes.empty()) {
      address_ = nullptr;
      return;
    }
    EXPECT_TRUE(domain_.Register({address_, bytes.size()}).ok());
  }
  ~Registered() {
    if (address_ != nullptr) {
      EXPECT_TRUE(domain_.Unregister(address_).ok());
    }
  }
  Registered(const Registered&) = delete;
  Registered& operator=(const Registered&) = delete;

 private:
  transport::Domain& domain_;
  std::byte* address_;
};

}  // namespace

transport::Event TestClient::NextEvent() {
  std::array<transport::Event, 1> events;
  while (channel_->Poll(events) == 0) {
    pollfd waiting{channel_->WaitFd(), POLLIN, 0};
    poll(&waiting, 1, -1);
  }
  return events[0];
}

Answer TestClient::Call(ConstBytes request, ConstBytes send_bulk, MutableBytes receive_bulk) {
  const Registered sent(domain_, send_bulk);
  const Registered received(domain_, receive_bulk);
  const std::array<ConstBytes, 1> bulk = {send_bulk};
  const Status status = channel_->Submit({.tag = next_tag_++,
                                          .request = request,
                                          .send_bulk = bulk,
                                          .receive_bulk = receive_bulk,
                                          .deadline = TimePoint::max()});
  Answer answer;
  if (!status.ok()) {
    answer.code = status.code();
    return answer;
  }
  while (true) {
    const transport::Event event = NextEvent();
    if (event.kind == transport::EventKind::kPiece) {
      answer.pieces.push_back(event);
      continue;
    }
    answer.code = event.code;
    answer.response.assign(event.response.begin(), event.response.end());
    return answer;
  }
}

void TestClient::CallAndCancel(ConstBytes request, ConstBytes send_bulk,
                               MutableBytes receive_bulk) {
  const Registered sent(domain_, send_bulk);
  const Registered received(domain_, receive_bulk);
  const std::array<ConstBytes, 1> bulk = {send_bulk};
  const std::uint64_t tag = next_tag_++;
  ASSERT_TRUE(channel_
                  ->Submit({.tag = tag,
                            .request = request,
                            .send_bulk = bulk,
                            .receive_bulk = receive_bulk,
                            .deadline = TimePoint::max()})
                  .ok());
  if (!receive_bulk.empty() && NextEvent().kind == transport::EventKind::kDone) return;
  channel_->Cancel(tag);
  while (NextEvent().kind != transport::EventKind::kDone) {
  }
}

NodeWorld::NodeWorld(const WorldOptions& options)
    : options_(options), cluster_(RandomId<ClusterId>(random)), began_(clock.Now()) {
  domain_ = transport::OpenDomain({.connections = 1}, clock, random, log).value();
  nodes_.resize(options_.nodes);
  for (std::size_t i = 0; i < options_.nodes; ++i) Start(i);
}

NodeWorld::~NodeWorld() {
  for (auto& node : nodes_) node.reset();
}

std::string NodeWorld::DataDir(std::size_t index) const {
  return folder_.File("node" + std::to_string(index));
}

void NodeWorld::Stop(std::size_t index) {
  nodes_[index].reset();
}

void NodeWorld::Start(std::size_t index) {
  node::NodeConfig config;
  config.data_dir = DataDir(index);
  config.shards = options_.shards;
  config.coordinator = "";
  config.write_mode = options_.write_mode;
  config.dram_mib = options_.dram_mib;
  config.sync = false;
  config.scrub_mib_per_second = 0;  // what is damaged on purpose is found by whom a test wants
  auto node = node::Node::Open(config, {.clock = clock,
                                        .random = random,
                                        .log = log,
                                        .registry = registry,
                                        .cluster_secret = SecretOf(kClusterSecret),
                                        .domain = domain_.get(),
                                        .cluster = cluster_});
  ASSERT_TRUE(node) << node.error().ToString();
  nodes_[index] = *std::move(node);
  nodes_[index]->state().RaiseEpoch(kEpoch);
  const auto at = std::ranges::find(map_.nodes, IdOf(index), &wire::NodeEndpoints::node);
  if (at != map_.nodes.end()) {
    at->shards = nodes_[index]->endpoints();
  } else {
    map_.nodes.push_back({IdOf(index), {}, nodes_[index]->endpoints()});
  }
  ++map_.version;
  TellMap();
  Hear();
}

void NodeWorld::TellMap() {
  for (std::size_t i = 0; i < nodes_.size(); ++i) {
    if (nodes_[i] == nullptr) continue;
    nodes_[i]->state().SetView({.self = IdOf(i),
                                .map = map_,
                                .tenants = {{kTenant, {TenantSecret(kTenant), false}},
                                            {kOtherTenant, {TenantSecret(kOtherTenant), false}}},
                                .tenants_version = 1});
  }
}

void NodeWorld::Hear() {
  const auto since =
      std::chrono::duration_cast<std::chrono::milliseconds>(clock.Now() - began_).count();
  for (auto& node : nodes_) {
    if (node == nullptr) continue;
    node->state().NoteContact(clock.Now(), kCoordinatorNowMs + static_cast<std::uint64_t>(since));
  }
}

Result<std::unique_ptr<transport::Channel>> NodeWorld::Open(std::size_t index,
                                                            transport::PeerRole role,
                                                            TenantId tenant, std::uint32_t shard,
                                                            std::vector<std::byte> secret) {
  const bool is_client = role == transport::PeerRole::kClient;
  return domain_->Connect(nodes_[index]->endpoints()[shard],
                          {.cluster = cluster_,
                           .role = role,
                           .tenant = is_client ? tenant : TenantId{},
                           .peer = RandomId<PeerId>(random),
                           .host = {},
                           .scheme = transport::HelloScheme::kHmac,
                           .secret = std::move(secret)},
                          TimePoint::max());
}

TestClient NodeWorld::Connect(std::size_t index, transport::PeerRole role, TenantId tenant,
                              std::uint32_t shard) {
  const bool is_client = role == transport::PeerRole::kClient;
  auto channel =
      Open(index, role, tenant, shard, is_client ? TenantSecret(tenant) : SecretOf(kClusterSecret));
  EXPECT_TRUE(channel) << channel.error().ToString();
  return {*std::move(channel), *domain_};
}

Code NodeWorld::ConnectWith(std::size_t index, transport::PeerRole role, TenantId tenant,
                            std::string_view secret) {
  const auto channel = Open(index, role, tenant, 0, SecretOf(secret));
  return channel ? Code::kOk : channel.error().code();
}

wire::Ticket NodeWorld::TicketFor(const std::vector<const TestObject*>& objects,
                                  const std::vector<std::size_t>& nodes) const {
  wire::Ticket ticket;
  ticket.epoch = kEpoch;
  ticket.tenant = objects.front()->header.tenant;
  ticket.put_id = objects.front()->header.put_id;
  ticket.model = objects.front()->header.model;
  ticket.expires_ms = kCoordinatorNowMs + 10'000;
  for (const TestObject* object : objects) {
    ticket.keys.push_back(object->header.key);
    ticket.object_bytes_max = std::max(ticket.object_bytes_max, object->bytes.size());
  }
  for (const std::size_t index : nodes) ticket.nodes.push_back(IdOf(index));
  return ticket;
}

wire::Buffer NodeWorld::Seal(const wire::Ticket& ticket) const {
  return wire::SealTicket(ticket, HmacKey(AsBytes(kClusterSecret)));
}

std::vector<Answer> NodeWorld::Put(TestClient& client, const TestObject& object,
                                   const wire::Ticket& ticket, std::size_t piece_bytes,
                                   bool backwards) {
  const wire::Buffer sealed = Seal(ticket);
  std::vector<std::size_t> offsets;
  for (std::size_t at = 0; at < object.bytes.size(); at += piece_bytes) offsets.push_back(at);
  if (backwards) std::ranges::reverse(offsets);
  std::vector<Answer> answers;
  for (const std::size_t at : offsets) {
    const std::size_t size = std::min(piece_bytes, object.bytes.size() - at);
    answers.push_back(
        client.Send(PieceOf(object, sealed, at, size), ConstBytes(object.bytes).subspan(at, size)));
  }
  return answers;
}

void NodeWorld::Store(const TestObject& object, const std::vector<std::size_t>& nodes) {
  TestClient client =
      Connect(nodes.front(), transport::PeerRole::kClient, object.header.tenant, ShardOf(object));
  for (const Answer& answer :
       Put(client, object, TicketFor({&object}, nodes), limits::kPieceBytesMax)) {
    ASSERT_EQ(answer.code, Code::kOk);
  }
  for (const std::size_t index : nodes) {
    ASSERT_EQ(Commit(index, object).objects.at(0).code, Code::kOk);
  }
}

wire::ObjectCodesResponse NodeWorld::Commit(std::size_t index, const TestObject& object,
                                            Epoch epoch) {
  TestClient coordinator = Connect(index, transport::PeerRole::kCoordinator, {}, ShardOf(object));
  wire::CommitObjectsRequest request;
  request.epoch = epoch;
  request.objects = {{NameOf(object), object.digest}};
  const Answer answer = coordinator.Send(request);
  EXPECT_EQ(answer.code, Code::kOk);
  auto codes = wire::ObjectCodesResponse::Decode(answer.response);
  return codes ? *codes : wire::ObjectCodesResponse{};
}

std::uint32_t NodeWorld::ShardOf(const TestObject& object) const {
  return ShardOfKey(object.header.key, static_cast<std::uint32_t>(options_.shards));
}

wire::ObjectName NameOf(const TestObject& object) {
  return {object.header.tenant, object.header.key, object.header.part.number, object.header.put_id};
}

wire::PutPieceRequest PieceOf(const TestObject& object, ConstBytes ticket, std::size_t offset,
                              std::size_t size_bytes) {
  wire::PutPieceRequest request;
  request.ticket.assign(ticket.begin(), ticket.end());
  request.key = object.header.key;
  request.part = object.header.part.number;
  request.object_bytes = object.bytes.size();
  request.offset = offset;
  request.size_bytes = static_cast<std::uint32_t>(size_bytes);
  return request;
}

wire::ReadItem WholeOf(const TestObject& object) {
  return {.key = object.header.key,
          .part = object.header.part.number,
          .put_id = object.header.put_id,
          .levels = kAllLevels,
          .layers = object.header.part.layers,
          .kv_heads = object.header.part.kv_heads,
          .window_offset = 0,
          .window_bytes = wire::ReadWindowBytes(object.header.level_bytes, kAllLevels)};
}

ReadOutcome ReadOne(TestClient& client, const wire::ReadItem& item) {
  wire::ReadRequest request;
  request.items = {item};
  wire::Buffer bytes;
  request.Encode(bytes);
  std::vector<std::byte> window(item.window_offset + item.window_bytes);
  const Answer answer = client.Call(bytes, {}, window);
  ReadOutcome outcome;
  outcome.call_code = answer.code;
  outcome.piece_count = answer.pieces.size();
  const auto response = wire::ReadResponse::Decode(answer.response);
  if (answer.code != Code::kOk || !response || response->items.size() != 1) return outcome;
  outcome.item = response->items[0];
  if (outcome.item.code != Code::kOk) return outcome;
  const ConstBytes all = ConstBytes(window).subspan(item.window_offset, outcome.item.size_bytes);
  if (auto header = DecodeHeader(all.first(kObjectHeaderBytes))) outcome.header = *header;
  ByteReader in(all.subspan(kObjectHeaderBytes));
  for (std::uint32_t i = 0; i < outcome.item.entry_count; ++i) {
    outcome.entries.push_back(DecodeTileEntry(in));
  }
  EXPECT_TRUE(in.ok());
  outcome.tiles.assign(in.rest().begin(), in.rest().end());
  return outcome;
}

void ExpectWhole(const ReadOutcome& outcome, const TestObject& object) {
  ASSERT_EQ(outcome.call_code, Code::kOk);
  ASSERT_EQ(outcome.item.code, Code::kOk);
  ASSERT_TRUE(outcome.header);
  EXPECT_EQ(*outcome.header, object.header);
  std::size_t tile_bytes = 0;
  for (const TileEntry& entry : outcome.entries) {
    const ConstBytes tile = ConstBytes(outcome.tiles).subspan(tile_bytes, entry.size_bytes);
    EXPECT_TRUE(VerifyTile(TagOf(object.header), entry, tile));
    tile_bytes += entry.size_bytes;
  }
  EXPECT_EQ(tile_bytes, outcome.tiles.size());
  const ConstBytes segment = SegmentOf(object, Level::kExact);
  const auto index = DecodeIndex(segment, TagOf(object.header));
  ASSERT_TRUE(index);
  EXPECT_EQ(outcome.entries.size(), index->tiles.size());
  EXPECT_TRUE(std::ranges::equal(outcome.tiles, segment.subspan(index->IndexBytes())));
}

}  // namespace kdn::test

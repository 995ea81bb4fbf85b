#include "tests/bench/object_reader.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "client/admin/file_model.h"
#include "proto/object/chunk_key.h"
#include "transport/host.h"

namespace kdn::bench {
namespace {

constexpr std::size_t kTokenBytes = (std::size_t{1} << 20) / admin::kFileChunkTokens;
constexpr int kWaitMaxMs = 1000;

double SecondsSince(std::chrono::steady_clock::time_point begun) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
}

}  // namespace

void Die(const std::string& what) {
  std::fprintf(stderr, "bench: %s\n", what.c_str());
  std::exit(2);
}

double MedianOf(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

StoredObjects::StoredObjects(const Shape& shape) : shape_(shape) {
  admin::LocalClusterOptions options;
  options.folder = folder_.File("cluster");
  options.nodes = 1;
  options.replicas = 1;
  options.dram_mib = 512;
  options.write_mode = "dram_only";
  options.node_settings = {"node.shards=" + std::to_string(shape.shards),
                           "node.congestion_control=" + shape.congestion};
  auto cluster = admin::LocalCluster::Start(options);
  if (!cluster) Die(cluster.error().ToString());
  cluster_ = std::make_unique<admin::LocalCluster>(*std::move(cluster));
  auto client_options = admin::ClientOptionsOf(*cluster_->settings());
  client_options->chunk_tokens = static_cast<std::uint32_t>(shape.object_bytes / kTokenBytes);
  client_options->timeout = std::chrono::seconds(20);
  Store(*client_options);
  identity_.tenant = client_options->tenant;
  identity_.scheme = transport::HelloScheme::kHmac;
  identity_.secret = client_options->access_secret;
}

StoredObjects::~StoredObjects() {
  [[maybe_unused]] const Status status = cluster_->Stop(std::chrono::seconds(10));
}

void StoredObjects::Store(const client::ClientOptions& options) {
  std::string content(shape_.count * shape_.object_bytes - sizeof(std::uint64_t), '\0');
  SeededRandom random(1);
  random.Fill(std::as_writable_bytes(std::span(content)));
  admin::FileMemory memory = admin::FileMemory::Of(content);
  auto client = client::OpenClient(options);
  if (!client) Die(client.error().ToString());
  const auto model = (*client)->UseModel(admin::FileModelSpec(), {});
  client::StorePlanOptions plan_options;
  plan_options.context = "objects";
  plan_options.provenance = kExactProvenance;
  plan_options.extras = memory.Identity();
  const auto plan = (*client)->PlanStore(**model, memory.Tokens(), plan_options);
  if (!plan) Die(plan.error().ToString());
  auto store = (*client)->Store(**model, *plan, {}, memory.kv(), memory.blocks());
  if (!store || (*store)->Wait().chunks_stored != shape_.count) Die("the objects were not stored");
  found_ = (*client)->LookupContext(**model, "objects", {})->Take();
  if (found_.chunks_matched() != shape_.count) Die("the objects were not found");
}

double StoredObjects::NodeCpuSeconds() const {
  const pid_t pid = cluster_->daemons()[1].pid;
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string line;
  std::getline(file, line);
  std::istringstream in(line.substr(line.rfind(')') + 2));
  std::string skipped;
  for (int i = 0; i < 11; ++i) in >> skipped;
  double user = 0;
  double system = 0;
  in >> user >> system;
  return (user + system) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

ObjectReader::ObjectReader(const StoredObjects& objects, const Options& options)
    : objects_(objects), options_(options) {
  auto domain = transport::OpenDomain(options.transport, clock_, random_, log_);
  if (!domain) Die(domain.error().ToString());
  domain_ = *std::move(domain);
  for (const client::MatchedChunk& chunk : objects.found().chunks) {
    window_bytes_ = std::max<std::size_t>(
        window_bytes_, wire::ReadWindowBytes(chunk.where.parts[0].level_bytes, Level::kExact));
  }
  if (options.shareable) {
    const std::size_t page = transport::shm::kPageBytes;
    window_bytes_ = (window_bytes_ + page - 1) / page * page;
  }
  MakeMemory(window_bytes_ * options.depth);
  transport::Identity identity = objects.identity();
  if (options.transport.shared_memory.enabled) identity.host = transport::ThisHost(random_);
  const std::vector<std::string>& endpoints = objects.found().nodes[0].shards;
  for (std::uint32_t shard = 0; shard < endpoints.size(); ++shard) {
    channels_.emplace_back();
    if (shard % options.shares != options.share) continue;
    auto channel =
        domain_->Connect(endpoints[shard], identity, clock_.Now() + std::chrono::seconds(10));
    if (!channel) Die(channel.error().ToString());
    channels_.back() = *std::move(channel);
  }
  const auto& chunks = objects.found().chunks;
  const auto shards = static_cast<std::uint32_t>(endpoints.size());
  for (std::size_t i = 0; i < chunks.size(); ++i) {
    if (channels_[ShardOfKey(chunks[i].key, shards)] != nullptr) mine_.push_back(i);
  }
  if (mine_.empty()) Die("no object lies on this reader's shards");
  reading_.resize(options.depth);
}

ObjectReader::~ObjectReader() {
  channels_.clear();
  [[maybe_unused]] const Status status = domain_->Unregister(memory_.data());
}

void ObjectReader::MakeMemory(std::size_t size_bytes) {
  transport::MemoryRegion region;
  if (options_.shareable) {
    auto memory = transport::shm::SharedMemory::Make(size_bytes);
    if (!memory) Die(memory.error().ToString());
    shareable_memory_ = std::make_unique<transport::shm::SharedMemory>(*std::move(memory));
    memory_ = shareable_memory_->bytes();
    region = shareable_memory_->region();
  } else {
    private_memory_ = std::make_unique<BulkMemory>(size_bytes);
    memory_ = private_memory_->bytes();
    region.address = memory_.data();
    region.size_bytes = memory_.size();
  }
  if (!domain_->Register(region).ok()) Die("cannot register memory");
}

MutableBytes ObjectReader::WindowOf(std::uint32_t slot) const {
  return memory_.subspan(slot * window_bytes_, window_bytes_);
}

void ObjectReader::Submit(std::uint32_t slot) {
  const auto& chunks = objects_.found().chunks;
  reading_[slot] = mine_[next_++ % mine_.size()];
  const client::MatchedChunk& chunk = chunks[reading_[slot]];
  wire::ReadItem item;
  item.key = chunk.key;
  item.put_id = chunk.where.put_id;
  item.levels = Level::kExact;
  item.layers = {0, 1};
  item.kv_heads = {0, 1};
  item.window_bytes = window_bytes_;
  wire::ReadRequest request;
  request.items.push_back(item);
  request_.clear();
  request.Encode(request_);
  transport::Call call;
  call.tag = slot;
  call.request = request_;
  call.receive_bulk = WindowOf(slot);
  call.deadline = clock_.Now() + std::chrono::seconds(20);
  const auto shards = static_cast<std::uint32_t>(channels_.size());
  if (!channels_[ShardOfKey(chunk.key, shards)]->Submit(call).ok()) Die("cannot submit a read");
}

std::size_t ObjectReader::Finish(const transport::Event& event) {
  if (event.code != Code::kOk) Die("a read failed: " + std::string(CodeName(event.code)));
  return Check(static_cast<std::uint32_t>(event.tag), event.response);
}

// The object's bytes, if every one of them is right.
std::size_t ObjectReader::Check(std::uint32_t slot, ConstBytes response) const {
  const auto answer = wire::ReadResponse::Decode(response);
  if (!answer || answer->items[0].code != Code::kOk) Die("a read missed");
  const MutableBytes window = WindowOf(slot);
  const auto header = DecodeHeader(window.first(kObjectHeaderBytes));
  if (!header || header->key != objects_.found().chunks[reading_[slot]].key) {
    Die("a read brought another object");
  }
  const ObjectTag tag = TagOf(*header);
  const std::uint32_t count = answer->items[0].entry_count;
  ByteReader reader(window.subspan(kObjectHeaderBytes, count * kTileEntryBytes));
  std::size_t offset = kObjectHeaderBytes + count * kTileEntryBytes;
  std::size_t bytes = 0;
  for (std::uint32_t i = 0; i < count; ++i) {
    const TileEntry entry = DecodeTileEntry(reader);
    if (!reader.ok() || entry.size_bytes > window.size() - offset) Die("an entry is damaged");
    const ConstBytes tile = window.subspan(offset, entry.size_bytes);
    if (options_.verify && !VerifyTile(tag, entry, tile)) Die("a tile does not verify");
    offset += entry.size_bytes;
    bytes += entry.size_bytes;
  }
  return bytes;
}

void ObjectReader::Wait() const {
  std::vector<pollfd> fds;
  for (const auto& channel : channels_) {
    if (channel != nullptr) fds.push_back({channel->WaitFd(), POLLIN, 0});
  }
  poll(fds.data(), fds.size(), kWaitMaxMs);
}

std::size_t ObjectReader::Read(const std::function<bool(std::size_t)>& go_on) {
  std::size_t begun = 0;
  std::size_t bytes = 0;
  std::uint32_t in_flight = 0;
  for (std::uint32_t slot = 0; slot < options_.depth && go_on(begun); ++slot) {
    Submit(slot);
    ++begun;
    ++in_flight;
  }
  std::array<transport::Event, 64> events;
  while (in_flight > 0) {
    std::size_t count = 0;
    for (const auto& channel : channels_) {
      if (channel == nullptr) continue;
      const std::size_t got = channel->Poll(events);
      count += got;
      for (std::size_t i = 0; i < got; ++i) {
        if (events[i].kind != transport::EventKind::kDone) continue;
        bytes += Finish(events[i]);
        --in_flight;
        if (!go_on(begun)) continue;
        Submit(static_cast<std::uint32_t>(events[i].tag));
        ++begun;
        ++in_flight;
      }
    }
    if (count == 0) Wait();
  }
  return bytes;
}

double ObjectReader::Rate(double seconds) {
  const auto begun = std::chrono::steady_clock::now();
  const std::size_t bytes = Read([&](std::size_t) { return SecondsSince(begun) < seconds; });
  return static_cast<double>(bytes) / SecondsSince(begun);
}

std::vector<double> ObjectReader::Latencies(std::size_t count) {
  std::vector<double> latencies;
  while (latencies.size() < count) {
    const auto begun = std::chrono::steady_clock::now();
    Read([](std::size_t number) { return number == 0; });
    latencies.push_back(SecondsSince(begun) * 1e6);
  }
  return latencies;
}

}  // namespace kdn::bench

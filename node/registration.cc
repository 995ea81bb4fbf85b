#include "node/registration.h"

#include <algorithm>
#include <thread>
#include <utility>

#include "proto/kdn/v1/credential.h"

namespace kdn::node {
namespace {

constexpr std::chrono::seconds kInventoryTimeout{5};

std::vector<std::byte> BytesOf(const std::string& text) {
  const ConstBytes bytes = AsBytes(text);
  return {bytes.begin(), bytes.end()};
}

}  // namespace

void ShowCredential(const std::string& credential, grpc::ClientContext& call) {
  if (!credential.empty()) call.AddMetadata(v1::kCredentialKey, credential);
}

wire::NodeMap NodeMapOf(const v1::NodeList& list) {
  wire::NodeMap map;
  map.version = list.version();
  for (const v1::NodeInfo& info : list.nodes()) {
    wire::NodeEndpoints node;
    node.node = static_cast<NodeId>(info.node_id());
    ByteReader host(AsBytes(info.host_id()));
    node.host = host.OpaqueId<HostId>();
    node.shards.assign(info.shard_endpoints().begin(), info.shard_endpoints().end());
    map.nodes.push_back(std::move(node));
  }
  std::ranges::sort(map.nodes, {}, &wire::NodeEndpoints::node);
  return map;
}

std::map<TenantId, TenantAccess> TenantsOf(
    const google::protobuf::RepeatedPtrField<v1::TenantAccess>& list) {
  std::map<TenantId, TenantAccess> tenants;
  for (const v1::TenantAccess& tenant : list) {
    tenants[static_cast<TenantId>(tenant.tenant_id())] = {
        BytesOf(tenant.access_secret()),
        tenant.allow_none(),
        {tenant.requests_per_second(), tenant.bytes_per_second()}};
  }
  return tenants;
}

Registration::Registration(const RegistrationSetup& setup, v1::Membership::Stub& stub,
                           const v1::RegisterResponse& joined, std::uint32_t number)
    : setup_(setup),
      stub_(stub),
      node_id_(joined.node_id()),
      epoch_(joined.epoch()),
      sequence_(std::uint64_t{number} << 32U),
      heard_(setup.clock.Now()),
      heard_coordinator_ms_(joined.coordinator_now_ms()) {
  ShowCredential(setup_.credential, heartbeat_);
}

void Registration::BeginFull() {
  if (setup_.outbox.BeginFull()) setup_.ask_shards();
}

v1::NodeBeat Registration::BeatNow() const {
  const storage::ObjectStore::Usage usage = setup_.outbox.usage();
  const auto view = setup_.state.view();
  v1::NodeBeat beat;
  beat.set_node_id(node_id_);
  beat.set_dram_bytes_used(usage.dram_bytes_used);
  beat.set_disk_bytes_used(usage.disk_bytes_used);
  beat.set_dirty_bytes(usage.dirty_bytes);
  beat.set_objects(usage.objects);
  beat.set_puts_open(usage.puts_open);
  beat.set_known_map_version(view->map.version);
  beat.set_known_tenants_version(view->tenants_version);
  beat.set_corrupt_objects_found(setup_.outbox.corrupt_found());
  beat.set_heard_coordinator_ms(heard_coordinator_ms_.load());
  return beat;
}

std::string Registration::Run() {
  setup_.outbox.Reopen();
  BeginFull();
  const auto stream = stub_.Heartbeat(&heartbeat_);
  std::thread reader([this, &stream] { ReadBeats(*stream); });
  std::thread reporter([this] { ReportInventory(); });

  // The thread's own time: a stopped test clock must not stop the waiting.
  auto next = std::chrono::steady_clock::now();
  std::unique_lock lock(mutex_);
  while (!ended_) {
    lock.unlock();
    const bool written = stream->Write(BeatNow());
    lock.lock();
    if (!written) break;
    next += kBeatInterval;
    changed_.wait_until(lock, next, [this] { return ended_; });
    if (setup_.clock.Now() - heard_ > kSilenceMax) {
      why_ = "the coordinator is silent";
      break;
    }
  }
  lock.unlock();

  Cancel();
  setup_.outbox.Close();
  reader.join();
  reporter.join();
  const grpc::Status status = stream->Finish();
  if (!why_.empty()) return why_;
  return status.error_message().empty() ? "the stream ended" : status.error_message();
}

void Registration::Cancel() {
  heartbeat_.TryCancel();
  const std::lock_guard lock(mutex_);
  ended_ = true;
  if (inventory_ != nullptr) inventory_->TryCancel();
  changed_.notify_all();
}

void Registration::End(const std::string& why) {
  const std::lock_guard lock(mutex_);
  ended_ = true;
  if (why_.empty()) why_ = why;
  changed_.notify_all();
}

void Registration::ReadBeats(Stream& stream) {
  v1::CoordinatorBeat beat;
  while (stream.Read(&beat)) {
    if (beat.epoch() != epoch_) return End("the coordinator's epoch has changed");
    Take(beat);
  }
  End({});
}

void Registration::Take(const v1::CoordinatorBeat& beat) {
  const TimePoint now = setup_.clock.Now();
  setup_.state.NoteContact(now, beat.coordinator_now_ms());
  heard_coordinator_ms_.store(beat.coordinator_now_ms());
  {
    const std::lock_guard lock(mutex_);
    heard_ = now;
  }
  const auto view = setup_.state.view();
  const bool new_tenants = beat.tenants_version() != view->tenants_version;
  if (beat.has_nodes() || new_tenants) {
    ClusterView next = *view;
    if (beat.has_nodes()) next.map = NodeMapOf(beat.nodes());
    if (new_tenants) {
      next.tenants = TenantsOf(beat.tenants());
      next.tenants_version = beat.tenants_version();
    }
    setup_.state.SetView(std::move(next));
  }
  if (beat.want_full_inventory()) BeginFull();
}

void Registration::ReportInventory() {
  while (true) {
    const std::optional<InventoryOutbox::Batch> batch = setup_.outbox.Next();
    if (batch) {
      if (!SendBatch(*batch)) return;
    } else if (setup_.outbox.Overflowed()) {
      BeginFull();
    } else {
      return;  // closed
    }
  }
}

bool Registration::SendBatch(const InventoryOutbox::Batch& batch) {
  v1::InventoryRequest request;
  request.set_node_id(node_id_);
  request.set_full(batch.full);
  request.set_first(batch.first);
  request.set_last(batch.last);
  request.set_sequence(++sequence_);
  wire::Buffer entries;
  entries.reserve(batch.entries.size() * wire::kInventoryEntryBytes);
  ByteWriter writer(entries);
  for (const wire::InventoryEntry& entry : batch.entries) entry.Encode(writer);
  request.set_entries(std::string(AsText(entries)));

  grpc::ClientContext* context = nullptr;
  {
    const std::lock_guard lock(mutex_);
    if (ended_) return false;
    inventory_ = std::make_unique<grpc::ClientContext>();
    ShowCredential(setup_.credential, *inventory_);
    inventory_->set_deadline(std::chrono::system_clock::now() + kInventoryTimeout);
    context = inventory_.get();
  }
  v1::InventoryResponse response;
  const grpc::Status status = stub_.Inventory(context, request, &response);
  {
    const std::lock_guard lock(mutex_);
    inventory_.reset();
  }
  if (!status.ok()) {
    // What was in the batch is lost to the coordinator: begin anew with a new registration.
    End("inventory refused: " + status.error_message());
    return false;
  }
  if (response.want_full_inventory()) BeginFull();
  return true;
}

}  // namespace kdn::node

#include "node/shard.h"

#include <poll.h>

#include <algorithm>
#include <array>
#include <utility>

#include "base/limits.h"
#include "proto/wire/inventory.h"

namespace kdn::node {
namespace {

storage::StoreOptions StoreOptionsOf(const NodeConfig& config) {
  const auto shards = static_cast<std::size_t>(config.shards);
  return {.dram_bytes = static_cast<std::size_t>(config.dram_mib) * limits::kMiB / shards,
          .write_mode = config.WriteModeOf(),
          .dirty_bytes_max = static_cast<std::size_t>(config.dirty_mib_max) * limits::kMiB / shards,
          .policy = config.policy,
          .scrub_bytes_per_second =
              static_cast<std::uint64_t>(config.scrub_mib_per_second) * limits::kMiB / shards};
}

AdmissionOptions AdmissionOptionsOf(const NodeConfig& config) {
  const auto shards = static_cast<std::uint32_t>(config.shards);
  return {.requests_max = static_cast<std::size_t>(config.requests_open_max),
          .bytes_max = static_cast<std::size_t>(config.open_mib_max) * limits::kMiB / shards,
          .usual_rate = {static_cast<std::uint32_t>(config.tenant_requests_max),
                         static_cast<std::uint64_t>(config.tenant_mib_max) * limits::kMiB},
          .shard_count = shards};
}

wire::InventoryEntry EntryOf(const storage::StoredObject& object) {
  return wire::EntryOf(object.header, object.in_dram, object.on_disk);
}

// Says that the object is gone.
wire::InventoryEntry EntryOf(const storage::ObjectId& missed) {
  wire::InventoryEntry entry;
  entry.tenant = missed.tenant;
  entry.key = missed.key;
  entry.put_id = missed.put_id;
  entry.shape.number = missed.part;
  entry.shape.count = static_cast<std::uint16_t>(missed.part + 1U);
  return entry;
}

}  // namespace

Shard::Shard(const ShardSetup& setup)
    : setup_(setup),
      admission_(AdmissionOptionsOf(setup.config), setup.memory, setup.clock, setup.registry) {}

Shard::~Shard() {
  Stop();
}

Status Shard::Open() {
  const auto shard_count = static_cast<std::uint32_t>(setup_.config.shards);
  auto store = storage::OpenObjectStore(StoreOptionsOf(setup_.config), {setup_.shard, shard_count},
                                        setup_.disk, {setup_.clock, setup_.log, setup_.registry});
  if (!store) return store.error();
  store_ = *std::move(store);
  corrupt_found_ = &setup_.registry.CounterOf("kdn_storage_corrupt_total", {},
                                              "shard=\"" + std::to_string(setup_.shard) + "\"");
  const MutableBytes arena = store_->memory();
  KDN_RETURN_IF_ERROR(setup_.domain.Register({arena.data(), arena.size()}));
  scratch_ = std::make_unique<ScratchPool>(setup_.domain);
  peers_ = std::make_unique<Peers>(setup_.domain, setup_.identity, setup_.clock, mailbox_);
  context_ = std::make_unique<ShardContext>(
      ShardContext{.shard = setup_.shard,
                   .shard_count = shard_count,
                   .store = *store_,
                   .state = setup_.state,
                   .epochs = setup_.epochs,
                   .deferrer = *this,
                   .peers = *peers_,
                   .scratch = *scratch_,
                   .cluster_key = setup_.cluster_key,
                   .clock = setup_.clock,
                   .log = setup_.log,
                   .metrics = setup_.metrics,
                   .forward_timeout = std::chrono::milliseconds(setup_.config.forward_timeout_ms),
                   .lines = setup_.config.RequestLinesOf()});
  reads_ = std::make_unique<ReadHandler>(*context_);
  puts_ = std::make_unique<PutHandler>(*context_);
  control_ = std::make_unique<ControlHandler>(*context_);
  auto server =
      setup_.domain.Listen(ShardEndpoint(setup_.config, setup_.shard), setup_.identity.cluster,
                           setup_.identity.peer, *this, setup_.authenticator);
  if (!server) return server.error();
  server_ = *std::move(server);
  admission_.SetTenants(*setup_.state.view());
  return {};
}

void Shard::Start() {
  thread_ = std::thread([this] { Run(); });
}

void Shard::Stop() {
  if (thread_.joinable()) {
    mailbox_.Post(LeaveLoop{});
    thread_.join();
  }
  // In this order: calls end first, then what they receive into or send from, then connections that
  // still read the arena.
  server_.reset();
  deferred_.clear();
  control_.reset();
  puts_.reset();
  reads_.reset();
  peers_.reset();
}

Status Shard::Close() {
  if (store_ == nullptr) return {};
  scratch_.reset();
  Status status = store_->Close();
  KDN_RETURN_IF_ERROR(setup_.domain.Unregister(store_->memory().data()));
  store_.reset();
  return status;
}

void Shard::Run() {
  const std::chrono::microseconds spin(setup_.config.spin_us);
  TimePoint spin_until{};
  while (!stopping_) {
    bool busy = Turn();
    if (spin.count() > 0) {
      const TimePoint now = setup_.clock.Now();
      if (busy) spin_until = now + spin;
      busy = now < spin_until;
    }
    if (!busy) Wait();
  }
}

bool Shard::Turn() {
  bool busy = TakeMail();
  busy |= PollStore();  // Before new calls: they find the room of what has expired.
  busy |= server_->Poll() > 0;
  busy |= peers_->Poll() > 0;
  busy |= control_->VerifyOne();
  if (setup_.clock.Now() >= next_tick_) Tick();
  return busy;
}

bool Shard::TakeMail() {
  std::vector<ShardMessage> messages = mailbox_.Take();
  for (ShardMessage& message : messages) {
    if (auto* connected = std::get_if<PeerConnected>(&message)) {
      peers_->OnConnected(std::move(*connected));
    } else if (const auto* settled = std::get_if<EpochSettled>(&message)) {
      ResumeDeferred(settled->epoch);
    } else if (std::holds_alternative<WantInventory>(message)) {
      ReportAll();
    } else {
      stopping_ = true;
    }
  }
  return !messages.empty();
}

bool Shard::PollStore() {
  // What is refused takes no memory; what was taken on before still does, on its way to the disk.
  setup_.memory.Sample(setup_.clock.Now());
  store_->HoldWrites(setup_.memory.Sheds(wire::Priority::kBackground));
  std::array<storage::Completion, 64> completions;
  const std::size_t count = store_->Poll(completions);
  for (std::size_t i = 0; i < count; ++i) {
    if (completions[i].kind == storage::Completion::Kind::kRead) {
      reads_->OnRead(completions[i]);
    } else {
      control_->OnCommit(completions[i]);
    }
  }
  return count > 0;
}

void Shard::Tick() {
  next_tick_ = setup_.clock.Now() + kTick;
  admission_.SetTenants(*setup_.state.view());
  ReleaseMemory();
  const storage::ObjectStore::Usage usage = store_->usage();
  setup_.metrics.disk_bytes.Set(static_cast<std::int64_t>(usage.disk_bytes_used));
  setup_.outbox.SetUsage(setup_.shard, usage, corrupt_found_->value());
  bool overflowed = false;
  std::vector<wire::InventoryEntry> entries;
  for (const storage::InventoryChange& change : store_->TakeChanges(overflowed)) {
    entries.push_back(EntryOf(change.object));
  }
  // The coordinator may take an object for stored that is not: it is told so again. Not of one that
  // has become visible since: this would come after its change.
  for (const storage::ObjectId& missed : reads_->TakeMissed()) {
    const auto stored = store_->Find(missed.tenant, missed.key, missed.part);
    if (!stored || stored->header.put_id != missed.put_id) entries.push_back(EntryOf(missed));
  }
  setup_.outbox.AddChanges(setup_.shard, std::move(entries), overflowed);
}

void Shard::ReleaseMemory() {
  if (setup_.disk == nullptr || !setup_.memory.BeginRelease(setup_.clock.Now())) return;
  const bool posted = setup_.disk->Post(
      storage::DiskWork::kChange, [disk = setup_.disk, &memory = setup_.memory, &log = setup_.log] {
        const Status status = disk->ReleaseMemory();
        if (!status.ok()) {
          log.Write(LogLevel::kWarning, "cannot give memory back", {{"reason", status.ToString()}});
        }
        memory.EndRelease();
      });
  if (!posted) setup_.memory.EndRelease();
}

void Shard::ReportAll() {
  bool overflowed = false;
  (void)store_->TakeChanges(overflowed);  // The snapshot has them.
  std::vector<wire::InventoryEntry> entries;
  for (const storage::StoredObject& object : store_->Inventory())
    entries.push_back(EntryOf(object));
  setup_.outbox.SetSnapshot(setup_.shard, std::move(entries));
}

void Shard::Wait() {
  if (peers_->HasFailed() || control_->HasWork()) return;
  std::vector<int> fds = {mailbox_.WaitFd(), server_->WaitFd(), store_->WaitFd()};
  peers_->AppendWaitFds(fds);
  std::vector<pollfd> polled;
  polled.reserve(fds.size());
  for (const int fd : fds) polled.push_back({fd, POLLIN, 0});
  poll(polled.data(), polled.size(), static_cast<int>(kTick.count() / 2));
}

void Shard::OnCall(std::unique_ptr<transport::Exchange> call) {
  const auto head = wire::PeekHead(call->request());
  if (!head) {
    setup_.metrics.refused.Add();
    call->Finish(head.error().code(), {});
    return;
  }
  const bool moves_bulk =
      head->type == wire::MessageType::kRead || head->type == wire::MessageType::kPutPiece;
  if (moves_bulk) return Admit(*head, std::move(call));
  Dispatch(head->type, std::move(call));
}

void Shard::Admit(const wire::RequestHead& head, std::unique_ptr<transport::Exchange> call) {
  setup_.memory.Sample(setup_.clock.Now());
  const bool read = head.type == wire::MessageType::kRead;
  const std::size_t bytes = call->receive_bulk_bytes() + call->send_bulk_bytes();
  Admission::Verdict verdict;
  // A read of nothing is how clients ask whether the node lives: that costs nothing.
  if (bytes > 0) {
    verdict = admission_.Judge({.tenant = call->peer().tenant,
                                .priority = wire::PriorityOf(head),
                                .bytes = bytes,
                                .rated = call->peer().role == transport::PeerRole::kClient});
  }
  if (verdict.refused) {
    wire::Buffer answer;
    verdict.refused->Encode(answer);
    call->Finish(Code::kResourceExhausted, answer);
  } else if (read) {
    reads_->OnCall(std::move(call), std::move(verdict.token));
  } else {
    puts_->OnCall(std::move(call), std::move(verdict.token));
  }
}

void Shard::Dispatch(wire::MessageType type, std::unique_ptr<transport::Exchange> call) {
  switch (type) {
    case wire::MessageType::kReportCorrupt:
      return reads_->OnReportCorrupt(std::move(call));
    case wire::MessageType::kCommitObjects:
    case wire::MessageType::kDropObjects:
    case wire::MessageType::kVerifyObjects:
      return control_->OnCall(type, std::move(call));
    default:  // what only a coordinator answers
      setup_.metrics.refused.Add();
      call->Finish(Code::kUnimplemented, {});
  }
}

void Shard::OnMoved(transport::Exchange& call, std::uint32_t piece, Code code) {
  if (!reads_->OnMoved(call, piece)) puts_->OnMoved(call, code);
}

void Shard::OnArrived(transport::Exchange& call, std::uint32_t, std::size_t size_bytes) {
  puts_->OnArrived(call, size_bytes);
}

void Shard::OnAbandoned(transport::Exchange& call) {
  const auto held = std::ranges::find(deferred_, &call,
                                      [](const Deferred& deferred) { return deferred.call.get(); });
  if (held != deferred_.end()) {
    deferred_.erase(held);
    return;
  }
  if (reads_->OnAbandoned(call) || puts_->OnAbandoned(call)) return;
  control_->OnAbandoned(call);
}

void Shard::Defer(std::unique_ptr<transport::Exchange> call, Epoch epoch) {
  if (deferred_.size() >= kDeferredMax || !setup_.epochs.RaiseLater(epoch, mailbox_)) {
    call->Finish(Code::kUnavailable, {});
    return;
  }
  deferred_.push_back({std::move(call), epoch});
}

void Shard::ResumeDeferred(Epoch settled) {
  for (Deferred& one : std::exchange(deferred_, {})) {
    if (one.epoch > settled) {
      deferred_.push_back(std::move(one));  // Its own attempt is still under way.
    } else if (one.epoch <= setup_.state.epoch()) {
      OnCall(std::move(one.call));
    } else {
      one.call->Finish(Code::kUnavailable, {});
    }
  }
}

}  // namespace kdn::node

#include "tests/transport/world.h"

#include <poll.h>

#include <algorithm>
#include <cstring>

#include "base/limits.h"
#include "transport/loopback/loopback.h"

namespace kdn::transport::test {
namespace {

constexpr std::chrono::seconds kPatience{10};
constexpr std::size_t kSharedBytes = 128 * limits::kMiB;

}  // namespace

ClusterId TestCluster() {
  ClusterId id;
  id.bytes[0] = std::byte{0xC1};
  return id;
}

std::vector<std::byte> Bytes(std::string_view text) {
  const ConstBytes bytes = AsBytes(text);
  return {bytes.begin(), bytes.end()};
}

std::vector<std::byte> Pattern(std::size_t count, std::uint64_t seed) {
  // A random block of odd size again and again: cheap, and no two pages of it are alike.
  constexpr std::size_t kBlock = 61'441;
  std::vector<std::byte> bytes(count);
  SeededRandom random(seed);
  random.Fill(MutableBytes(bytes).first(std::min(count, kBlock)));
  for (std::size_t done = kBlock; done < count; done += std::min(done, count - done)) {
    std::memcpy(bytes.data() + done, bytes.data(), std::min(done, count - done));
  }
  return bytes;
}

bool Same(ConstBytes a, ConstBytes b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size()) == 0;
}

bool AllAre(ConstBytes bytes, std::byte value) {
  return bytes.front() == value && Same(bytes.first(bytes.size() - 1), bytes.subspan(1));
}

std::vector<std::byte> TestAuthenticator::SecretOf(PeerRole role, TenantId tenant) const {
  if (role == PeerRole::kClient && tenant == kTenant) return Bytes("open sesame");
  return {};
}

Identity ClientIdentity() {
  Identity identity;
  identity.cluster = TestCluster();
  identity.tenant = kTenant;
  identity.peer.bytes[0] = std::byte{0xCC};
  identity.host.bytes[0] = std::byte{0x42};
  return identity;
}

Identity HmacIdentity(std::string_view secret, TenantId tenant) {
  Identity identity = ClientIdentity();
  identity.scheme = HelloScheme::kHmac;
  identity.tenant = tenant;
  identity.secret = Bytes(secret);
  return identity;
}

void TestService::OnCall(std::unique_ptr<Exchange> call) {
  Exchange& exchange = *call;
  open_.emplace(&exchange, std::move(call));
  if (on_call) on_call(exchange);
  const std::lock_guard lock(mutex_);
  ++calls_;
  changed_.notify_all();
}

void TestService::OnMoved(Exchange& call, std::uint32_t piece, Code code) {
  {
    const std::lock_guard lock(mutex_);
    moved_.push_back({std::string(AsText(call.request())), piece, code});
    changed_.notify_all();
  }
  if (on_moved) on_moved(call, piece, code);
}

void TestService::OnAbandoned(Exchange& call) {
  {
    const std::lock_guard lock(mutex_);
    ++abandoned_;
    changed_.notify_all();
  }
  if (drop_on_abandoned) Drop(call);
}

Exchange* TestService::Find(std::string_view request) {
  for (auto& [exchange, owner] : open_) {
    if (AsText(exchange->request()) == request) return exchange;
  }
  return nullptr;
}

void TestService::Await(const std::function<bool()>& what) {
  std::unique_lock lock(mutex_);
  ASSERT_TRUE(changed_.wait_for(lock, kPatience, what));
}

void TestService::AwaitMoved(std::size_t count) {
  Await([&] { return moved_.size() >= count; });
}
void TestService::AwaitAbandoned(std::size_t count) {
  Await([&] { return abandoned_ >= count; });
}
void TestService::AwaitCalls(std::size_t count) {
  Await([&] { return calls_ >= count; });
}

std::vector<TestService::Moved> TestService::moved() {
  const std::lock_guard lock(mutex_);
  return moved_;
}

std::size_t TestService::abandoned() {
  const std::lock_guard lock(mutex_);
  return abandoned_;
}

ServerThread::ServerThread(Domain& domain, Service& service, const Authenticator& authenticator,
                           std::string_view endpoint) {
  PeerId self;
  self.bytes[0] = std::byte{0x55};
  auto server = domain.Listen(endpoint, TestCluster(), self, service, authenticator);
  if (!server) {
    ADD_FAILURE() << server.error().ToString();
    return;
  }
  server_ = *std::move(server);
  endpoint_ = server_->endpoint();
  thread_ = std::thread([this] { Loop(); });
}

void ServerThread::Loop() {
  for (;;) {
    std::function<void()> task;
    {
      std::unique_lock lock(mutex_);
      done_.wait(lock, [this] { return !paused_; });
      wake_.Clear();
      if (!tasks_.empty()) {
        task = tasks_.front();
      } else if (stopping_) {
        break;
      }
    }
    if (task) {
      task();
      const std::lock_guard lock(mutex_);
      tasks_.pop_front();
      done_.notify_all();
      continue;
    }
    server_->Poll();
    pollfd fds[2] = {{server_->WaitFd(), POLLIN, 0}, {wake_.fd(), POLLIN, 0}};
    poll(fds, 2, -1);
  }
  server_.reset();
}

void ServerThread::Run(const std::function<void()>& task) {
  std::unique_lock lock(mutex_);
  tasks_.push_back(task);
  wake_.Raise();
  done_.wait(lock, [this] { return tasks_.empty(); });
}

void ServerThread::Pause() {
  // Inside a task, so that no poll is under way any more.
  Run([this] {
    const std::lock_guard lock(mutex_);
    paused_ = true;
  });
}

void ServerThread::Resume() {
  const std::lock_guard lock(mutex_);
  paused_ = false;
  done_.notify_all();
}

void ServerThread::Stop() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    paused_ = false;
    done_.notify_all();
    wake_.Raise();
  }
  thread_.join();
}

void Client::PollOnce() {
  std::array<Event, 8> events;
  const std::size_t count = channel_->Poll(events);
  for (std::size_t i = 0; i < count; ++i) {
    const Event& event = events[i];
    if (event.kind == EventKind::kPiece) {
      EXPECT_FALSE(done_.contains(event.tag)) << "a piece after the end of its call";
      pieces_.push_back(event);
    } else {
      EXPECT_FALSE(done_.contains(event.tag)) << "a call ended twice";
      done_[event.tag] = {event, std::string(AsText(event.response))};
    }
  }
}

void Client::WaitAndPoll() {
  pollfd fd{channel_->WaitFd(), POLLIN, 0};
  ASSERT_EQ(poll(&fd, 1, std::chrono::milliseconds(kPatience).count()), 1) << "no event came";
  PollOnce();
}

Seen Client::AwaitDone(std::uint64_t tag) {
  while (!done_.contains(tag)) {
    WaitAndPoll();
    if (testing::Test::HasFatalFailure()) return {};
  }
  return done_[tag];
}

void Client::AwaitPieces(std::size_t count) {
  while (pieces_.size() < count && !testing::Test::HasFatalFailure()) WaitAndPoll();
}

std::vector<Event> Client::PiecesOf(std::uint64_t tag) const {
  std::vector<Event> found;
  std::copy_if(pieces_.begin(), pieces_.end(), std::back_inserter(found),
               [tag](const Event& event) { return event.tag == tag; });
  return found;
}

World::World(std::string_view kind, Options options) {
  const bool shares = kind.starts_with("shm");
  options.kind = kind.starts_with("tcp") || shares ? "tcp" : kind;
  if (kind.ends_with("_lanes")) options.threads = 3;
  only_movers_ = kind == "tcp_movers";
  queue_depth_ = options.queue_depth;
  if (only_movers_) options.queue_depth *= 2;
  options.shared_memory.enabled = shares;
  options.shared_memory.host = ClientIdentity().host;
  if (options.connections == 0) options.connections = 1;
  if (kind == "loopback") {
    const auto network = loopback::NewNetwork();
    client_ = *loopback::OpenLoopbackDomain(network, options, clock_, random_);
    server_ = *loopback::OpenLoopbackDomain(network, options, clock_, random_);
  } else {
    client_ = *OpenDomain(options, clock_, random_, log_);
    server_ = *OpenDomain(options, clock_, random_, log_);
  }
  for (int i = 0; kind.starts_with("shm") && i < 2; ++i) {
    shared_.push_back(*shm::SharedMemory::Make(kSharedBytes));
    EXPECT_TRUE(client_->Register(shared_.back().region()).ok());
  }
}

Result<std::unique_ptr<Channel>> World::Connect(const std::string& endpoint,
                                                const Identity& identity) {
  auto channel = client_->Connect(endpoint, identity, In(kPatience));
  if (!only_movers_ || !channel) return channel;
  if (mover_ == nullptr) mover_ = *lanes::Mover::Start(clock_, std::chrono::microseconds(0));
  lanes::LanedSetup setup;
  setup.moved.push_back(*std::move(channel));
  setup.movers = {mover_.get()};
  setup.queue_depth = queue_depth_;
  setup.owner_calls = &owner_calls_;
  setup.regions = &regions_;
  return lanes::LanedChannel::Make(std::move(setup));
}

Status World::Unregister(const std::byte* address) {
  if (only_movers_) KDN_RETURN_IF_ERROR(regions_.Unregister(address));
  return client_->Unregister(address);
}

MutableBytes World::Memory(std::size_t size) {
  if (!shared_.empty()) {
    EXPECT_TRUE(shared_used_ < shared_.size() && size <= kSharedBytes);
    return shared_[shared_used_++].bytes().first(size);
  }
  memory_.emplace_back(size);
  MemoryRegion region;
  region.address = memory_.back().data();
  region.size_bytes = size;
  EXPECT_TRUE(client_->Register(region).ok());
  if (only_movers_) {
    EXPECT_TRUE(regions_.Register(region).ok());
  }
  return memory_.back();
}

}  // namespace kdn::transport::test

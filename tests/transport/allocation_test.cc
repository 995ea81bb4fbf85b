// Goal: until its Hello is accepted, a connection costs a server at most 64 KiB, whatever it sends;
// and calls over a connection that has warmed up allocate nothing. Method: this program counts what
// it allocates; both ends are polled on one thread.
#include <gtest/gtest.h>
#include <poll.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <thread>

#include "tests/transport/allocation_count.h"
#include "tests/transport/raw_peer.h"
#include "tests/transport/world.h"

namespace kdn::transport::test {
namespace {

// Polled on the test's own thread, so that nothing else allocates meanwhile.
class Strangers : public testing::Test {
 protected:
  Strangers() : domain_(*OpenDomain({.connections = 1}, clock_, random_, log_)) {
    server_ = *domain_->Listen("127.0.0.1:0", TestCluster(), PeerId{}, service_, authenticator_);
  }
  // Polls until the server has nothing more to do with what was sent.
  void Settle() {
    pollfd fd{server_->WaitFd(), POLLIN, 0};
    while (poll(&fd, 1, 50) == 1) server_->Poll();
  }
  // What the server allocated, all in all, because of one connection that sends `bytes`.
  std::size_t CostOf(ConstBytes bytes) {
    RawPeer peer(server_->endpoint());
    peer.Send(bytes);
    const std::size_t before = AllocatedBytes();
    ResetLargestAllocation();
    Settle();
    return AllocatedBytes() - before;
  }

  SteadyClock clock_;
  SystemRandom random_;
  NullLog log_;
  TestService service_;
  TestAuthenticator authenticator_;
  std::unique_ptr<Domain> domain_;
  std::unique_ptr<Server> server_;
};

TEST_F(Strangers, WhoSaysNothingCostsLittle) {
  EXPECT_LE(CostOf({}), limits::kPreHelloBytesMax / 2);
}

TEST_F(Strangers, GarbageCostsLittle) {
  EXPECT_LE(CostOf(Pattern(limits::kMiB, 1)), limits::kPreHelloBytesMax);
}

TEST_F(Strangers, ADeclaredSizeIsNotAllocated) {
  std::vector<std::byte> bytes;
  ClientHello hello;
  hello.cluster = TestCluster();
  hello.Encode(bytes);
  bytes[6] = std::byte{0xF8};  // a body of 4,088 bytes, of which only the first come
  bytes[7] = std::byte{0x0F};
  EXPECT_LE(CostOf(bytes), limits::kPreHelloBytesMax / 2);
  EXPECT_LE(LargestAllocation(), 2 * limits::kHelloBytesMax);
}

TEST_F(Strangers, TheLargestHelloThatIsRefusedCostsLittle) {
  std::vector<std::byte> bytes;
  ClientHello hello;
  hello.cluster = TestCluster();
  hello.scheme = HelloScheme::kHmac;
  hello.tenant = kTenant;
  hello.credential.resize(kCredentialBytesMax);
  hello.Encode(bytes);
  ClientProof proof;
  proof.proof.resize(32);
  proof.Encode(bytes);
  const std::vector<std::byte> more = Pattern(limits::kMiB, 2);
  bytes.insert(bytes.end(), more.begin(), more.end());
  EXPECT_LE(CostOf(bytes), limits::kPreHelloBytesMax);
}

// Answers "get" with a piece and "put" by pulling one, and keeps nothing but the calls.
class SteadyService final : public Service {
 public:
  SteadyService() : memory_(limits::kMiB) {}
  void OnCall(std::unique_ptr<Exchange> call) override {
    const bool get = AsText(call->request()) == "get";
    if (get) {
      const ConstBytes from = memory_;
      call->SendPiece(0, 0, {&from, 1});
      call->Finish(Code::kOk, call->request());
    } else {
      const MutableBytes into = memory_;
      call->ReceivePiece(0, 0, {&into, 1});
    }
    *std::find(calls_.begin(), calls_.end(), nullptr) = std::move(call);
  }
  void OnMoved(Exchange& call, std::uint32_t, Code) override {
    if (call.send_bulk_bytes() > 0) call.Finish(Code::kOk, {});
    std::ranges::find(calls_, &call, &std::unique_ptr<Exchange>::get)->reset();
  }
  void OnAbandoned(Exchange&) override {}

 private:
  std::vector<std::byte> memory_;
  std::array<std::unique_ptr<Exchange>, 16> calls_;
};

TEST(WarmConnection, CallsAllocateNothing) {
  SteadyClock clock;
  SystemRandom random;
  NullLog log;
  const TestAuthenticator authenticator;
  SteadyService service;
  const auto domain = *OpenDomain({.connections = 2}, clock, random, log);
  const auto server =
      *domain->Listen("127.0.0.1:0", TestCluster(), PeerId{}, service, authenticator);
  std::unique_ptr<Channel> channel;
  std::atomic<bool> connected = false;
  std::thread connecting([&] {
    channel = *domain->Connect(server->endpoint(), ClientIdentity(),
                               clock.Now() + std::chrono::seconds(10));
    connected = true;
  });
  while (!connected) server->Poll();
  connecting.join();
  std::vector<std::byte> memory(8 * limits::kMiB);
  MemoryRegion region;
  region.address = memory.data();
  region.size_bytes = memory.size();
  ASSERT_TRUE(domain->Register(region).ok());

  std::array<Event, 32> events;
  const auto run = [&] {
    for (std::uint64_t tag = 0; tag < 8; ++tag) {
      const MutableBytes bulk = MutableBytes(memory).subspan(tag * limits::kMiB, limits::kMiB);
      const ConstBytes send = bulk;
      Call call;
      call.tag = tag;
      call.request = AsBytes(tag % 2 == 0 ? "get" : "put");
      if (tag % 2 == 0) call.receive_bulk = bulk;
      if (tag % 2 == 1) call.send_bulk = {&send, 1};
      call.deadline = clock.Now() + std::chrono::seconds(10);
      ASSERT_TRUE(channel->Submit(call).ok());
    }
    for (std::size_t done = 0; done < 8;) {
      server->Poll();
      const std::size_t count = channel->Poll(events);
      for (std::size_t i = 0; i < count; ++i) {
        if (events[i].kind != EventKind::kDone) continue;
        ++done;
        EXPECT_EQ(events[i].code, Code::kOk);
      }
    }
  };
  for (int i = 0; i < 20; ++i) run();
  const std::size_t before = AllocatedBytes();
  for (int i = 0; i < 20; ++i) run();
  EXPECT_EQ(AllocatedBytes(), before);
}

// The other end reads nothing: once the socket is full, requests wait here until they are given up.
TEST(BlockedConnection, CallsThatAreGivenUpLeaveNothingBehind) {
  SteadyClock clock;
  SystemRandom random;
  NullLog log;
  const TestAuthenticator authenticator;
  const auto domain = *OpenDomain({.connections = 1}, clock, random, log);
  RawListener listener;
  std::unique_ptr<Channel> channel;
  const TimePoint deadline = clock.Now() + std::chrono::seconds(50);
  std::thread connecting(
      [&] { channel = *domain->Connect(listener.endpoint(), ClientIdentity(), deadline); });
  RawPeer peer = listener.Accept();
  peer.AnswerHello(authenticator);
  connecting.join();
  const std::vector<std::byte> large(limits::kRequestBytesMax);
  Call call;
  call.request = large;
  call.deadline = deadline;
  for (call.tag = 0; call.tag < 100; ++call.tag) ASSERT_TRUE(channel->Submit(call).ok());

  call.request = AsBytes("small");
  std::array<Event, 8> events;
  const auto give_up_some = [&] {
    for (int i = 0; i < 5000; ++i) {
      ASSERT_TRUE(channel->Submit(call).ok());
      channel->Cancel(call.tag);
      ASSERT_EQ(channel->Poll(events), 1U);
    }
  };
  give_up_some();
  const std::size_t before = AllocatedBytes();
  give_up_some();
  EXPECT_EQ(AllocatedBytes(), before);
}

}  // namespace
}  // namespace kdn::transport::test

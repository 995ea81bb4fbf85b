// Goal: nobody waits for a peer that stands still, and nothing piles up for it.
// Method: one side is ours, on a clock that a test moves; the other is written by hand and silent.
#include <gtest/gtest.h>
#include <poll.h>

#include <condition_variable>
#include <limits>
#include <mutex>
#include <thread>

#include "tests/support/manual_clock.h"
#include "tests/transport/raw_peer.h"
#include "tests/transport/world.h"
#include "transport/tcp/resolver.h"

namespace kdn::transport::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class Patience : public testing::Test {
 protected:
  Patience() : domain_(*OpenDomain({.connections = 1}, clock_, random_, log_)) {}

  kdn::test::ManualClock clock_;
  SystemRandom random_;
  NullLog log_;
  TestAuthenticator authenticator_;
  std::unique_ptr<Domain> domain_;
};

class SilentServer : public Patience {
 protected:
  SilentServer() {
    std::thread connecting([this] {
      client_ = std::make_unique<Client>(
          *domain_->Connect(listener_.endpoint(), ClientIdentity(), clock_.Now() + seconds(10)));
    });
    peer_.emplace(listener_.Accept());
    peer_->AnswerHello(authenticator_);
    connecting.join();
  }
  Status Submit(std::uint64_t tag, Duration patience) {
    Call call;
    call.tag = tag;
    call.request = AsBytes("anybody?");
    call.deadline = clock_.Now() + patience;
    return client_->channel().Submit(call);
  }
  // One call that gets no answer within `patience`.
  void MissOne(std::uint64_t tag, Duration patience) {
    ASSERT_TRUE(Submit(tag, patience).ok());
    clock_.Advance(patience);
    client_->PollOnce();
    EXPECT_TRUE(client_->IsDone(tag));
  }

  RawListener listener_;
  std::optional<RawPeer> peer_;
  std::unique_ptr<Client> client_;
};

TEST_F(SilentServer, IsGivenUpAfterSeveralDeadlinesWithoutAByte) {
  ASSERT_TRUE(Submit(9, seconds(50)).ok());
  MissOne(1, milliseconds(600));
  MissOne(2, milliseconds(600));
  EXPECT_FALSE(client_->IsDone(9));
  MissOne(3, milliseconds(600));
  EXPECT_EQ(client_->AwaitDone(9).event.code, Code::kUnavailable);
  EXPECT_EQ(Submit(4, seconds(1)).code(), Code::kUnavailable);
}

TEST_F(SilentServer, IsNotGivenUpForManyShortDeadlines) {
  for (std::uint64_t tag = 0; tag < 50; ++tag) MissOne(tag, milliseconds(10));
  EXPECT_TRUE(Submit(99, seconds(1)).ok());
}

TEST_F(SilentServer, IsNotGivenUpIfItSaysAnythingBetweenTheDeadlines) {
  for (std::uint64_t tag = 0; tag < 10; ++tag) {
    MissOne(tag, milliseconds(600));
    const RawPeer::Frame request = *peer_->ReceiveFrame();
    // Too late to be the answer, and still a sign of life.
    peer_->SendFrame({.type = FrameType::kResponse, .call = request.header.call});
    EXPECT_EQ(peer_->ReceiveFrame()->header.type, FrameType::kCancel);
    pollfd fd{client_->channel().WaitFd(), POLLIN, 0};
    ASSERT_EQ(poll(&fd, 1, 10'000), 1);
    client_->PollOnce();
  }
  EXPECT_TRUE(Submit(99, seconds(1)).ok());
}

TEST_F(SilentServer, NoCallLivesLongerThanAMinute) {
  ASSERT_TRUE(Submit(1, std::chrono::hours(24)).ok());
  EXPECT_EQ(peer_->ReceiveFrame()->header.remaining_us, 60'000'000U);
  clock_.Advance(kCallTimeMax - Duration(1));
  client_->PollOnce();
  EXPECT_FALSE(client_->IsDone(1));
  clock_.Advance(Duration(1));
  client_->PollOnce();
  EXPECT_EQ(client_->AwaitDone(1).event.code, Code::kDeadlineExceeded);
}

// Our server, polled on the test's own thread, of which a client asks something and then does not
// behave.
class IdleClient : public Patience {
 protected:
  IdleClient()
      : server_(*domain_->Listen("127.0.0.1:0", TestCluster(), PeerId{}, service_, authenticator_)),
        peer_(server_->endpoint()) {
    std::thread entering([this] { EXPECT_TRUE(peer_.SayHello(ClientIdentity())); });
    Settle();
    entering.join();
  }
  // Polls until the server has nothing more to do. A timer that waits for our clock to move on may
  // go on waking it.
  void Settle() {
    pollfd fd{server_->WaitFd(), POLLIN, 0};
    for (int idle = 0; idle < 50 && poll(&fd, 1, 100) == 1;) {
      idle = server_->Poll() > 0 ? 0 : idle + 1;
    }
  }
  // Asks for `window` bytes, with as much time as can be written down.
  void Ask(std::uint64_t window) {
    FrameHeader request{.type = FrameType::kRequest, .call = 1};
    request.size_b = window;
    request.remaining_us = std::numeric_limits<std::uint64_t>::max();
    peer_.SendFrame(request, Bytes("get"));
    Settle();
    service_.AwaitCalls(1);
  }
  void Advance(Duration by) {
    clock_.Advance(by);
    server_->Poll();
    Settle();
  }
  // A service that sends as much as is asked for, in pieces.
  void SendAll() {
    memory_ = Pattern(limits::kPieceBytesMax, 1);
    service_.on_call = [this](Exchange& call) {
      const ConstBytes piece = memory_;
      for (std::size_t at = 0; at < call.receive_bulk_bytes(); at += piece.size()) {
        call.SendPiece(0, at, {&piece, 1});
      }
    };
  }

  std::vector<std::byte> memory_;
  TestService service_;
  std::unique_ptr<Server> server_;
  RawPeer peer_;
};

TEST_F(IdleClient, HoldsAServersMemoryForAMinuteAtMost) {
  Ask(0);
  Advance(kCallTimeMax - milliseconds(1));
  EXPECT_EQ(service_.abandoned(), 0U);
  Advance(milliseconds(1));
  ASSERT_EQ(service_.abandoned(), 1U);
  EXPECT_EQ(peer_.ReceiveFrame()->header.code, Code::kDeadlineExceeded);
}

TEST_F(IdleClient, WhoTakesNothingOfWhatItAskedForIsClosed) {
  SendAll();
  Ask(64 * limits::kMiB);
  Advance(seconds(10) - milliseconds(1));
  EXPECT_EQ(service_.abandoned(), 0U);
  Advance(milliseconds(1));
  // The kernel may have found room for a little more by then; after that there is none.
  Advance(seconds(10));
  EXPECT_EQ(service_.abandoned(), 1U);
}

TEST_F(IdleClient, WhoTakesItSlowlyIsNotClosed) {
  SendAll();
  Ask(64 * limits::kMiB);
  for (int i = 0; i < 5; ++i) {
    ASSERT_TRUE(peer_.Receive(2 * limits::kMiB));
    Advance(seconds(9));
  }
  EXPECT_EQ(service_.abandoned(), 0U);
  EXPECT_TRUE(peer_.Receive(limits::kMiB));
}

// -- Names -------------------------------------------------------------------------------------

// A name server that answers when the test says so. Shared: the thread that asks outlives the test.
struct SlowNames {
  std::mutex mutex;
  std::condition_variable changed;
  bool answers = false;
  int asked = 0;

  Result<tcp::Address> LookUp() {
    std::unique_lock lock(mutex);
    ++asked;
    changed.wait(lock, [this] { return answers; });
    return tcp::Resolve("127.0.0.1:80");
  }
  void Answer() {
    const std::lock_guard lock(mutex);
    answers = true;
    changed.notify_all();
  }
};

TEST(Resolver, ANameThatIsNotFoundInTimeIsUnavailableAndFoundTheNextTime) {
  const auto names = std::make_shared<SlowNames>();
  const SteadyClock clock;
  tcp::Resolver resolver([names](const std::string&) { return names->LookUp(); });
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(resolver.Resolve("slow:80", clock, clock.Now() + milliseconds(5)).error().code(),
              Code::kUnavailable);
  }
  names->Answer();
  EXPECT_EQ(resolver.Resolve("slow:80", clock, clock.Now() + seconds(10))->ToString(),
            "127.0.0.1:80");
  EXPECT_EQ(names->asked, 1);
}

TEST(Resolver, AddressesInNumbersAskNobody) {
  const SteadyClock clock;
  tcp::Resolver resolver([](const std::string& endpoint) -> Result<tcp::Address> {
    ADD_FAILURE() << endpoint;
    return Error(Code::kUnavailable, "");
  });
  const TimePoint past = clock.Now() - seconds(1);
  EXPECT_EQ(resolver.Resolve("127.0.0.1:80", clock, past)->ToString(), "127.0.0.1:80");
  EXPECT_EQ(resolver.Resolve("[::1]:80", clock, past)->ToString(), "[::1]:80");
  EXPECT_EQ(resolver.Resolve("host:http", clock, past).error().code(), Code::kInvalidArgument);
}

TEST(Resolver, AsksForFewNamesAtATimeAndWaitsForNoneAtItsEnd) {
  const auto names = std::make_shared<SlowNames>();
  const SteadyClock clock;
  {
    tcp::Resolver resolver([names](const std::string&) { return names->LookUp(); });
    for (int i = 0; i < 8; ++i) {
      const std::string name = "slow" + std::to_string(i) + ":80";
      EXPECT_EQ(resolver.Resolve(name, clock, clock.Now()).error().code(), Code::kUnavailable);
    }
    EXPECT_EQ(resolver.Resolve("slow9:80", clock, clock.Now()).error().code(),
              Code::kResourceExhausted);
  }
  names->Answer();
}

}  // namespace
}  // namespace kdn::transport::test

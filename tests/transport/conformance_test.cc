// Goal: every transport keeps the promises of transport/channel.h.
// Method: the same tests over each, a server on one thread and a client on another; nothing sleeps.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "base/limits.h"
#include "tests/transport/world.h"

namespace kdn::transport::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class EachTransport : public testing::TestWithParam<const char*> {
 protected:
  // Starts the server and connects; to be called first.
  void Start(Options options = {}) {
    world_ = std::make_unique<World>(GetParam(), options);
    server_ = std::make_unique<ServerThread>(world_->server_domain(), service_, authenticator_);
    auto channel = world_->Connect(server_->endpoint(), ClientIdentity());
    ASSERT_TRUE(channel) << channel.error().ToString();
    client_ = std::make_unique<Client>(*std::move(channel));
  }
  Status Submit(std::uint64_t tag, std::string_view request, MutableBytes window = {},
                std::span<const ConstBytes> send = {}, Duration time = seconds(10)) {
    Call call;
    call.tag = tag;
    call.request = AsBytes(request);
    call.receive_bulk = window;
    call.send_bulk = send;
    call.deadline = world_->In(time);
    return client_->channel().Submit(call);
  }
  void AnswerWithRequest() {
    service_.on_call = [this](Exchange& call) {
      call.Finish(Code::kOk, call.request());
      service_.Drop(call);
    };
  }
  // Sends `from` in pieces of `piece_bytes`, the last one first, then finishes.
  static void SendAll(Exchange& call, ConstBytes from, std::size_t piece_bytes) {
    for (std::size_t n = (from.size() + piece_bytes - 1) / piece_bytes; n > 0; --n) {
      const std::size_t offset = (n - 1) * piece_bytes;
      const ConstBytes piece = from.subspan(offset, std::min(piece_bytes, from.size() - offset));
      // In two spans, as it would lie in pages.
      const ConstBytes spans[] = {piece.first(piece.size() / 3), piece.subspan(piece.size() / 3)};
      call.SendPiece(static_cast<std::uint32_t>(n - 1), offset, spans);
    }
    call.Finish(Code::kOk, AsBytes("sent"));
  }

  TestAuthenticator authenticator_;
  TestService service_;
  std::unique_ptr<World> world_;
  std::unique_ptr<ServerThread> server_;
  std::unique_ptr<Client> client_;
};

TEST_P(EachTransport, AnswersARequest) {
  Start();
  AnswerWithRequest();
  ASSERT_TRUE(Submit(1, "hello").ok());
  const Seen seen = client_->AwaitDone(1);
  EXPECT_EQ(seen.event.code, Code::kOk);
  EXPECT_EQ(seen.response, "hello");
}

TEST_P(EachTransport, CarriesRequestsAndResponsesFromNothingToTheLimit) {
  Start();
  AnswerWithRequest();
  std::uint64_t tag = 0;
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{4000},
                                 std::size_t{33000}, limits::kRequestBytesMax}) {
    const std::vector<std::byte> request = Pattern(size, size);
    ASSERT_TRUE(Submit(++tag, AsText(request)).ok());
    EXPECT_EQ(client_->AwaitDone(tag).response, AsText(request));
  }
  const std::vector<std::byte> over(limits::kRequestBytesMax + 1);
  EXPECT_EQ(Submit(++tag, AsText(over)).code(), Code::kInvalidArgument);
}

TEST_P(EachTransport, SaysWhoIsAsking) {
  Start();
  Peer peer;
  service_.on_call = [&](Exchange& call) {
    peer = call.peer();
    call.Finish(Code::kOk, {});
  };
  ASSERT_TRUE(Submit(1, "").ok());
  client_->AwaitDone(1);
  server_->Stop();
  EXPECT_EQ(peer.tenant, kTenant);
  EXPECT_EQ(peer.role, PeerRole::kClient);
  EXPECT_EQ(peer.id, ClientIdentity().peer);
  EXPECT_EQ(peer.host, ClientIdentity().host);
  EXPECT_EQ(peer.version, 1);
}

TEST_P(EachTransport, FillsTheWindowPieceByPiece) {
  Start();
  const std::vector<std::byte> sent = Pattern(10 * limits::kMiB + 13, 1);
  service_.on_call = [&](Exchange& call) { SendAll(call, sent, 700'001); };
  const MutableBytes window = world_->Memory(sent.size());
  ASSERT_TRUE(Submit(1, "get", window).ok());
  const Seen seen = client_->AwaitDone(1);
  EXPECT_EQ(seen.event.code, Code::kOk);
  EXPECT_EQ(seen.response, "sent");
  EXPECT_TRUE(Same(window, sent));
  std::size_t total = 0;
  std::vector<bool> found(15);
  for (const Event& piece : client_->PiecesOf(1)) {
    EXPECT_EQ(piece.offset, piece.piece * std::size_t{700'001});
    EXPECT_FALSE(found.at(piece.piece));
    found.at(piece.piece) = true;
    total += piece.size_bytes;
  }
  EXPECT_EQ(total, sent.size());
}

TEST_P(EachTransport, APieceIsInItsPlaceWhenItIsReported) {
  Start();
  const std::vector<std::byte> sent = Pattern(8 * limits::kMiB, 2);
  service_.on_call = [&](Exchange& call) { SendAll(call, sent, limits::kMiB); };
  const MutableBytes window = world_->Memory(sent.size());
  ASSERT_TRUE(Submit(1, "get", window).ok());
  for (std::size_t known = 0; known < 8;) {
    client_->AwaitPieces(known + 1);
    for (const std::vector<Event> pieces = client_->PiecesOf(1); known < pieces.size(); ++known) {
      const Event& piece = pieces[known];
      const auto want = ConstBytes(sent).subspan(piece.offset, piece.size_bytes);
      EXPECT_TRUE(Same(window.subspan(piece.offset, piece.size_bytes), want));
    }
  }
  client_->AwaitDone(1);
}

TEST_P(EachTransport, PullsWhatTheCallerSends) {
  Start();
  const std::size_t size = 9 * limits::kMiB + 5;
  const MutableBytes source = world_->Memory(size);
  std::memcpy(source.data(), Pattern(size, 3).data(), size);
  std::vector<std::byte> got(size);
  constexpr std::size_t kPiece = 300'000;
  service_.on_call = [&](Exchange& call) {
    EXPECT_EQ(call.send_bulk_bytes(), size);
    // More pieces than a connection asks for at once, each into two spans.
    for (std::size_t offset = 0; offset < size; offset += kPiece) {
      const MutableBytes to = MutableBytes(got).subspan(offset, std::min(kPiece, size - offset));
      const MutableBytes spans[] = {to.first(100), to.subspan(100)};
      call.ReceivePiece(static_cast<std::uint32_t>(offset / kPiece), offset, spans);
    }
  };
  std::size_t moved = 0;
  service_.on_moved = [&](Exchange& call, std::uint32_t, Code code) {
    EXPECT_EQ(code, Code::kOk);
    if (++moved == size / kPiece + 1) call.Finish(Code::kOk, AsBytes("stored"));
  };
  // Many spans, of which one is empty.
  const ConstBytes spans[] = {source.first(7), source.subspan(7, 0), source.subspan(7, 4'000'000),
                              source.subspan(4'000'007)};
  ASSERT_TRUE(Submit(1, "put", {}, spans).ok());
  EXPECT_EQ(client_->AwaitDone(1).response, "stored");
  server_->Stop();
  EXPECT_TRUE(Same(got, source));
}

TEST_P(EachTransport, KeepsManyCallsApart) {
  Start({.connections = 2});
  const std::vector<std::byte> data = Pattern(300'000, 4);
  service_.on_call = [&](Exchange& call) {
    const auto n = static_cast<std::size_t>(std::stoul(std::string(AsText(call.request()))));
    const ConstBytes part = ConstBytes(data).subspan(n * 1000, 100'000);
    call.SendPiece(0, 0, {&part, 1});
    call.Finish(Code::kOk, call.request());
  };
  const MutableBytes memory = world_->Memory(std::size_t{200} * 100'000);
  for (std::uint64_t tag = 0; tag < 200; ++tag) {
    ASSERT_TRUE(Submit(tag, std::to_string(tag), memory.subspan(tag * 100'000, 100'000)).ok());
  }
  for (std::uint64_t tag = 0; tag < 200; ++tag) {
    EXPECT_EQ(client_->AwaitDone(tag).response, std::to_string(tag));
    EXPECT_EQ(client_->PiecesOf(tag).size(), 1U);
    EXPECT_TRUE(Same(memory.subspan(tag * 100'000, 100'000),
                     ConstBytes(data).subspan(tag * 1000, 100'000)));
  }
}

TEST_P(EachTransport, RefusesBulkThatIsNotRegistered) {
  Start();
  std::vector<std::byte> stranger(10);
  EXPECT_EQ(Submit(1, "get", stranger).code(), Code::kFailedPrecondition);
  const ConstBytes send = stranger;
  EXPECT_EQ(Submit(1, "put", {}, {&send, 1}).code(), Code::kFailedPrecondition);
}

TEST_P(EachTransport, FullQueueIsReportedNotBlocked) {
  Start({.queue_depth = 4});
  for (std::uint64_t tag = 0; tag < 4; ++tag) ASSERT_TRUE(Submit(tag, "hold").ok());
  EXPECT_EQ(Submit(4, "hold").code(), Code::kResourceExhausted);
  client_->channel().Cancel(2);
  client_->AwaitDone(2);
  client_->PollOnce();
  EXPECT_TRUE(Submit(4, "hold").ok());
}

TEST_P(EachTransport, CallEndsAtItsDeadlineThoughNobodyAnswers) {
  Start();
  const TimePoint before = world_->clock().Now();
  ASSERT_TRUE(Submit(1, "hold", {}, {}, milliseconds(30)).ok());
  EXPECT_EQ(client_->AwaitDone(1).event.code, Code::kDeadlineExceeded);
  EXPECT_GE(world_->clock().Now() - before, milliseconds(30));
  service_.AwaitAbandoned(1);
}

TEST_P(EachTransport, ServerGivesUpAtTheDeadlineThoughTheCallerIsFrozen) {
  Start();
  ASSERT_TRUE(Submit(1, "hold", {}, {}, milliseconds(30)).ok());
  service_.AwaitAbandoned(1);  // and the client does not poll meanwhile
  EXPECT_EQ(client_->AwaitDone(1).event.code, Code::kDeadlineExceeded);
}

TEST_P(EachTransport, CancelEndsTheCallWithoutTheServersHelp) {
  Start();
  service_.AwaitCalls(0);
  ASSERT_TRUE(Submit(1, "hold").ok());
  service_.AwaitCalls(1);
  server_->Pause();
  client_->channel().Cancel(1);
  client_->channel().Cancel(77);
  EXPECT_EQ(client_->AwaitDone(1).event.code, Code::kCancelled);
  server_->Resume();
  service_.AwaitAbandoned(1);
}

TEST_P(EachTransport, WindowIsNotTouchedAfterTheEndOfTheCall) {
  Start();
  const std::vector<std::byte> sent = Pattern(64 * limits::kMiB, 5);
  service_.on_call = [&](Exchange& call) {
    if (AsText(call.request()) == "get") return SendAll(call, sent, limits::kPieceBytesMax);
    call.Finish(Code::kOk, {});
  };
  const MutableBytes window = world_->Memory(sent.size());
  ASSERT_TRUE(Submit(1, "get", window).ok());
  client_->AwaitPieces(1);
  client_->channel().Cancel(1);
  // All of it may have been there already, and the answer too.
  const Code code = client_->AwaitDone(1).event.code;
  EXPECT_TRUE(code == Code::kCancelled || code == Code::kOk);
  std::memset(window.data(), 0xA5, window.size());
  service_.AwaitMoved(16);
  // Whatever was under way has passed by once a later call has its answer.
  for (std::uint64_t tag = 2; tag < 10; ++tag) {
    ASSERT_TRUE(Submit(tag, "sync").ok());
    EXPECT_EQ(client_->AwaitDone(tag).event.code, Code::kOk);
  }
  EXPECT_TRUE(AllAre(window, std::byte{0xA5}));
}

TEST_P(EachTransport, NoPieceIsWholeThatHoldsBytesFromAfterTheEnd) {
  Start();
  const std::size_t size = 32 * limits::kMiB;
  const MutableBytes source = world_->Memory(size);
  std::memset(source.data(), 0x11, size);
  std::vector<std::byte> got(size);
  service_.drop_on_abandoned = false;
  service_.on_call = [&](Exchange& call) {
    if (AsText(call.request()) == "sync") return call.Finish(Code::kOk, {});
    for (std::uint32_t n = 0; n < 8; ++n) {
      const MutableBytes to =
          MutableBytes(got).subspan(n * limits::kPieceBytesMax, limits::kPieceBytesMax);
      call.ReceivePiece(n, n * limits::kPieceBytesMax, {&to, 1});
    }
  };
  const ConstBytes send = source;
  ASSERT_TRUE(Submit(1, "put", {}, {&send, 1}).ok());
  service_.AwaitCalls(1);
  client_->PollOnce();  // sends some
  client_->channel().Cancel(1);
  client_->AwaitDone(1);
  std::memset(source.data(), 0x22, size);
  service_.AwaitMoved(8);
  ASSERT_TRUE(Submit(2, "sync").ok());
  client_->AwaitDone(2);
  server_->Stop();
  for (const TestService::Moved& moved : service_.moved()) {
    if (moved.code != Code::kOk) continue;
    const ConstBytes piece =
        ConstBytes(got).subspan(moved.piece * limits::kPieceBytesMax, limits::kPieceBytesMax);
    EXPECT_TRUE(AllAre(piece, std::byte{0x11}));
  }
}

TEST_P(EachTransport, EveryPieceReportsOnceThatItMoved) {
  Start();
  const std::vector<std::byte> sent = Pattern(2'000'000, 6);
  service_.on_call = [&](Exchange& call) { SendAll(call, sent, 10'000); };
  const MutableBytes window = world_->Memory(sent.size());
  ASSERT_TRUE(Submit(1, "get", window).ok());
  client_->AwaitDone(1);
  service_.AwaitMoved(200);
  server_->Stop();
  std::vector<int> times(200);
  for (const TestService::Moved& moved : service_.moved()) {
    EXPECT_EQ(moved.code, Code::kOk);
    ++times.at(moved.piece);
  }
  EXPECT_EQ(times, std::vector<int>(200, 1));
}

TEST_P(EachTransport, SlowReaderDelaysTheServerNotItsMemory) {
  Start();
  const std::vector<std::byte> sent = Pattern(96 * limits::kMiB, 7);
  service_.on_call = [&](Exchange& call) {
    if (AsText(call.request()) == "get") SendAll(call, sent, limits::kPieceBytesMax);
  };
  const MutableBytes window = world_->Memory(sent.size());
  ASSERT_TRUE(Submit(1, "get", window).ok());
  service_.AwaitCalls(1);
  EXPECT_EQ(client_->AwaitDone(1).event.code, Code::kOk);
  service_.AwaitMoved(24);
  EXPECT_TRUE(Same(window, sent));
}

TEST_P(EachTransport, APieceOutsideTheWindowIsNeverSent) {
  Start();
  const std::vector<std::byte> sent = Pattern(200, 8);
  service_.on_call = [&](Exchange& call) {
    const ConstBytes from = sent;
    call.SendPiece(0, 0, {&from, 1});
    call.SendPiece(1, 51, {&from, 1});
    call.SendPiece(2, ~std::size_t{0} - 100, {&from, 1});
  };
  const MutableBytes window = world_->Memory(250);
  ASSERT_TRUE(Submit(1, "get", window.first(200)).ok());
  service_.AwaitMoved(3);
  for (const TestService::Moved& moved : service_.moved()) {
    EXPECT_EQ(moved.code, moved.piece == 0 ? Code::kOk : Code::kOutOfRange);
  }
}

TEST_P(EachTransport, DestroyingAnExchangeAnswersInternal) {
  Start();
  const std::vector<std::byte> sent = Pattern(8 * limits::kMiB, 9);
  service_.on_call = [&](Exchange& call) {
    if (AsText(call.request()) == "get") SendAll(call, sent, limits::kMiB);
    service_.Drop(call);
  };
  const MutableBytes window = world_->Memory(sent.size());
  ASSERT_TRUE(Submit(1, "drop").ok());
  EXPECT_EQ(client_->AwaitDone(1).event.code, Code::kInternal);
  ASSERT_TRUE(Submit(2, "get", window).ok());
  EXPECT_EQ(client_->AwaitDone(2).event.code, Code::kInternal);
  server_->Stop();
  EXPECT_TRUE(service_.moved().empty());
}

TEST_P(EachTransport, PiecesOfAFinishedCallStillReport) {
  Start();
  const std::vector<std::byte> sent = Pattern(10, 10);
  service_.on_call = [&](Exchange& call) {
    call.Finish(Code::kOk, {});
    const ConstBytes from = sent;
    call.SendPiece(5, 0, {&from, 1});
  };
  ASSERT_TRUE(Submit(1, "get", world_->Memory(10)).ok());
  client_->AwaitDone(1);
  service_.AwaitMoved(1);
  EXPECT_EQ(service_.moved()[0].code, Code::kCancelled);
}

TEST_P(EachTransport, AnExchangeMayBeUsedBetweenPolls) {
  Start();
  const std::vector<std::byte> sent = Pattern(1000, 11);
  const MutableBytes window = world_->Memory(1000);
  ASSERT_TRUE(Submit(1, "later", window).ok());
  service_.AwaitCalls(1);
  server_->Run([&] {
    const ConstBytes from = sent;
    service_.Find("later")->SendPiece(0, 0, {&from, 1});
  });
  client_->AwaitPieces(1);
  server_->Run([&] { service_.Find("later")->Finish(Code::kNotFound, AsBytes("x")); });
  const Seen seen = client_->AwaitDone(1);
  EXPECT_EQ(seen.event.code, Code::kNotFound);
  EXPECT_EQ(seen.response, "x");
}

TEST_P(EachTransport, DestroyedServerLeavesItsCallersUnavailable) {
  Start({.connections = 2});
  const std::vector<std::byte> sent = Pattern(64 * limits::kMiB, 12);
  service_.on_call = [&](Exchange& call) {
    if (AsText(call.request()) == "get") SendAll(call, sent, limits::kPieceBytesMax);
  };
  const MutableBytes window = world_->Memory(sent.size());
  ASSERT_TRUE(Submit(1, "hold").ok());
  ASSERT_TRUE(Submit(2, "get", window).ok());
  service_.AwaitCalls(2);
  client_->AwaitPieces(1);
  server_->Stop();
  EXPECT_EQ(client_->AwaitDone(1).event.code, Code::kUnavailable);
  const Code code = client_->AwaitDone(2).event.code;
  // Over loopback all of it may have been there already.
  EXPECT_TRUE(code == Code::kUnavailable || client_->PiecesOf(2).size() == 16);
  EXPECT_EQ(Submit(3, "late").code(), Code::kUnavailable);
  EXPECT_EQ(service_.moved().size(), 16U);
}

TEST_P(EachTransport, AnExchangeMayOutliveItsServer) {
  Start();
  service_.drop_on_abandoned = false;
  ASSERT_TRUE(Submit(1, "hold").ok());
  service_.AwaitCalls(1);
  server_->Stop();
  EXPECT_EQ(service_.abandoned(), 1U);
  Exchange* call = service_.Find("hold");
  ASSERT_NE(call, nullptr);
  call->SendPiece(0, 0, {});
  call->Finish(Code::kOk, {});
  service_.Drop(*call);
}

TEST_P(EachTransport, DeadClientIsNoticed) {
  Start();
  const std::vector<std::byte> sent = Pattern(64 * limits::kMiB, 13);
  service_.drop_on_abandoned = false;
  service_.on_call = [&](Exchange& call) {
    if (AsText(call.request()) != "get") return;
    for (std::uint32_t n = 0; n < 16; ++n) {
      const std::size_t offset = n * limits::kPieceBytesMax;
      const ConstBytes piece = ConstBytes(sent).subspan(offset, limits::kPieceBytesMax);
      call.SendPiece(n, offset, {&piece, 1});
    }
  };
  const MutableBytes window = world_->Memory(sent.size());
  ASSERT_TRUE(Submit(1, "hold").ok());
  ASSERT_TRUE(Submit(2, "get", window).ok());
  service_.AwaitCalls(2);
  client_->Close();
  service_.AwaitAbandoned(2);
  service_.AwaitMoved(16);
}

TEST_P(EachTransport, UnregisterWaitsForCallsThatUseTheMemory) {
  Start();
  const MutableBytes window = world_->Memory(100);
  ASSERT_TRUE(Submit(1, "hold", window).ok());
  std::thread other([&] { EXPECT_TRUE(world_->Unregister(window.data()).ok()); });
  // It lets no new call in while it waits, or has not begun to.
  client_->channel().Cancel(1);
  client_->AwaitDone(1);
  other.join();
  EXPECT_EQ(Submit(2, "hold", window).code(), Code::kFailedPrecondition);
  EXPECT_EQ(world_->Unregister(window.data()).code(), Code::kNotFound);
}

INSTANTIATE_TEST_SUITE_P(Transports, EachTransport,
                         testing::Values("tcp", "loopback", "tcp_lanes", "tcp_movers", "shm",
                                         "shm_lanes"),
                         [](const auto& param) { return std::string(param.param); });

}  // namespace
}  // namespace kdn::transport::test

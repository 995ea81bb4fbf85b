// Goal: a server that breaks the rules cannot write outside the window, nor make a piece look whole
// that is not.
// Method: our client over TCP against a server that writes its frames by hand.
#include <gtest/gtest.h>
#include <poll.h>

#include <algorithm>
#include <cstring>

#include "tests/transport/raw_peer.h"
#include "tests/transport/world.h"

namespace kdn::transport::test {
namespace {

using std::chrono::seconds;

class HostileServer : public testing::Test {
 protected:
  HostileServer() : world_("tcp") {
    std::thread connecting([this] {
      auto channel = world_.Connect(listener_.endpoint(), ClientIdentity());
      if (channel) client_ = std::make_unique<Client>(*std::move(channel));
    });
    peer_.emplace(listener_.Accept());
    peer_->AnswerHello(authenticator_);
    connecting.join();
    window_ = world_.Memory(1000);
    std::memset(window_.data(), 0xA5, window_.size());
    source_ = world_.Memory(1000);
  }
  // Submits a call that offers bytes [100, 200) as window and all of the source.
  RawPeer::Frame Ask() {
    Call call;
    call.tag = 1;
    call.receive_bulk = window_.subspan(100, 100);
    const ConstBytes send = source_;
    call.send_bulk = {&send, 1};
    call.deadline = world_.In(seconds(10));
    EXPECT_TRUE(client_->channel().Submit(call).ok());
    client_->PollOnce();
    return *peer_->ReceiveFrame();
  }
  void ExpectBroken() {
    EXPECT_EQ(client_->AwaitDone(1).event.code, Code::kUnavailable);
    EXPECT_TRUE(peer_->IsClosed());
    EXPECT_TRUE(AllAre(window_.first(100), std::byte{0xA5}));
    EXPECT_TRUE(AllAre(window_.subspan(200), std::byte{0xA5}));
  }
  FrameHeader Slice(std::uint32_t call, std::uint64_t offset) {
    FrameHeader header{.type = FrameType::kSlice, .call = call};
    header.offset = offset;
    return header;
  }

  World world_;
  TestAuthenticator authenticator_;
  RawListener listener_;
  std::optional<RawPeer> peer_;
  std::unique_ptr<Client> client_;
  MutableBytes window_;
  MutableBytes source_;
};

TEST_F(HostileServer, SliceBeyondTheWindowBreaksTheConnection) {
  const RawPeer::Frame request = Ask();
  peer_->SendFrame(Slice(request.header.call, 50), Pattern(51, 1));
  ExpectBroken();
  EXPECT_TRUE(AllAre(window_, std::byte{0xA5}));
}

TEST_F(HostileServer, SliceOutOfOrderBreaksTheConnection) {
  const RawPeer::Frame request = Ask();
  peer_->SendFrame(Slice(request.header.call, 0), Pattern(10, 1));
  peer_->SendFrame(Slice(request.header.call, 20), Pattern(10, 1));
  ExpectBroken();
}

// What has been verified must not change under the one who did.
TEST_F(HostileServer, PieceOverAnEarlierOneBreaksTheConnection) {
  const RawPeer::Frame request = Ask();
  const auto send = [&](std::uint32_t piece, std::uint64_t offset, std::size_t size) {
    FrameHeader slice = Slice(request.header.call, offset);
    slice.piece = piece;
    peer_->SendFrame(slice, Pattern(size, piece + 1));
    FrameHeader end{.type = FrameType::kPieceEnd, .call = request.header.call, .piece = piece};
    end.offset = offset;
    end.size_a = size;
    peer_->SendFrame(end);
  };
  send(0, 40, 20);
  send(1, 60, 20);
  send(2, 20, 20);
  client_->AwaitPieces(3);
  const std::vector<std::byte> before(window_.begin(), window_.end());
  send(3, 10, 11);  // one byte too many
  ExpectBroken();
  EXPECT_TRUE(Same(window_, before));
}

TEST_F(HostileServer, EndOfAPieceThatDidNotComeBreaksTheConnection) {
  const RawPeer::Frame request = Ask();
  peer_->SendFrame(Slice(request.header.call, 0), Pattern(10, 1));
  FrameHeader end{.type = FrameType::kPieceEnd, .call = request.header.call};
  end.size_a = 100;
  peer_->SendFrame(end);
  ExpectBroken();
  EXPECT_EQ(client_->piece_count(), 0U);
}

TEST_F(HostileServer, PullBeyondWhatIsOfferedBreaksTheConnection) {
  const RawPeer::Frame request = Ask();
  FrameHeader pull{.type = FrameType::kPull, .call = request.header.call};
  pull.offset = 999;
  pull.size_a = 2;
  peer_->SendFrame(pull);
  ExpectBroken();
}

TEST_F(HostileServer, FloodOfPullsBreaksTheConnection) {
  const RawPeer::Frame request = Ask();
  FrameHeader pull{.type = FrameType::kPull, .call = request.header.call};
  pull.size_a = 1000;
  std::vector<std::byte> flood;
  for (std::uint32_t i = 0; i <= kPullsPerCallMax; ++i) {
    FrameBytes bytes;
    Seal(pull, {}, bytes);
    flood.insert(flood.end(), bytes.begin(), bytes.end());
  }
  peer_->Send(flood);
  EXPECT_EQ(client_->AwaitDone(1).event.code, Code::kUnavailable);
}

TEST_F(HostileServer, FramesOfAnotherCallAreThrownAway) {
  const RawPeer::Frame request = Ask();
  peer_->SendFrame(Slice(request.header.call + kCallSlots, 0), Pattern(5000, 1));
  peer_->SendFrame({.type = FrameType::kResponse, .call = request.header.call + 1}, Bytes("no"));
  peer_->SendFrame({.type = FrameType::kResponse, .call = request.header.call}, Bytes("yes"));
  EXPECT_EQ(client_->AwaitDone(1).response, "yes");
  EXPECT_TRUE(AllAre(window_, std::byte{0xA5}));
}

TEST_F(HostileServer, FlippedBitInAResponseIsNoResponse) {
  const RawPeer::Frame request = Ask();
  const std::vector<std::byte> body = Bytes("the answer");
  FrameHeader header{.type = FrameType::kResponse, .call = request.header.call, .size = 10};
  FrameBytes bytes;
  Seal(header, body, bytes);
  peer_->Send(bytes);
  std::vector<std::byte> broken = body;
  broken[3] ^= std::byte{4};
  peer_->Send(broken);
  ExpectBroken();
}

TEST_F(HostileServer, DeathInTheMiddleOfAPieceEndsTheCall) {
  const RawPeer::Frame request = Ask();
  FrameHeader header = Slice(request.header.call, 0);
  header.size = 100;
  FrameBytes bytes;
  Seal(header, {}, bytes);
  peer_->Send(bytes);
  peer_->Send(Pattern(40, 1));
  client_->PollOnce();
  peer_->Close();
  EXPECT_EQ(client_->AwaitDone(1).event.code, Code::kUnavailable);
  EXPECT_EQ(client_->piece_count(), 0U);
  Call late;
  late.deadline = world_.In(seconds(1));
  EXPECT_EQ(client_->channel().Submit(late).code(), Code::kUnavailable);
}

// Byte 50 of a slice is the last one before the end of the call: not one more may be written.
TEST_F(HostileServer, CancelInTheMiddleOfASliceLeavesTheWindowAlone) {
  const RawPeer::Frame request = Ask();
  FrameHeader header = Slice(request.header.call, 0);
  header.size = 100;
  FrameBytes bytes;
  Seal(header, {}, bytes);
  peer_->Send(bytes);
  const std::vector<std::byte> payload = Pattern(100, 1);
  peer_->Send(ConstBytes(payload).first(50));
  pollfd fd{client_->channel().WaitFd(), POLLIN, 0};
  while (!Same(window_.subspan(100, 50), ConstBytes(payload).first(50))) {
    ASSERT_EQ(poll(&fd, 1, 10'000), 1);
    client_->PollOnce();
  }
  client_->channel().Cancel(1);
  EXPECT_EQ(client_->AwaitDone(1).event.code, Code::kCancelled);
  std::memset(window_.data(), 0xA5, window_.size());
  EXPECT_EQ(peer_->ReceiveFrame()->header.type, FrameType::kCancel);
  peer_->Send(ConstBytes(payload).subspan(50));
  // The stream is still in step: the next call on it works.
  const RawPeer::Frame next = [&] {
    Call call;
    call.tag = 2;
    call.deadline = world_.In(seconds(10));
    EXPECT_TRUE(client_->channel().Submit(call).ok());
    client_->PollOnce();
    return *peer_->ReceiveFrame();
  }();
  peer_->SendFrame({.type = FrameType::kResponse, .call = next.header.call}, Bytes("ok"));
  EXPECT_EQ(client_->AwaitDone(2).response, "ok");
  EXPECT_TRUE(AllAre(window_, std::byte{0xA5}));
}

// The server asks for far more than fits into the sockets and reads nothing until the call has
// ended: then it must see neither what the caller's memory holds by now, nor a piece that looks
// whole.
TEST_F(HostileServer, WhatIsGivenUpHalfSentIsFilledWithZeros) {
  const MutableBytes source = world_.Memory(kPullsPerCallMax * limits::kPieceBytesMax);
  std::memset(source.data(), 0x11, source.size());
  const ConstBytes send = source;
  Call call;
  call.tag = 1;
  call.send_bulk = {&send, 1};
  call.deadline = world_.In(seconds(10));
  ASSERT_TRUE(client_->channel().Submit(call).ok());
  const std::uint32_t id = peer_->ReceiveFrame()->header.call;
  for (std::uint32_t n = 0; n < kPullsPerCallMax; ++n) {
    FrameHeader pull{.type = FrameType::kPull, .call = id, .piece = n};
    pull.offset = n * limits::kPieceBytesMax;
    pull.size_a = limits::kPieceBytesMax;
    peer_->SendFrame(pull);
  }
  pollfd fd{client_->channel().WaitFd(), POLLIN, 0};
  while (poll(&fd, 1, 50) == 1) client_->PollOnce();  // until nothing more fits
  client_->channel().Cancel(1);
  std::memset(source.data(), 0x22, source.size());
  EXPECT_EQ(client_->AwaitDone(1).event.code, Code::kCancelled);
  std::thread flushing([this] {
    pollfd writable{client_->channel().WaitFd(), POLLIN, 0};
    while (poll(&writable, 1, 200) == 1) client_->PollOnce();
  });
  std::size_t zeros = 0;
  for (;;) {
    const auto frame = peer_->ReceiveFrame();
    ASSERT_TRUE(frame);
    if (frame->header.type == FrameType::kCancel) break;
    const std::vector<std::byte>& body = frame->body;
    if (frame->header.type == FrameType::kPieceEnd) {
      EXPECT_EQ(zeros, 0U) << "a piece of zeros looks whole";
      continue;
    }
    const auto first_zero = std::find(body.begin(), body.end(), std::byte{0});
    const auto sent = static_cast<std::size_t>(first_zero - body.begin());
    zeros += body.size() - sent;
    if (sent > 0) {
      EXPECT_TRUE(AllAre(ConstBytes(body).first(sent), std::byte{0x11}));
    }
    if (sent < body.size()) {
      EXPECT_TRUE(AllAre(ConstBytes(body).subspan(sent), std::byte{0}));
    }
  }
  EXPECT_GT(zeros, 0U);
  flushing.join();
}

}  // namespace
}  // namespace kdn::transport::test

// Goal: peers that share memory and break the rules harm nobody but themselves: a server takes only
// what was offered by whom it invited, and a client's window is its own once a call has ended.
// Method: our server against a client whose Hello, offer and frames are written by hand; our client
// against such a server, which stays inside a gate as a frozen one would.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <future>

#include "tests/transport/raw_peer.h"
#include "tests/transport/world.h"
#include "transport/shm/acceptor.h"
#include "transport/shm/socket_name.h"

namespace kdn::transport::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::size_t kRegionBytes = 64 * shm::kPageBytes;

// What a client does to show its memory, step by step.
class HandMadeClient {
 public:
  explicit HandMadeClient(const std::string& endpoint, const Identity& identity = ClientIdentity())
      : peer_(endpoint),
        gates_(*shm::SharedMemory::Make(shm::kGatesBytes)),
        memory_(*shm::SharedMemory::Make(kRegionBytes)) {
    EXPECT_TRUE(peer_.SayHello(identity, &invite_));
  }

  // The server's verdict; kUnavailable if it says none.
  Code Offer(const std::vector<Nonce>& tickets, const std::vector<int>& fds,
             std::uint64_t size = kRegionBytes) {
    const Fd guest(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    const shm::SocketName name(invite_->socket);
    if (connect(guest.get(), name.address(), name.size()) != 0) return Code::kUnavailable;
    std::vector<std::byte> bytes;
    shm::MemoryOffer{tickets, {size}}.Encode(bytes);
    if (!shm::SendWithDescriptors(guest.get(), bytes, fds)) return Code::kUnavailable;
    std::uint8_t verdict = 0;
    if (recv(guest.get(), &verdict, 1, 0) != 1) return Code::kUnavailable;
    return CodeFromNumber(verdict);
  }
  Code Offer() { return Offer({invite_->ticket}, {gates_.fd(), memory_.fd()}); }

  // A request for bulk that lies at `offset` of region `region`.
  bool Ask(std::uint32_t region, std::uint64_t offset, std::uint64_t window_bytes,
           std::uint64_t send_bytes = 0) {
    FrameHeader header{.type = FrameType::kRequest, .call = 1};
    header.piece = PackSharedBulk({region, 0});
    header.offset = offset;
    header.size_a = send_bytes;
    header.size_b = window_bytes;
    header.remaining_us = 5'000'000;
    return peer_.SendFrame(header);
  }
  void OpenGate() { Gate().Open(shm::GateKey(0, 1)); }
  shm::Gate Gate() { return shm::Gate(*reinterpret_cast<shm::GateWord*>(gates_.bytes().data())); }

  [[nodiscard]] RawPeer& peer() { return peer_; }
  [[nodiscard]] const std::optional<ShareInvite>& invite() const { return invite_; }
  [[nodiscard]] MutableBytes memory() const { return memory_.bytes(); }
  [[nodiscard]] int gates_fd() const { return gates_.fd(); }
  [[nodiscard]] int memory_fd() const { return memory_.fd(); }

 private:
  RawPeer peer_;
  std::optional<ShareInvite> invite_;
  shm::SharedMemory gates_;
  shm::SharedMemory memory_;
};

class SharingServer : public testing::Test {
 protected:
  void Start(Options options = {}) {
    world_.emplace("shm", options);
    service_.on_call = [this](Exchange& call) {
      if (call.receive_bulk_bytes() > 0) {
        const ConstBytes from = sent_;
        call.SendPiece(0, 0, {&from, 1});
        call.Finish(Code::kOk, {});
      } else if (call.send_bulk_bytes() > 0) {
        const MutableBytes into = MutableBytes(got_).first(call.send_bulk_bytes());
        call.ReceivePiece(0, 0, {&into, 1});
      } else {
        call.Finish(Code::kOk, {});
      }
    };
    service_.on_moved = [](Exchange& call, std::uint32_t, Code) { call.Finish(Code::kOk, {}); };
    server_.emplace(world_->server_domain(), service_, authenticator_);
  }

  std::vector<std::byte> sent_ = Pattern(10'000, 1);
  std::vector<std::byte> got_ = std::vector<std::byte>(kRegionBytes);
  TestAuthenticator authenticator_;
  TestService service_;
  std::optional<World> world_;
  std::optional<ServerThread> server_;
};

TEST_F(SharingServer, WritesIntoTheWindowItselfAndSendsOnlyThatItDid) {
  Start();
  HandMadeClient client(server_->endpoint());
  ASSERT_EQ(client.Offer(), Code::kOk);
  client.OpenGate();
  ASSERT_TRUE(client.Ask(1, 3 * shm::kPageBytes, sent_.size()));
  const auto end = client.peer().ReceiveFrame();
  ASSERT_TRUE(end);
  EXPECT_EQ(end->header.type, FrameType::kPieceEnd);
  EXPECT_EQ(end->header.size_a, sent_.size());
  EXPECT_TRUE(Same(client.memory().subspan(3 * shm::kPageBytes, sent_.size()), sent_));
  EXPECT_TRUE(AllAre(client.memory().first(3 * shm::kPageBytes), std::byte{0}));
  const auto answer = client.peer().ReceiveFrame();
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->header.type, FrameType::kResponse);
}

TEST_F(SharingServer, ReadsWhatIsSentItselfAndAsksForNothing) {
  Start();
  HandMadeClient client(server_->endpoint());
  ASSERT_EQ(client.Offer(), Code::kOk);
  std::memcpy(client.memory().data() + 77, sent_.data(), sent_.size());
  client.OpenGate();
  ASSERT_TRUE(client.Ask(1, 77, 0, sent_.size()));
  const auto answer = client.peer().ReceiveFrame();
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->header.type, FrameType::kResponse);
  server_->Stop();
  EXPECT_TRUE(Same(ConstBytes(got_).first(sent_.size()), sent_));
}

TEST_F(SharingServer, TouchesNothingBehindAGateThatIsShut) {
  Start();
  HandMadeClient client(server_->endpoint());
  ASSERT_EQ(client.Offer(), Code::kOk);
  ASSERT_TRUE(client.Ask(1, 0, sent_.size()));  // its gate was never opened
  service_.AwaitMoved(1);
  EXPECT_EQ(service_.moved()[0].code, Code::kCancelled);
  EXPECT_TRUE(AllAre(client.memory(), std::byte{0}));
}

TEST_F(SharingServer, BulkOutsideWhatWasOfferedBreaksTheConnection) {
  Start();
  const struct {
    std::uint32_t region;
    std::uint64_t offset, size;
  } kWrong[] = {{1, kRegionBytes, 1},
                {1, kRegionBytes - 10, 11},
                {1, ~std::uint64_t{0} - 5, 10},
                {2, 0, 1},
                {8, 0, 1},
                {1, std::uint64_t{1} << 63, 100}};
  for (const auto& wrong : kWrong) {
    HandMadeClient client(server_->endpoint());
    ASSERT_EQ(client.Offer(), Code::kOk);
    client.OpenGate();
    client.Ask(wrong.region, wrong.offset, wrong.size);
    EXPECT_TRUE(client.peer().IsClosed());
    EXPECT_TRUE(AllAre(client.memory(), std::byte{0}));
  }
}

TEST_F(SharingServer, BulkInMemoryThatWasNotOfferedBreaksTheConnection) {
  Start();
  HandMadeClient client(server_->endpoint());
  client.Ask(1, 0, 100);
  EXPECT_TRUE(client.peer().IsClosed());
}

TEST_F(SharingServer, TakesNoOfferButFromWhomItInvited) {
  Start();
  HandMadeClient client(server_->endpoint());
  HandMadeClient other(server_->endpoint(), HmacIdentity("open sesame"));
  Identity stranger = ClientIdentity();
  stranger.peer.bytes[0] = std::byte{0xDD};
  HandMadeClient third(server_->endpoint(), stranger);
  const std::vector<int> fds = {client.gates_fd(), client.memory_fd()};
  Nonce guessed = client.invite()->ticket;
  guessed[31] ^= std::byte{1};
  EXPECT_EQ(client.Offer({guessed}, fds), Code::kUnauthenticated);
  // Connections of two peers are not one channel's.
  EXPECT_EQ(client.Offer({client.invite()->ticket, third.invite()->ticket}, fds),
            Code::kUnauthenticated);
  EXPECT_EQ(client.Offer({client.invite()->ticket, other.invite()->ticket}, fds), Code::kOk);
  // A ticket is good once.
  EXPECT_EQ(client.Offer({client.invite()->ticket}, fds), Code::kUnauthenticated);
}

TEST_F(SharingServer, TakesNoMemoryThatCouldHarmIt) {
  Start();
  HandMadeClient client(server_->endpoint());
  const std::vector<Nonce> tickets = {client.invite()->ticket};
  const Fd unsealed(memfd_create("test", MFD_CLOEXEC));
  ASSERT_EQ(ftruncate(unsealed.get(), kRegionBytes), 0);
  EXPECT_EQ(client.Offer(tickets, {client.gates_fd(), unsealed.get()}), Code::kInvalidArgument);
  EXPECT_EQ(client.Offer(tickets, {unsealed.get(), client.memory_fd()}), Code::kInvalidArgument);
  EXPECT_EQ(client.Offer(tickets, {client.gates_fd(), client.memory_fd()},
                         kRegionBytes + shm::kPageBytes),
            Code::kInvalidArgument);
  EXPECT_EQ(client.Offer(tickets, {client.gates_fd()}), Code::kInvalidArgument);
  EXPECT_EQ(client.Offer(tickets, {}), Code::kInvalidArgument);
  // After all that, what is right is still taken.
  EXPECT_EQ(client.Offer(), Code::kOk);
}

TEST_F(SharingServer, MapsNoMoreThanItMay) {
  Options options;
  options.shared_memory.process_bytes_max = shm::kGatesBytes + kRegionBytes - 1;
  Start(options);
  HandMadeClient client(server_->endpoint());
  EXPECT_EQ(client.Offer(), Code::kResourceExhausted);
}

TEST_F(SharingServer, WhoSaysNothingAfterConnectingIsForgotten) {
  Start();
  HandMadeClient client(server_->endpoint());
  const Fd guest(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  const shm::SocketName name(client.invite()->socket);
  ASSERT_EQ(connect(guest.get(), name.address(), name.size()), 0);
  std::byte byte;
  EXPECT_EQ(recv(guest.get(), &byte, 1, 0), 0);
  EXPECT_EQ(client.Offer(), Code::kOk);
}

TEST_F(SharingServer, OfAnotherHostInvitesNobody) {
  Start();
  Identity elsewhere = ClientIdentity();
  elsewhere.host.bytes[0] = std::byte{0x43};
  EXPECT_FALSE(HandMadeClient(server_->endpoint(), elsewhere).invite());
  elsewhere.host = HostId{};
  EXPECT_FALSE(HandMadeClient(server_->endpoint(), elsewhere).invite());
}

TEST_F(SharingServer, ThatBoundsItsConnectionsInvitesNobody) {
  Start({.connection_rate_max = 1'000'000'000});
  EXPECT_FALSE(HandMadeClient(server_->endpoint()).invite());
}

// -- Our client against a server made by hand.

class SharingClient : public testing::Test, public shm::OfferTaker {
 protected:
  SharingClient() : world_("shm"), table_(options_) {
    acceptor_ = *shm::Acceptor::Listen(Nonce{std::byte{9}, static_cast<std::byte>(getpid())},
                                       options_, table_, clock_, log_);
    auto connecting = std::async(std::launch::async, [this] {
      return world_.Connect(listener_.endpoint(), ClientIdentity());
    });
    peer_.emplace(listener_.Accept());
    peer_->AnswerHello(authenticator_, acceptor_->Invite(kTicket));
    while (memory_ == nullptr) {
      pollfd ready{acceptor_->fd(), POLLIN, 0};
      if (poll(&ready, 1, 10'000) != 1) break;
      acceptor_->Poll(*this);
    }
    auto channel = connecting.get();
    if (channel) client_ = std::make_unique<Client>(*std::move(channel));
  }
  bool TakeOffer(std::span<const Nonce> tickets,
                 std::shared_ptr<const shm::OfferedMemory> memory) override {
    EXPECT_EQ(tickets.size(), 1U);
    EXPECT_EQ(tickets[0], kTicket);
    memory_ = std::move(memory);
    return true;
  }
  shm::SharedPlace Ask(MutableBytes window, Duration time = seconds(10)) {
    Call call;
    call.tag = 1;
    call.receive_bulk = window;
    call.deadline = world_.In(time);
    EXPECT_TRUE(client_->channel().Submit(call).ok());
    const auto request = peer_->ReceiveFrame();
    const auto place = memory_->Find(request->header, 0);
    EXPECT_TRUE(place);
    return place.value_or(shm::SharedPlace{});
  }

  const Nonce kTicket{std::byte{1}, std::byte{2}};
  SharedMemoryOptions options_;
  SteadyClock clock_;
  NullLog log_;
  World world_;
  TestAuthenticator authenticator_;
  RawListener listener_;
  shm::MappingTable table_;
  std::unique_ptr<shm::Acceptor> acceptor_;
  std::shared_ptr<const shm::OfferedMemory> memory_;
  std::optional<RawPeer> peer_;
  std::unique_ptr<Client> client_;
};

TEST_F(SharingClient, SaysWhereItsWindowLies) {
  ASSERT_TRUE(client_);
  const MutableBytes window = world_.Memory(100'000);
  const shm::SharedPlace place = Ask(window);
  const std::vector<std::byte> sent = Pattern(window.size(), 3);
  const ConstBytes from = sent;
  ASSERT_TRUE(place.Write(0, {&from, 1}));
  EXPECT_TRUE(Same(window, sent));
}

TEST_F(SharingClient, EndsACallThoughTheServerIsFrozenInsideAndItsWindowStaysAsItIs) {
  ASSERT_TRUE(client_);
  const MutableBytes window = world_.Memory(100'000);
  const shm::SharedPlace place = Ask(window);
  ASSERT_TRUE(shm::Gate(*place.gate).Enter(place.key));
  std::memset(place.begin, 0x11, 5000);
  client_->channel().Cancel(1);
  EXPECT_EQ(client_->AwaitDone(1).event.code, Code::kCancelled);
  EXPECT_TRUE(AllAre(window.first(5000), std::byte{0x11}));  // what was there before is kept
  std::memset(window.data(), 0xA5, window.size());
  std::memset(place.begin, 0x22, window.size());  // and now it wakes up
  EXPECT_FALSE(shm::Gate(*place.gate).Leave(place.key));
  EXPECT_TRUE(AllAre(window, std::byte{0xA5}));
}

TEST_F(SharingClient, EndsACallAtItsDeadlineThoughTheServerIsFrozenInside) {
  ASSERT_TRUE(client_);
  const MutableBytes window = world_.Memory(100'000);
  const shm::SharedPlace place = Ask(window, milliseconds(20));
  ASSERT_TRUE(shm::Gate(*place.gate).Enter(place.key));
  EXPECT_EQ(client_->AwaitDone(1).event.code, Code::kDeadlineExceeded);
  std::memset(window.data(), 0xA5, window.size());
  std::memset(place.begin, 0x22, window.size());
  EXPECT_TRUE(AllAre(window, std::byte{0xA5}));
}

TEST_F(SharingClient, EndsItsCallsWhenTheServerDiesInside) {
  ASSERT_TRUE(client_);
  const MutableBytes window = world_.Memory(100'000);
  const shm::SharedPlace place = Ask(window);
  ASSERT_TRUE(shm::Gate(*place.gate).Enter(place.key));
  peer_->Close();
  EXPECT_EQ(client_->AwaitDone(1).event.code, Code::kUnavailable);
  std::memset(window.data(), 0xA5, window.size());
  std::memset(place.begin, 0x22, window.size());
  EXPECT_TRUE(AllAre(window, std::byte{0xA5}));
}

TEST_F(SharingClient, ClosingTheChannelCutsAFrozenServerOff) {
  ASSERT_TRUE(client_);
  const MutableBytes window = world_.Memory(100'000);
  const shm::SharedPlace place = Ask(window);
  ASSERT_TRUE(shm::Gate(*place.gate).Enter(place.key));
  client_->Close();
  std::memset(window.data(), 0xA5, window.size());
  std::memset(place.begin, 0x22, window.size());
  EXPECT_TRUE(AllAre(window, std::byte{0xA5}));
}

TEST_F(SharingClient, AWindowThatWasCutOffGoesThroughTheSocketNextTime) {
  ASSERT_TRUE(client_);
  const MutableBytes window = world_.Memory(100'000);
  const shm::SharedPlace place = Ask(window);
  ASSERT_TRUE(shm::Gate(*place.gate).Enter(place.key));
  client_->channel().Cancel(1);
  client_->AwaitDone(1);
  Call call;
  call.tag = 2;
  call.receive_bulk = window;
  call.deadline = world_.In(seconds(10));
  ASSERT_TRUE(client_->channel().Submit(call).ok());
  const auto cancel = peer_->ReceiveFrame();
  EXPECT_EQ(cancel->header.type, FrameType::kCancel);
  const auto request = peer_->ReceiveFrame();
  EXPECT_EQ(request->header.type, FrameType::kRequest);
  EXPECT_EQ(UnpackSharedBulk(request->header.piece).region, 0U);
}

TEST_F(SharingClient, APieceOutsideTheWindowBreaksTheConnection) {
  ASSERT_TRUE(client_);
  const MutableBytes window = world_.Memory(100'000);
  Ask(window.first(1000));
  FrameHeader end{.type = FrameType::kPieceEnd, .call = 0};
  end.offset = 500;
  end.size_a = 501;
  peer_->SendFrame(end);
  EXPECT_EQ(client_->AwaitDone(1).event.code, Code::kUnavailable);
  EXPECT_EQ(client_->piece_count(), 0U);
}

TEST_F(SharingClient, SendsWhatDoesNotLieInSharedMemoryThroughTheSocket) {
  ASSERT_TRUE(client_);
  std::vector<std::byte> own = Pattern(5000, 4);
  ASSERT_TRUE(world_.client_domain().Register({own.data(), own.size()}).ok());
  Call call;
  call.tag = 1;
  const ConstBytes send = own;
  call.send_bulk = {&send, 1};
  call.deadline = world_.In(seconds(10));
  ASSERT_TRUE(client_->channel().Submit(call).ok());
  const auto request = peer_->ReceiveFrame();
  EXPECT_EQ(UnpackSharedBulk(request->header.piece).region, 0U);
  FrameHeader pull{.type = FrameType::kPull, .call = request->header.call};
  pull.size_a = own.size();
  peer_->SendFrame(pull);
  client_->PollOnce();
  const auto slice = peer_->ReceiveFrame();
  EXPECT_EQ(slice->header.type, FrameType::kSlice);
  EXPECT_TRUE(Same(slice->body, own));
  client_->Close();
  EXPECT_TRUE(world_.client_domain().Unregister(own.data()).ok());
}

}  // namespace
}  // namespace kdn::transport::test

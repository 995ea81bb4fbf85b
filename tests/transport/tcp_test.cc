// Goal: what only TCP has: peers that break the rules, connections that break alone, addresses.
// Method: one side is ours, the other writes frames by hand.
#include <dirent.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "tests/support/manual_clock.h"
#include "tests/transport/raw_peer.h"
#include "tests/transport/world.h"
#include "transport/tcp/socket.h"

namespace kdn::transport::test {
namespace {

using std::chrono::seconds;

// Our server against a client written by hand.
class HostileClient : public testing::Test {
 protected:
  HostileClient() : world_("tcp"), server_(world_.server_domain(), service_, authenticator_) {
    service_.on_call = [](Exchange& call) {
      if (AsText(call.request()) != "hold") call.Finish(Code::kOk, call.request());
    };
  }
  RawPeer Enter() {
    RawPeer peer(server_.endpoint());
    EXPECT_TRUE(peer.SayHello(ClientIdentity()));
    return peer;
  }
  static FrameHeader Request(std::uint32_t call) {
    FrameHeader header{.type = FrameType::kRequest, .call = call};
    header.remaining_us = 10'000'000;
    return header;
  }
  // The server still serves others.
  void ExpectServes() {
    RawPeer peer = Enter();
    peer.SendFrame(Request(5), Bytes("hi"));
    const auto answer = peer.ReceiveFrame();
    ASSERT_TRUE(answer);
    EXPECT_EQ(AsText(answer->body), "hi");
  }

  World world_;
  TestAuthenticator authenticator_;
  TestService service_;
  ServerThread server_;
};

TEST_F(HostileClient, GarbageInsteadOfAHelloIsClosed) {
  RawPeer peer(server_.endpoint());
  peer.Send(Pattern(100'000, 1));
  EXPECT_TRUE(peer.IsClosed());
  ExpectServes();
}

TEST_F(HostileClient, RefusalArrivesBeforeTheClose) {
  for (const auto& [identity, code] :
       {std::pair{HmacIdentity("wrong"), Code::kUnauthenticated},
        std::pair{HmacIdentity("open sesame", TenantId{99}), Code::kUnauthenticated}}) {
    const auto channel = world_.Connect(server_.endpoint(), identity);
    ASSERT_FALSE(channel);
    EXPECT_EQ(channel.error().code(), code);
  }
  Identity stranger = ClientIdentity();
  stranger.cluster.bytes[1] = std::byte{1};
  EXPECT_EQ(world_.Connect(server_.endpoint(), stranger).error().code(), Code::kFailedPrecondition);
  EXPECT_TRUE(world_.Connect(server_.endpoint(), HmacIdentity("open sesame")));
}

TEST_F(HostileClient, GarbageAfterTheHelloIsClosed) {
  RawPeer peer = Enter();
  peer.Send(Pattern(1000, 2));
  EXPECT_TRUE(peer.IsClosed());
  ExpectServes();
}

TEST_F(HostileClient, SecondRequestInOneSlotIsClosed) {
  RawPeer peer = Enter();
  peer.SendFrame(Request(1), Bytes("hold"));
  peer.SendFrame(Request(1 + kCallSlots), Bytes("hold"));
  EXPECT_TRUE(peer.IsClosed());
  service_.AwaitAbandoned(1);
  ExpectServes();
}

TEST_F(HostileClient, BulkThatNobodyAskedForIsClosed) {
  RawPeer peer = Enter();
  FrameHeader request = Request(1);
  request.size_a = 100;
  peer.SendFrame(request, Bytes("hold"));
  peer.SendFrame({.type = FrameType::kSlice, .call = 1}, Bytes("x"));
  EXPECT_TRUE(peer.IsClosed());
  ExpectServes();
}

TEST_F(HostileClient, BulkBeyondWhatWasAskedForIsClosed) {
  std::vector<std::byte> got(200, std::byte{0xA5});
  service_.drop_on_abandoned = false;
  service_.on_call = [&](Exchange& call) {
    if (AsText(call.request()) != "hold") return call.Finish(Code::kOk, call.request());
    const MutableBytes into = MutableBytes(got).first(100);
    call.ReceivePiece(3, 0, {&into, 1});
  };
  RawPeer peer = Enter();
  FrameHeader request = Request(1);
  request.size_a = 200;
  peer.SendFrame(request, Bytes("hold"));
  EXPECT_EQ(peer.ReceiveFrame()->header.type, FrameType::kPull);
  FrameHeader slice{.type = FrameType::kSlice, .call = 1, .piece = 3};
  peer.SendFrame(slice, Pattern(101, 1));
  EXPECT_TRUE(peer.IsClosed());
  service_.AwaitMoved(1);
  EXPECT_NE(service_.moved()[0].code, Code::kOk);
  ExpectServes();
  server_.Stop();
  EXPECT_TRUE(AllAre(got, std::byte{0xA5}));
}

TEST_F(HostileClient, RequestsBeyondTheLimitAreToldToComeBack) {
  RawPeer peer = Enter();
  std::vector<std::byte> request(limits::kRequestBytesMax);
  std::memcpy(request.data(), "hold", 4);
  service_.on_call = [](Exchange&) {};
  for (std::uint32_t n = 0; n < 64; ++n) ASSERT_TRUE(peer.SendFrame(Request(n), request));
  peer.SendFrame(Request(64), request);
  const auto answer = peer.ReceiveFrame();
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->header.call, 64U);
  EXPECT_EQ(answer->header.code, Code::kResourceExhausted);
}

TEST_F(HostileClient, WhoAsksButNeverReadsIsNotReadEither) {
  RawPeer peer = Enter();
  const std::vector<std::byte> request = Pattern(4000, 3);
  // Until both sockets are full: then the server has stopped reading, whatever it holds.
  timeval patience{0, 300'000};
  setsockopt(peer.fd(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
  std::uint64_t sent = 0;
  for (std::uint32_t n = 0; sent < 512 * limits::kMiB; ++n) {
    if (!peer.SendFrame(Request(n), request)) break;
    sent += request.size();
  }
  EXPECT_LT(sent, 512 * limits::kMiB);
  ExpectServes();
}

TEST(Tcp, AHelloThatTakesTooLongIsClosed) {
  test::TestAuthenticator authenticator;
  TestService service;
  kdn::test::ManualClock clock;
  SystemRandom random;
  NullLog log;
  Options options;
  auto domain = *OpenDomain(options, clock, random, log);
  auto server = *domain->Listen("127.0.0.1:0", TestCluster(), PeerId{}, service, authenticator);
  RawPeer peer(server->endpoint());
  peer.Send(Bytes("KDNH"));
  pollfd fds{server->WaitFd(), POLLIN, 0};
  ASSERT_EQ(poll(&fds, 1, 10'000), 1);
  while (server->Poll() > 0) {
  }
  clock.Advance(kHelloTimeout - Duration(1));
  server->Poll();
  std::byte byte;
  EXPECT_EQ(recv(peer.fd(), &byte, 1, MSG_DONTWAIT), -1);
  clock.Advance(Duration(1));
  server->Poll();
  EXPECT_TRUE(peer.IsClosed());
}

TEST(Tcp, ConnectionsBeyondTheLimitAreClosed) {
  World world("tcp", {.connections_max = 2});
  TestAuthenticator authenticator;
  TestService service;
  ServerThread server(world.server_domain(), service, authenticator);
  RawPeer first(server.endpoint());
  RawPeer second(server.endpoint());
  EXPECT_TRUE(first.SayHello(ClientIdentity()));
  EXPECT_TRUE(second.SayHello(ClientIdentity()));
  RawPeer third(server.endpoint());
  EXPECT_TRUE(third.IsClosed());
}

TEST(Tcp, OutOfDescriptorsItWaitsForOneWithoutSpinning) {
  World world("tcp");
  TestAuthenticator authenticator;
  TestService service;
  auto server =
      *world.server_domain().Listen("127.0.0.1:0", TestCluster(), PeerId{}, service, authenticator);
  RawPeer first(server->endpoint());
  pollfd fd{server->WaitFd(), POLLIN, 0};
  ASSERT_EQ(poll(&fd, 1, 10'000), 1);
  server->Poll();
  RawPeer second(server->endpoint());
  // A sanitizer that meets a class for the first time wants a descriptor too.
  NullLog null;
  static_cast<Log&>(null).Write(LogLevel::kInfo, "one line", {});
  rlimit before{};
  getrlimit(RLIMIT_NOFILE, &before);
  rlimit none = before;
  none.rlim_cur = 1;
  setrlimit(RLIMIT_NOFILE, &none);
  const bool woken = poll(&fd, 1, 10'000) == 1;
  server->Poll();
  const bool spins = poll(&fd, 1, 0) == 1;
  setrlimit(RLIMIT_NOFILE, &before);
  EXPECT_TRUE(woken);
  EXPECT_FALSE(spins);
  first.Close();
  second.Send(Bytes("no hello"));
  std::thread polling([&] {
    for (int turns = 0; turns < 3 && poll(&fd, 1, 10'000) == 1; ++turns) server->Poll();
  });
  EXPECT_TRUE(second.IsClosed());
  polling.join();
}

// The connected sockets of this process whose other end is `endpoint`.
std::vector<int> SocketsTo(const std::string& endpoint) {
  std::vector<int> found;
  DIR* folder = opendir("/proc/self/fd");
  while (const dirent* entry = readdir(folder)) {
    const int fd = std::atoi(entry->d_name);
    tcp::Address peer;
    peer.size = sizeof(peer.storage);
    if (getpeername(fd, reinterpret_cast<sockaddr*>(&peer.storage), &peer.size) == 0 &&
        peer.size >= sizeof(sockaddr_in) && peer.storage.ss_family == AF_INET &&
        peer.ToString() == endpoint) {
      found.push_back(fd);
    }
  }
  closedir(folder);
  return found;
}

TEST(Tcp, ABrokenConnectionTakesOnlyItsOwnCallsWithIt) {
  World world("tcp", {.connections = 3});
  TestAuthenticator authenticator;
  TestService service;
  ServerThread server(world.server_domain(), service, authenticator);
  Client client(*world.Connect(server.endpoint(), ClientIdentity()));
  for (std::uint64_t tag = 0; tag < 6; ++tag) {
    Call call;
    call.tag = tag;
    call.request = AsBytes("hold");
    call.deadline = world.In(seconds(10));
    ASSERT_TRUE(client.channel().Submit(call).ok());
  }
  service.AwaitCalls(6);
  const std::vector<int> sockets = SocketsTo(server.endpoint());
  ASSERT_EQ(sockets.size(), 3U);
  shutdown(sockets[1], SHUT_RDWR);
  service.AwaitAbandoned(2);
  server.Run([&] {
    while (Exchange* call = service.Find("hold")) {
      call->Finish(Code::kOk, {});
      service.Drop(*call);
    }
  });
  int lost = 0;
  for (std::uint64_t tag = 0; tag < 6; ++tag) {
    const Code code = client.AwaitDone(tag).event.code;
    EXPECT_TRUE(code == Code::kOk || code == Code::kUnavailable);
    lost += code == Code::kUnavailable ? 1 : 0;
  }
  EXPECT_EQ(lost, 2);
  service.on_call = [](Exchange& call) { call.Finish(Code::kOk, {}); };
  Call call;
  call.tag = 9;
  call.deadline = world.In(seconds(10));
  EXPECT_TRUE(client.channel().Submit(call).ok());
  EXPECT_EQ(client.AwaitDone(9).event.code, Code::kOk);
}

TEST(Tcp, ASmallCallIsNotHeldUpByALargeOne) {
  World world("tcp", {.connections = 1});
  TestAuthenticator authenticator;
  TestService service;
  const std::vector<std::byte> sent = Pattern(64 * limits::kMiB, 1);
  service.on_call = [&](Exchange& call) {
    for (std::size_t offset = 0; offset < call.receive_bulk_bytes();
         offset += limits::kPieceBytesMax) {
      const std::size_t size = std::min(limits::kPieceBytesMax, call.receive_bulk_bytes() - offset);
      const ConstBytes piece = ConstBytes(sent).subspan(offset, size);
      call.SendPiece(0, offset, {&piece, 1});
    }
    call.Finish(Code::kOk, {});
  };
  ServerThread server(world.server_domain(), service, authenticator);
  Client client(*world.Connect(server.endpoint(), ClientIdentity()));
  server.Pause();
  for (const std::uint64_t tag : {1, 2}) {
    Call call;
    call.tag = tag;
    call.receive_bulk = world.Memory(tag == 1 ? sent.size() : limits::kMiB);
    call.deadline = world.In(seconds(10));
    ASSERT_TRUE(client.channel().Submit(call).ok());
  }
  server.Resume();
  client.AwaitDone(2);
  EXPECT_FALSE(client.IsDone(1));
  EXPECT_LE(client.PiecesOf(1).size(), 2U);
  EXPECT_EQ(client.AwaitDone(1).event.code, Code::kOk);
}

TEST(Tcp, PlaintextOffLoopbackMustBeAskedFor) {
  World world("tcp");
  TestAuthenticator authenticator;
  TestService service;
  const auto server =
      world.server_domain().Listen("0.0.0.0:0", TestCluster(), PeerId{}, service, authenticator);
  ASSERT_FALSE(server);
  EXPECT_EQ(server.error().code(), Code::kFailedPrecondition);
  const auto channel = world.Connect("192.0.2.1:7400", HmacIdentity("open sesame"));
  ASSERT_FALSE(channel);
  EXPECT_EQ(channel.error().code(), Code::kFailedPrecondition);
  World insecure("tcp", {.insecure = true});
  EXPECT_TRUE(insecure.server_domain().Listen("0.0.0.0:0", TestCluster(), PeerId{}, service,
                                              authenticator));
  EXPECT_EQ(insecure.Connect("192.0.2.1:7400", ClientIdentity()).error().code(),
            Code::kFailedPrecondition);
}

TEST(Tcp, AVanishedMachineIsNoticedInSeconds) {
  World world("tcp", {.connections = 1});
  TestAuthenticator authenticator;
  TestService service;
  ServerThread server(world.server_domain(), service, authenticator);
  const Client client(*world.Connect(server.endpoint(), ClientIdentity()));
  const std::vector<int> sockets = SocketsTo(server.endpoint());
  ASSERT_EQ(sockets.size(), 1U);
  int ms = 0;
  socklen_t size = sizeof(ms);
  // What is unacknowledged so long is lost; keepalive does not run while anything is.
  ASSERT_EQ(getsockopt(sockets[0], IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, &size), 0);
  EXPECT_GT(ms, 0);
  EXPECT_LE(ms, 20'000);
}

std::uint64_t RateOf(int fd) {
  std::uint64_t bytes = 0;
  socklen_t size = sizeof(bytes);
  EXPECT_EQ(getsockopt(fd, SOL_SOCKET, SO_MAX_PACING_RATE, &bytes, &size), 0);
  return bytes;
}

TEST(Tcp, BothSidesOfAConnectionArePacedIfSaidSo) {
  for (const std::uint64_t rate : {std::uint64_t{0}, std::uint64_t{1'250'000'000}}) {
    World world("tcp", {.connections = 1, .connection_rate_max = rate});
    TestAuthenticator authenticator;
    TestService service;
    ServerThread server(world.server_domain(), service, authenticator);
    const Client client(*world.Connect(server.endpoint(), ClientIdentity()));
    const std::vector<int> ours = SocketsTo(server.endpoint());
    ASSERT_EQ(ours.size(), 1U);
    const std::vector<int> theirs = SocketsTo(tcp::LocalAddress(ours[0]).ToString());
    ASSERT_EQ(theirs.size(), 1U);
    for (const int fd : {ours[0], theirs[0]}) {
      if (rate == 0) {
        EXPECT_EQ(RateOf(fd), ~std::uint64_t{0});
      } else {
        EXPECT_EQ(RateOf(fd), rate);
      }
    }
  }
}

std::string CongestionControlOf(int fd) {
  std::array<char, 16> name{};
  socklen_t size = name.size();
  EXPECT_EQ(getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name.data(), &size), 0);
  return name.data();
}

TEST(Tcp, BothSidesSendUnderTheCongestionControlThatWasChosen) {
  World world("tcp", {.connections = 1, .congestion_control = "reno"});
  TestAuthenticator authenticator;
  TestService service;
  ServerThread server(world.server_domain(), service, authenticator);
  const Client client(*world.Connect(server.endpoint(), ClientIdentity()));
  const std::vector<int> ours = SocketsTo(server.endpoint());
  ASSERT_EQ(ours.size(), 1U);
  const std::vector<int> theirs = SocketsTo(tcp::LocalAddress(ours[0]).ToString());
  ASSERT_EQ(theirs.size(), 1U);
  EXPECT_EQ(CongestionControlOf(ours[0]), "reno");
  EXPECT_EQ(CongestionControlOf(theirs[0]), "reno");
}

TEST(Tcp, AServerUnderACongestionControlThatIsNotThereDoesNotListen) {
  World world("tcp", {.congestion_control = "nagging"});
  TestAuthenticator authenticator;
  TestService service;
  const auto server =
      world.server_domain().Listen("127.0.0.1:0", ClusterId{}, PeerId{}, service, authenticator);
  ASSERT_FALSE(server);
  EXPECT_EQ(server.error().code(), Code::kInvalidArgument);
}

TEST(Tcp, NobodyThereIsUnavailable) {
  World world("tcp");
  const std::string endpoint = RawListener().endpoint();
  EXPECT_EQ(world.Connect(endpoint, ClientIdentity()).error().code(), Code::kUnavailable);
}

TEST(Tcp, SilentServerIsUnavailableAtTheDeadline) {
  World world("tcp");
  const RawListener listener;
  const auto channel = world.client_domain().Connect(listener.endpoint(), ClientIdentity(),
                                                     world.In(std::chrono::milliseconds(30)));
  ASSERT_FALSE(channel);
  EXPECT_EQ(channel.error().code(), Code::kUnavailable);
}

TEST(Tcp, EndpointsAreReadStrictly) {
  for (const char* wrong : {"", "host", ":1", "host:", "127.0.0.1:http"}) {
    EXPECT_EQ(tcp::Resolve(wrong).error().code(), Code::kInvalidArgument) << wrong;
  }
  EXPECT_EQ(tcp::Resolve("127.0.0.1:80")->ToString(), "127.0.0.1:80");
  EXPECT_EQ(tcp::Resolve("[::1]:80")->ToString(), "[::1]:80");
  EXPECT_TRUE(tcp::Resolve("[::1]:80")->IsLoopback());
  EXPECT_FALSE(tcp::Resolve("128.0.0.1:80")->IsLoopback());
}

TEST(Registry, UnknownKindIsRefusedWithWhatThereIs) {
  SteadyClock clock;
  SystemRandom random;
  NullLog log;
  const auto domain = OpenDomain({.kind = "pigeon"}, clock, random, log);
  ASSERT_FALSE(domain);
  EXPECT_EQ(domain.error().code(), Code::kNotFound);
  EXPECT_NE(domain.error().message().find("tcp, loopback"), std::string::npos);
}

}  // namespace
}  // namespace kdn::transport::test

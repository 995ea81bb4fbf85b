#include "tests/transport/raw_peer.h"

#include <poll.h>
#include <sys/socket.h>

#include "transport/tcp/socket.h"

namespace kdn::transport::test {

RawPeer::RawPeer(const std::string& endpoint) {
  const tcp::Address address = *tcp::Resolve(endpoint);
  fd_ = Fd(socket(address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  EXPECT_EQ(connect(fd_.get(), reinterpret_cast<const sockaddr*>(&address.storage), address.size),
            0);
}

bool RawPeer::Send(ConstBytes bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    bytes = bytes.subspan(static_cast<std::size_t>(sent));
  }
  return true;
}

std::optional<std::vector<std::byte>> RawPeer::Receive(std::size_t size) {
  std::vector<std::byte> bytes(size);
  if (size == 0) return bytes;
  const ssize_t got = recv(fd_.get(), bytes.data(), size, MSG_WAITALL);
  if (got != static_cast<ssize_t>(size)) return std::nullopt;
  return bytes;
}

bool RawPeer::IsClosed() {
  std::byte byte;
  return recv(fd_.get(), &byte, 1, 0) <= 0;
}

bool RawPeer::SendFrame(FrameHeader header, ConstBytes body) {
  header.size = static_cast<std::uint32_t>(body.size());
  FrameBytes bytes;
  Seal(header, body, bytes);
  return Send(bytes) && Send(body);
}

std::optional<RawPeer::Frame> RawPeer::ReceiveFrame() {
  const auto bytes = Receive(kFrameHeaderBytes);
  if (!bytes) return std::nullopt;
  const std::optional<FrameHeader> header = OpenFrame(*bytes);
  EXPECT_TRUE(header);
  if (!header) return std::nullopt;
  auto body = Receive(header->size);
  if (!body) return std::nullopt;
  return Frame{*header, *std::move(body)};
}

bool RawPeer::SayHello(const Identity& identity, std::optional<ShareInvite>* share) {
  std::vector<std::byte> out;
  HelloClient hello(identity, Nonce{}, out, share == nullptr ? 0 : kFeatureSharedMemory);
  while (hello.state() == HelloState::kTalking) {
    if (!Send(std::exchange(out, {}))) return false;
    const auto in = Receive(hello.wanted());
    if (!in) return false;
    hello.Feed(*in, out);
    // What is asked for bit by bit needs no sending between.
    while (hello.state() == HelloState::kTalking && out.empty()) {
      const auto more = Receive(hello.wanted());
      if (!more) return false;
      hello.Feed(*more, out);
    }
  }
  if (share != nullptr) *share = hello.share();
  return hello.state() == HelloState::kAccepted;
}

void RawPeer::AnswerHello(const Authenticator& authenticator,
                          const std::optional<ShareInvite>& invite) {
  const HelloPolicy policy{TestCluster(), PeerId{}, &authenticator, kFeatureSharedMemory,
                           ClientIdentity().host};
  HelloServer hello(policy, Nonce{}, true, invite);
  std::vector<std::byte> out;
  while (hello.state() == HelloState::kTalking) {
    const auto in = Receive(hello.wanted());
    if (!in) return;
    hello.Feed(*in, out);
    Send(std::exchange(out, {}));
  }
}

RawListener::RawListener() {
  fd_ = *tcp::ListenOn(*tcp::Resolve("127.0.0.1:0"));
  endpoint_ = tcp::LocalAddress(fd_.get()).ToString();
}

RawPeer RawListener::Accept() {
  pollfd fd{fd_.get(), POLLIN, 0};
  EXPECT_EQ(poll(&fd, 1, 10'000), 1);
  return RawPeer(Fd(accept4(fd_.get(), nullptr, nullptr, SOCK_CLOEXEC)));
}

}  // namespace kdn::transport::test

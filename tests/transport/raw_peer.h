// The other end of a TCP connection, written by hand: for peers that break the rules.
#pragma once

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

#include "tests/transport/world.h"
#include "transport/frame.h"
#include "transport/hello.h"
#include "transport/wakeup.h"

namespace kdn::transport::test {

class RawPeer {
 public:
  // A client: connects; says no Hello yet.
  explicit RawPeer(const std::string& endpoint);
  // A server's connection that was accepted.
  explicit RawPeer(Fd fd) : fd_(std::move(fd)) {}

  // False if the other end closed. Both wait.
  bool Send(ConstBytes bytes);
  [[nodiscard]] std::optional<std::vector<std::byte>> Receive(std::size_t size);
  bool SendFrame(FrameHeader header, ConstBytes body = {});
  // The next frame and its body.
  struct Frame {
    FrameHeader header;
    std::vector<std::byte> body;
  };
  [[nodiscard]] std::optional<Frame> ReceiveFrame();
  // Whether the other end closes without sending anything more.
  [[nodiscard]] bool IsClosed();

  // `share`, if it is given: what the server invites to, which it is asked for then.
  [[nodiscard]] bool SayHello(const Identity& identity,
                              std::optional<ShareInvite>* share = nullptr);
  // `invite`: what the client is invited to, if it is of ClientIdentity()'s host.
  void AnswerHello(const Authenticator& authenticator,
                   const std::optional<ShareInvite>& invite = std::nullopt);
  void Close() { fd_.Close(); }
  [[nodiscard]] int fd() const { return fd_.get(); }

 private:
  Fd fd_;
};

// Listens on a port of its own and accepts by hand.
class RawListener {
 public:
  RawListener();
  [[nodiscard]] std::string endpoint() const { return endpoint_; }
  [[nodiscard]] RawPeer Accept();

 private:
  Fd fd_;
  std::string endpoint_;
};

}  // namespace kdn::transport::test

#include "node/peers.h"

#include <array>
#include <utility>

namespace kdn::node {

Peers::Peers(transport::Domain& domain, transport::Identity identity, const Clock& clock,
             Mailbox& mailbox)
    : domain_(domain), identity_(std::move(identity)), clock_(clock), mailbox_(mailbox) {}

void Peers::Start(const std::string& endpoint, Call call) {
  Peer& peer = peers_[endpoint];
  const bool resting = peer.channel == nullptr && !peer.connecting && clock_.Now() < peer.retry_at;
  if (resting || peer.waiting.size() >= kWaitingMax) {
    failed_.emplace_back(std::move(call.done),
                         resting ? Code::kUnavailable : Code::kResourceExhausted);
    return;
  }
  peer.waiting.push_back(std::move(call));
  if (peer.channel != nullptr) {
    SubmitWaiting(endpoint, peer);
  } else if (!peer.connecting) {
    Connect(endpoint, peer);
  }
}

void Peers::Connect(const std::string& endpoint, Peer& peer) {
  peer.connecting = connector_.Post([this, endpoint] {
    mailbox_.Post(PeerConnected{
        endpoint, domain_.Connect(endpoint, identity_, clock_.Now() + kConnectTimeout)});
  });
  if (!peer.connecting) FailWaiting(peer, Code::kResourceExhausted);
}

void Peers::OnConnected(PeerConnected connected) {
  Peer& peer = peers_[connected.endpoint];
  peer.connecting = false;
  if (!connected.channel) {
    peer.retry_at = clock_.Now() + kRetryAfter;
    FailWaiting(peer, Code::kUnavailable);
    return;
  }
  peer.channel = *std::move(connected.channel);
  SubmitWaiting(connected.endpoint, peer);
}

void Peers::SubmitWaiting(const std::string& endpoint, Peer& peer) {
  while (!peer.waiting.empty()) {
    Call& call = peer.waiting.front();
    const std::uint64_t tag = next_tag_++;
    const Status status = peer.channel->Submit({.tag = tag,
                                                .request = call.request,
                                                .send_bulk = call.bulk,
                                                .receive_bulk = {},
                                                .deadline = call.deadline});
    if (status.code() == Code::kResourceExhausted) return;  // again after the next Poll()
    if (status.code() == Code::kUnavailable) {
      // The channel is broken. What it has started must end before it may go; until then calls
      // wait.
      if (peer.started.empty()) {
        peer.channel.reset();
        Connect(endpoint, peer);
      }
      return;
    }
    if (status.ok()) {
      peer.started.emplace(tag, std::move(call.done));
    } else {
      failed_.emplace_back(std::move(call.done), status.code());
    }
    peer.waiting.pop_front();
  }
}

void Peers::ExpireWaiting(Peer& peer) {
  const TimePoint now = clock_.Now();
  std::erase_if(peer.waiting, [&](Call& call) {
    if (now < call.deadline) return false;
    failed_.emplace_back(std::move(call.done), Code::kDeadlineExceeded);
    return true;
  });
}

std::size_t Peers::PollChannel(Peer& peer) {
  std::array<transport::Event, 16> events;
  std::size_t ended = 0;
  const std::size_t count = peer.channel->Poll(events);
  for (std::size_t i = 0; i < count; ++i) {
    if (events[i].kind != transport::EventKind::kDone) continue;
    auto done = peer.started.extract(events[i].tag);
    if (done.empty()) continue;
    done.mapped()(events[i].code, events[i].response);
    ++ended;
  }
  return ended;
}

std::size_t Peers::Poll() {
  std::size_t ended = 0;
  for (auto& [endpoint, peer] : peers_) {
    if (peer.channel != nullptr) ended += PollChannel(peer);
    if (peer.waiting.empty()) continue;
    ExpireWaiting(peer);
    if (peer.channel != nullptr) SubmitWaiting(endpoint, peer);
  }
  // Done may start other calls, which may fail in turn.
  for (auto& [done, code] : std::exchange(failed_, {})) {
    done(code, {});
    ++ended;
  }
  return ended;
}

void Peers::FailWaiting(Peer& peer, Code code) {
  for (Call& call : peer.waiting) failed_.emplace_back(std::move(call.done), code);
  peer.waiting.clear();
}

void Peers::AppendWaitFds(std::vector<int>& out) const {
  for (const auto& [endpoint, peer] : peers_) {
    if (peer.channel != nullptr) out.push_back(peer.channel->WaitFd());
  }
}

bool Peers::HasFailed() const {
  return !failed_.empty();
}

}  // namespace kdn::node

#include "coordinator/service/node_links.h"

#include <array>
#include <utility>

namespace kdn::coordinator {
namespace {

constexpr std::size_t kWaitingPerLinkMax = 1024;
constexpr std::size_t kEventsPerPoll = 64;
constexpr std::chrono::milliseconds kConnectTimeout{500};
constexpr std::size_t kConnectorsMax = 32;

}  // namespace

NodeLinks::NodeLinks(transport::Domain& domain, transport::Identity identity, const Clock& clock,
                     Log& log, Mailbox& mailbox)
    : domain_(domain),
      identity_(std::move(identity)),
      clock_(clock),
      log_(log),
      mailbox_(mailbox) {}

NodeLinks::~NodeLinks() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  for (std::thread& connector : connectors_) connector.join();
  for (auto& [endpoint, link] : links_) {
    for (Waiting& waiting : link.waiting) waiting.done(Code::kUnavailable, {});
    for (auto& [tag, done] : link.out) done(Code::kUnavailable, {});
  }
}

void NodeLinks::Call(const std::string& endpoint, wire::Buffer request, TimePoint deadline,
                     Done done) {
  Link& link = links_[endpoint];
  if (link.waiting.size() >= kWaitingPerLinkMax) {
    // From Poll() like every other answer: the caller may be in the middle of something.
    mailbox_.PostAnswer([done = std::move(done)]() mutable { done(Code::kResourceExhausted, {}); });
    return;
  }
  link.waiting.push_back({std::move(request), deadline, std::move(done)});
  Flush(endpoint, link);
}

void NodeLinks::Flush(const std::string& endpoint, Link& link) {
  while (link.channel != nullptr && !link.waiting.empty()) {
    Waiting& next = link.waiting.front();
    const std::uint64_t tag = next_tag_++;
    transport::Call call;
    call.tag = tag;
    call.request = next.request;
    call.deadline = next.deadline;
    const Status status = link.channel->Submit(call);
    if (status.ok()) {
      link.out.emplace(tag, std::move(next.done));
      link.waiting.pop_front();
    } else if (status.code() == Code::kResourceExhausted) {
      return;
    } else {
      // The channel broke. What was on its way is lost, and Poll() on it could never say so.
      PollLink(link);
      for (auto& [lost, done] : std::exchange(link.out, {})) done(Code::kUnavailable, {});
      link.channel.reset();
    }
  }
  if (link.channel == nullptr && !link.connecting && !link.waiting.empty()) Connect(endpoint, link);
}

void NodeLinks::Connect(const std::string& endpoint, Link& link) {
  link.connecting = true;
  {
    const std::lock_guard lock(mutex_);
    to_connect_.push_back(endpoint);
    if (idle_connectors_ < to_connect_.size() && connectors_.size() < kConnectorsMax) {
      connectors_.emplace_back([this] { RunConnector(); });
    }
  }
  changed_.notify_one();
}

void NodeLinks::RunConnector() {
  while (true) {
    std::string endpoint;
    {
      std::unique_lock lock(mutex_);
      ++idle_connectors_;
      changed_.wait(lock, [this] { return stopping_ || !to_connect_.empty(); });
      --idle_connectors_;
      if (stopping_) return;
      endpoint = std::move(to_connect_.front());
      to_connect_.pop_front();
    }
    auto channel = domain_.Connect(endpoint, identity_, clock_.Now() + kConnectTimeout);
    mailbox_.PostAnswer([this, endpoint, channel = std::move(channel)]() mutable {
      OnConnected(endpoint, std::move(channel));
    });
  }
}

void NodeLinks::OnConnected(const std::string& endpoint,
                            Result<std::unique_ptr<transport::Channel>> result) {
  const auto at = links_.find(endpoint);
  if (at == links_.end()) return;
  Link& link = at->second;
  link.connecting = false;
  if (result) {
    link.channel = std::move(*result);
    Flush(endpoint, link);
    return;
  }
  log_.Write(LogLevel::kWarning, "no connection to a node",
             {{"endpoint", endpoint}, {"reason", result.error().ToString()}});
  for (Waiting& waiting : std::exchange(link.waiting, {})) {
    waiting.done(result.error().code(), {});
  }
}

std::size_t NodeLinks::PollLink(Link& link) {
  std::array<transport::Event, kEventsPerPoll> events;
  std::size_t ended = 0;
  while (link.channel != nullptr) {
    const std::size_t count = link.channel->Poll(events);
    for (std::size_t i = 0; i < count; ++i) {
      if (events[i].kind != transport::EventKind::kDone) continue;
      const auto out = link.out.find(events[i].tag);
      if (out == link.out.end()) continue;
      Done done = std::move(out->second);
      link.out.erase(out);
      done(events[i].code, events[i].response);
      ++ended;
    }
    if (count < events.size()) break;
  }
  return ended;
}

std::size_t NodeLinks::Poll() {
  std::size_t ended = 0;
  for (auto& [endpoint, link] : links_) {
    ended += PollLink(link);
    const TimePoint now = clock_.Now();
    while (!link.waiting.empty() && link.waiting.front().deadline <= now) {
      Waiting late = std::move(link.waiting.front());
      link.waiting.pop_front();
      late.done(Code::kDeadlineExceeded, {});
      ++ended;
    }
    if (!link.waiting.empty()) Flush(endpoint, link);
  }
  return ended;
}

void NodeLinks::AppendWaitFds(std::vector<int>& out) const {
  for (const auto& [endpoint, link] : links_) {
    if (link.channel != nullptr) out.push_back(link.channel->WaitFd());
  }
}

void NodeLinks::Keep(const std::function<bool(const std::string&)>& wanted) {
  std::erase_if(links_, [&](const auto& entry) {
    const Link& link = entry.second;
    return !link.connecting && link.waiting.empty() && link.out.empty() && !wanted(entry.first);
  });
}

}  // namespace kdn::coordinator

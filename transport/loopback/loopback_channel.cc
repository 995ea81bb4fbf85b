#include "transport/loopback/loopback_channel.h"

#include <sys/epoll.h>

#include <algorithm>
#include <utility>

#include "base/limits.h"

namespace kdn::transport::loopback {

LoopbackChannel::LoopbackChannel(std::shared_ptr<Pipe> pipe, std::uint32_t queue_depth,
                                 const RegionTable& regions, const Clock& clock)
    : pipe_(std::move(pipe)),
      queue_depth_(queue_depth),
      regions_(regions),
      clock_(clock),
      epoll_(epoll_create1(EPOLL_CLOEXEC)) {
  for (const int fd : {pipe_->channel_fd(), timer_.fd()}) {
    epoll_event event{.events = EPOLLIN, .data = {.fd = fd}};
    epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event);
  }
}

LoopbackChannel::~LoopbackChannel() {
  pipe_->CloseChannel();
}

Status LoopbackChannel::Fill(SharedCall& to, const Call& from) {
  to.tag = from.tag;
  to.deadline = std::min(from.deadline, clock_.Now() + kCallTimeMax);
  to.request.assign(from.request.begin(), from.request.end());
  to.window = from.receive_bulk;
  for (const ConstBytes bytes : from.send_bulk) {
    if (bytes.empty()) continue;
    KDN_RETURN_IF_ERROR(regions_.Pin(bytes, to.pins));
    to.send_bulk.push_back(bytes);
    to.send_bulk_bytes += bytes.size();
  }
  if (!to.window.empty()) KDN_RETURN_IF_ERROR(regions_.Pin(to.window, to.pins));
  if (to.request.size() > limits::kRequestBytesMax || to.window.size() > limits::kBulkBytesMax ||
      to.send_bulk_bytes > limits::kBulkBytesMax) {
    return Status(Code::kInvalidArgument, "the call is larger than the protocol allows");
  }
  return Status();
}

Status LoopbackChannel::Submit(const Call& call) {
  if (pipe_->server_gone()) return Status(Code::kUnavailable);
  if (open_.size() >= queue_depth_) return Status(Code::kResourceExhausted);
  auto shared = std::make_shared<SharedCall>();
  if (Status filled = Fill(*shared, call); !filled.ok()) {
    UnpinAll(shared->pins);
    return filled;
  }
  if (!pipe_->Submit(shared)) {
    UnpinAll(shared->pins);
    return Status(Code::kUnavailable);
  }
  timer_.WakeAt(shared->deadline, clock_.Now());
  open_.push_back(std::move(shared));
  return Status();
}

void LoopbackChannel::Cancel(std::uint64_t tag) {
  for (const CallPtr& call : open_) {
    if (call->tag == tag) return pipe_->End(call, Code::kCancelled, {});
  }
}

void LoopbackChannel::ExpireCalls(TimePoint now) {
  TimePoint next = TimePoint::max();
  for (const CallPtr& call : open_) {
    if (call->deadline <= now) {
      pipe_->End(call, Code::kDeadlineExceeded, {});
    } else {
      next = std::min(next, call->deadline);
    }
  }
  timer_.Clear();
  timer_.WakeAt(next, now);
}

std::size_t LoopbackChannel::Poll(std::span<Event> events) {
  delivered_.clear();
  pipe_->ClearChannelSignal();
  ExpireCalls(clock_.Now());
  const std::size_t count = pipe_->Take(events, delivered_);
  // An answer counts as one byte at least: what matters is that something came.
  for (const Event& event : events.first(count)) {
    bytes_received_ += 1 + event.size_bytes + event.response.size();
  }
  std::erase_if(open_, [this](const CallPtr& call) {
    return std::find(delivered_.begin(), delivered_.end(), call) != delivered_.end();
  });
  if (pipe_->HasEvents()) timer_.WakeNow();
  return count;
}

}  // namespace kdn::transport::loopback

#include "transport/lanes/lane.h"

#include <algorithm>
#include <array>
#include <utility>

namespace kdn::transport::lanes {

Lane::Lane(std::unique_ptr<Channel> channel, OwnerSignal& owner, std::size_t calls_max)
    : channel_(std::move(channel)), owner_(owner), calls_(calls_max, nullptr) {
  for (auto* commands : {&commands_, &obeying_}) commands->reserve(calls_max);
  for (auto* events : {&events_, &happened_}) events->reserve(kEventsMax + kEventsPerPoll);
}

bool Lane::Say(Command command) {
  const std::lock_guard lock(mutex_);
  commands_.push_back(command);
  return !has_work_.exchange(true);
}

bool Lane::Submit(LaneCall& call) {
  return Say({&call, false});
}

bool Lane::Cancel(const LaneCall& call) {
  return Say({const_cast<LaneCall*>(&call), true});
}

bool Lane::Take(std::vector<LaneEvent>& events) {
  const std::lock_guard lock(mutex_);
  events.insert(events.end(), events_.begin(), events_.end());
  events_.clear();
  return std::exchange(stopped_, false) && !has_work_.exchange(true);
}

bool Lane::Turn() {
  {
    const std::lock_guard lock(mutex_);
    std::swap(commands_, obeying_);
    has_work_.store(false);
    full_ = stopped_ = events_.size() >= kEventsMax;
  }
  bool busy = !obeying_.empty();
  for (const Command& command : obeying_) Obey(command);
  obeying_.clear();
  if (!full_) {
    std::array<Event, kEventsPerPoll> events;
    const std::size_t count = channel_->Poll(events);
    for (std::size_t i = 0; i < count; ++i) {
      LaneCall* const call = calls_[events[i].tag];
      if (events[i].kind == EventKind::kDone) {
        End(*call, events[i].code, events[i].response);
      } else {
        happened_.push_back({call, events[i]});
      }
    }
    busy |= count > 0;
    // The poll gave back the places of calls that had been told about. Where there is none even so,
    // nothing here would watch the deadline of a call that waits for one.
    SubmitWaiting();
    for (; !waiting_.empty(); waiting_.pop_front()) {
      End(*waiting_.front(), Code::kResourceExhausted, {});
    }
  }
  // Before the events that it led to.
  alive_.store(channel_->Alive(), std::memory_order_relaxed);
  bytes_received_.store(channel_->BytesReceived(), std::memory_order_relaxed);
  Tell();
  return busy;
}

void Lane::Obey(const Command& command) {
  LaneCall& call = *command.call;
  if (!command.cancel) {
    waiting_.push_back(&call);
    return SubmitWaiting();
  }
  if (const auto at = std::ranges::find(waiting_, &call); at != waiting_.end()) {
    waiting_.erase(at);
    return End(call, Code::kCancelled, {});
  }
  // It may have ended before this was heard.
  if (calls_[call.number] == &call) channel_->Cancel(call.number);
}

void Lane::SubmitWaiting() {
  while (!waiting_.empty()) {
    LaneCall& waiting = *waiting_.front();
    Call call;
    call.tag = waiting.number;
    call.request = waiting.request;
    call.send_bulk = waiting.send_bulk;
    call.receive_bulk = waiting.window;
    call.deadline = waiting.deadline;
    const Status status = channel_->Submit(call);
    // Calls that were told about just now keep their place until the next Poll().
    if (status.code() == Code::kResourceExhausted) return;
    waiting_.pop_front();
    if (status.ok()) {
      calls_[waiting.number] = &waiting;
      continue;
    }
    End(waiting, status.code(), {});
  }
}

void Lane::End(LaneCall& call, Code code, ConstBytes response) {
  calls_[call.number] = nullptr;
  call.response.assign(response.begin(), response.end());
  happened_.push_back({&call, Event{.kind = EventKind::kDone, .code = code}});
}

void Lane::Tell() {
  if (happened_.empty()) return;
  {
    const std::lock_guard lock(mutex_);
    events_.insert(events_.end(), happened_.begin(), happened_.end());
  }
  happened_.clear();
  owner_.Raise();
}

}  // namespace kdn::transport::lanes

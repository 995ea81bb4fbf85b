#include "transport/lanes/laned_channel.h"

#include <sys/epoll.h>

#include <algorithm>
#include <array>
#include <utility>

#include "base/limits.h"

namespace kdn::transport::lanes {
namespace {

// What a call's buffers keep for the next one.
constexpr std::size_t kKeepBytes = 64 * limits::kKiB;

void Trim(std::vector<std::byte>& bytes) {
  bytes.clear();
  if (bytes.capacity() > kKeepBytes) bytes.shrink_to_fit();
}

}  // namespace

Result<std::unique_ptr<LanedChannel>> LanedChannel::Make(LanedSetup setup) {
  std::unique_ptr<LanedChannel> channel(new LanedChannel(std::move(setup)));
  if (Status status = channel->Watch(); !status.ok()) return std::unexpected(status);
  return channel;
}

LanedChannel::LanedChannel(LanedSetup setup)
    : regions_(*setup.regions),
      queue_depth_(setup.queue_depth),
      epoll_(epoll_create1(EPOLL_CLOEXEC)),
      own_(std::move(setup.own)),
      owner_calls_(*setup.owner_calls),
      home_(own_ != nullptr ? setup.home - 1 : 0) {
  for (std::size_t i = 0; i < setup.moved.size(); ++i) {
    lanes_.push_back(
        {std::make_unique<Lane>(std::move(setup.moved[i]), signal_, CallsMax()), setup.movers[i]});
  }
  for (auto* list : {&free_, &active_, &delivered_}) list->reserve(CallsMax());
}

Status LanedChannel::Watch() {
  epoll_event event{.events = EPOLLIN, .data = {.u32 = 0}};
  bool watched = epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, signal_.fd(), &event) == 0;
  if (own_ != nullptr) {
    event.data.u32 = 1;
    watched = watched && epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, own_->WaitFd(), &event) == 0;
  }
  if (!watched) return Status(Code::kResourceExhausted, "no file descriptors left for a channel");
  for (LaneState& state : lanes_) {
    Mover* const mover = std::exchange(state.mover, nullptr);
    KDN_RETURN_IF_ERROR(mover->Add(*state.lane));
    state.mover = mover;  // only a lane that was added is to be removed
  }
  return Status();
}

LanedChannel::~LanedChannel() {
  for (LaneState& state : lanes_) {
    if (state.mover != nullptr) state.mover->Remove(*state.lane);
    state.lane.reset();
  }
  owner_calls_.fetch_sub(own_open_calls_, std::memory_order_relaxed);
  // Nothing moves any more.
  for (LaneCall* call : active_) UnpinAll(call->pins);
}

std::size_t LanedChannel::Choose(bool has_bulk) const {
  if (own_ != nullptr && (!has_bulk || owner_calls_.load(std::memory_order_relaxed) == 0)) {
    return kOwn;
  }
  std::size_t best = kOwn;
  std::size_t fewest = own_ != nullptr ? own_open_calls_ : ~std::size_t{0};
  std::size_t at_home = home_ == kOwn ? fewest : ~std::size_t{0};
  for (std::size_t i = 0; i < lanes_.size(); ++i) {
    if (!lanes_[i].lane->alive()) continue;
    if (i == home_) at_home = lanes_[i].open_calls;
    if (lanes_[i].open_calls >= fewest) continue;
    best = i;
    fewest = lanes_[i].open_calls;
  }
  return at_home < fewest + kHomeLead ? home_ : best;
}

bool LanedChannel::Alive() const {
  if (own_ != nullptr) return own_->Alive();
  return std::ranges::any_of(lanes_, [](const LaneState& state) { return state.lane->alive(); });
}

std::uint64_t LanedChannel::BytesReceived() const {
  std::uint64_t bytes = own_ != nullptr ? own_->BytesReceived() : 0;
  for (const LaneState& state : lanes_) bytes += state.lane->bytes_received();
  return bytes;
}

Status LanedChannel::Submit(const Call& call) {
  if (!Alive()) return Status(Code::kUnavailable);
  // Those that are told about are over, though their places are free only at the next Poll().
  if (active_.size() + own_open_calls_ >= queue_depth_) return Status(Code::kResourceExhausted);
  const std::size_t lane = Choose(!call.receive_bulk.empty() || !call.send_bulk.empty());
  if (lane != kOwn) return SubmitTo(lane, call);
  Status status = own_->Submit(call);
  if (status.ok()) {
    ++own_open_calls_;
    owner_calls_.fetch_add(1, std::memory_order_relaxed);
  }
  return status;
}

Status LanedChannel::SubmitTo(std::size_t lane, const Call& call) {
  LaneCall* const open = Open();
  if (open == nullptr) return Status(Code::kResourceExhausted);
  if (Status filled = Fill(*open, call); !filled.ok()) {
    Close(*open);
    free_.push_back(open);
    return filled;
  }
  LaneState& state = lanes_[lane];
  open->lane = lane;
  ++state.open_calls;
  if (state.lane->Submit(*open)) state.mover->Wake();
  return Status();
}

LaneCall* LanedChannel::Open() {
  LaneCall* call = nullptr;
  if (!free_.empty()) {
    call = free_.back();
    free_.pop_back();
  } else if (calls_.size() < CallsMax()) {
    calls_.push_back(std::make_unique<LaneCall>());
    call = calls_.back().get();
    call->number = static_cast<std::uint32_t>(calls_.size() - 1);
  } else {
    return nullptr;
  }
  call->active_index = active_.size();
  active_.push_back(call);
  return call;
}

// Everything is judged here: a lane could say what is wrong only later.
Status LanedChannel::Fill(LaneCall& to, const Call& from) {
  std::size_t send_bytes = 0;
  to.send_bulk.clear();
  for (const ConstBytes bytes : from.send_bulk) {
    if (bytes.empty()) continue;
    KDN_RETURN_IF_ERROR(regions_.Pin(bytes, to.pins));
    to.send_bulk.push_back(bytes);
    send_bytes += bytes.size();
  }
  if (!from.receive_bulk.empty()) KDN_RETURN_IF_ERROR(regions_.Pin(from.receive_bulk, to.pins));
  if (from.request.size() > limits::kRequestBytesMax || send_bytes > limits::kBulkBytesMax ||
      from.receive_bulk.size() > limits::kBulkBytesMax) {
    return Status(Code::kInvalidArgument, "the call is larger than the protocol allows");
  }
  to.tag = from.tag;
  to.request.assign(from.request.begin(), from.request.end());
  to.window = from.receive_bulk;
  to.deadline = from.deadline;
  return Status();
}

void LanedChannel::Close(LaneCall& call) {
  active_[call.active_index] = active_.back();
  active_[call.active_index]->active_index = call.active_index;
  active_.pop_back();
  UnpinAll(call.pins);
}

void LanedChannel::Cancel(std::uint64_t tag) {
  const auto at = std::ranges::find(active_, tag, &LaneCall::tag);
  if (at == active_.end()) {
    if (own_ != nullptr) own_->Cancel(tag);
    return;
  }
  LaneState& state = lanes_[(*at)->lane];
  if (state.lane->Cancel(**at)) state.mover->Wake();
}

void LanedChannel::RecycleDelivered() {
  for (LaneCall* call : delivered_) {
    Trim(call->request);
    Trim(call->response);
    free_.push_back(call);
  }
  delivered_.clear();
}

std::size_t LanedChannel::PollOwn(std::span<Event> events) {
  const std::size_t count = own_->Poll(events);
  for (std::size_t i = 0; i < count; ++i) {
    if (events[i].kind != EventKind::kDone) continue;
    --own_open_calls_;
    owner_calls_.fetch_sub(1, std::memory_order_relaxed);
  }
  return count;
}

std::size_t LanedChannel::Poll(std::span<Event> events) {
  RecycleDelivered();
  std::array<epoll_event, 2> ready;
  const int ready_count = epoll_wait(epoll_.get(), ready.data(), ready.size(), 0);
  bool own_ready = false;
  for (int i = 0; i < ready_count; ++i) {
    if (ready[static_cast<std::size_t>(i)].data.u32 == 1) {
      own_ready = true;
      continue;
    }
    // First: what is said from here on raises it again.
    signal_.Clear();
    for (LaneState& state : lanes_) {
      if (state.lane->Take(taken_)) state.mover->Wake();
    }
  }
  std::size_t count = Deliver(events);
  if (own_ready && count < events.size()) count += PollOwn(events.subspan(count));
  if (taken_next_ < taken_.size()) signal_.Raise();
  return count;
}

std::size_t LanedChannel::Deliver(std::span<Event> events) {
  std::size_t count = 0;
  for (; taken_next_ < taken_.size() && count < events.size(); ++taken_next_) {
    const LaneEvent& taken = taken_[taken_next_];
    LaneCall& call = *taken.call;
    Event& event = events[count++];
    event = taken.event;
    event.tag = call.tag;
    if (event.kind != EventKind::kDone) continue;
    event.response = call.response;
    --lanes_[call.lane].open_calls;
    Close(call);
    delivered_.push_back(&call);
  }
  if (taken_next_ == taken_.size()) {
    taken_.clear();
    taken_next_ = 0;
  }
  return count;
}

}  // namespace kdn::transport::lanes

#include "tests/sim/sim_coordinator.h"

#include <cstdlib>

namespace kdn::sim {

using coordinator::Actions;
using coordinator::Answer;
using coordinator::MetaWrite;
using coordinator::NodeCall;

SimCoordinator::SimCoordinator(Simulation& simulation, std::vector<std::byte> secret)
    : simulation_(simulation) {
  options_.cluster_secret = std::move(secret);
  options_.puts.expiry = milliseconds(3000);
  options_.membership.forget_after = milliseconds(6000);
}

void SimCoordinator::StartReign() {
  auto state = coordinator::BeginReign(store_, ClusterId{}, simulation_.random());
  if (!state) std::abort();
  auto core = coordinator::Core::Make(options_, *state, simulation_.random(), simulation_.now());
  if (!core) std::abort();
  core_ = std::move(*core);
  epochs_.push_back(core_->epoch());
  simulation_.Trace("reign", static_cast<std::uint64_t>(core_->epoch()));
  Tick(++reign_);
}

void SimCoordinator::Crash() {
  const std::size_t written = writes_.empty() ? 0 : simulation_.Below(writes_.size() + 1);
  for (std::size_t i = 0; i < written; ++i) (void)store_.Write(writes_[i].batch);
  simulation_.Trace("coordinator crash", written);
  writes_.clear();
  waiting_.clear();
  actions_.Clear();
  core_.reset();
  ++reign_;
}

void SimCoordinator::Ask(
    const std::function<void(coordinator::Core&, coordinator::ReplyId, Actions&)>& ask,
    Answered answered) {
  if (!up()) return;
  const auto reply = static_cast<coordinator::ReplyId>(++last_reply_);
  if (answered) waiting_.emplace(reply, std::move(answered));
  ask(*core_, reply, actions_);
  Act();
}

void SimCoordinator::Act() {
  while (!actions_.calls.empty() || !actions_.answers.empty() || !actions_.writes.empty()) {
    for (MetaWrite& write : std::exchange(actions_.writes, {})) Write(std::move(write));
    for (const NodeCall& call : std::exchange(actions_.calls, {})) Send(call);
    for (const Answer& answer : std::exchange(actions_.answers, {})) {
      const auto at = waiting_.find(answer.to);
      if (at == waiting_.end()) continue;
      const Answered answered = std::move(at->second);
      waiting_.erase(at);
      answered(answer);
    }
  }
}

void SimCoordinator::Send(const NodeCall& call) {
  simulation_.Trace("tell", static_cast<std::uint64_t>(call.node));
  const auto node = nodes_.find(call.endpoint);
  if (node == nodes_.end()) std::abort();
  simulation_.Ask<wire::ObjectCodesResponse>(
      [end = node->second, call](auto answer) { end->OnCall(call, answer); }, milliseconds(1000),
      [this, id = call.id, reign = reign_](std::optional<wire::ObjectCodesResponse> codes) {
        if (reign != reign_ || id == coordinator::NodeCallId{}) return;
        core_->OnNodeAnswer(id, codes ? Code::kOk : Code::kDeadlineExceeded,
                            codes.value_or(wire::ObjectCodesResponse{}), actions_);
        Act();
      });
}

void SimCoordinator::Write(MetaWrite write) {
  writes_.push_back(std::move(write));
  simulation_.After(simulation_.Between(1, 15), [this, reign = reign_] {
    if (reign != reign_) return;
    const MetaWrite next = std::move(writes_.front());
    writes_.pop_front();
    // Now and then the disk refuses.
    const Status status =
        simulation_.Chance(3) ? Status(Code::kUnavailable) : store_.Write(next.batch);
    core_->OnWritten(next.id, status, simulation_.now(), actions_);
    Act();
  });
}

void SimCoordinator::Tick(std::uint64_t reign) {
  if (reign != reign_) return;
  core_->Tick(simulation_.now(), actions_);
  Act();
  simulation_.After(milliseconds(100), [this, reign] { Tick(reign); });
}

}  // namespace kdn::sim

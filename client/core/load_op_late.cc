// How a load notices that a replica is late, and what it does about it.
#include <algorithm>

#include "client/core/load_op.h"

namespace kdn::client {

// One timer for the whole load: it looks at all reads under way, and is set for the first that may
// be late.
void LoadOp::WatchLate(TimePoint when) {
  if (when >= late_check_at_) return;
  late_check_at_ = when;
  context_->loop->At(when, [weak = weak_from_this(), when] {
    const auto op = weak.lock();
    if (op && op->late_check_at_ == when) op->CheckLate();
  });
}

void LoadOp::CheckLate() {
  late_check_at_ = TimePoint::max();
  if (closed_) return;
  const TimePoint now = context_->loop->Now();
  TimePoint next = TimePoint::max();
  while (first_open_ < next_unit_ && units_[first_open_].over) ++first_open_;
  for (std::size_t index = first_open_; index < next_unit_; ++index) {
    const Unit& unit = units_[index];
    if (unit.over || unit.attempts.size() != 1) continue;  // a hedge has no hedge
    const std::shared_ptr<ReadAttempt> attempt = unit.attempts.front();
    if (attempt->call_over || attempt->failed) continue;
    const TimePoint due = LateAt(*attempt);
    if (now >= due) OnLate(index, attempt, now);
    // What could not be done now may be possible soon: memory comes back, and the budget grows.
    next = std::min(next, std::max<TimePoint>(due, now + context_->options.hedge_floor));
  }
  if (next != TimePoint::max()) WatchLate(next);
}

TimePoint LoadOp::LateAt(const ReadAttempt& attempt) const {
  NodeHealth& health = *context_->health;
  const TimePoint heard =
      std::max(attempt.progress_at, context_->loop->calls().LastHeard(attempt.target));
  const TimePoint silent_at = heard + health.SilenceAllowed(attempt.target.node);
  const Duration piece = health.PieceAllowed(attempt.target.node);
  return piece == Duration::max() ? silent_at : std::min(silent_at, attempt.progress_at + piece);
}

bool LoadOp::IsSilent(const ReadAttempt& attempt, TimePoint now) const {
  const TimePoint heard =
      std::max(attempt.progress_at, context_->loop->calls().LastHeard(attempt.target));
  return now - heard >= context_->health->SilenceAllowed(attempt.target.node);
}

void LoadOp::OnLate(std::size_t index, const std::shared_ptr<ReadAttempt>& attempt, TimePoint now) {
  Unit& unit = units_[index];
  attempt->late = true;
  const bool silent = IsSilent(*attempt, now);
  if (silent) context_->health->OnSilent(attempt->target);
  const std::optional<Choice> choice = ChooseReplica(unit);
  if (!choice || choice->standing != Standing::kGood) return;
  if (!context_->health->TakeRetry()) return;
  const MutableBytes window = context_->staging->TakeNow(unit.window_bytes);
  if (!window.empty()) {
    context_->metrics.hedges.Add();
    ++report_.reads_hedged;
    StartRead(index, TakeReplica(unit, choice->replica), window, true);
    return;
  }
  if (!silent) {  // its bytes are on their way: they would be thrown away
    context_->health->GiveBackRetry();
    return;
  }
  context_->metrics.reads_moved.Add();
  attempt->failed = true;  // the next one is begun once this one's call has ended
  context_->loop->calls().Cancel(attempt->call);
}

}  // namespace kdn::client

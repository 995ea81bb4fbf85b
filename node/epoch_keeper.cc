#include "node/epoch_keeper.h"

#include <string>

namespace kdn::node {

EpochKeeper::Verdict EpochKeeper::Judge(Epoch epoch) const {
  const Epoch seen = state_.epoch();
  if (epoch < seen) return Verdict::kStale;
  return epoch == seen ? Verdict::kCurrent : Verdict::kAhead;
}

Status EpochKeeper::Raise(Epoch epoch) {
  if (Status status = local_.RaiseEpoch(epoch); !status.ok()) {
    log_.Write(LogLevel::kError, "epoch not kept",
               {{"epoch", std::to_string(static_cast<std::uint32_t>(epoch))},
                {"reason", status.ToString()}});
    return status;
  }
  state_.RaiseEpoch(epoch);
  return {};
}

bool EpochKeeper::RaiseLater(Epoch epoch, Mailbox& notify) {
  return worker_.Post([this, epoch, &notify] {
    (void)Raise(epoch);  // Logged; the shard sees by state_.epoch() whether it is obeyed.
    notify.Post(EpochSettled{epoch});
  });
}

}  // namespace kdn::node

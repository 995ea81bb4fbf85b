// What one channel shares with a server of its host: which regions were shown to it, and the gates
// of the calls whose bulk the server reads and writes there itself.
//
// Thread-safety: not safe; belongs to its channel.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "transport/frame.h"
#include "transport/hello.h"
#include "transport/regions.h"
#include "transport/shm/gate.h"
#include "transport/shm/shared_memory.h"

namespace kdn::transport::shm {

// Where the bulk of a call lies, as its request says it, and the gate that guards it.
struct Loan {
  SharedBulk bulk;  // region 0: none
  std::uint64_t offset = 0;
  [[nodiscard]] bool valid() const { return bulk.region != 0; }
};

class ClientShare {
 public:
  // Shows those of `table`'s regions that can be shared, at most kSharedRegionsMax, to the server
  // that invited this channel's connections. Waits for its answer. kUnavailable if it does not come
  // by `deadline`, kFailedPrecondition if the server does not want them or there are none.
  [[nodiscard]] static Result<std::unique_ptr<ClientShare>> Offer(
      std::span<const ShareInvite> invites, const RegionTable& table, const Clock& clock,
      TimePoint deadline);

  // For a call whose only bulk is `bytes` in `region`; an invalid loan if it has to go another way.
  // A window, which the server writes, must begin at a page.
  [[nodiscard]] Loan Lend(Region& region, ConstBytes bytes, bool is_window);
  // From here on the server may touch the bulk.
  void Open(const Loan& loan, std::uint32_t connection, std::uint32_t call);
  // True: the server touches it no more, and the loan is over. False: the server is in the middle
  // of a block; to be asked again.
  [[nodiscard]] bool Close(const Loan& loan);
  // Ends the loan although the server is inside: what it still writes does not reach the bytes that
  // this process sees. False if there is no memory for that; to be tried again.
  [[nodiscard]] bool Revoke(const Loan& loan, MutableBytes window);

 private:
  ClientShare(SharedMemory gates, std::vector<std::shared_ptr<Region>> regions);
  [[nodiscard]] GateWord& WordOf(const Loan& loan) const;

  SharedMemory gates_;
  // Shared with the table, as those of a RegionView are.
  std::vector<std::shared_ptr<Region>> regions_;
  std::vector<std::uint32_t> free_gates_;
};

}  // namespace kdn::transport::shm

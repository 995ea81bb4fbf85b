#include "transport/shm/client_share.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "transport/shm/offer.h"
#include "transport/shm/socket_name.h"

namespace kdn::transport::shm {
namespace {

// Regions that cannot be unregistered meanwhile: their descriptors stay open.
class PinnedRegions {
 public:
  explicit PinnedRegions(std::vector<std::shared_ptr<Region>> regions) {
    for (auto& region : regions) {
      if (!region->Pin()) continue;
      pins_.push_back(region.get());
      regions_.push_back(std::move(region));
    }
  }
  PinnedRegions(const PinnedRegions&) = delete;
  PinnedRegions& operator=(const PinnedRegions&) = delete;
  ~PinnedRegions() { UnpinAll(pins_); }
  [[nodiscard]] const std::vector<std::shared_ptr<Region>>& regions() const { return regions_; }

 private:
  std::vector<std::shared_ptr<Region>> regions_;
  std::vector<Region*> pins_;
};

Status AwaitVerdict(int socket, const Clock& clock, TimePoint deadline) {
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - clock.Now()).count();
    if (left <= 0) return Status(Code::kUnavailable, "no answer to the offer of memory");
    pollfd ready{socket, POLLIN, 0};
    if (poll(&ready, 1, static_cast<int>(std::min<long long>(left, 1000))) <= 0) continue;
    std::byte verdict{};
    const ssize_t got = recv(socket, &verdict, 1, MSG_DONTWAIT);
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (got <= 0) return Status(Code::kFailedPrecondition, "the offer of memory is not answered");
    const Code code = CodeFromNumber(static_cast<std::uint8_t>(verdict));
    if (code == Code::kOk) return Status();
    return Status(Code::kFailedPrecondition,
                  "the offer of memory is refused: " + std::string(CodeName(code)));
  }
}

}  // namespace

ClientShare::ClientShare(SharedMemory gates, std::vector<std::shared_ptr<Region>> regions)
    : gates_(std::move(gates)), regions_(std::move(regions)) {
  free_gates_.reserve(kSharedGatesMax);
  for (std::uint32_t gate = kSharedGatesMax; gate > 0; --gate) free_gates_.push_back(gate - 1);
}

Result<std::unique_ptr<ClientShare>> ClientShare::Offer(std::span<const ShareInvite> invites,
                                                        const RegionTable& table,
                                                        const Clock& clock, TimePoint deadline) {
  const PinnedRegions pinned(table.Shareable(kSharedRegionsMax));
  if (pinned.regions().empty() || invites.empty()) {
    return Error(Code::kFailedPrecondition, "no memory to share");
  }
  KDN_ASSIGN_OR_RETURN(SharedMemory gates, SharedMemory::Make(kGatesBytes));
  MemoryOffer offer;
  std::vector<int> fds = {gates.fd()};
  for (const ShareInvite& invite : invites) offer.tickets.push_back(invite.ticket);
  for (const auto& region : pinned.regions()) {
    offer.sizes.push_back(region->memory().size_bytes);
    fds.push_back(region->memory().fd);
  }
  std::vector<std::byte> bytes;
  offer.Encode(bytes);
  Fd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  const SocketName name(invites.front().socket);
  if (!socket.valid() || connect(socket.get(), name.address(), name.size()) != 0) {
    return Error(Code::kUnavailable,
                 std::string("nobody to offer memory to: ") + std::strerror(errno));
  }
  if (!SendWithDescriptors(socket.get(), bytes, fds)) {
    return Error(Code::kUnavailable, std::string("cannot offer memory: ") + std::strerror(errno));
  }
  if (Status said = AwaitVerdict(socket.get(), clock, deadline); !said.ok()) {
    return std::unexpected(said);
  }
  return std::unique_ptr<ClientShare>(new ClientShare(std::move(gates), pinned.regions()));
}

GateWord& ClientShare::WordOf(const Loan& loan) const {
  return reinterpret_cast<GateWord*>(gates_.bytes().data())[loan.bulk.gate];
}

Loan ClientShare::Lend(Region& region, ConstBytes bytes, bool is_window) {
  const auto found = std::find_if(regions_.begin(), regions_.end(),
                                  [&](const auto& shown) { return shown.get() == &region; });
  if (found == regions_.end() || free_gates_.empty()) return {};
  const auto offset = static_cast<std::uint64_t>(bytes.data() - region.memory().address);
  if (is_window && offset % kPageBytes != 0) return {};
  if (!region.IsShared(bytes)) return {};
  if (is_window) region.Populate(bytes);
  Loan loan;
  loan.bulk.region = static_cast<std::uint32_t>(found - regions_.begin()) + 1;
  loan.bulk.gate = free_gates_.back();
  loan.offset = offset;
  free_gates_.pop_back();
  return loan;
}

void ClientShare::Open(const Loan& loan, std::uint32_t connection, std::uint32_t call) {
  Gate(WordOf(loan)).Open(GateKey(connection, call));
}

bool ClientShare::Close(const Loan& loan) {
  if (!Gate(WordOf(loan)).Close()) return false;
  free_gates_.push_back(loan.bulk.gate);
  return true;
}

bool ClientShare::Revoke(const Loan& loan, MutableBytes window) {
  // What the server only reads needs no protection: it asks the gate before it believes its copy.
  if (!window.empty() && !regions_[loan.bulk.region - 1]->MakePrivate(window)) return false;
  free_gates_.push_back(loan.bulk.gate);
  return true;
}

}  // namespace kdn::transport::shm

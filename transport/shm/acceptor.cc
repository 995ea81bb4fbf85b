#include "transport/shm/acceptor.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <utility>

#include "transport/shm/offer.h"
#include "transport/shm/socket_name.h"

namespace kdn::transport::shm {
namespace {

constexpr std::size_t kGuestsMax = 64;
constexpr int kBacklog = 64;

// Where the system counts memory strictly, a page of a client's that was never touched might not be
// had when it is, and the process that touches it would die.
bool SystemCountsStrictly() {
  const Fd file(open("/proc/sys/vm/overcommit_memory", O_RDONLY | O_CLOEXEC));
  char mode = '0';
  return file.valid() && read(file.get(), &mode, 1) == 1 && mode == '2';
}

std::string NameOf(const Nonce& nonce) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string name = "kdn-";
  for (const std::byte byte : ConstBytes(nonce).first(16)) {
    name += kDigits[static_cast<std::size_t>(byte >> 4)];
    name += kDigits[static_cast<std::size_t>(byte & std::byte{15})];
  }
  return name;
}

}  // namespace

Result<std::unique_ptr<Acceptor>> Acceptor::Listen(const Nonce& name,
                                                   const SharedMemoryOptions& options,
                                                   MappingTable& table, const Clock& clock,
                                                   Log& log) {
  if (SystemCountsStrictly()) {
    return Error(Code::kUnavailable, "vm.overcommit_memory is 2");
  }
  const std::string text = NameOf(name);
  const SocketName address(text);
  Fd listener(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!listener.valid() || bind(listener.get(), address.address(), address.size()) != 0 ||
      listen(listener.get(), kBacklog) != 0) {
    return Error(Code::kUnavailable, "cannot listen for offers of memory");
  }
  return std::unique_ptr<Acceptor>(
      new Acceptor(std::move(listener), text, options, table, clock, log));
}

Acceptor::Acceptor(Fd listener, std::string name, const SharedMemoryOptions& options,
                   MappingTable& table, const Clock& clock, Log& log)
    : name_(std::move(name)),
      options_(options),
      table_(table),
      clock_(clock),
      log_(log),
      listener_(std::move(listener)),
      epoll_(epoll_create1(EPOLL_CLOEXEC)) {
  for (const int fd : {listener_.get(), timer_.fd()}) {
    epoll_event event{.events = EPOLLIN, .data = {.fd = fd}};
    epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event);
  }
}

bool Acceptor::MayOffer(Owner owner) const {
  return options_.any_user || owner.user == 0 || owner.user == geteuid() ||
         std::find(options_.users.begin(), options_.users.end(), owner.user) !=
             options_.users.end();
}

void Acceptor::AcceptGuests() {
  for (std::size_t i = 0; i < kGuestsMax; ++i) {
    Guest guest;
    guest.socket = Fd(accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!guest.socket.valid()) return;
    ucred credentials{};
    socklen_t size = sizeof(credentials);
    if (getsockopt(guest.socket.get(), SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) continue;
    guest.owner = {credentials.uid, credentials.pid};
    if (!MayOffer(guest.owner)) {
      log_.Write(LogLevel::kWarning, "offer of shared memory refused",
                 {{"user", std::to_string(guest.owner.user)}, {"why", "the user may not"}});
      continue;
    }
    if (guests_.size() >= kGuestsMax) continue;
    guest.due = clock_.Now() + kHelloTimeout;
    epoll_event event{.events = EPOLLIN, .data = {.fd = guest.socket.get()}};
    epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, guest.socket.get(), &event);
    guests_.push_back(std::move(guest));
  }
}

void Acceptor::Poll(OfferTaker& taker) {
  AcceptGuests();
  const TimePoint now = clock_.Now();
  std::erase_if(guests_,
                [&](const Guest& guest) { return Serve(guest, taker) || guest.due <= now; });
  timer_.Clear();
  for (const Guest& guest : guests_) timer_.WakeAt(guest.due, now);
}

bool Acceptor::Serve(const Guest& guest, OfferTaker& taker) {
  std::array<std::byte, kOfferBytesMax> bytes;
  const Received received = ReceiveWithDescriptors(guest.socket.get(), bytes);
  if (received.kind == Received::Kind::kNothing) return false;
  if (received.kind == Received::Kind::kBroken) return true;
  const Status status =
      Take(ConstBytes(bytes).first(received.size_bytes), received.fds, guest.owner, taker);
  if (!status.ok()) {
    log_.Write(LogLevel::kWarning, "offer of shared memory refused",
               {{"process", std::to_string(guest.owner.process)}, {"why", status.ToString()}});
  }
  const auto verdict = static_cast<std::byte>(status.code());
  [[maybe_unused]] const ssize_t sent =
      send(guest.socket.get(), &verdict, 1, MSG_NOSIGNAL | MSG_DONTWAIT);
  return true;
}

Status Acceptor::Take(ConstBytes message, std::span<const Fd> fds, Owner owner, OfferTaker& taker) {
  const std::optional<MemoryOffer> offer = MemoryOffer::Decode(message);
  if (!offer) return Status(Code::kInvalidArgument, "the offer is malformed");
  auto memory = OfferedMemory::Map(*offer, fds, owner, table_);
  if (!memory) return memory.error();
  if (!taker.TakeOffer(offer->tickets, *std::move(memory))) {
    return Status(Code::kUnauthenticated, "no such connections were invited");
  }
  return Status();
}

}  // namespace kdn::transport::shm

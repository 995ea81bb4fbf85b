// Takes the offers of memory that clients of this host make to one server, on the thread that polls
// it: who may make one, what is mapped, and whether its connections are those that were invited.
//
// Thread-safety: not safe; belongs to its server.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/log.h"
#include "base/result.h"
#include "transport/channel.h"
#include "transport/hello.h"
#include "transport/shm/server_share.h"
#include "transport/wakeup.h"

namespace kdn::transport::shm {

// Whose connections the tickets are of.
class OfferTaker {
 public:
  virtual ~OfferTaker() = default;
  // Gives the memory to the connections that were invited with these tickets, in their order.
  // False, and nothing has changed, unless all of them are there, are one peer's and have none yet.
  [[nodiscard]] virtual bool TakeOffer(std::span<const Nonce> tickets,
                                       std::shared_ptr<const OfferedMemory> memory) = 0;
};

class Acceptor {
 public:
  // Listens under a name made from `name`, which nobody can guess. kUnavailable if it cannot, or if
  // this system might run out of the memory that clients show. All outlive it.
  static Result<std::unique_ptr<Acceptor>> Listen(const Nonce& name,
                                                  const SharedMemoryOptions& options,
                                                  MappingTable& table, const Clock& clock,
                                                  Log& log);

  [[nodiscard]] ShareInvite Invite(const Nonce& ticket) const { return {name_, ticket}; }
  // Readable when Poll() has something to do.
  [[nodiscard]] int fd() const { return epoll_.get(); }
  void Poll(OfferTaker& taker);

 private:
  struct Guest {
    Fd socket;
    Owner owner;
    TimePoint due;
  };
  Acceptor(Fd listener, std::string name, const SharedMemoryOptions& options, MappingTable& table,
           const Clock& clock, Log& log);
  void AcceptGuests();
  // Whether the guest has made its offer or is gone.
  [[nodiscard]] bool Serve(const Guest& guest, OfferTaker& taker);
  [[nodiscard]] Status Take(ConstBytes message, std::span<const Fd> fds, Owner owner,
                            OfferTaker& taker);
  [[nodiscard]] bool MayOffer(Owner owner) const;

  const std::string name_;
  const SharedMemoryOptions& options_;
  MappingTable& table_;
  const Clock& clock_;
  Log& log_;
  Fd listener_;
  Fd epoll_;
  WakeTimer timer_;
  std::vector<Guest> guests_;
};

}  // namespace kdn::transport::shm

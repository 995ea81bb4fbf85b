// Finds out the address behind "host:port" without waiting for a name server beyond a deadline: the
// system's own call takes no deadline, so names are looked up on threads that nobody waits for.
//
// Thread-safety: safe.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/result.h"
#include "transport/tcp/socket.h"

namespace kdn::transport::tcp {

class Resolver {
 public:
  using LookUp = std::function<Result<Address>(const std::string& endpoint)>;

  // `look_up` may block; it is called on other threads, also after the Resolver is gone.
  explicit Resolver(LookUp look_up);
  Resolver(const Resolver&) = delete;
  Resolver& operator=(const Resolver&) = delete;
  // Waits for nobody: a lookup under way ends by itself.
  ~Resolver();

  // An address in numbers is read at once. kUnavailable if a name is not found by `deadline`; what
  // is found later is given to whoever asks for it next. kResourceExhausted while too many names
  // are being looked up.
  [[nodiscard]] Result<Address> Resolve(std::string_view endpoint, const Clock& clock,
                                        TimePoint deadline);

 private:
  struct State;
  // Shared: threads that look something up may outlive the Resolver.
  std::shared_ptr<State> state_;
};

}  // namespace kdn::transport::tcp

// Speaks to daemons without the client library, which would not send what some cases send.
//
// Thread-safety: not safe; caller synchronises.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/log.h"
#include "base/random.h"
#include "transport/channel.h"

namespace kdn::fault {

class Forger {
 public:
  Forger();

  // What the daemon at `endpoint` answers to one call of this tenant; kUnknown if there is no way
  // in. With bulk, kBulkBytes are offered.
  Code Ask(const std::string& endpoint, TenantId tenant, const std::vector<std::byte>& secret,
           ConstBytes request, bool with_bulk);

  static constexpr std::uint32_t kBulkBytes = 1000;

 private:
  SteadyClock clock_;
  SystemRandom random_;
  NullLog log_;
  std::vector<std::byte> memory_;
  std::unique_ptr<transport::Domain> domain_;
};

}  // namespace kdn::fault

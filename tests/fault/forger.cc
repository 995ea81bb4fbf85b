#include "tests/fault/forger.h"

#include <poll.h>

namespace kdn::fault {

Forger::Forger() : domain_(*transport::OpenDomain({.connections = 1}, clock_, random_, log_)) {
  memory_.resize(kBulkBytes);
  [[maybe_unused]] const Status status =
      domain_->Register({memory_.data(), memory_.size(), transport::MemoryKind::kHost, 0});
}

Code Forger::Ask(const std::string& endpoint, TenantId tenant, const std::vector<std::byte>& secret,
                 ConstBytes request, bool with_bulk) {
  transport::Identity identity;
  identity.tenant = tenant;
  identity.scheme = transport::HelloScheme::kHmac;
  identity.secret = secret;
  const TimePoint deadline = clock_.Now() + std::chrono::seconds(2);
  const auto channel = domain_->Connect(endpoint, identity, deadline);
  if (!channel) return Code::kUnknown;
  const ConstBytes bulk = memory_;
  transport::Call call;
  call.request = request;
  if (with_bulk) call.send_bulk = {&bulk, 1};
  call.deadline = deadline;
  if (!(*channel)->Submit(call).ok()) return Code::kUnknown;
  for (;;) {
    transport::Event event;
    pollfd waited{(*channel)->WaitFd(), POLLIN, 0};
    poll(&waited, 1, 3000);
    if ((*channel)->Poll({&event, 1}) == 1) return event.code;
  }
}

}  // namespace kdn::fault

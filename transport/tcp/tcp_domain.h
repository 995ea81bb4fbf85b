// TCP as a transport.
//
// Thread-safety: as Domain says.
#pragma once

#include <memory>

#include "transport/channel.h"

namespace kdn::transport::tcp {

[[nodiscard]] Result<std::unique_ptr<Domain>> OpenTcpDomain(const Options& options,
                                                            const Clock& clock, Random& random,
                                                            Log& log);

}  // namespace kdn::transport::tcp

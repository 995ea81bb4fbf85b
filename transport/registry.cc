// The transports that this build has. To add one, add a row.
#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "transport/channel.h"
#include "transport/loopback/loopback.h"
#include "transport/tcp/tcp_domain.h"

namespace kdn::transport {
namespace {

struct Kind {
  std::string_view name;
  Result<std::unique_ptr<Domain>> (*open)(const Options&, const Clock&, Random&, Log&);
};

constexpr std::array kKinds = {
    Kind{"tcp", tcp::OpenTcpDomain},
    Kind{"loopback", loopback::OpenLoopbackDomain},
};

}  // namespace

std::vector<std::string> DomainKinds() {
  std::vector<std::string> names;
  for (const Kind& kind : kKinds) names.emplace_back(kind.name);
  return names;
}

Result<std::unique_ptr<Domain>> OpenDomain(const Options& options, const Clock& clock,
                                           Random& random, Log& log) {
  std::string known;
  for (const Kind& kind : kKinds) {
    if (kind.name == options.kind) return kind.open(options, clock, random, log);
    known += known.empty() ? "" : ", ";
    known += kind.name;
  }
  return Error(Code::kNotFound, "no transport '" + options.kind + "'; this build has " + known);
}

}  // namespace kdn::transport

#include "transport/host.h"

#include <algorithm>
#include <fstream>
#include <string>

#include "base/crypto.h"

namespace kdn::transport {

HostId ThisHost(Random& random) {
  // The identity of a boot is the kernel's own; that of a machine lies in a file that images of
  // containers bring along, and then it is the same on many machines.
  for (const char* name : {"/proc/sys/kernel/random/boot_id", "/etc/machine-id"}) {
    std::ifstream file(name);
    std::string text;
    if (!std::getline(file, text) || text.empty()) continue;
    const Digest digest = Sha256(AsBytes("kdn host " + text));
    HostId host;
    std::copy_n(digest.begin(), HostId::kSize, host.bytes.begin());
    return host;
  }
  return RandomId<HostId>(random);
}

}  // namespace kdn::transport

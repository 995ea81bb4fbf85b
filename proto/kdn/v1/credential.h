// What daemons and tools show with every gRPC call: that they know the cluster's secret.
//
// A bearer proof: whoever sees one may use it, so it travels over loopback only until there is TLS.
// It does not give the secret away, which also seals tickets and proves Hellos.
//
// Thread-safety: pure functions.
#pragma once

#include <string>

#include "base/bytes.h"

namespace kdn::v1 {

// The key of the call's metadata under which the credential stands.
inline constexpr const char* kCredentialKey = "kdn-credential";

// HMAC-SHA-256 of a fixed label under the secret, in hexadecimal digits. Empty for an empty secret:
// such a cluster asks for none.
[[nodiscard]] std::string CredentialOf(ConstBytes cluster_secret);

}  // namespace kdn::v1

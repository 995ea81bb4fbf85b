// Where profiles and model specs are in a cluster: blobs under the tenant's secret, in contexts of
// reserved names, which the coordinator keeps pinned and unchanged (wire::kOwnContextPrefix).
//
//   kdn/model/<fingerprint>                the spec's canonical encoding
//   kdn/profile/<fingerprint>/<profile>    a profile
//   kdn/profile/<fingerprint>              the one that the model is stored with now: the same
//                                          chunks as under the longer name
//
// Ids are in hex. Chunk keys depend on the tenant's secret, the fingerprint and the profile's id,
// contexts on the tenant: nobody is served a profile that was learned from another tenant's text.
//
// Thread-safety: pure functions.
#pragma once

#include <string>
#include <vector>

#include "base/ids.h"

namespace kdn::client {

inline constexpr std::string_view kProfileContexts = "kdn/profile/";
inline constexpr std::string_view kModelContexts = "kdn/model/";
inline constexpr std::uint32_t kStoredBlobChunkTokens = 1024;  // 256 KiB a chunk

[[nodiscard]] inline std::string SpecContext(const ModelFingerprint& model) {
  return std::string(kModelContexts) + ToHex(model);
}
[[nodiscard]] inline std::string ProfileContext(const ModelFingerprint& model) {
  return std::string(kProfileContexts) + ToHex(model);
}
[[nodiscard]] inline std::string ProfileContext(const ModelFingerprint& model,
                                                const ProfileId& profile) {
  return ProfileContext(model) + "/" + ToHex(profile);
}

// What makes a blob's chunk keys its own.
[[nodiscard]] inline std::vector<std::byte> BlobExtras(const ModelFingerprint& model,
                                                       const ProfileId& profile) {
  std::vector<std::byte> extras(model.bytes.begin(), model.bytes.end());
  extras.insert(extras.end(), profile.bytes.begin(), profile.bytes.end());
  return extras;
}

}  // namespace kdn::client

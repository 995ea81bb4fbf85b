#include "proto/kdn/v1/credential.h"

#include <string_view>

#include "base/crypto.h"

namespace kdn::v1 {
namespace {

constexpr std::string_view kLabel = "kdn rpc v1";
constexpr std::string_view kDigits = "0123456789abcdef";

}  // namespace

std::string CredentialOf(ConstBytes cluster_secret) {
  std::string text;
  if (cluster_secret.empty()) return text;
  for (const std::byte byte : HmacSha256(cluster_secret, AsBytes(kLabel))) {
    text += kDigits[std::to_integer<unsigned>(byte) >> 4U];
    text += kDigits[std::to_integer<unsigned>(byte) & 15U];
  }
  return text;
}

}  // namespace kdn::v1

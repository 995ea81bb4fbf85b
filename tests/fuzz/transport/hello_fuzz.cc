// Bytes from a stranger, to either side of a Hello: they are refused or take part in it, and never
// make a side take more than it asked for. A message that reads is written alike.
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "transport/hello.h"

namespace {

using namespace kdn::transport;

class OpenAuthenticator final : public Authenticator {
 public:
  [[nodiscard]] std::vector<std::byte> SecretOf(PeerRole, kdn::TenantId) const override {
    return {std::byte{1}};
  }
  [[nodiscard]] bool AllowsNone(PeerRole, kdn::TenantId) const override { return true; }
  [[nodiscard]] kdn::Epoch epoch() const override { return kdn::Epoch{1}; }
  [[nodiscard]] std::uint64_t map_version() const override { return 1; }
};

template <class Side>
void Feed(Side& side, kdn::ConstBytes bytes) {
  std::vector<std::byte> out;
  while (!bytes.empty() && side.state() == HelloState::kTalking) {
    const std::size_t wanted = side.wanted();
    if (wanted == 0 || wanted > kdn::limits::kHelloBytesMax) std::abort();
    const std::size_t taken = side.Feed(bytes.first(std::min(wanted, bytes.size())), out);
    if (taken == 0) std::abort();
    bytes = bytes.subspan(taken);
    if (out.size() > kdn::limits::kPreHelloBytesMax) std::abort();
  }
}

// A message that reads must write the same bytes.
template <class Message>
void RoundTrip(kdn::ConstBytes body) {
  const auto message = Message::Decode(body);
  if (!message) return;
  std::vector<std::byte> again;
  message->Encode(again);
  if (Message::Decode(kdn::ConstBytes(again).subspan(kHelloPrefixBytes)) != message) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const kdn::ConstBytes bytes = std::as_bytes(std::span(data, size));
  const OpenAuthenticator authenticator;
  // The host is the golden client's.
  Identity identity;
  for (std::size_t i = 0; i < 16; ++i) {
    identity.host.bytes[i] = static_cast<std::byte>(0x30 + i);
  }
  const HelloPolicy policy{kdn::ClusterId{}, kdn::PeerId{}, &authenticator, kFeatureSharedMemory,
                           identity.host};
  HelloServer server(policy, Nonce{}, true, ShareInvite{"kdn", Nonce{}});
  Feed(server, bytes);
  std::vector<std::byte> out;
  HelloClient client(identity, Nonce{}, out, kFeatureSharedMemory);
  Feed(client, bytes);
  if (size < kHelloPrefixBytes) return 0;
  const kdn::ConstBytes body = bytes.subspan(kHelloPrefixBytes);
  RoundTrip<ClientHello>(body);
  RoundTrip<ServerHello>(body);
  RoundTrip<ClientProof>(body);
  RoundTrip<ServerProof>(body);
  return 0;
}

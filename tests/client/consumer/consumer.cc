#include <kdn/embedded.h>

// Opens embedded storage, asks for its metrics, and calls what its types offer.
int main() {
  kdn::client::EmbeddedOptions options;
  options.dram_bytes = std::size_t{16} << 20;
  options.client.chunk_secrets = {{kdn::SecretId{1}, std::vector<std::byte>(32, std::byte{1})}};
  const auto client = kdn::client::OpenEmbedded(options);
  if (!client || (*client)->Metrics().empty()) return 1;
  return kdn::Status(kdn::Code::kNotFound, "x").ToString() == "not found: x" ? 0 : 1;
}

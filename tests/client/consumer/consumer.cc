#include <kdn/embedded.h>

// Opens embedded storage and asks for its metrics.
int main() {
  kdn::client::EmbeddedOptions options;
  options.dram_bytes = std::size_t{16} << 20;
  options.client.chunk_secrets = {{kdn::SecretId{1}, std::vector<std::byte>(32, std::byte{1})}};
  const auto client = kdn::client::OpenEmbedded(options);
  return client && !(*client)->Metrics().empty() ? 0 : 1;
}

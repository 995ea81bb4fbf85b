// Linked into libkdn_embedded.
#include "client/c/open_c_embedded.h"

#include "kdn/embedded.h"

namespace kdn::client::c {

Result<std::unique_ptr<Client>> OpenEmbeddedFromC(const ClientOptions& options,
                                                  std::uint64_t dram_bytes,
                                                  const char* disk_folder) {
  EmbeddedOptions embedded;
  embedded.dram_bytes = dram_bytes;
  if (disk_folder != nullptr) embedded.disk_folder = disk_folder;
  embedded.client = options;
  return OpenEmbedded(embedded);
}

}  // namespace kdn::client::c

// Linked into libkdn, which has no storage.
#include "client/c/open_c_embedded.h"

namespace kdn::client::c {

Result<std::unique_ptr<Client>> OpenEmbeddedFromC(const ClientOptions& /*options*/,
                                                  std::uint64_t /*dram_bytes*/,
                                                  const char* /*disk_folder*/) {
  return Error(Code::kUnimplemented, "embedded mode is in libkdn_embedded");
}

}  // namespace kdn::client::c

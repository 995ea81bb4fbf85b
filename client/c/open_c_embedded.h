// The one place where the C ABI of libkdn and that of libkdn_embedded differ: each library links
// its own definition.
//
// Thread-safety: safe.
#pragma once

#include <cstdint>
#include <memory>

#include "kdn/client.h"

namespace kdn::client::c {

// kUnimplemented in libkdn, which has no storage.
Result<std::unique_ptr<Client>> OpenEmbeddedFromC(const ClientOptions& options,
                                                  std::uint64_t dram_bytes,
                                                  const char* disk_folder);

}  // namespace kdn::client::c

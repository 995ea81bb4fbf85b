#include <utility>

#include "client/core/client_impl.h"
#include "client/embedded/embedded_calls.h"
#include "kdn/embedded.h"

namespace kdn::client {

Result<std::unique_ptr<Client>> OpenEmbedded(const EmbeddedOptions& options) {
  if (Status status = ValidateOptions(options.client); !status.ok()) {
    return std::unexpected(status);
  }
  auto context = std::make_shared<ClientContext>(options.client);
  context->log = options.client.log ? options.client.log : std::make_shared<NullLog>();
  std::unique_ptr<storage::DiskTier> disk;
  if (!options.disk_folder.empty()) {
    storage::DiskOptions disk_options;
    disk_options.folder = options.disk_folder;
    disk_options.sync = options.sync;
    disk_options.bytes_max = options.disk_bytes_max;
    KDN_ASSIGN_OR_RETURN(disk, storage::OpenRocksTier(disk_options));
  }
  storage::StoreOptions store_options;
  store_options.dram_bytes = options.dram_bytes;
  store_options.write_mode =
      disk ? storage::WriteMode::kWriteThrough : storage::WriteMode::kDramOnly;
  KDN_ASSIGN_OR_RETURN(
      auto store, storage::OpenObjectStore(store_options, {}, disk.get(),
                                           {context->clock, *context->log, context->registry}));
  KDN_ASSIGN_OR_RETURN(auto calls,
                       EmbeddedCalls::Make(options.client.tenant, std::move(disk), std::move(store),
                                           context->clock, context->random));
  return MakeClient(options.client, std::move(context), std::move(calls));
}

}  // namespace kdn::client

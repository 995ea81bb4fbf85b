// The client's interface over whatever answers its calls.
//
// Thread-safety: safe.
#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "client/core/client_context.h"
#include "client/core/model.h"

namespace kdn::client {

// kInvalidArgument says which option is out of bounds.
[[nodiscard]] Status ValidateOptions(const ClientOptions& options);

// Starts the threads and makes the memory that a client needs. kResourceExhausted if they cannot be
// had.
[[nodiscard]] Result<std::unique_ptr<Client>> MakeClient(const ClientOptions& options,
                                                         std::shared_ptr<ClientContext> context,
                                                         std::unique_ptr<Calls> calls);

}  // namespace kdn::client

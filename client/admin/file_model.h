// A file as a KV cache: how `kdnctl put` stores any file, and `get` brings it back, through the
// client's public interface and all that lies below it: a blob (client/core/blob.h) in chunks of
// 1 MiB, under extras that are the SHA-256 of its content.
//
// Thread-safety: pure functions and values.
#pragma once

#include <cstddef>
#include <cstdint>

#include "client/core/blob.h"

namespace kdn::admin {

inline constexpr std::uint32_t kFileChunkTokens = 4096;
inline constexpr std::size_t kFileBytesMax = std::size_t{1} << 30;

[[nodiscard]] inline ModelSpec FileModelSpec() {
  return client::BlobSpec("kdn/file");
}

using FileMemory = client::BlobMemory;

}  // namespace kdn::admin

// A file as a KV cache: how `kdnctl put` stores any file, and `get` brings it back, through the
// client's public interface and all that lies below it. One layer of state values of one byte each,
// 256 a token, 4,096 tokens (1 MiB) a chunk. Tokens are numbered from 0; what makes the keys a
// file's own is the SHA-256 of its content among the extras.
//
// Thread-safety: not safe; caller synchronises.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "codec/paged_kv.h"
#include "kdn/client.h"

namespace kdn::admin {

inline constexpr std::uint32_t kFileChunkTokens = 4096;
inline constexpr std::size_t kFileTokenBytes = 256;
inline constexpr std::size_t kFileBytesMax = std::size_t{1} << 30;

[[nodiscard]] ModelSpec FileModelSpec();

// A file's bytes in paged memory: its size in eight bytes, the content, zeros up to a token's end.
class FileMemory {
 public:
  // Empty memory with room for so many tokens.
  explicit FileMemory(std::size_t token_count);
  // Holds `content`. Requires: at most kFileBytesMax bytes.
  static FileMemory Of(std::string_view content);
  FileMemory(FileMemory&&) = default;

  [[nodiscard]] std::vector<client::TokenId> Tokens() const;
  // SHA-256 of the memory: the extras under which it is stored.
  [[nodiscard]] std::vector<std::byte> Identity() const;
  // What Of() was given. kDataLoss if the memory does not hold that much.
  [[nodiscard]] Result<std::string> Content() const;

  // Valid as long as this is not moved.
  [[nodiscard]] codec::PagedKv kv();
  [[nodiscard]] codec::BlockTables blocks();

 private:
  std::vector<std::byte> bytes_;
  std::vector<std::uint32_t> table_;
  std::array<std::byte*, 1> base_{};
  std::array<codec::KvPool, 1> pool_;
  std::array<std::span<const std::uint32_t>, 1> tables_;
};

}  // namespace kdn::admin

// Bytes as a KV cache: how what is no KV cache (a profile, a model spec, a file of `kdnctl put`) is
// stored like one, through the client's public interface and all that lies below it. One layer of
// state values of one byte each, 256 a token. Tokens are numbered from 0; what makes the keys a
// blob's own are the extras.
//
// Thread-safety: values; pure functions, but for those that take an Interrupt, which block.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "client/core/interrupt.h"
#include "codec/paged_kv.h"
#include "kdn/client.h"

namespace kdn::client {

inline constexpr std::size_t kBlobTokenBytes = 256;
inline constexpr std::uint32_t kBlobBlockTokens = 4096;  // of the memory, not of a chunk

// The model spec by which blobs are stored that call themselves so.
[[nodiscard]] ModelSpec BlobSpec(std::string name);

// A blob in paged memory: its size in eight bytes, the content, zeros up to a block's end.
class BlobMemory {
 public:
  // Empty memory with room for so many tokens.
  explicit BlobMemory(std::size_t token_count);
  static BlobMemory Of(std::string_view content);
  BlobMemory(BlobMemory&&) = default;

  [[nodiscard]] std::vector<TokenId> Tokens() const;
  // SHA-256 of the memory: extras that make a file's keys its own.
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

// Stores `content` under the first of `contexts`, if it is not there yet, and then names it by the
// others too. kAlreadyExists: one of them names something else; it and those after it do not name
// `content`. kUnavailable: it could not be stored or named.
[[nodiscard]] Status StoreBlob(Client& client, const Model& model, std::string_view content,
                               std::vector<std::byte> extras, std::span<const std::string> contexts,
                               Interrupt& interrupt);

// What is stored under `context`; no tokens if nothing is, or the cluster does not answer.
[[nodiscard]] LookupResult FindBlob(Client& client, const Model& model, std::string_view context,
                                    Interrupt& interrupt);

// The bytes of what was found. kUnavailable: not all of it can be read; kDataLoss: it is larger
// than 256 MiB. Requires: something was found.
[[nodiscard]] Result<std::string> LoadBlob(Client& client, const Model& model,
                                           const LookupResult& found, Interrupt& interrupt);

}  // namespace kdn::client

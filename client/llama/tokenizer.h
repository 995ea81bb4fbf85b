// Text to token ids and back, by the longest match over a list of byte strings: vocab.txt has one a
// line, in hexadecimal, and the line's number from 0 is the id.
//
// Thread-safety: immutable after construction.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/result.h"

namespace kdn::llama {

// Ids of tokens are 32-bit numbers everywhere that an engine meets them.
using TokenId = std::uint32_t;

class Tokenizer {
 public:
  Tokenizer(Tokenizer&&) = default;  // never copied: ids_ looks into bytes_
  Tokenizer& operator=(Tokenizer&&) = default;

  // kNotFound if the file cannot be read; kInvalidArgument, naming the line, for one that is not
  // hexadecimal, empty or double, and if a single byte is missing: every text must have an
  // encoding.
  static Result<Tokenizer> FromFile(const std::string& path);
  static Result<Tokenizer> FromText(std::string_view vocabulary);

  // Any bytes, NUL included.
  [[nodiscard]] std::vector<TokenId> Encode(std::string_view text) const;
  // kOutOfRange for an id that is none.
  [[nodiscard]] Result<std::string> Decode(std::span<const TokenId> ids) const;

  [[nodiscard]] std::size_t size() const { return bytes_.size(); }
  // Bytes of one token. Requires: id < size().
  [[nodiscard]] std::string_view bytes(TokenId id) const { return bytes_[id]; }

 private:
  Tokenizer() = default;
  std::vector<std::string> bytes_;
  std::unordered_map<std::string_view, TokenId> ids_;  // views of bytes_, which never changes
  std::array<std::size_t, 256> longest_{};             // by first byte: bytes of the longest token
};

}  // namespace kdn::llama

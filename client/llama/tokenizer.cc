#include "client/llama/tokenizer.h"

#include <algorithm>
#include <fstream>
#include <iterator>

namespace kdn::llama {
namespace {

constexpr std::size_t kVocabularyBytesMax = std::size_t{64} << 20;
constexpr std::size_t kTokenBytesMax = 1024;

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

// Empty for what is not the hexadecimal form of one or more bytes.
std::string FromHexLine(std::string_view line) {
  if (line.empty() || line.size() % 2 != 0 || line.size() > 2 * kTokenBytesMax) return {};
  std::string bytes;
  for (std::size_t i = 0; i < line.size(); i += 2) {
    const int high = HexDigit(line[i]);
    const int low = HexDigit(line[i + 1]);
    if (high < 0 || low < 0) return {};
    bytes.push_back(static_cast<char>(high * 16 + low));
  }
  return bytes;
}

std::size_t FirstByte(std::string_view token) {
  return static_cast<unsigned char>(token.front());
}

}  // namespace

Result<Tokenizer> Tokenizer::FromFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return Error(Code::kNotFound, "cannot open " + path);
  const std::string text(std::istreambuf_iterator<char>(file), {});
  return FromText(text);
}

Result<Tokenizer> Tokenizer::FromText(std::string_view vocabulary) {
  if (vocabulary.size() > kVocabularyBytesMax) {
    return Error(Code::kInvalidArgument, "vocabulary is over 64 MiB");
  }
  Tokenizer tokenizer;
  while (!vocabulary.empty()) {
    const std::size_t end = std::min(vocabulary.find('\n'), vocabulary.size());
    std::string token = FromHexLine(vocabulary.substr(0, end));
    if (token.empty()) {
      return Error(Code::kInvalidArgument,
                   "vocabulary line " + std::to_string(tokenizer.bytes_.size() + 1) +
                       ": expected the bytes of a token in lower-case hexadecimal");
    }
    tokenizer.bytes_.push_back(std::move(token));
    vocabulary.remove_prefix(std::min(end + 1, vocabulary.size()));
  }
  for (TokenId id = 0; id < tokenizer.bytes_.size(); ++id) {
    const std::string_view token = tokenizer.bytes_[id];
    if (!tokenizer.ids_.emplace(token, id).second) {
      return Error(Code::kInvalidArgument,
                   "vocabulary line " + std::to_string(id + 1) + " repeats an earlier one");
    }
    std::size_t& longest = tokenizer.longest_[FirstByte(token)];
    longest = std::max(longest, token.size());
  }
  for (int byte = 0; byte < 256; ++byte) {
    if (!tokenizer.ids_.contains(std::string(1, static_cast<char>(byte)))) {
      return Error(Code::kInvalidArgument, "vocabulary lacks byte " + std::to_string(byte));
    }
  }
  return tokenizer;
}

std::vector<TokenId> Tokenizer::Encode(std::string_view text) const {
  std::vector<TokenId> ids;
  while (!text.empty()) {
    std::size_t length = std::min(longest_[FirstByte(text)], text.size());
    auto found = ids_.find(text.substr(0, length));
    while (found == ids_.end()) found = ids_.find(text.substr(0, --length));  // ends at one byte
    ids.push_back(found->second);
    text.remove_prefix(length);
  }
  return ids;
}

Result<std::string> Tokenizer::Decode(std::span<const TokenId> ids) const {
  std::string text;
  for (const TokenId id : ids) {
    if (id >= bytes_.size()) {
      return Error(Code::kOutOfRange,
                   "token id " + std::to_string(id) + " of " + std::to_string(bytes_.size()));
    }
    text += bytes_[id];
  }
  return text;
}

}  // namespace kdn::llama

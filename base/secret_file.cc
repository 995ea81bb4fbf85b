#include "base/secret_file.h"

#include <sys/stat.h>

#include <fstream>

namespace kdn {
namespace {

int DigitOf(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

std::string_view Trimmed(std::string_view text) {
  constexpr std::string_view kWhiteSpace = " \t\r\n";
  const std::size_t first = text.find_first_not_of(kWhiteSpace);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kWhiteSpace) - first + 1);
}

}  // namespace

Result<std::vector<std::byte>> ParseSecret(std::string_view text, std::string_view what) {
  const std::string_view digits = Trimmed(text);
  std::vector<std::byte> secret;
  for (std::size_t i = 0; i + 1 < digits.size() && secret.size() <= kSecretBytesMax; i += 2) {
    const int high = DigitOf(digits[i]);
    const int low = DigitOf(digits[i + 1]);
    if (high < 0 || low < 0) break;
    secret.push_back(static_cast<std::byte>(high * 16 + low));
  }
  if (secret.size() * 2 != digits.size() || secret.size() < kSecretBytesMin ||
      secret.size() > kSecretBytesMax) {
    return Error(Code::kInvalidArgument,
                 std::string(what) + ": expected 32 to 2048 hexadecimal digits, two per byte");
  }
  return secret;
}

Result<std::vector<std::byte>> ReadSecretFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return Error(Code::kNotFound, path + ": cannot be read");
  std::string text(4 * kSecretBytesMax, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(file.gcount()));
  return ParseSecret(text, path);
}

bool ReadableByOthers(const std::string& path) {
  struct stat status{};
  return stat(path.c_str(), &status) == 0 && (status.st_mode & (S_IRGRP | S_IROTH)) != 0;
}

std::string SecretText(const std::vector<std::byte>& secret) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (const std::byte b : secret) {
    text.push_back(kDigits[static_cast<std::size_t>(b) >> 4]);
    text.push_back(kDigits[static_cast<std::size_t>(b) & 15]);
  }
  return text;
}

}  // namespace kdn

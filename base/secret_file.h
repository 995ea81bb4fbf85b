// Secrets that processes share come in files: hexadecimal digits, two per byte, white space around
// them ignored. Errors name the file and never its content.
//
// Thread-safety: safe.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace kdn {

inline constexpr std::size_t kSecretBytesMin = 16;
inline constexpr std::size_t kSecretBytesMax = 1024;

// Reads what SecretText() wrote. kInvalidArgument unless it has kSecretBytesMin to kSecretBytesMax
// bytes; `what` says in the error where the text is from.
[[nodiscard]] Result<std::vector<std::byte>> ParseSecret(std::string_view text,
                                                         std::string_view what);
// kNotFound if there is no such file, or it cannot be read.
[[nodiscard]] Result<std::vector<std::byte>> ReadSecretFile(const std::string& path);

// Whether more than its owner may read this file: a secret in it is known to others.
[[nodiscard]] bool ReadableByOthers(const std::string& path);

[[nodiscard]] std::string SecretText(const std::vector<std::byte>& secret);

}  // namespace kdn

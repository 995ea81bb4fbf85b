// Errors as values. Every fallible function in this project returns Status or Result<T>
// (base/result.h); exceptions never cross a folder boundary.
//
// Code values equal the gRPC canonical codes, so the RPC boundary is a cast and the C ABI,
// the Python exceptions and the wire all agree on one number.
//
// A .cu file may include this header, so it stays within C++17.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "base/export.h"

namespace kdn {

enum class Code : std::uint8_t {
  kOk = 0,
  kCancelled = 1,
  kUnknown = 2,
  kInvalidArgument = 3,
  kDeadlineExceeded = 4,
  kNotFound = 5,
  kAlreadyExists = 6,
  kPermissionDenied = 7,
  kResourceExhausted = 8,
  kFailedPrecondition = 9,
  kAborted = 10,
  kOutOfRange = 11,
  kUnimplemented = 12,
  kInternal = 13,
  kUnavailable = 14,
  kDataLoss = 15,
  kUnauthenticated = 16,
};

// The code's name as written in logs and on the command line, "not found" for kNotFound;
// "unknown" for a number that is no Code.
[[nodiscard]] KDN_API std::string_view CodeName(Code code);

// kUnknown for a number that is no Code: what a newer peer sent.
[[nodiscard]] Code CodeFromNumber(std::uint8_t number);

// A code and, off the hot path, a sentence for a human. A Status without a message does not
// allocate: a cache miss must cost no more than a branch.
class [[nodiscard]] Status {
 public:
  Status() = default;
  explicit Status(Code code) : code_(code) {}
  Status(Code code, std::string message) : code_(code), message_(std::move(message)) {}

  [[nodiscard]] bool ok() const { return code_ == Code::kOk; }
  [[nodiscard]] Code code() const { return code_; }
  [[nodiscard]] const std::string& message() const { return message_; }

  // "not found: no context named 'x'", for logs and error output.
  [[nodiscard]] KDN_API std::string ToString() const;

 private:
  Code code_ = Code::kOk;
  std::string message_;
};

}  // namespace kdn

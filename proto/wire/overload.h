// What an answer of kResourceExhausted carries when a daemon refused a request to protect itself or
// others: when to come back. An answer of that code without it says nothing of when.
//
// Thread-safety: values and pure functions.
#pragma once

#include <chrono>
#include <cstdint>
#include <string_view>

#include "base/result.h"
#include "proto/wire/message.h"

namespace kdn::wire {

// Why a request was shed. A number is protocol: never reuse one.
enum class ShedReason : std::uint8_t {
  kQueue = 1,           // as many requests or bytes are under way as may be
  kMemory = 2,          // the daemon is near its memory limit
  kTenantRequests = 3,  // the tenant's requests a second
  kTenantBytes = 4,     // the tenant's bytes a second
};
inline constexpr std::size_t kShedReasonCount = 5;  // those numbers and 0

// "queue", "memory", "tenant_requests", "tenant_bytes".
[[nodiscard]] std::string_view ShedReasonName(ShedReason reason);

// reason (1) ‖ priority (1) ‖ 0 (2) ‖ come back after, in ms (4)
struct Overload {
  ShedReason reason = ShedReason::kQueue;
  // Nothing of this priority or a lower one is wanted before; what is more urgent may be tried.
  Priority priority = Priority::kLoad;
  std::chrono::milliseconds retry_after{0};  // at most kRetryAfterMax

  void Encode(Buffer& out) const;
  static Result<Overload> Decode(ConstBytes bytes);
  friend bool operator==(const Overload&, const Overload&) = default;
};

// A daemon may not silence a caller for longer.
inline constexpr std::chrono::milliseconds kRetryAfterMax{10'000};

}  // namespace kdn::wire

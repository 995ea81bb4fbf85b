#include "proto/wire/overload.h"

#include <algorithm>

#include "proto/wire/fields.h"

namespace kdn::wire {

std::string_view ShedReasonName(ShedReason reason) {
  switch (reason) {
    case ShedReason::kQueue:
      return "queue";
    case ShedReason::kMemory:
      return "memory";
    case ShedReason::kTenantRequests:
      return "tenant_requests";
    case ShedReason::kTenantBytes:
      return "tenant_bytes";
  }
  return "unknown";
}

void Overload::Encode(Buffer& out) const {
  ByteWriter writer(out);
  writer.Integer(reason);
  writer.Integer(priority);
  writer.Zeros(2);
  const auto ms = std::clamp(retry_after, std::chrono::milliseconds(0), kRetryAfterMax);
  writer.Integer(static_cast<std::uint32_t>(ms.count()));
}

Result<Overload> Overload::Decode(ConstBytes bytes) {
  ByteReader in(bytes);
  Overload overload;
  overload.reason = DecodeAtMost<ShedReason>(in, kShedReasonCount - 1);
  overload.priority = DecodeAtMost<Priority>(in, kPriorityCount - 1);
  in.Zeros(2);
  const auto ms_max = static_cast<std::uint64_t>(kRetryAfterMax.count());
  overload.retry_after = std::chrono::milliseconds(DecodeAtMost<std::uint32_t>(in, ms_max));
  if (overload.reason == ShedReason{} || overload.priority == Priority::kUsual) in.Fail();
  return Decoded(std::move(overload), in);
}

}  // namespace kdn::wire

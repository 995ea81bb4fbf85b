// Data-plane messages: the requests and responses of transport calls. Fixed little-endian layouts,
// length-checked against base/limits.h before anything is allocated; docs/protocol.md draws them,
// tests/golden/wire holds their bytes.
//
// Every request begins with a RequestHead (24 bytes). A response carries no head: the call's code
// says whether it is there. Each message struct has Encode(), which appends, and a static Decode();
// Decode() answers kInvalidArgument for bytes that Encode() would not have written, whatever they
// are. Encode() requires counts and lengths within their limits.
//
// Thread-safety: values and pure functions.
#pragma once

#include <cstdint>
#include <vector>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/result.h"

namespace kdn::wire {

// A number is protocol: never reuse one.
enum class MessageType : std::uint16_t {
  // client to coordinator
  kLookup = 1,
  kPutStart = 2,
  kPutCommit = 3,
  kPutAbort = 4,
  kContextUpdate = 5,
  kContextGet = 6,
  // client or node to node
  kRead = 16,
  kPutPiece = 17,
  kReportCorrupt = 18,
  // coordinator to node
  kCommitObjects = 32,
  kDropObjects = 33,
  kVerifyObjects = 34,
};

struct RequestHead {
  MessageType type{};
  std::uint16_t version = 1;  // of this message's layout
  std::uint32_t reserved = 0;
  TraceId trace{};
};
inline constexpr std::size_t kRequestHeadBytes = 24;

void EncodeHead(const RequestHead& head, ByteWriter& out);
// What a request is, without reading the rest. kInvalidArgument if it is no head, kUnimplemented
// for a type or version that this build does not know: what a newer peer sent.
[[nodiscard]] Result<RequestHead> PeekHead(ConstBytes request);

using Buffer = std::vector<std::byte>;

}  // namespace kdn::wire

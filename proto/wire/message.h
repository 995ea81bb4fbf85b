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
#include <string_view>
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

// Who is served first where not all can be: the higher. A number is protocol.
enum class Priority : std::uint8_t {
  kUsual = 0,       // as the type says; see PriorityOf()
  kBackground = 1,  // moves, repair, scrubs: nobody waits
  kPut = 2,
  kPrefetch = 3,  // loads that an engine will want later
  kLoad = 4,      // an engine waits
};
inline constexpr std::size_t kPriorityCount = 5;

// "background", "put", "prefetch", "load"; "usual" for kUsual.
[[nodiscard]] std::string_view PriorityName(Priority priority);

struct RequestHead {
  MessageType type{};
  std::uint16_t version = 1;  // of this message's layout
  Priority priority = Priority::kUsual;
  TraceId trace{};
};
inline constexpr std::size_t kRequestHeadBytes = 24;

// What `head` asks for, never kUsual: what it says, or what requests of its type usually are.
// kLoad for reads and lookups, kPut for all that stores, kLoad for a coordinator's orders.
[[nodiscard]] Priority PriorityOf(const RequestHead& head);

void EncodeHead(const RequestHead& head, ByteWriter& out);
// What a request is, without reading the rest. kInvalidArgument if it is no head, kUnimplemented
// for a type or version that this build does not know: what a newer peer sent.
[[nodiscard]] Result<RequestHead> PeekHead(ConstBytes request);

using Buffer = std::vector<std::byte>;

}  // namespace kdn::wire

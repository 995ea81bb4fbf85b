#include "proto/wire/message.h"

#include "proto/wire/fields.h"

namespace kdn::wire {
namespace {

// Of the newest layout of a message; older ones are understood too.
constexpr std::uint16_t VersionMax(MessageType type) {
  return type == MessageType::kLookup || type == MessageType::kPutCommit ? 2 : 1;
}

bool IsKnownVersion(const RequestHead& head) {
  return head.version >= 1 && head.version <= VersionMax(head.type);
}

bool IsKnown(MessageType type) {
  switch (type) {
    case MessageType::kLookup:
    case MessageType::kPutStart:
    case MessageType::kPutCommit:
    case MessageType::kPutAbort:
    case MessageType::kContextUpdate:
    case MessageType::kContextGet:
    case MessageType::kRead:
    case MessageType::kPutPiece:
    case MessageType::kReportCorrupt:
    case MessageType::kCommitObjects:
    case MessageType::kDropObjects:
    case MessageType::kVerifyObjects:
      return true;
  }
  return false;
}

RequestHead ReadHead(ByteReader& in) {
  RequestHead head;
  head.type = in.Integer<MessageType>();
  head.version = in.Integer<std::uint16_t>();
  head.priority = DecodeAtMost<Priority>(in, kPriorityCount - 1);
  in.Zeros(3);
  head.trace = in.OpaqueId<TraceId>();
  return head;
}

}  // namespace

std::string_view PriorityName(Priority priority) {
  switch (priority) {
    case Priority::kBackground:
      return "background";
    case Priority::kPut:
      return "put";
    case Priority::kPrefetch:
      return "prefetch";
    case Priority::kLoad:
      return "load";
    case Priority::kUsual:
      break;
  }
  return "usual";
}

Priority PriorityOf(const RequestHead& head) {
  if (head.priority != Priority::kUsual) return head.priority;
  switch (head.type) {
    case MessageType::kPutStart:
    case MessageType::kPutCommit:
    case MessageType::kPutAbort:
    case MessageType::kContextUpdate:
    case MessageType::kPutPiece:
      return Priority::kPut;
    case MessageType::kLookup:
    case MessageType::kContextGet:
    case MessageType::kRead:
    case MessageType::kReportCorrupt:
    case MessageType::kCommitObjects:
    case MessageType::kDropObjects:
    case MessageType::kVerifyObjects:
      break;
  }
  return Priority::kLoad;
}

void EncodeHead(const RequestHead& head, ByteWriter& out) {
  out.Integer(head.type);
  out.Integer(head.version);
  out.Integer(head.priority);
  out.Zeros(3);
  out.Id(head.trace);
}

Result<RequestHead> PeekHead(ConstBytes request) {
  ByteReader in(request);
  const RequestHead head = ReadHead(in);
  if (!in.ok()) return Error(Code::kInvalidArgument);
  if (!IsKnown(head.type) || !IsKnownVersion(head)) return Error(Code::kUnimplemented);
  return head;
}

RequestHead DecodeHead(MessageType type, ByteReader& in) {
  const RequestHead head = ReadHead(in);
  if (head.type != type || !IsKnownVersion(head)) in.Fail();
  return head;
}

}  // namespace kdn::wire

// What the layouts of several messages share: checked counts, ranges, parts, lists of ids. Inside
// proto/wire only.
//
// Thread-safety: pure functions.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/limits.h"
#include "base/result.h"
#include "proto/object/header.h"
#include "proto/wire/message.h"

namespace kdn::wire {

// The head of a request of this type; fails `in` for another type or version.
[[nodiscard]] RequestHead DecodeHead(MessageType type, ByteReader& in);

// A count of at most `count_max` elements that take at least `bytes_min` each. 0, and `in` fails,
// if it says more, or more than the bytes that are left can hold: what is reserved for it is
// bounded by what arrived.
template <WireInteger T>
[[nodiscard]] std::size_t DecodeCount(ByteReader& in, std::size_t count_max,
                                      std::size_t bytes_min) {
  const auto count = static_cast<std::size_t>(in.Integer<T>());
  if (count > count_max || count > in.rest().size() / bytes_min) {
    in.Fail();
    return 0;
  }
  return count;
}

// An integer of at most `max`; fails `in` otherwise.
template <WireInteger T>
[[nodiscard]] T DecodeAtMost(ByteReader& in, std::uint64_t max) {
  const T value = in.Integer<T>();
  if (static_cast<std::uint64_t>(value) > max) {
    in.Fail();
    return T{};
  }
  return value;
}

[[nodiscard]] LevelSet DecodeLevels(ByteReader& in);  // one byte
[[nodiscard]] Code DecodeCode(ByteReader& in);        // one byte
[[nodiscard]] Provenance DecodeProvenance(ByteReader& in);

void EncodeRange(const Range& range, ByteWriter& out);
[[nodiscard]] Range DecodeRange(std::uint32_t end_max, ByteReader& in);
void EncodePartShape(const PartShape& shape, ByteWriter& out);
[[nodiscard]] PartShape DecodePartShape(ByteReader& in);

void EncodeLevelBytes(const LevelBytes& bytes, ByteWriter& out);
[[nodiscard]] LevelBytes DecodeLevelBytes(ByteReader& in);

// Ids one after the other, without a count.
template <class Id>
void EncodeIds(const std::vector<Id>& ids, ByteWriter& out) {
  static_assert(sizeof(Id) == Id::kSize && std::is_trivially_copyable_v<Id>);
  out.Bytes(std::as_bytes(std::span(ids)));
}
// Requires: a count that DecodeCount() has checked.
template <class Id>
[[nodiscard]] std::vector<Id> DecodeIds(std::size_t count, ByteReader& in) {
  std::vector<Id> ids(count);
  const ConstBytes raw = in.Bytes(count * Id::kSize);
  if (!raw.empty()) std::memcpy(ids.data(), raw.data(), raw.size());
  return ids;
}

[[nodiscard]] std::vector<std::byte> DecodeBuffer(std::size_t size_max, ByteReader& in);
[[nodiscard]] std::string DecodeText(std::size_t size_max, ByteReader& in);

// `message` if `in` was read to its end without failing.
template <class Message>
[[nodiscard]] Result<Message> Decoded(Message&& message, const ByteReader& in) {
  if (!in.AtEnd()) return Error(Code::kInvalidArgument);
  return std::forward<Message>(message);
}

}  // namespace kdn::wire

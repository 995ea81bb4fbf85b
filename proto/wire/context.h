// Contexts as clients name and extend them. Named contexts are hard state: an update is
// acknowledged once the coordinator's metastore has it on disk.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "proto/object/header.h"
#include "proto/wire/message.h"

namespace kdn::wire {

// Names that begin so are KDN's own: what clients keep for one another, such as profiles. Such a
// context is pinned, and what it names is fixed by whoever makes it first: an update that would
// change it is refused. Only an operator changes or removes it.
inline constexpr std::string_view kOwnContextPrefix = "kdn/";

// Puts `keys` at [first_chunk, ...) of the context's list and cuts what followed: a suffix put
// names only the new chunks. Makes the context if there is none. kOutOfRange if first_chunk is
// beyond the present end; kFailedPrecondition if the context is of another model; kAlreadyExists if
// it is one of KDN's own and has other keys.
struct ContextUpdateRequest {
  RequestHead head{MessageType::kContextUpdate};
  std::string name;
  ModelFingerprint model;
  std::uint32_t first_chunk = 0;
  std::uint64_t token_count = 0;  // of the whole context after the update
  std::vector<ChunkKey> keys;

  void Encode(Buffer& out) const;
  static Result<ContextUpdateRequest> Decode(ConstBytes bytes);
};

struct ContextGetRequest {
  RequestHead head{MessageType::kContextGet};
  std::string name;

  void Encode(Buffer& out) const;
  static Result<ContextGetRequest> Decode(ConstBytes bytes);
};

struct ContextGetResponse {
  ModelFingerprint model;
  std::uint64_t token_count = 0;
  std::vector<ChunkKey> keys;

  void Encode(Buffer& out) const;
  static Result<ContextGetResponse> Decode(ConstBytes bytes);
};

}  // namespace kdn::wire

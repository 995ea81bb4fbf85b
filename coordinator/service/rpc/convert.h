// Between protocol buffers and the core's types. Every length is checked: a caller may be anybody
// on this host.
//
// Thread-safety: pure functions.
#pragma once

#include <google/protobuf/repeated_field.h>
#include <grpcpp/grpcpp.h>

#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "coordinator/core/context.h"
#include "coordinator/core/hard_state.h"
#include "kdn/v1/contexts.pb.h"
#include "kdn/v1/membership.pb.h"
#include "proto/wire/lookup.h"

namespace kdn::coordinator::rpc {

[[nodiscard]] inline grpc::Status ToGrpc(const Status& status) {
  return {static_cast<grpc::StatusCode>(status.code()), status.message()};
}

template <class Id>
[[nodiscard]] Result<Id> IdOf(std::string_view bytes, std::string_view what) {
  ByteReader in(AsBytes(bytes));
  Id id = in.OpaqueId<Id>();
  if (in.AtEnd()) return id;
  return Error(Code::kInvalidArgument, std::string(what) + " has " + std::to_string(bytes.size()) +
                                           " bytes, not " + std::to_string(Id::kSize));
}

template <class Id>
[[nodiscard]] std::string BytesOf(const Id& id) {
  return std::string(AsText(id.bytes));
}

[[nodiscard]] std::vector<std::string> LevelNames(LevelSet levels);
// No names mean all levels.
[[nodiscard]] Result<LevelSet> LevelsOf(
    const google::protobuf::RepeatedPtrField<std::string>& names);
[[nodiscard]] Result<std::vector<ChunkKey>> KeysOf(
    const google::protobuf::RepeatedPtrField<std::string>& keys);

void FillNodeList(const wire::NodeMap& map, v1::NodeList& out);
void FillContext(const Context& context, bool with_keys, v1::Context& out);

}  // namespace kdn::coordinator::rpc

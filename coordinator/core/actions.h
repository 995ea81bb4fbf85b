// What the deciding core wants done. The core itself does no I/O, starts no threads and reads no
// clock: whoever drives it (the service, a simulator) carries out these actions and comes back with
// what became of them.
//
// Thread-safety: values.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "coordinator/core/context.h"
#include "coordinator/core/directory.h"
#include "coordinator/metastore/metastore.h"
#include "proto/wire/node_ops.h"
#include "proto/wire/put.h"

namespace kdn::coordinator {

enum class ReplyId : std::uint64_t {};     // who asked; given by the driver
enum class NodeCallId : std::uint64_t {};  // 0: the core wants no answer
enum class WriteId : std::uint64_t {};

// Tell one shard of a node. Unless the id is 0, exactly one Core::OnNodeAnswer() must follow, also
// when the node is gone.
struct NodeCall {
  NodeCallId id{};
  NodeId node{};
  std::uint32_t shard = 0;
  std::string endpoint;
  std::variant<wire::CommitObjectsRequest, wire::DropObjectsRequest> request;
};

struct Registered {
  NodeId node{};
  wire::NodeMap map;
};

// Answers a question that could not be answered at once. Each such question gets exactly one.
struct Answer {
  ReplyId to{};
  Result<std::variant<wire::PutCommitResponse, Context, Registered>> body;
};

// Draws the ids of writes.
class WriteIds {
 public:
  [[nodiscard]] WriteId Next() { return static_cast<WriteId>(++last_); }

 private:
  std::uint64_t last_ = 0;
};

// Make hard state durable, in the order of the actions; Core::OnWritten() must follow.
struct MetaWrite {
  WriteId id{};
  MetaBatch batch;
};

struct Actions {
  std::vector<NodeCall> calls;
  std::vector<Answer> answers;
  std::vector<MetaWrite> writes;

  void Clear() {
    calls.clear();
    answers.clear();
    writes.clear();
  }
};

}  // namespace kdn::coordinator

// Obeys the coordinator: makes puts visible, drops, verifies. Refuses anyone else, and a
// coordinator whose reign has ended.
//
// Thread-safety: owned by one shard.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "node/shard_context.h"
#include "proto/wire/node_ops.h"

namespace kdn::node {

class ControlHandler {
 public:
  // `context` outlives this object.
  explicit ControlHandler(ShardContext& context) : context_(context) {}

  void OnCall(wire::MessageType type, std::unique_ptr<transport::Exchange> exchange);
  // False if the call is not one of these.
  bool OnAbandoned(transport::Exchange& exchange);
  // What the store reports of a commit.
  void OnCommit(const storage::Completion& completion);
  // Verifies one object, if any is to be verified: it blocks on the disk, so calls in between get
  // their turn. True if there was one.
  bool VerifyOne();
  [[nodiscard]] bool HasWork() const { return !verifying_.empty(); }

 private:
  struct ControlCall {
    std::unique_ptr<transport::Exchange> exchange;  // null: the caller is gone
    wire::ObjectCodesResponse response;
    std::size_t open = 0;  // objects whose code is not known yet
    std::vector<storage::ObjectId> to_verify;
    std::size_t verified = 0;
  };
  struct PendingCommit {
    std::shared_ptr<ControlCall> call;  // shared by the commits of one call
    std::size_t object;
    storage::ObjectId id;
    TraceId trace;
    TimePoint began;
  };
  void TellCommit(const PendingCommit& commit, const storage::Completion& completion);

  template <class Request>
  void Handle(std::unique_ptr<transport::Exchange> exchange);
  void Obey(const wire::CommitObjectsRequest& request, std::shared_ptr<ControlCall> call);
  void Obey(const wire::DropObjectsRequest& request, std::shared_ptr<ControlCall> call);
  void Obey(const wire::VerifyObjectsRequest& request, std::shared_ptr<ControlCall> call);
  [[nodiscard]] Code Drop(const storage::ObjectId& id, LevelSet levels);
  // What is there of the object; nothing if it is not visible.
  [[nodiscard]] std::optional<storage::StoredObject> Find(const storage::ObjectId& id) const;
  [[nodiscard]] LevelSet OnDisk(const storage::ObjectId& id) const;
  void Settle(ControlCall& call, std::size_t object, Code code, LevelSet on_disk);
  void Finish(ControlCall& call);
  void Refuse(transport::Exchange& exchange, Code code);

  ShardContext& context_;
  std::unordered_map<const transport::Exchange*, std::shared_ptr<ControlCall>> calls_;
  std::unordered_map<std::uint64_t, PendingCommit> commits_;  // by the store's tag
  std::deque<std::shared_ptr<ControlCall>> verifying_;
  std::uint64_t next_tag_ = 1;
};

}  // namespace kdn::node

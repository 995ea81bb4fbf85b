// A core with everything around it simulated: a metastore that is a map, nodes that are told apart
// by number, time that is an argument. For tests that look at one decision at a time.
//
// Thread-safety: not safe; caller synchronises.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "base/random.h"
#include "coordinator/core/core.h"
#include "tests/coordinator/map_metastore.h"

namespace kdn::coordinator {

inline constexpr TenantId kTestTenant{7};

template <class Id>
[[nodiscard]] Id NumberedId(std::uint64_t number) {
  SeededRandom random(number);
  return RandomId<Id>(random);
}

[[nodiscard]] inline ChunkKey NumberedKey(std::uint64_t number) {
  return NumberedId<ChunkKey>(number);
}

class CoreWorld {
 public:
  explicit CoreWorld(CoreOptions options = {}) : options_(std::move(options)) {
    options_.cluster_secret.resize(32, std::byte{0x5A});
    Restart();
  }

  // A new reign over the same metastore; everything soft is gone.
  void Restart() {
    auto state = BeginReign(store, ClusterId{}, random);
    if (!state) std::abort();
    core = std::move(*Core::Make(options_, *state, random, now));
    actions.Clear();
  }

  // Carries out the writes that wait; what follows from them too.
  void WriteAll() {
    while (!actions.writes.empty()) {
      const std::vector<MetaWrite> writes = std::exchange(actions.writes, {});
      for (const MetaWrite& write : writes) {
        core->OnWritten(write.id, store.Write(write.batch), now, actions);
      }
    }
  }

  static NodeDescription Describe(std::uint64_t number) {
    NodeDescription node;
    node.uuid = NumberedId<PeerId>(1000 + number);
    node.host = NumberedId<HostId>(2000 + number);
    node.shards = {"node-" + std::to_string(number) + ":1"};
    node.dram_bytes = std::uint64_t{1} << 30;
    return node;
  }

  // Registers node `number`; its id, unless the core refused.
  Result<NodeId> Register(const NodeDescription& node) {
    core->Register(node, NewReply(), now, actions);
    WriteAll();
    const Answer answer = TakeAnswer();
    if (!answer.body) return std::unexpected(answer.body.error());
    return std::get<Registered>(*answer.body).node;
  }
  NodeId AddNode(std::uint64_t number) { return Register(Describe(number)).value(); }

  // A chain of `count` chunks whose keys are numbered from `first`.
  static wire::PutStartRequest Chain(std::uint64_t first, std::size_t count,
                                     std::uint16_t part_count = 1) {
    wire::PutStartRequest request;
    request.head.trace = NumberedId<TraceId>(first + 77777);
    request.provenance = kExactProvenance;
    request.part_count = part_count;
    ChunkKey parent;
    for (std::size_t i = 0; i < count; ++i) {
      const ChunkKey key = NumberedKey(first + i);
      request.chunks.push_back({key, parent, 256, 1 << 20});
      parent = key;
    }
    return request;
  }

  static ObjectDigest DigestOf(const ChunkKey& key, std::uint16_t part) {
    ObjectDigest digest;
    std::copy_n(key.bytes.begin(), digest.checksum.bytes.size(), digest.checksum.bytes.begin());
    digest.checksum.bytes[0] ^= static_cast<std::byte>(part + 1);
    return digest;
  }

  // The commit of one part of these chunks, acknowledged by these nodes.
  static wire::PutCommitRequest CommitOf(const wire::PutGrant& grant,
                                         const std::vector<ChunkKey>& keys,
                                         const std::vector<NodeId>& nodes, std::uint16_t part = 0,
                                         std::uint16_t part_count = 1) {
    wire::PutCommitRequest request;
    request.ticket = grant.ticket;
    for (const ChunkKey& key : keys) {
      wire::PutCommitRequest::Object object;
      object.key = key;
      object.shape.number = part;
      object.shape.count = part_count;
      object.shape.layers = {part, 1};
      object.shape.kv_heads = {0, 2};
      object.level_bytes[static_cast<std::size_t>(Level::kExact)] = 4096;
      for (const NodeId node : nodes) object.acks.push_back({node, DigestOf(key, part)});
      request.objects.push_back(object);
    }
    return request;
  }

  ReplyId Commit(const wire::PutCommitRequest& request) {
    const ReplyId reply = NewReply();
    core->PutCommit(kTestTenant, request, reply, now, actions);
    return reply;
  }

  // Answers every CommitObjects that is out: kOk and on disk, or `code`.
  void AnswerCommits(Code code = Code::kOk) {
    for (const NodeCall& call : std::exchange(actions.calls, {})) {
      if (const auto* commit = std::get_if<wire::CommitObjectsRequest>(&call.request)) {
        wire::ObjectCodesResponse codes;
        codes.objects.resize(commit->objects.size(), {code, Level::kExact});
        core->OnNodeAnswer(call.id, Code::kOk, codes, actions);
      }
    }
  }

  // Every CommitObjects that is out ends with `code` and says nothing of its objects.
  void FailCommitCalls(Code code) {
    for (const NodeCall& call : std::exchange(actions.calls, {})) {
      core->OnNodeAnswer(call.id, code, {}, actions);
    }
  }

  // The only answer there is.
  Answer TakeAnswer() {
    if (actions.answers.size() != 1) std::abort();
    Answer answer = std::move(actions.answers.front());
    actions.answers.clear();
    return answer;
  }
  wire::PutCommitResponse TakeCommitted() {
    return std::get<wire::PutCommitResponse>(TakeAnswer().body.value());
  }

  std::size_t LookupLength(const std::vector<ChunkKey>& keys) {
    wire::LookupRequest request;
    request.head.version = wire::kLookupVersionCompact;
    request.chains = {keys};
    wire::Buffer out;
    core->Lookup(kTestTenant, request.View(), out);
    return wire::LookupResponse::Decode(out).value().chunks.size();
  }

  void Advance(std::chrono::milliseconds by) {
    now += by;
    core->Tick(now, actions);
  }

  ReplyId NewReply() { return static_cast<ReplyId>(++last_reply_); }

  SeededRandom random{42};
  TimePoint now{std::chrono::hours(1)};
  MapMetastore store;
  std::unique_ptr<Core> core;
  Actions actions;

 private:
  CoreOptions options_;
  std::uint64_t last_reply_ = 0;
};

}  // namespace kdn::coordinator

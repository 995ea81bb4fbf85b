// Answers the client's requests in this process, from storage: a coordinator and a node of one,
// with neither sockets nor tickets' secrets.
//
// Thread-safety: as Calls.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/random.h"
#include "client/core/calls.h"
#include "proto/wire/context.h"
#include "proto/wire/lookup.h"
#include "proto/wire/put.h"
#include "proto/wire/read.h"
#include "storage/disk_tier.h"
#include "storage/object_store.h"

namespace kdn::client {

class EmbeddedCalls final : public Calls {
 public:
  // `disk` may be null: DRAM only. `clock` and `random` outlive this.
  static Result<std::unique_ptr<EmbeddedCalls>> Make(TenantId tenant,
                                                     std::unique_ptr<storage::DiskTier> disk,
                                                     std::unique_ptr<storage::ObjectStore> store,
                                                     const Clock& clock, Random& random);
  ~EmbeddedCalls() override;

  CallId Start(CallRequest request) override;
  void Cancel(CallId id) override;
  [[nodiscard]] bool Avoid(const CallTarget& /*target*/) const override { return false; }
  // This process is never silent.
  [[nodiscard]] TimePoint LastHeard(const CallTarget& /*target*/) const override {
    return clock_.Now();
  }
  [[nodiscard]] bool Connected() const override { return true; }
  bool Poll() override;
  [[nodiscard]] int WaitFd() const override { return epoll_fd_; }
  Result<std::unique_ptr<BulkMemory>> MakeMemory(std::size_t size_bytes) override {
    return MapPrivateMemory(size_bytes);
  }

 private:
  static constexpr NodeId kSelf{1};  // the only node there is

  // A put that has been granted and not yet committed whole.
  struct Put {
    std::uint16_t part_count = 1;
    TimePoint expires;
    std::map<ChunkKey, std::map<std::uint16_t, ObjectDigest>> parts;  // those told of by commits
  };
  // A commit that waits for the store.
  struct CommitWait {
    CallId call{};
    std::size_t left = 0;
    wire::PutCommitResponse response;
  };
  struct ObjectWait {
    std::shared_ptr<CommitWait> wait;
    std::size_t object = 0;
  };

  EmbeddedCalls(TenantId tenant, std::unique_ptr<storage::DiskTier> disk,
                std::unique_ptr<storage::ObjectStore> store, const Clock& clock, Random& random);

  void Answer(CallId id);
  void AnswerLookup(CallId id, ConstBytes request);
  void AnswerPutStart(CallId id, ConstBytes request);
  void AnswerPutPiece(CallId id, ConstBytes request);
  void AnswerPutCommit(CallId id, ConstBytes request);
  void AnswerPutAbort(CallId id, ConstBytes request);
  void AnswerContextUpdate(CallId id, ConstBytes request);
  void AnswerContextGet(CallId id, ConstBytes request);
  void AnswerRead(CallId id, ConstBytes request);
  void AnswerReportCorrupt(CallId id, ConstBytes request);

  [[nodiscard]] std::optional<wire::ChunkLocation> Locate(const ChunkKey& key) const;
  [[nodiscard]] std::vector<wire::ChunkLocation> Match(const std::vector<ChunkKey>& chain,
                                                       const wire::LookupRequest& request) const;
  Result<wire::PutPieceResponse> TakePiece(const wire::PutPieceRequest& request,
                                           const std::vector<ConstBytes>& bulk);
  void CommitChunk(const PutId& put_id, const ChunkKey& key, const Put& put,
                   const std::shared_ptr<CommitWait>& wait, std::size_t object);
  void OnCompletion(storage::Completion completion);
  void SendRead(CallId id, const storage::ReadResult& read);
  [[nodiscard]] std::string ContextValueName(const std::string& name) const;
  Status SaveContext(const std::string& name, const wire::ContextGetResponse& context);
  [[nodiscard]] Result<wire::ContextGetResponse> LoadContext(const std::string& name);
  void End(CallId id, Code code, ConstBytes response = {});
  template <class Response>
  void EndWith(CallId id, const Response& response) {
    wire::Buffer out;
    response.Encode(out);
    End(id, Code::kOk, out);
  }
  void ExpirePuts();

  const TenantId tenant_;
  std::unique_ptr<storage::DiskTier> disk_;
  std::unique_ptr<storage::ObjectStore> store_;
  const Clock& clock_;
  Random& random_;
  int epoll_fd_ = -1;
  int wake_fd_ = -1;
  std::uint64_t next_id_ = 1;
  std::map<CallId, CallRequest> calls_;
  std::deque<CallId> unanswered_;
  std::map<PutId, Put> puts_;
  std::map<std::uint64_t, ObjectWait> commits_;               // by the store's tag
  std::map<std::string, wire::ContextGetResponse> contexts_;  // without a disk
};

}  // namespace kdn::client

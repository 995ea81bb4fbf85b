// A lookup under way: one request to the coordinator (two for a named context), one answer.
//
// Thread-safety: safe; the handle waits on a condition that the I/O loop signals.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "client/core/client_context.h"
#include "client/core/lookup_result.h"
#include "client/core/model.h"

namespace kdn::client {

class LookupOp final : public std::enable_shared_from_this<LookupOp> {
 public:
  LookupOp(std::shared_ptr<ClientContext> context, const Model& model, LookupOptions options);

  // One chain per chunk secret, all of equal length; the tokens they stand for.
  void Start(std::vector<std::vector<ChunkKey>> chains, std::uint64_t token_count);
  void StartContext(std::string name);

  [[nodiscard]] bool Done();
  LookupResult Take();
  void GiveUp();

 private:
  void AskContext(std::string name);
  void AskDirectory(std::vector<std::vector<ChunkKey>> chains);
  void OnContext(Code code, ConstBytes response);
  void OnDirectory(const std::vector<std::vector<ChunkKey>>& chains, Code code,
                   ConstBytes response);
  [[nodiscard]] bool Pressed() const;
  void Finish(LookupResult result);

  const std::shared_ptr<ClientContext> context_;
  const ModelFingerprint model_;
  const std::uint32_t chunk_tokens_;
  LookupOptions options_;  // with a trace id from its beginning
  const TimePoint begun_;
  const TimePoint deadline_;
  std::uint64_t token_count_ = 0;
  CallId call_{};  // of the I/O loop

  std::mutex mutex_;
  std::condition_variable changed_;
  bool done_ = false;    // guarded by mutex_
  LookupResult result_;  // guarded by mutex_
};

}  // namespace kdn::client

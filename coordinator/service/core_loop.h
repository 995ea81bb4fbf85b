// The thread on which the core decides. It answers clients' calls, takes questions from gRPC's
// threads through a mailbox, carries out what the core decided, and moves time on. Nothing on it
// waits for a disk, a connection or a lock that is held for long: lookups never queue behind those.
//
// Thread-safety: safe, but for Start() and Stop(), which one thread calls once each.
#pragma once

#include <poll.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <variant>
#include <vector>

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "coordinator/core/core.h"
#include "coordinator/service/admission.h"
#include "coordinator/service/core_metrics.h"
#include "coordinator/service/credentials.h"
#include "coordinator/service/data_calls.h"
#include "coordinator/service/event_hub.h"
#include "coordinator/service/mailbox.h"
#include "coordinator/service/meta_writer.h"
#include "coordinator/service/node_links.h"
#include "coordinator/service/question.h"
#include "transport/channel.h"

namespace kdn::coordinator {

class CoreLoop {
 public:
  using Decided = std::variant<wire::PutCommitResponse, Context, Registered>;

  // What it works with; all outlive it.
  struct Surroundings {
    Metastore& metastore;
    transport::Domain& domain;
    transport::Identity identity;  // as which it connects to nodes
    Credentials& credentials;
    const Clock& clock;
    Log& log;
    MetricRegistry& metrics;
    Admission& admission;
    RequestLines lines;  // about clients' calls
  };

  CoreLoop(std::unique_ptr<Core> core, const Surroundings& surroundings);
  ~CoreLoop();

  // Listens for clients at `endpoint` and starts the thread.
  Status Start(const std::string& endpoint);
  // Ends the thread and everything that waits for it.
  void Stop();
  // Requires: started.
  [[nodiscard]] const std::string& endpoint() const { return endpoint_; }

  // Runs `ask` on the core's thread and returns its answer, from any other thread.
  // kResourceExhausted if too many ask, kUnavailable when stopping, kDeadlineExceeded after two
  // seconds.
  template <class T>
  [[nodiscard]] Result<T> Ask(std::function<Result<T>(Core&)> ask);
  // The same for questions that the core answers later.
  using Later = std::function<void(Core&, ReplyId, TimePoint now, Actions&)>;
  [[nodiscard]] Result<Decided> AskLater(Later ask);
  // Sends a request to a shard of a node and waits for the answer.
  [[nodiscard]] Result<wire::ObjectCodesResponse> AskNode(const std::string& endpoint,
                                                          wire::Buffer request,
                                                          std::chrono::milliseconds timeout);

  // All hard state as it is now, what was acknowledged included. Dies before this object.
  [[nodiscard]] std::unique_ptr<MetaSnapshot> TakeSnapshot() const {
    return around_.metastore.TakeSnapshot();
  }

  // Whether the directory is as complete as it will become without further puts.
  [[nodiscard]] bool ready() const { return ready_; }
  [[nodiscard]] EventHub& events() { return events_; }
  [[nodiscard]] TimePoint began() const { return began_; }
  [[nodiscard]] const Clock& clock() const { return around_.clock; }

 private:
  void Run();
  void WaitForWork();
  void Act();
  void Send(NodeCall call);
  void Answered(Answer answer);
  void Tick();
  [[nodiscard]] ReplyId NewReply() { return static_cast<ReplyId>(next_reply_++); }

  Surroundings around_;
  std::unique_ptr<Core> core_;
  const TimePoint began_;
  Actions actions_;
  Mailbox mailbox_;
  EventHub events_;
  CoreMetrics core_metrics_;
  DataCalls data_calls_;
  std::unique_ptr<transport::Server> server_;
  std::string endpoint_;
  std::uint64_t next_reply_ = 1;
  std::map<ReplyId, Reply<Decided>> waiting_;  // gRPC's threads
  std::vector<Mailbox::Task> tasks_;           // being done; reused
  std::vector<int> wait_fds_;
  std::vector<pollfd> polled_;  // reused, as is the one above
  TimePoint next_tick_;
  bool stopping_ = false;  // of the loop's thread
  std::atomic<bool> ready_{false};
  std::unique_ptr<NodeLinks> links_;
  std::unique_ptr<MetaWriter> writer_;
  std::thread thread_;
};

inline constexpr std::chrono::milliseconds kAskTimeout{2000};

template <class T>
Result<T> CoreLoop::Ask(std::function<Result<T>(Core&)> ask) {
  Question<T> question;
  const bool posted =
      mailbox_.Post([this, ask = std::move(ask), reply = question.TakeReply()]() mutable {
        reply.Set(ask(*core_));
      });
  if (!posted) return Error(Code::kResourceExhausted, "the coordinator is overloaded or stopping");
  return question.Wait(kAskTimeout);
}

}  // namespace kdn::coordinator

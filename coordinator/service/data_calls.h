// Answers clients' calls over transport: Lookup, PutStart, PutCommit, PutAbort, ContextUpdate,
// ContextGet. The tenant is the connection's, as proved in its Hello; no message can name another.
//
// Thread-safety: owned by the core's thread.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string_view>

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/request_lines.h"
#include "coordinator/core/core.h"
#include "coordinator/service/admission.h"
#include "transport/channel.h"

namespace kdn::coordinator {

class DataCalls final : public transport::Service {
 public:
  // Carries out what the core decided; called before OnCall() returns.
  using Act = std::function<void()>;
  // Gives an answer's id to a question.
  using NewReply = std::function<ReplyId()>;

  // Where it tells what it did.
  struct Reports {
    MetricRegistry& metrics;
    Log& log;
    RequestLines lines;
  };

  // All outlive this object; `actions` is where the core puts what `act` carries out.
  DataCalls(Core& core, Actions& actions, Act act, NewReply new_reply, Admission& admission,
            const Clock& clock, const Reports& reports);

  void OnCall(std::unique_ptr<transport::Exchange> call) override;
  void OnMoved(transport::Exchange& call, std::uint32_t piece, Code code) override;
  void OnAbandoned(transport::Exchange& call) override;

  // False if the answer is for somebody else.
  bool OnAnswer(Answer& answer);

 private:
  using Handler = Status (DataCalls::*)(std::unique_ptr<transport::Exchange>& call);
  struct Kind {
    wire::MessageType type;
    Handler handle;
    std::string_view name;  // in log lines
  };
  static const std::array<Kind, 6> kKinds;
  // Answered later.
  struct Waiting {
    std::unique_ptr<transport::Exchange> call;
    std::string_view name;
    TraceId trace;
    TimePoint began;
  };
  // Each finishes the call, or takes it to answer later, or says why not.
  Status Lookup(std::unique_ptr<transport::Exchange>& call);
  Status PutStart(std::unique_ptr<transport::Exchange>& call);
  Status PutCommit(std::unique_ptr<transport::Exchange>& call);
  Status PutAbort(std::unique_ptr<transport::Exchange>& call);
  Status ContextUpdate(std::unique_ptr<transport::Exchange>& call);
  Status ContextGet(std::unique_ptr<transport::Exchange>& call);

  // Answers the call, and returns true, if there is no room for it.
  [[nodiscard]] bool Shed(const wire::RequestHead& head, transport::Exchange& call);
  template <class Response>
  void Finish(transport::Exchange& call, const Response& response);
  void Tell(std::string_view name, const TraceId& trace, TimePoint began, Code code);
  [[nodiscard]] ReplyId Keep(std::unique_ptr<transport::Exchange>& call);

  Core& core_;
  Actions& actions_;
  const Act act_;
  const NewReply new_reply_;
  Admission& admission_;
  const Clock& clock_;
  Histogram& lookup_time_;
  std::map<std::string_view, Histogram*> call_times_;  // by the call's name
  Counter& refused_;
  Log& log_;
  const RequestLines lines_;
  std::map<ReplyId, Waiting> waiting_;
  Waiting current_;      // what Keep() takes: the call at hand, its exchange apart
  wire::Buffer buffer_;  // of responses; reused
};

}  // namespace kdn::coordinator

#include "coordinator/service/data_calls.h"

#include <algorithm>
#include <array>
#include <utility>

#include "proto/wire/context.h"

namespace kdn::coordinator {
namespace {

// Beyond this many unanswered commits and context updates callers are told to come back.
constexpr std::size_t kWaitingMax = 1U << 16;

}  // namespace

const std::array<DataCalls::Kind, 6> DataCalls::kKinds = {
    Kind{wire::MessageType::kLookup, &DataCalls::Lookup, "lookup"},
    Kind{wire::MessageType::kPutStart, &DataCalls::PutStart, "put start"},
    Kind{wire::MessageType::kPutCommit, &DataCalls::PutCommit, "put commit"},
    Kind{wire::MessageType::kPutAbort, &DataCalls::PutAbort, "put abort"},
    Kind{wire::MessageType::kContextUpdate, &DataCalls::ContextUpdate, "context update"},
    Kind{wire::MessageType::kContextGet, &DataCalls::ContextGet, "context get"},
};

DataCalls::DataCalls(Core& core, Actions& actions, Act act, NewReply new_reply,
                     Admission& admission, const Clock& clock, const Reports& reports)
    : core_(core),
      actions_(actions),
      act_(std::move(act)),
      new_reply_(std::move(new_reply)),
      admission_(admission),
      clock_(clock),
      lookup_time_(reports.metrics.HistogramOf("kdn_coordinator_lookup_seconds",
                                               "Time to answer a lookup, without the network")),
      refused_(reports.metrics.CounterOf("kdn_coordinator_calls_refused_total",
                                         "Clients' calls that were answered with an error")),
      log_(reports.log),
      lines_(reports.lines) {
  for (const Kind& kind : kKinds) {
    call_times_[kind.name] = &reports.metrics.HistogramOf(
        "kdn_coordinator_call_seconds", "Time until a client's call was answered, by call",
        "call=\"" + std::string(kind.name) + "\"");
  }
}

void DataCalls::OnCall(std::unique_ptr<transport::Exchange> call) {
  const transport::PeerRole role = call->peer().role;
  Status status(Code::kPermissionDenied);
  if (role == transport::PeerRole::kClient || role == transport::PeerRole::kAdmin) {
    const Result<wire::RequestHead> head = wire::PeekHead(call->request());
    const auto kind = head ? std::ranges::find(kKinds, head->type, &Kind::type) : kKinds.end();
    if (kind != kKinds.end()) {
      current_ = {nullptr, kind->name, head->trace, clock_.Now()};
      if (Shed(*head, *call)) return;
      status = (this->*kind->handle)(call);
      if (call) Tell(kind->name, head->trace, current_.began, status.code());
    } else {
      status = head ? Status(Code::kUnimplemented) : Status(head.error().code());
    }
  }
  if (!status.ok()) {
    refused_.Add();
    call->Finish(status.code(), {});
  }
  act_();
}

bool DataCalls::Shed(const wire::RequestHead& head, transport::Exchange& call) {
  const auto refused = admission_.Judge(head, call.peer().tenant, {waiting_.size(), kWaitingMax});
  if (!refused) return false;
  buffer_.clear();
  refused->Encode(buffer_);
  refused_.Add();
  Tell(current_.name, head.trace, current_.began, Code::kResourceExhausted);
  call.Finish(Code::kResourceExhausted, buffer_);
  return true;
}

void DataCalls::OnMoved(transport::Exchange&, std::uint32_t, Code) {}  // No call here has bulk.

void DataCalls::OnAbandoned(transport::Exchange& call) {
  std::erase_if(waiting_, [&](const auto& waiting) { return waiting.second.call.get() == &call; });
}

template <class Response>
void DataCalls::Finish(transport::Exchange& call, const Response& response) {
  buffer_.clear();
  response.Encode(buffer_);
  call.Finish(Code::kOk, buffer_);
}

ReplyId DataCalls::Keep(std::unique_ptr<transport::Exchange>& call) {
  const ReplyId reply = new_reply_();
  current_.call = std::move(call);
  waiting_.emplace(reply, std::move(current_));
  return reply;
}

Status DataCalls::Lookup(std::unique_ptr<transport::Exchange>& call) {
  const TimePoint began = clock_.Now();
  const Result<wire::LookupRequestView> request = wire::LookupRequestView::Decode(call->request());
  if (!request) return request.error();
  buffer_.clear();
  core_.Lookup(call->peer().tenant, *request, buffer_);
  call->Finish(Code::kOk, buffer_);
  lookup_time_.Record(clock_.Now() - began);
  return Status();
}

Status DataCalls::PutStart(std::unique_ptr<transport::Exchange>& call) {
  const Result<wire::PutStartRequest> request = wire::PutStartRequest::Decode(call->request());
  if (!request) return request.error();
  Finish(*call, core_.PutStart(call->peer().tenant, *request, clock_.Now()));
  return Status();
}

Status DataCalls::PutCommit(std::unique_ptr<transport::Exchange>& call) {
  const Result<wire::PutCommitRequest> request = wire::PutCommitRequest::Decode(call->request());
  if (!request) return request.error();
  if (waiting_.size() >= kWaitingMax) return Status(Code::kResourceExhausted);
  const TenantId tenant = call->peer().tenant;
  core_.PutCommit(tenant, *request, Keep(call), clock_.Now(), actions_);
  return Status();
}

Status DataCalls::PutAbort(std::unique_ptr<transport::Exchange>& call) {
  const Result<wire::PutAbortRequest> request = wire::PutAbortRequest::Decode(call->request());
  if (!request) return request.error();
  KDN_RETURN_IF_ERROR(core_.PutAbort(call->peer().tenant, *request, actions_));
  call->Finish(Code::kOk, {});
  return Status();
}

Status DataCalls::ContextUpdate(std::unique_ptr<transport::Exchange>& call) {
  Result<wire::ContextUpdateRequest> request = wire::ContextUpdateRequest::Decode(call->request());
  if (!request) return request.error();
  if (waiting_.size() >= kWaitingMax) return Status(Code::kResourceExhausted);
  const ContextName id{call->peer().tenant, std::move(request->name)};
  core_.ChangeContext(id,
                      ContextSuffix{.model = request->model,
                                    .first_chunk = request->first_chunk,
                                    .token_count = request->token_count,
                                    .keys = std::move(request->keys)},
                      Keep(call), actions_);
  return Status();
}

Status DataCalls::ContextGet(std::unique_ptr<transport::Exchange>& call) {
  const Result<wire::ContextGetRequest> request = wire::ContextGetRequest::Decode(call->request());
  if (!request) return request.error();
  const Context* context = core_.contexts().Find({call->peer().tenant, request->name});
  if (context == nullptr) return Status(Code::kNotFound);
  Finish(*call, wire::ContextGetResponse{context->model, context->token_count, context->keys});
  return Status();
}

void DataCalls::Tell(std::string_view name, const TraceId& trace, TimePoint began, Code code) {
  const Duration took = clock_.Now() - began;
  call_times_.at(name)->Record(took);
  const auto level = lines_.LevelOf(took);
  if (!level) return;
  log_.Write(*level, "call answered",
             {{"trace", ToHex(trace)},
              {"call", std::string(name)},
              TookField(took),
              {"code", std::string(CodeName(code))}});
}

bool DataCalls::OnAnswer(Answer& answer) {
  const auto at = waiting_.find(answer.to);
  if (at == waiting_.end()) return false;
  const Waiting waiting = std::move(at->second);
  const auto& call = waiting.call;
  waiting_.erase(at);
  Tell(waiting.name, waiting.trace, waiting.began,
       answer.body ? Code::kOk : answer.body.error().code());
  if (!answer.body) {
    refused_.Add();
    call->Finish(answer.body.error().code(), {});
  } else if (const auto* committed = std::get_if<wire::PutCommitResponse>(&*answer.body)) {
    Finish(*call, *committed);
  } else {
    call->Finish(Code::kOk, {});  // A context update: that it is on disk is all there is to say.
  }
  return true;
}

}  // namespace kdn::coordinator

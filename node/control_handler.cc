#include "node/control_handler.h"

#include <algorithm>
#include <utility>

namespace kdn::node {
namespace {

storage::ObjectId IdOf(const wire::ObjectName& name) {
  return {name.tenant, name.key, name.part, name.put_id};
}

const wire::ObjectName& NameOf(const wire::ObjectName& name) {
  return name;
}
template <class Object>
const wire::ObjectName& NameOf(const Object& object) {
  return object.name;
}

}  // namespace

void ControlHandler::OnCall(wire::MessageType type, std::unique_ptr<transport::Exchange> exchange) {
  if (exchange->peer().role != transport::PeerRole::kCoordinator) {
    return Refuse(*exchange, Code::kPermissionDenied);
  }
  switch (type) {
    case wire::MessageType::kCommitObjects:
      return Handle<wire::CommitObjectsRequest>(std::move(exchange));
    case wire::MessageType::kDropObjects:
      return Handle<wire::DropObjectsRequest>(std::move(exchange));
    case wire::MessageType::kVerifyObjects:
      return Handle<wire::VerifyObjectsRequest>(std::move(exchange));
    default:
      return Refuse(*exchange, Code::kUnimplemented);
  }
}

template <class Request>
void ControlHandler::Handle(std::unique_ptr<transport::Exchange> exchange) {
  const auto request = Request::Decode(exchange->request());
  const auto owns = [this](const auto& object) { return context_.Owns(NameOf(object).key); };
  if (!request || !std::ranges::all_of(request->objects, owns)) {
    return Refuse(*exchange, Code::kInvalidArgument);
  }
  switch (context_.epochs.Judge(request->epoch)) {
    case EpochKeeper::Verdict::kStale:
      return Refuse(*exchange, Code::kFailedPrecondition);
    case EpochKeeper::Verdict::kAhead:
      return context_.deferrer.Defer(std::move(exchange), request->epoch);
    case EpochKeeper::Verdict::kCurrent:
      break;
  }
  auto call = std::make_shared<ControlCall>();
  call->exchange = std::move(exchange);
  call->response.objects.resize(request->objects.size());
  call->open = request->objects.size();
  if (call->open == 0) return Finish(*call);
  calls_.emplace(call->exchange.get(), call);
  Obey(*request, std::move(call));
}

void ControlHandler::Obey(const wire::CommitObjectsRequest& request,
                          std::shared_ptr<ControlCall> call) {
  for (std::size_t i = 0; i < request.objects.size(); ++i) {
    const std::uint64_t tag = next_tag_++;
    const storage::ObjectId id = IdOf(request.objects[i].name);
    commits_.emplace(tag, PendingCommit{call, i, id, request.head.trace, context_.clock.Now()});
    context_.store.Commit(id, request.objects[i].digest, tag);
  }
}

void ControlHandler::OnCommit(const storage::Completion& completion) {
  const auto pending = commits_.extract(completion.tag);
  if (pending.empty()) return;
  const auto& [call, object, id, trace, began] = pending.mapped();
  TellCommit(pending.mapped(), completion);
  if (completion.code == Code::kOk) context_.metrics.commits.Add();
  // A commit that is told again, since its answer was late, gets the answer of the first. Otherwise
  // a better object is visible instead of this one.
  const bool told_again = completion.code == Code::kAlreadyExists && Find(id);
  Settle(*call, object, told_again ? Code::kOk : completion.code, completion.on_disk);
}

void ControlHandler::TellCommit(const PendingCommit& commit,
                                const storage::Completion& completion) {
  const Duration took = context_.clock.Now() - commit.began;
  const auto level = context_.lines.LevelOf(took);
  if (!level) return;
  context_.log.Write(*level, completion.on_disk.empty() ? "commit in DRAM" : "disk write",
                     {{"trace", ToHex(commit.trace)},
                      {"key", ToHex(commit.id.key)},
                      TookField(took),
                      {"code", std::string(CodeName(completion.code))}});
}

void ControlHandler::Obey(const wire::DropObjectsRequest& request,
                          std::shared_ptr<ControlCall> call) {
  for (std::size_t i = 0; i < request.objects.size(); ++i) {
    const storage::ObjectId id = IdOf(request.objects[i].name);
    const Code code = Drop(id, request.objects[i].levels);
    Settle(*call, i, code, OnDisk(id));
  }
}

Code ControlHandler::Drop(const storage::ObjectId& id, LevelSet levels) {
  const Code code = context_.store.Truncate(id, levels).code();
  if (code != Code::kNotFound) return code;
  // Not visible: a put under way, or nothing at all. Either way it is gone afterwards.
  context_.store.AbortPut(id);
  return Code::kOk;
}

void ControlHandler::Obey(const wire::VerifyObjectsRequest& request,
                          std::shared_ptr<ControlCall> call) {
  call->to_verify.reserve(request.objects.size());
  for (const wire::ObjectName& name : request.objects) call->to_verify.push_back(IdOf(name));
  verifying_.push_back(std::move(call));
}

bool ControlHandler::VerifyOne() {
  if (verifying_.empty()) return false;
  const std::shared_ptr<ControlCall> call = verifying_.front();
  if (call->exchange == nullptr) {  // Nobody waits for the rest.
    verifying_.pop_front();
    return true;
  }
  const std::size_t object = call->verified++;
  const storage::ObjectId id = call->to_verify[object];
  if (call->verified == call->to_verify.size()) verifying_.pop_front();
  const Status status = context_.store.Verify(id);
  if (status.code() == Code::kDataLoss) {
    context_.metrics.corrupt_found.Add();
    context_.log.Write(LogLevel::kWarning, "object does not verify",
                       {{"key", ToHex(id.key)}, {"reason", status.message()}});
  }
  Settle(*call, object, status.code(), OnDisk(id));
  return true;
}

std::optional<storage::StoredObject> ControlHandler::Find(const storage::ObjectId& id) const {
  auto stored = context_.store.Find(id.tenant, id.key, id.part);
  if (stored && stored->header.put_id != id.put_id) stored.reset();
  return stored;
}

LevelSet ControlHandler::OnDisk(const storage::ObjectId& id) const {
  const auto stored = Find(id);
  return stored ? stored->on_disk : LevelSet{};
}

void ControlHandler::Settle(ControlCall& call, std::size_t object, Code code, LevelSet on_disk) {
  call.response.objects[object] = {code, on_disk};
  if (--call.open > 0 || call.exchange == nullptr) return;
  Finish(call);
  calls_.erase(call.exchange.get());
}

void ControlHandler::Finish(ControlCall& call) {
  wire::Buffer response;
  call.response.Encode(response);
  call.exchange->Finish(Code::kOk, response);
}

bool ControlHandler::OnAbandoned(transport::Exchange& exchange) {
  const auto found = calls_.extract(&exchange);
  if (found.empty()) return false;
  found.mapped()->exchange.reset();  // What was ordered goes on; only the answer has nowhere to go.
  return true;
}

void ControlHandler::Refuse(transport::Exchange& exchange, Code code) {
  context_.metrics.refused.Add();
  exchange.Finish(code, {});
}

}  // namespace kdn::node

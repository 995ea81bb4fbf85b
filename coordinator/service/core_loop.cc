#include "coordinator/service/core_loop.h"

#include <algorithm>
#include <utility>

namespace kdn::coordinator {
namespace {

constexpr std::size_t kMailboxTasksMax = 4096;
constexpr std::size_t kWaitingMax = 4096;
constexpr std::chrono::milliseconds kTick{100};
// After it a commit is asked for again, so it need not be as long as a slow disk takes.
constexpr std::chrono::milliseconds kNodeCallTimeout{2000};

}  // namespace

CoreLoop::CoreLoop(std::unique_ptr<Core> core, const Surroundings& surroundings)
    : around_(surroundings),
      core_(std::move(core)),
      began_(around_.clock.Now()),
      mailbox_(kMailboxTasksMax),
      core_metrics_(around_.metrics),
      data_calls_(
          *core_, actions_, [this] { Act(); }, [this] { return NewReply(); }, around_.admission,
          around_.clock, DataCalls::Reports{around_.metrics, around_.log, around_.lines}),
      next_tick_(began_) {}

CoreLoop::~CoreLoop() {
  Stop();
}

Status CoreLoop::Start(const std::string& endpoint) {
  around_.credentials.SetMapVersion(core_->membership().map().version);
  auto server = around_.domain.Listen(endpoint, around_.identity.cluster, around_.identity.peer,
                                      data_calls_, around_.credentials);
  if (!server) return server.error();
  server_ = std::move(*server);
  endpoint_ = server_->endpoint();
  links_ = std::make_unique<NodeLinks>(around_.domain, around_.identity, around_.clock, around_.log,
                                       mailbox_);
  writer_ =
      std::make_unique<MetaWriter>(around_.metastore, [this](WriteId write, const Status& status) {
        mailbox_.PostAnswer([this, write, status] {
          core_->OnWritten(write, status, around_.clock.Now(), actions_);
        });
      });
  thread_ = std::thread([this] { Run(); });
  return Status();
}

void CoreLoop::Stop() {
  if (!thread_.joinable()) return;
  ready_ = false;
  events_.Close();
  mailbox_.PostAnswer([this] { stopping_ = true; });
  thread_.join();
  mailbox_.Close();
  writer_.reset();
  server_.reset();
  links_.reset();
  waiting_.clear();
}

Result<CoreLoop::Decided> CoreLoop::AskLater(Later ask) {
  Question<Decided> question;
  const bool posted =
      mailbox_.Post([this, ask = std::move(ask), reply = question.TakeReply()]() mutable {
        if (waiting_.size() >= kWaitingMax) {
          reply.Set(Error(Code::kResourceExhausted, "too many questions wait for an answer"));
          return;
        }
        const ReplyId id = NewReply();
        waiting_.emplace(id, std::move(reply));
        ask(*core_, id, around_.clock.Now(), actions_);
      });
  if (!posted) return Error(Code::kResourceExhausted, "the coordinator is overloaded or stopping");
  return question.Wait(kAskTimeout);
}

Result<wire::ObjectCodesResponse> CoreLoop::AskNode(const std::string& endpoint,
                                                    wire::Buffer request,
                                                    std::chrono::milliseconds timeout) {
  Question<wire::ObjectCodesResponse> question;
  const TimePoint deadline = around_.clock.Now() + timeout;
  const bool posted = mailbox_.Post([this, endpoint, deadline, request = std::move(request),
                                     reply = question.TakeReply()]() mutable {
    links_->Call(endpoint, std::move(request), deadline,
                 [reply = std::move(reply)](Code code, ConstBytes response) mutable {
                   reply.Set(code == Code::kOk ? wire::ObjectCodesResponse::Decode(response)
                                               : Error(code, "the node did not answer"));
                 });
  });
  if (!posted) return Error(Code::kResourceExhausted, "the coordinator is overloaded or stopping");
  return question.Wait(timeout + kAskTimeout);
}

void CoreLoop::Run() {
  while (!stopping_) {
    WaitForWork();
    const TimePoint woken = around_.clock.Now();
    (void)server_->Poll();
    mailbox_.TakeAll(tasks_);
    for (Mailbox::Task& task : tasks_) {
      task();
      Act();
    }
    tasks_.clear();
    (void)links_->Poll();
    Act();
    const TimePoint now = around_.clock.Now();
    around_.admission.NoteTurn(now - woken);
    if (now >= next_tick_) Tick();
  }
}

void CoreLoop::WaitForWork() {
  wait_fds_.assign({server_->WaitFd(), mailbox_.WaitFd()});
  links_->AppendWaitFds(wait_fds_);
  polled_.clear();
  for (const int fd : wait_fds_) polled_.push_back({fd, POLLIN, 0});
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(next_tick_ - around_.clock.Now());
  const int timeout_ms = static_cast<int>(std::clamp<std::int64_t>(left.count(), 0, kTick.count()));
  (void)::poll(polled_.data(), polled_.size(), timeout_ms);
}

// Carrying out an action may make the core decide more; until nothing is left.
void CoreLoop::Act() {
  while (!actions_.calls.empty() || !actions_.answers.empty() || !actions_.writes.empty()) {
    const auto calls = std::exchange(actions_.calls, {});
    const auto writes = std::exchange(actions_.writes, {});
    auto answers = std::exchange(actions_.answers, {});
    for (const MetaWrite& write : writes) {
      if (writer_->Write(write)) continue;
      core_->OnWritten(write.id, Status(Code::kResourceExhausted, "too many changes are queued"),
                       around_.clock.Now(), actions_);
    }
    for (const NodeCall& call : calls) Send(call);
    for (Answer& answer : answers) Answered(std::move(answer));
  }
  around_.credentials.SetMapVersion(core_->membership().map().version);
  if (events_.HasWatchers()) events_.Publish(core_->directory().TakeChanges());
}

void CoreLoop::Send(NodeCall call) {
  wire::Buffer request;
  std::visit([&](const auto& message) { message.Encode(request); }, call.request);
  links_->Call(call.endpoint, std::move(request), around_.clock.Now() + kNodeCallTimeout,
               [this, id = call.id](Code code, ConstBytes response) {
                 if (id == NodeCallId{}) return;
                 wire::ObjectCodesResponse codes;
                 if (code == Code::kOk) {
                   auto decoded = wire::ObjectCodesResponse::Decode(response);
                   if (decoded) codes = std::move(*decoded);
                   if (!decoded) code = decoded.error().code();
                 }
                 core_->OnNodeAnswer(id, code, codes, actions_);
               });
}

void CoreLoop::Answered(Answer answer) {
  if (data_calls_.OnAnswer(answer)) return;
  const auto at = waiting_.find(answer.to);
  if (at == waiting_.end()) return;  // A client that is gone.
  Reply<Decided> reply = std::move(at->second);
  waiting_.erase(at);
  reply.Set(std::move(answer.body));
}

void CoreLoop::Tick() {
  next_tick_ = around_.clock.Now() + kTick;
  core_->Tick(around_.clock.Now(), actions_);
  Act();
  core_->directory().WatchChanges(events_.HasWatchers());
  core_metrics_.Publish(*core_);
  ready_ = core_->membership().InventoriesComplete(around_.clock.Now());
  links_->Keep([this](const std::string& endpoint) {
    return std::ranges::any_of(core_->membership().nodes(), [&](const auto& entry) {
      const NodeState& node = entry.second;
      return node.alive &&
             std::ranges::find(node.description.shards, endpoint) != node.description.shards.end();
    });
  });
}

}  // namespace kdn::coordinator

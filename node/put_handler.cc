#include "node/put_handler.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace kdn::node {
namespace {

using std::chrono::milliseconds;

// A replica that did not answer is not forwarded to for so long: each piece would wait for it anew.
constexpr milliseconds kSilentPause{1000};

// Room is not held longer than this for a put whose ticket lives longer.
constexpr milliseconds kPutLifeMax{60'000};

storage::ObjectId IdOf(const wire::PutPieceRequest& request, const wire::Ticket& ticket) {
  return {ticket.tenant, request.key, request.part, ticket.put_id};
}

}  // namespace

PutHandler::~PutHandler() {
  for (auto& [exchange, call] : receiving_) {
    call->exchange.reset();
    context_.store.PutFailed(call->slot, call->request.offset, call->request.size_bytes);
  }
}

// 1. Is it a put, and is its ticket the coordinator's? 2. Is the epoch durable here? 3. May this
// caller put this here? 4. Take room and receive. The piece is then handed on (Forward), counted as
// received (Complete) and answered.
void PutHandler::OnCall(std::unique_ptr<transport::Exchange> exchange, Admission::Token room) {
  auto request = wire::PutPieceRequest::Decode(exchange->request());
  if (!request) return Refuse(*exchange, nullptr, request.error());
  auto ticket = wire::OpenTicket(request->ticket, context_.cluster_key);
  if (!ticket) return Refuse(*exchange, &*request, Status(Code::kPermissionDenied));

  switch (context_.epochs.Judge(ticket->epoch)) {
    case EpochKeeper::Verdict::kStale:
      return Refuse(*exchange, &*request,
                    Status(Code::kFailedPrecondition, "the ticket is of an old epoch"));
    case EpochKeeper::Verdict::kAhead:
      return context_.deferrer.Defer(std::move(exchange), ticket->epoch);
    case EpochKeeper::Verdict::kCurrent:
      break;
  }
  if (Status status = Judge(*exchange, *request, *ticket); !status.ok()) {
    return Refuse(*exchange, &*request, status);
  }

  auto call = std::make_unique<PutCall>();
  call->room = std::move(room);
  call->exchange = std::move(exchange);
  call->request = *std::move(request);
  call->ticket = *std::move(ticket);
  call->began = context_.clock.Now();
  if (Status status = Receive(*call); !status.ok()) {
    if (status.code() == Code::kAlreadyExists) return AnswerWhole(*call);
    return Refuse(*call->exchange, &call->request, status);
  }
  const transport::Exchange* key = call->exchange.get();
  receiving_.emplace(key, std::move(call));
}

Status PutHandler::Judge(const transport::Exchange& exchange, const wire::PutPieceRequest& request,
                         const wire::Ticket& ticket) const {
  const transport::Peer& peer = exchange.peer();
  // A client sends to the first replica, and itself to those that forwarding did not reach.
  const bool from_client =
      peer.role == transport::PeerRole::kClient && peer.tenant == ticket.tenant;
  const bool from_node = peer.role == transport::PeerRole::kNode && request.hop > 0;
  if (!from_client && !from_node) {
    return Status(Code::kPermissionDenied, "the ticket is not this caller's");
  }
  const auto view = context_.state.view();
  if (request.hop >= ticket.nodes.size() || ticket.nodes[request.hop] != view->self) {
    return Status(Code::kPermissionDenied, "the ticket names another node");
  }
  if (std::ranges::find(ticket.keys, request.key) == ticket.keys.end()) {
    return Status(Code::kPermissionDenied, "the ticket does not cover the key");
  }
  const TimePoint now = context_.clock.Now();
  if (!context_.state.InContact(now)) {
    return Status(Code::kUnavailable, "no contact with the coordinator: no new puts");
  }
  if (context_.state.CoordinatorNowMs(now) >= ticket.expires_ms) {
    return Status(Code::kPermissionDenied, "the ticket has expired");
  }
  if (request.part >= ticket.part_count || request.object_bytes > ticket.object_bytes_max ||
      request.size_bytes != exchange.send_bulk_bytes()) {
    return Status(Code::kInvalidArgument, "part or size beyond the ticket, or no such bulk");
  }
  if (!context_.Owns(request.key)) return Status(Code::kInvalidArgument, "wrong shard");
  return {};
}

Status PutHandler::Receive(PutCall& call) {
  const TimePoint now = context_.clock.Now();
  const milliseconds left(call.ticket.expires_ms - context_.state.CoordinatorNowMs(now));
  const auto slot =
      context_.store.BeginPut(IdOf(call.request, call.ticket), call.request.object_bytes,
                              now + std::min(left, kPutLifeMax));
  if (!slot) return slot.error();
  call.slot = *slot;
  auto memory = context_.store.PutMemory(*slot, call.request.offset, call.request.size_bytes);
  if (!memory) return memory.error();
  call.memory = *std::move(memory);
  call.exchange->ReceivePiece(0, 0, call.memory);
  return {};
}

// A piece told again after the object was whole. What the later replicas have is not known here,
// and without the bytes they cannot be told again: to the client they have failed.
void PutHandler::AnswerWhole(PutCall& call) {
  const auto& nodes = call.ticket.nodes;
  const auto digest = context_.store.PutDigest(call.slot);
  if (!digest) return Refuse(*call.exchange, &call.request, Status(Code::kAlreadyExists));
  call.response.acks.push_back({nodes[call.request.hop], *digest});
  for (std::size_t hop = call.request.hop + 1U; hop < nodes.size(); ++hop) {
    call.response.failed.push_back(nodes[hop]);
  }
  Finish(call, Code::kOk);
}

void PutHandler::OnArrived(const transport::Exchange& exchange, std::size_t size_bytes) {
  const auto found = receiving_.find(&exchange);
  if (found == receiving_.end()) return;
  const PutCall& call = *found->second;
  context_.store.PutArrived(call.slot, call.request.offset, size_bytes);
}

bool PutHandler::OnMoved(transport::Exchange& exchange, Code code) {
  auto found = receiving_.extract(&exchange);
  if (found.empty()) return false;
  std::unique_ptr<PutCall> call = std::move(found.mapped());
  if (code != Code::kOk) {
    context_.store.PutFailed(call->slot, call->request.offset, call->request.size_bytes);
    return true;
  }
  context_.metrics.pieces.Add();
  context_.metrics.put_bytes.Add(call->request.size_bytes);
  call->next_hop = call->request.hop + 1U;
  Forward(std::move(call));
  return true;
}

bool PutHandler::OnAbandoned(transport::Exchange& exchange) {
  if (auto found = receiving_.extract(&exchange); !found.empty()) {
    PutCall& call = *found.mapped();
    call.exchange.reset();  // What was in flight is not written any more.
    context_.store.PutFailed(call.slot, call.request.offset, call.request.size_bytes);
    return true;
  }
  const auto forwarding = forwarding_.extract(&exchange);
  if (forwarding.empty()) return false;
  forwarding.mapped()->exchange.reset();  // The bytes are here; only the answer has nowhere to go.
  return true;
}

// The memory is handed out until the next replica has the piece, so it cannot be freed under it.
void PutHandler::Forward(std::unique_ptr<PutCall> call) {
  const auto& nodes = call->ticket.nodes;
  const auto view = context_.state.view();
  const std::string* endpoint = nullptr;
  for (; call->next_hop < nodes.size(); ++call->next_hop) {
    const auto silent = silent_until_.find(nodes[call->next_hop]);
    const bool spared = silent != silent_until_.end() && context_.clock.Now() < silent->second;
    endpoint = spared ? nullptr : view->EndpointOf(nodes[call->next_hop], call->request.key);
    if (endpoint != nullptr) break;
    call->response.failed.push_back(nodes[call->next_hop]);
    context_.metrics.forwards_failed.Add();
  }
  if (endpoint == nullptr) return Complete(std::move(call));

  wire::PutPieceRequest onward = call->request;
  onward.hop = static_cast<std::uint8_t>(call->next_hop);
  Peers::Call forward;
  onward.Encode(forward.request);
  forward.bulk.assign(call->memory.begin(), call->memory.end());
  // The caller must hear in time that the next replica is silent, or it takes us for the silent
  // one.
  const TimePoint now = context_.clock.Now();
  TimePoint::duration patience = context_.forward_timeout;
  if (call->exchange != nullptr) {
    patience = std::min(patience, (call->exchange->deadline() - now) * 3 / 4);
  }
  forward.deadline = now + patience;
  call->forwarded = now;
  if (call->exchange != nullptr) forwarding_[call->exchange.get()] = call.get();
  forward.done = [this, call = std::move(call)](Code code, ConstBytes response) mutable {
    OnForwarded(std::move(call), code, response);
  };
  context_.peers.Start(*endpoint, std::move(forward));
}

void PutHandler::OnForwarded(std::unique_ptr<PutCall> call, Code code, ConstBytes response) {
  if (call->exchange != nullptr) forwarding_.erase(call->exchange.get());
  const NodeId node = call->ticket.nodes[call->next_hop];
  auto answer = code == Code::kOk ? wire::PutPieceResponse::Decode(response)
                                  : Result<wire::PutPieceResponse>(Error(code));
  if (answer) silent_until_.erase(node);
  const Duration took = context_.clock.Now() - call->forwarded;
  if (const auto level = context_.lines.LevelOf(took)) {
    context_.log.Write(*level, "put piece forwarded",
                       {{"trace", ToHex(call->request.head.trace)},
                        {"key", ToHex(call->request.key)},
                        {"node", std::to_string(static_cast<std::uint32_t>(node))},
                        TookField(took),
                        {"code", std::string(CodeName(code))}});
  }
  if (!answer) {
    if (code == Code::kDeadlineExceeded) {
      silent_until_[node] = context_.clock.Now() + kSilentPause;
    }
    context_.metrics.forwards_failed.Add();
    context_.log.Write(LogLevel::kWarning, "the next replica did not take a piece",
                       {{"trace", ToHex(call->request.head.trace)},
                        {"node", std::to_string(static_cast<std::uint32_t>(node))},
                        {"reason", std::string(CodeName(code))}});
    call->response.failed.push_back(node);
    ++call->next_hop;  // The one after it may still be there.
    return Forward(std::move(call));
  }
  auto& [acks, failed] = call->response;
  acks.insert(acks.end(), answer->acks.begin(), answer->acks.end());
  failed.insert(failed.end(), answer->failed.begin(), answer->failed.end());
  Complete(std::move(call));
}

void PutHandler::Complete(std::unique_ptr<PutCall> call) {
  const auto digest =
      context_.store.PutReceived(call->slot, call->request.offset, call->request.size_bytes);
  if (!digest) {
    if (digest.error().code() == Code::kDataLoss) context_.metrics.puts_corrupt.Add();
    context_.log.Write(LogLevel::kWarning, "put does not verify or is gone",
                       {{"trace", ToHex(call->request.head.trace)},
                        {"key", ToHex(call->request.key)},
                        {"reason", digest.error().ToString()}});
    return Finish(*call, digest.error().code());
  }
  if (digest->has_value()) {
    const NodeId self = call->ticket.nodes[call->request.hop];
    call->response.acks.insert(call->response.acks.begin(), {self, **digest});
  }
  Finish(*call, Code::kOk);
}

void PutHandler::Finish(PutCall& call, Code code) {
  if (call.exchange == nullptr) return;
  wire::Buffer response;
  if (code == Code::kOk) call.response.Encode(response);
  call.exchange->Finish(code, response);
  const Duration took = context_.clock.Now() - call.began;
  context_.metrics.put_time.Record(took);
  if (const auto level = context_.lines.LevelOf(took)) {
    context_.log.Write(*level, "put piece answered",
                       {{"trace", ToHex(call.request.head.trace)},
                        {"key", ToHex(call.request.key)},
                        {"hop", std::to_string(call.request.hop)},
                        TookField(took),
                        {"bytes", std::to_string(call.request.size_bytes)},
                        {"code", std::string(CodeName(code))}});
  }
}

void PutHandler::Refuse(transport::Exchange& exchange, const wire::PutPieceRequest* request,
                        const Status& why) {
  context_.metrics.puts_refused.Add();
  if (request != nullptr) {
    context_.log.Write(LogLevel::kInfo, "put refused",
                       {{"trace", ToHex(request->head.trace)}, {"reason", why.ToString()}});
  }
  exchange.Finish(why.code(), {});
}

}  // namespace kdn::node

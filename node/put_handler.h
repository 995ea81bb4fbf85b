// Takes pieces of puts: checks the ticket, receives straight into the arena, hands each piece on to
// the next replica, and answers with what has been acknowledged by whom. Nothing becomes visible
// here; the coordinator's commit does that.
//
// Thread-safety: owned by one shard.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <unordered_map>
#include <vector>

#include "node/admission.h"
#include "node/shard_context.h"
#include "proto/wire/put.h"
#include "proto/wire/ticket.h"

namespace kdn::node {

class PutHandler {
 public:
  // `context` outlives this object.
  explicit PutHandler(ShardContext& context) : context_(context) {}
  // Gives up what is being received. What is being forwarded reads the arena until Peers is gone.
  ~PutHandler();

  // `room` is held until the call is over.
  void OnCall(std::unique_ptr<transport::Exchange> exchange, Admission::Token room);
  // The first `size_bytes` of the call's piece are there. Ignores calls that are none of these.
  void OnArrived(const transport::Exchange& exchange, std::size_t size_bytes);
  // False if the call is not one of these.
  bool OnMoved(transport::Exchange& exchange, Code code);
  bool OnAbandoned(transport::Exchange& exchange);

 private:
  struct PutCall {
    Admission::Token room;
    std::unique_ptr<transport::Exchange> exchange;  // null: the caller is gone, the piece goes on
    wire::PutPieceRequest request;
    wire::Ticket ticket;
    storage::PutSlot slot{};
    std::vector<MutableBytes> memory;
    std::size_t next_hop = 0;  // of the ticket's nodes: the one being forwarded to
    wire::PutPieceResponse response;
    TimePoint began;
    TimePoint forwarded;  // to the next hop
  };

  // Whether the piece may be stored here.
  [[nodiscard]] Status Judge(const transport::Exchange& exchange,
                             const wire::PutPieceRequest& request,
                             const wire::Ticket& ticket) const;
  [[nodiscard]] Status Receive(PutCall& call);
  void AnswerWhole(PutCall& call);
  void Forward(std::unique_ptr<PutCall> call);
  void OnForwarded(std::unique_ptr<PutCall> call, Code code, ConstBytes response);
  void Complete(std::unique_ptr<PutCall> call);
  void Finish(PutCall& call, Code code);
  void Refuse(transport::Exchange& exchange, const wire::PutPieceRequest* request,
              const Status& why);

  ShardContext& context_;
  std::unordered_map<const transport::Exchange*, std::unique_ptr<PutCall>> receiving_;
  // Forwarding, with a caller that waits; the calls themselves belong to Peers' Done.
  std::unordered_map<const transport::Exchange*, PutCall*> forwarding_;
  std::map<NodeId, TimePoint> silent_until_;  // replicas that let a forward run out of time
};

}  // namespace kdn::node

// Answers reads: objects straight from the arena into the reader's window, layer group by layer
// group (proto/wire/read.h has the layout). A read lease begins with the store's answer and ends
// when the last piece has left, or the reader is gone.
//
// Thread-safety: owned by one shard.
#pragma once

#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

#include "node/admission.h"
#include "node/shard_context.h"
#include "proto/wire/read.h"

namespace kdn::node {

class ReadHandler {
 public:
  // `context` outlives this object.
  explicit ReadHandler(ShardContext& context) : context_(context) {}
  ~ReadHandler();

  // `room` is held until the call is over.
  void OnCall(std::unique_ptr<transport::Exchange> exchange, Admission::Token room);
  void OnReportCorrupt(std::unique_ptr<transport::Exchange> exchange);
  // False if the call is not one of these.
  bool OnMoved(transport::Exchange& exchange, std::uint32_t piece);
  bool OnAbandoned(transport::Exchange& exchange);
  // What the store reports under a tag of ours.
  void OnRead(storage::Completion& completion);
  // Objects that readers were sent here for since the last call, and that were not here: whoever
  // sent them may not know. Bounded; the rest is left out.
  [[nodiscard]] std::vector<storage::ObjectId> TakeMissed();

 private:
  // One object of a call while its memory is leased.
  struct Item {
    bool leased = false;
    storage::ReadSlot slot{};
    std::vector<ConstBytes> scratch;  // header and entries
    std::uint32_t pieces_open = 0;
  };
  struct ReadCall {
    Admission::Token room;
    std::unique_ptr<transport::Exchange> exchange;
    wire::ReadRequest request;
    wire::ReadResponse response;
    std::vector<Item> items;
    std::vector<std::uint32_t> item_of_piece;
    std::size_t waiting = 0;  // items for which the store has not answered
    std::size_t pieces_open = 0;
    bool finished = false;
    TimePoint began;
  };
  struct Pending {
    ReadCall* call;
    std::uint32_t item;
  };
  class PieceBuilder;

  [[nodiscard]] bool IsAnswerable(const transport::Exchange& exchange,
                                  const wire::ReadRequest& request) const;
  void StartItem(ReadCall& call, std::uint32_t item);
  void Fail(ReadCall& call, std::uint32_t item, Code code);
  void Send(ReadCall& call, std::uint32_t item, const storage::ReadResult& result);
  void Release(Item& item);
  void FinishIfDone(ReadCall& call);  // may destroy it
  void TellDiskRead(const ReadCall& call, std::uint32_t item, const storage::Completion& read);
  void TellAnswered(const ReadCall& call, Duration took);

  ShardContext& context_;
  std::unordered_map<const transport::Exchange*, std::unique_ptr<ReadCall>> calls_;
  std::unordered_map<std::uint64_t, Pending> pending_;  // by the store's tag
  std::uint64_t next_tag_ = 1;
  std::vector<storage::ObjectId> missed_;
  wire::Buffer front_;  // header and entries of the object at hand; kept for its memory
};

}  // namespace kdn::node

// The first phase of a put: room, bytes in any order, verification at the last one.
#include <algorithm>
#include <string>
#include <utility>

#include "base/limits.h"
#include "storage/store/store.h"

namespace kdn::storage {
namespace {

// Of one put: what its connections can have under way.
constexpr std::size_t kHandedOutMax = limits::kPiecesPerCallMax;

}  // namespace

Result<PutSlot> Store::BeginPut(const ObjectId& id, std::uint64_t size_bytes, TimePoint expires) {
  if (size_bytes <= kObjectHeaderBytes || size_bytes > limits::kObjectBytesMax) {
    return Error(Code::kInvalidArgument,
                 "an object of " + std::to_string(size_bytes) + " bytes is beyond limits");
  }
  if (objects_.Find(id) != nullptr) return Error(Code::kAlreadyExists);
  if (Put* const open = puts_.Find(id)) {
    if (open->block->size() != size_bytes) {
      return Error(Code::kInvalidArgument, "this put began with another size");
    }
    puts_.Extend(*open, expires);
    return open->slot;
  }
  BlockRef block = MakeBlock(size_bytes);
  if (block == nullptr) {
    return Error(Code::kResourceExhausted, "no room in DRAM: all of it is in use");
  }
  return puts_.Insert(id, std::move(block), expires).slot;
}

Result<std::vector<MutableBytes>> Store::PutMemory(PutSlot slot, std::uint64_t offset,
                                                   std::size_t size_bytes) {
  Put* const put = puts_.At(slot);
  if (put == nullptr || put->ended) return Error(Code::kNotFound);
  if (put->whole) return Error(Code::kAlreadyExists);
  const std::size_t object_bytes = put->block->size();
  if (size_bytes == 0 || offset > object_bytes || size_bytes > object_bytes - offset) {
    return Error(Code::kOutOfRange, "these bytes are not of the object");
  }
  if (put->handed_out.size() >= kHandedOutMax) {
    return Error(Code::kResourceExhausted, "too many pieces of one object under way");
  }
  put->HandOut(offset, offset + size_bytes);
  std::vector<MutableBytes> runs;
  put->block->Append(offset, size_bytes, runs);
  return runs;
}

void Store::PutArrived(PutSlot slot, std::uint64_t offset, std::size_t size_bytes) {
  if (Put* const put = puts_.At(slot)) put->Arrive(offset, size_bytes);
}

Result<std::optional<ObjectDigest>> Store::PutReceived(PutSlot slot, std::uint64_t offset,
                                                       std::size_t size_bytes) {
  Put* const put = puts_.At(slot);
  if (put == nullptr || !PutTable::TakeBack(*put, {offset, size_bytes})) {
    return Error(Code::kNotFound);
  }
  if (put->ended) {
    puts_.Reap(*put);
    return Error(Code::kNotFound);
  }
  put->Receive(offset, offset + size_bytes);
  // Two connections may bring the same bytes: only when the slower one is done too has every byte
  // its last value.
  if (!put->Complete()) return std::optional<ObjectDigest>();
  if (Status status = CheckWhole(*put); !status.ok()) return std::unexpected(std::move(status));
  return std::optional(put->whole->digest);
}

Status Store::CheckWhole(Put& put) {
  Result<CheckedObject> object = CheckObject(*put.block, &put.sums);
  put.sums.GiveUp();
  if (object) {
    const ObjectHeader& header = object->header;
    if (put.id == ObjectId{header.tenant, header.key, header.part.number, header.put_id}) {
      put.whole = *std::move(object);
      return {};
    }
    object = Error(Code::kDataLoss, "header is of another object");
  }
  metrics_.corrupt.Add();
  puts_.End(put);
  return object.error();
}

std::optional<ObjectDigest> Store::PutDigest(PutSlot slot) const {
  const Put* const put = puts_.At(slot);
  if (put == nullptr || put->ended || !put->whole) return std::nullopt;
  return put->whole->digest;
}

void Store::PutFailed(PutSlot slot, std::uint64_t offset, std::size_t size_bytes) {
  Put* const put = puts_.At(slot);
  if (put == nullptr || !PutTable::TakeBack(*put, {offset, size_bytes})) return;
  if (put->ended) {
    puts_.Reap(*put);
  } else if (put->Complete()) {
    // Another connection had brought these bytes already. Should what this one wrote of them
    // differ, the check finds it and ends the put.
    static_cast<void>(CheckWhole(*put));
  }
}

void Store::AbortPut(const ObjectId& id) {
  Put* const put = puts_.Find(id);
  // A commit that is under way has won.
  if (put != nullptr && put->commits.empty()) puts_.End(*put);
}

}  // namespace kdn::storage

#include "node/read_handler.h"

#include <algorithm>
#include <utility>

#include "base/limits.h"

namespace kdn::node {
namespace {

// Large enough that a piece costs little beside its bytes, small enough that decoding the first
// layers overlaps the arrival of the rest.
constexpr std::size_t kPieceBytesTarget = limits::kMiB;
// Between two calls of TakeMissed(). Anybody may ask for what is nowhere.
constexpr std::size_t kMissedMax = 64;

void EncodeFront(const storage::ReadResult& result, wire::Buffer& out) {
  out.clear();
  out.reserve(kObjectHeaderBytes + result.entries.size() * kTileEntryBytes);
  ByteWriter writer(out);
  writer.Bytes(EncodeHeader(result.header));
  for (const TileEntry& entry : result.entries) EncodeTileEntry(entry, writer);
}

}  // namespace

// Gathers runs until a piece is full and sends it to the next place in the reader's window.
class ReadHandler::PieceBuilder {
 public:
  PieceBuilder(ReadCall& call, std::uint32_t item)
      : call_(call), item_(item), offset_(call.request.items[item].window_offset) {}

  void Add(std::span<const ConstBytes> runs, std::size_t size_bytes) {
    if (size_bytes_ > 0 && size_bytes_ + size_bytes > kPieceBytesTarget) Flush();
    for (ConstBytes run : runs) {
      while (size_bytes_ + run.size() > limits::kPieceBytesMax) {
        const std::size_t room = limits::kPieceBytesMax - size_bytes_;
        Take(run.first(room));
        run = run.subspan(room);
        Flush();
      }
      Take(run);
    }
  }

  void Flush() {
    if (runs_.empty()) return;
    const auto piece = static_cast<std::uint32_t>(call_.item_of_piece.size());
    call_.item_of_piece.push_back(item_);
    ++call_.items[item_].pieces_open;
    ++call_.pieces_open;
    call_.exchange->SendPiece(piece, offset_, runs_);
    offset_ += size_bytes_;
    size_bytes_ = 0;
    runs_.clear();
  }

 private:
  void Take(ConstBytes run) {
    if (run.empty()) return;
    runs_.push_back(run);
    size_bytes_ += run.size();
  }

  ReadCall& call_;
  const std::uint32_t item_;
  std::size_t offset_;
  std::vector<ConstBytes> runs_;
  std::size_t size_bytes_ = 0;
};

ReadHandler::~ReadHandler() {
  for (auto& [exchange, call] : calls_) {
    call->exchange.reset();
    for (Item& item : call->items) Release(item);
  }
}

bool ReadHandler::IsAnswerable(const transport::Exchange& exchange,
                               const wire::ReadRequest& request) const {
  return std::ranges::all_of(request.items, [&](const wire::ReadItem& item) {
    return context_.Owns(item.key) &&
           item.window_offset + item.window_bytes <= exchange.receive_bulk_bytes();
  });
}

void ReadHandler::OnCall(std::unique_ptr<transport::Exchange> exchange, Admission::Token room) {
  auto request = wire::ReadRequest::Decode(exchange->request());
  if (!request || !IsAnswerable(*exchange, *request)) {
    context_.metrics.refused.Add();
    exchange->Finish(Code::kInvalidArgument, {});
    return;
  }
  auto owned = std::make_unique<ReadCall>();
  ReadCall& call = *owned;
  call.room = std::move(room);
  call.exchange = std::move(exchange);
  call.request = *std::move(request);
  call.response.items.resize(call.request.items.size());
  call.items.resize(call.request.items.size());
  call.began = context_.clock.Now();
  calls_.emplace(call.exchange.get(), std::move(owned));
  // Counted before the first is started: an item that is answered at once must not end the call.
  call.waiting = call.items.size();
  for (std::uint32_t item = 0; item < call.items.size(); ++item) StartItem(call, item);
  FinishIfDone(call);
}

void ReadHandler::StartItem(ReadCall& call, std::uint32_t item) {
  const wire::ReadItem& wanted = call.request.items[item];
  const std::uint64_t tag = next_tag_++;
  auto result = context_.store.StartRead(
      {.id = {call.exchange->peer().tenant, wanted.key, wanted.part, wanted.put_id},
       .levels = wanted.levels,
       .layers = wanted.layers,
       .kv_heads = wanted.kv_heads},
      tag);
  if (!result) {
    Fail(call, item, result.error().code());
  } else if (*result == nullptr) {
    pending_.emplace(tag, Pending{&call, item});
  } else {
    Send(call, item, **result);
  }
}

void ReadHandler::OnRead(storage::Completion& completion) {
  const auto pending = pending_.extract(completion.tag);
  if (pending.empty()) {
    // The reader is gone: nobody else holds the lease.
    if (completion.read != nullptr) context_.store.ReleaseRead(completion.read->slot);
    return;
  }
  auto [call, item] = pending.mapped();
  TellDiskRead(*call, item, completion);
  if (completion.code != Code::kOk) {
    Fail(*call, item, completion.code);
  } else {
    Send(*call, item, *completion.read);
  }
  FinishIfDone(*call);
}

std::vector<storage::ObjectId> ReadHandler::TakeMissed() {
  return std::exchange(missed_, {});
}

void ReadHandler::Fail(ReadCall& call, std::uint32_t item, Code code) {
  call.response.items[item].code = code;
  --call.waiting;
  if (code == Code::kNotFound && missed_.size() < kMissedMax) {
    const wire::ReadItem& wanted = call.request.items[item];
    missed_.push_back({call.exchange->peer().tenant, wanted.key, wanted.part, wanted.put_id});
  }
  (code == Code::kNotFound ? context_.metrics.misses : context_.metrics.get_errors).Add();
}

void ReadHandler::Send(ReadCall& call, std::uint32_t index, const storage::ReadResult& result) {
  Item& item = call.items[index];
  item.leased = true;
  item.slot = result.slot;
  EncodeFront(result, front_);
  const std::size_t size_bytes = front_.size() + result.size_bytes;
  auto scratch = context_.scratch.Copy(front_);
  if (!scratch || size_bytes > call.request.items[index].window_bytes) {
    if (scratch) context_.scratch.Free(*scratch);
    Release(item);
    Fail(call, index, Code::kResourceExhausted);
    return;
  }
  item.scratch = *std::move(scratch);
  PieceBuilder pieces(call, index);
  pieces.Add(item.scratch, front_.size());
  for (const storage::ReadResult::Group& group : result.groups) {
    pieces.Add(group.runs, group.size_bytes);
  }
  pieces.Flush();
  call.response.items[index] = {.code = Code::kOk,
                                .levels = result.levels,
                                .entry_count = static_cast<std::uint32_t>(result.entries.size()),
                                .size_bytes = size_bytes};
  --call.waiting;
  context_.metrics.gets.Add();
  context_.metrics.get_bytes.Add(size_bytes);
}

void ReadHandler::Release(Item& item) {
  if (item.leased) context_.store.ReleaseRead(item.slot);
  context_.scratch.Free(item.scratch);
  item = Item{};
}

void ReadHandler::FinishIfDone(ReadCall& call) {
  if (call.waiting == 0 && !call.finished) {
    wire::Buffer response;
    call.response.Encode(response);
    call.exchange->Finish(Code::kOk, response);
    call.finished = true;
  }
  if (call.finished && call.pieces_open == 0) {
    const Duration took = context_.clock.Now() - call.began;
    context_.metrics.get_time.Record(took);
    TellAnswered(call, took);
    calls_.erase(call.exchange.get());
  }
}

void ReadHandler::TellDiskRead(const ReadCall& call, std::uint32_t item,
                               const storage::Completion& read) {
  const Duration took = context_.clock.Now() - call.began;
  const auto level = context_.lines.LevelOf(took);
  if (!level) return;
  context_.log.Write(*level, "disk read",
                     {{"trace", ToHex(call.request.head.trace)},
                      {"key", ToHex(call.request.items[item].key)},
                      TookField(took),
                      {"bytes", std::to_string(read.read ? read.read->size_bytes : 0)},
                      {"code", std::string(CodeName(read.code))}});
}

void ReadHandler::TellAnswered(const ReadCall& call, Duration took) {
  const auto level = context_.lines.LevelOf(took);
  if (!level) return;
  std::size_t bytes = 0;
  for (const auto& item : call.response.items) bytes += item.size_bytes;
  context_.log.Write(*level, "read answered",
                     {{"trace", ToHex(call.request.head.trace)},
                      {"key", ToHex(call.request.items.front().key)},
                      {"items", std::to_string(call.request.items.size())},
                      TookField(took),
                      {"bytes", std::to_string(bytes)},
                      {"code", std::string(CodeName(call.response.items.front().code))}});
}

bool ReadHandler::OnMoved(transport::Exchange& exchange, std::uint32_t piece) {
  const auto found = calls_.find(&exchange);
  if (found == calls_.end()) return false;
  ReadCall& call = *found->second;
  Item& item = call.items[call.item_of_piece[piece]];
  --call.pieces_open;
  if (--item.pieces_open == 0) Release(item);
  FinishIfDone(call);
  return true;
}

bool ReadHandler::OnAbandoned(transport::Exchange& exchange) {
  const auto found = calls_.find(&exchange);
  if (found == calls_.end()) return false;
  ReadCall& call = *found->second;
  std::erase_if(pending_, [&](const auto& entry) { return entry.second.call == &call; });
  call.exchange.reset();  // What was in flight is not read any more.
  for (Item& item : call.items) Release(item);
  calls_.erase(found);
  return true;
}

void ReadHandler::OnReportCorrupt(std::unique_ptr<transport::Exchange> exchange) {
  const auto report = wire::ReportCorruptRequest::Decode(exchange->request());
  if (!report || !context_.Owns(report->key)) {
    context_.metrics.refused.Add();
    exchange->Finish(Code::kInvalidArgument, {});
    return;
  }
  context_.metrics.corrupt_reports.Add();
  context_.log.Write(LogLevel::kWarning, "reader found an object corrupt",
                     {{"trace", ToHex(report->head.trace)}, {"key", ToHex(report->key)}});
  context_.store.Suspect({exchange->peer().tenant, report->key, report->part, report->put_id});
  exchange->Finish(Code::kOk, {});
}

}  // namespace kdn::node

// Calls, lookups, contexts and reads. embedded_puts.cc has the puts.
#include "client/embedded/embedded_calls.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <utility>

namespace kdn::client {
namespace {

bool Watch(int epoll_fd, int fd) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = fd;
  return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0;
}

}  // namespace

Result<std::unique_ptr<EmbeddedCalls>> EmbeddedCalls::Make(
    TenantId tenant, std::unique_ptr<storage::DiskTier> disk,
    std::unique_ptr<storage::ObjectStore> store, const Clock& clock, Random& random) {
  std::unique_ptr<EmbeddedCalls> calls(
      new EmbeddedCalls(tenant, std::move(disk), std::move(store), clock, random));
  calls->epoll_fd_ = epoll_create1(EPOLL_CLOEXEC);
  calls->wake_fd_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (calls->epoll_fd_ < 0 || calls->wake_fd_ < 0 || !Watch(calls->epoll_fd_, calls->wake_fd_) ||
      !Watch(calls->epoll_fd_, calls->store_->WaitFd())) {
    return Error(Code::kResourceExhausted, "no file descriptors left for embedded mode");
  }
  return calls;
}

EmbeddedCalls::EmbeddedCalls(TenantId tenant, std::unique_ptr<storage::DiskTier> disk,
                             std::unique_ptr<storage::ObjectStore> store, const Clock& clock,
                             Random& random)
    : tenant_(tenant),
      disk_(std::move(disk)),
      store_(std::move(store)),
      clock_(clock),
      random_(random) {}

EmbeddedCalls::~EmbeddedCalls() {
  while (!calls_.empty()) End(calls_.begin()->first, Code::kCancelled);
  // Nobody is left to tell: what could not be written is not on disk, as after a crash.
  [[maybe_unused]] Status status = store_->Close();
  store_.reset();
  if (disk_) status = disk_->Close();
  if (wake_fd_ >= 0) close(wake_fd_);
  if (epoll_fd_ >= 0) close(epoll_fd_);
}

// -- Calls -------------------------------------------------------------------------------------

CallId EmbeddedCalls::Start(CallRequest request) {
  const CallId id{next_id_++};
  calls_.emplace(id, std::move(request));
  unanswered_.push_back(id);
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = write(wake_fd_, &one, sizeof(one));
  return id;
}

void EmbeddedCalls::Cancel(CallId id) {
  // Only a read that waits for the disk is worth ending early; all else is answered in a moment.
  End(id, Code::kCancelled);
}

void EmbeddedCalls::End(CallId id, Code code, ConstBytes response) {
  const auto it = calls_.find(id);
  if (it == calls_.end()) return;
  const auto done = std::move(it->second.done);
  calls_.erase(it);
  done(code, response);
}

bool EmbeddedCalls::Poll() {
  std::uint64_t count = 0;
  [[maybe_unused]] const ssize_t drained = read(wake_fd_, &count, sizeof(count));
  bool busy = false;
  for (const CallId id : std::exchange(unanswered_, {})) {
    Answer(id);
    busy = true;
  }
  std::array<storage::Completion, 32> completions;
  const std::size_t completed = store_->Poll(completions);
  for (std::size_t i = 0; i < completed; ++i) OnCompletion(std::move(completions[i]));
  // Nobody keeps a directory here: the list is emptied so that it does not grow.
  bool overflowed = false;
  store_->TakeChanges(overflowed);
  ExpirePuts();
  return busy || completed > 0;
}

void EmbeddedCalls::Answer(CallId id) {
  const auto it = calls_.find(id);
  if (it == calls_.end()) return;  // cancelled meanwhile
  if (it->second.deadline <= clock_.Now()) return End(id, Code::kDeadlineExceeded);
  const ConstBytes request = it->second.request;
  const auto head = wire::PeekHead(request);
  if (!head) return End(id, Code::kInvalidArgument);
  switch (head->type) {
    case wire::MessageType::kLookup:
      return AnswerLookup(id, request);
    case wire::MessageType::kPutStart:
      return AnswerPutStart(id, request);
    case wire::MessageType::kPutPiece:
      return AnswerPutPiece(id, request);
    case wire::MessageType::kPutCommit:
      return AnswerPutCommit(id, request);
    case wire::MessageType::kPutAbort:
      return AnswerPutAbort(id, request);
    case wire::MessageType::kContextUpdate:
      return AnswerContextUpdate(id, request);
    case wire::MessageType::kContextGet:
      return AnswerContextGet(id, request);
    case wire::MessageType::kRead:
      return AnswerRead(id, request);
    case wire::MessageType::kReportCorrupt:
      return AnswerReportCorrupt(id, request);
    default:
      return End(id, Code::kUnimplemented);
  }
}

// -- Lookup ------------------------------------------------------------------------------------

std::optional<wire::ChunkLocation> EmbeddedCalls::Locate(const ChunkKey& key) const {
  const auto first = store_->Find(tenant_, key, 0);
  if (!first) return std::nullopt;
  wire::ChunkLocation where;
  where.put_id = first->header.put_id;
  where.provenance = first->header.provenance;
  where.token_count = first->header.token_count;
  for (std::uint16_t p = 0; p < first->header.part.count; ++p) {
    const auto part = p == 0 ? first : store_->Find(tenant_, key, p);
    if (!part || part->header.put_id != where.put_id) return std::nullopt;
    wire::PartLocation location;
    location.shape = part->header.part;
    const LevelSet present = part->in_dram | part->on_disk;
    for (std::size_t level = 0; level < kLevelCount; ++level) {
      if (present.Has(static_cast<Level>(level))) {
        location.level_bytes[level] = part->header.level_bytes[level];
      }
    }
    location.replicas.push_back({kSelf, part->in_dram, part->on_disk});
    where.parts.push_back(std::move(location));
  }
  return where;
}

std::vector<wire::ChunkLocation> EmbeddedCalls::Match(const std::vector<ChunkKey>& chain,
                                                      const wire::LookupRequest& request) const {
  std::vector<wire::ChunkLocation> chunks;
  for (const ChunkKey& key : chain) {
    auto where = Locate(key);
    if (!where || where->provenance.kind < request.floor) break;
    bool fine_enough = true;
    for (const wire::PartLocation& part : where->parts) {
      fine_enough =
          fine_enough && part.level_bytes[static_cast<std::size_t>(request.level_min)] > 0;
    }
    if (!fine_enough) break;
    chunks.push_back(*std::move(where));
  }
  return chunks;
}

void EmbeddedCalls::AnswerLookup(CallId id, ConstBytes bytes) {
  const auto request = wire::LookupRequest::Decode(bytes);
  if (!request) return End(id, request.error().code());
  wire::LookupResponse response;
  for (std::size_t c = 0; c < request->chains.size(); ++c) {
    auto chunks = Match(request->chains[c], *request);
    if (chunks.size() <= response.chunks.size()) continue;
    response.chunks = std::move(chunks);
    response.chain = static_cast<std::uint16_t>(c);
  }
  EndWith(id, response);
}

// -- Contexts ----------------------------------------------------------------------------------

std::string EmbeddedCalls::ContextValueName(const std::string& name) const {
  return "context/" + std::to_string(static_cast<std::uint64_t>(tenant_)) + "/" + name;
}

Status EmbeddedCalls::SaveContext(const std::string& name,
                                  const wire::ContextGetResponse& context) {
  if (!disk_) {
    contexts_[name] = context;
    return {};
  }
  wire::Buffer value;
  context.Encode(value);
  return disk_->PutValue(ContextValueName(name), value);
}

Result<wire::ContextGetResponse> EmbeddedCalls::LoadContext(const std::string& name) {
  if (!disk_) {
    const auto it = contexts_.find(name);
    if (it == contexts_.end()) return Error(Code::kNotFound);
    return it->second;
  }
  KDN_ASSIGN_OR_RETURN(const std::vector<std::byte> value, disk_->GetValue(ContextValueName(name)));
  return wire::ContextGetResponse::Decode(value);
}

void EmbeddedCalls::AnswerContextUpdate(CallId id, ConstBytes bytes) {
  const auto request = wire::ContextUpdateRequest::Decode(bytes);
  if (!request) return End(id, request.error().code());
  wire::ContextGetResponse context;
  if (auto present = LoadContext(request->name)) {
    context = *std::move(present);
    if (context.model != request->model) return End(id, Code::kFailedPrecondition);
  }
  if (request->first_chunk > context.keys.size()) return End(id, Code::kOutOfRange);
  const std::vector<ChunkKey> before = context.keys;
  context.model = request->model;
  context.token_count = request->token_count;
  context.keys.resize(request->first_chunk);
  context.keys.insert(context.keys.end(), request->keys.begin(), request->keys.end());
  const bool fixed = request->name.starts_with(wire::kOwnContextPrefix) && !before.empty();
  if (fixed && context.keys != before) return End(id, Code::kAlreadyExists);
  End(id, SaveContext(request->name, context).code());
}

void EmbeddedCalls::AnswerContextGet(CallId id, ConstBytes bytes) {
  const auto request = wire::ContextGetRequest::Decode(bytes);
  if (!request) return End(id, request.error().code());
  const auto context = LoadContext(request->name);
  if (!context) return End(id, context.error().code());
  EndWith(id, *context);
}

// -- Reads -------------------------------------------------------------------------------------

void EmbeddedCalls::AnswerRead(CallId id, ConstBytes bytes) {
  const auto request = wire::ReadRequest::Decode(bytes);
  if (!request) return End(id, request.error().code());
  // The client names one object a call; what it never sends is not served.
  if (request->items.size() != 1) return End(id, Code::kUnimplemented);
  const wire::ReadItem& item = request->items[0];
  storage::ReadRequest read;
  read.id = {tenant_, item.key, item.part, item.put_id};
  read.levels = item.levels;
  read.layers = item.layers;
  read.kv_heads = item.kv_heads;
  const auto result = store_->StartRead(read, static_cast<std::uint64_t>(id));
  if (!result) {
    wire::ReadResponse response;
    response.items.push_back({result.error().code(), {}, 0, 0});
    return EndWith(id, response);
  }
  if (*result) SendRead(id, **result);
}

void EmbeddedCalls::SendRead(CallId id, const storage::ReadResult& read) {
  const auto it = calls_.find(id);
  if (it == calls_.end()) {
    store_->ReleaseRead(read.slot);
    return;
  }
  const MutableBytes window = it->second.window;
  const std::size_t head_bytes = kObjectHeaderBytes + read.entries.size() * kTileEntryBytes;
  const std::size_t size_bytes = head_bytes + read.size_bytes;
  wire::ReadResponse response;
  response.items.push_back(
      {Code::kOk, read.levels, static_cast<std::uint32_t>(read.entries.size()), size_bytes});
  if (size_bytes > window.size()) {
    response.items[0] = {Code::kResourceExhausted, {}, 0, 0};
  } else {
    std::vector<std::byte> head;
    ByteWriter writer(head);
    writer.Bytes(EncodeHeader(read.header));
    for (const TileEntry& entry : read.entries) EncodeTileEntry(entry, writer);
    std::memcpy(window.data(), head.data(), head.size());
    std::size_t offset = head_bytes;
    for (const ConstBytes run : read.runs) {
      std::memcpy(window.data() + offset, run.data(), run.size());
      offset += run.size();
    }
    if (it->second.piece) it->second.piece(0, size_bytes);
  }
  store_->ReleaseRead(read.slot);
  EndWith(id, response);
}

void EmbeddedCalls::AnswerReportCorrupt(CallId id, ConstBytes bytes) {
  const auto request = wire::ReportCorruptRequest::Decode(bytes);
  if (!request) return End(id, request.error().code());
  store_->Suspect({tenant_, request->key, request->part, request->put_id});
  End(id, Code::kOk);
}

}  // namespace kdn::client

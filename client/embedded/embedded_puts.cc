// Puts of embedded mode: the two phases of a cluster's, without anybody to ask.
#include <algorithm>
#include <chrono>
#include <cstring>
#include <utility>

#include "client/embedded/embedded_calls.h"

namespace kdn::client {
namespace {

constexpr std::chrono::seconds kPutExpiry{60};

}  // namespace

void EmbeddedCalls::AnswerPutStart(CallId id, ConstBytes bytes) {
  const auto request = wire::PutStartRequest::Decode(bytes);
  if (!request) return End(id, request.error().code());
  wire::PutStartResponse response;
  bool any = false;
  for (const auto& chunk : request->chunks) {
    const auto present = Locate(chunk.key);
    const bool keep =
        present && ProvenanceRank(present->provenance) >= ProvenanceRank(request->provenance);
    response.verdicts.push_back(keep ? wire::PutVerdict::kPresent : wire::PutVerdict::kStore);
    response.grant_of.push_back(keep ? wire::kNoGrant : std::uint16_t{0});
    any = any || !keep;
  }
  if (any) {
    const PutId put_id = MakePutId(Epoch{0}, random_);
    puts_[put_id] = {request->part_count, clock_.Now() + kPutExpiry, {}};
    // The put id is all that a ticket has to say here.
    response.grants.push_back(
        {put_id, {kSelf}, wire::Buffer(put_id.bytes.begin(), put_id.bytes.end()), 1});
  }
  EndWith(id, response);
}

Result<wire::PutPieceResponse> EmbeddedCalls::TakePiece(const wire::PutPieceRequest& request,
                                                        const std::vector<ConstBytes>& bulk) {
  PutId put_id;
  ByteReader ticket(request.ticket);
  put_id = ticket.OpaqueId<PutId>();
  const auto put = puts_.find(put_id);
  if (!ticket.AtEnd() || put == puts_.end()) return Error(Code::kPermissionDenied);
  const storage::ObjectId object{tenant_, request.key, request.part, put_id};
  KDN_ASSIGN_OR_RETURN(const storage::PutSlot slot,
                       store_->BeginPut(object, request.object_bytes, put->second.expires));
  KDN_ASSIGN_OR_RETURN(const std::vector<MutableBytes> memory,
                       store_->PutMemory(slot, request.offset, request.size_bytes));
  // One run here, several there: a cursor over the source.
  std::size_t source = 0;
  std::size_t taken = 0;
  for (MutableBytes run : memory) {
    while (!run.empty() && source < bulk.size()) {
      const std::size_t count = std::min(run.size(), bulk[source].size() - taken);
      std::memcpy(run.data(), bulk[source].data() + taken, count);
      run = run.subspan(count);
      taken += count;
      if (taken == bulk[source].size()) {
        ++source;
        taken = 0;
      }
    }
  }
  KDN_ASSIGN_OR_RETURN(const std::optional<ObjectDigest> digest,
                       store_->PutReceived(slot, request.offset, request.size_bytes));
  wire::PutPieceResponse response;
  if (digest) response.acks.push_back({kSelf, *digest});
  return response;
}

void EmbeddedCalls::AnswerPutPiece(CallId id, ConstBytes bytes) {
  const auto request = wire::PutPieceRequest::Decode(bytes);
  if (!request) return End(id, request.error().code());
  const std::vector<ConstBytes>& bulk = calls_.at(id).send_bulk;
  std::size_t bulk_bytes = 0;
  for (const ConstBytes run : bulk) bulk_bytes += run.size();
  if (bulk_bytes != request->size_bytes) return End(id, Code::kInvalidArgument);
  const auto response = TakePiece(*request, bulk);
  if (!response) return End(id, response.error().code());
  EndWith(id, *response);
}

void EmbeddedCalls::AnswerPutCommit(CallId id, ConstBytes bytes) {
  const auto request = wire::PutCommitRequest::Decode(bytes);
  if (!request) return End(id, request.error().code());
  ByteReader ticket(request->ticket);
  const auto put_id = ticket.OpaqueId<PutId>();
  const auto put = puts_.find(put_id);
  if (!ticket.AtEnd() || put == puts_.end()) return End(id, Code::kPermissionDenied);
  auto wait = std::make_shared<CommitWait>();
  wait->call = id;
  wait->response.objects.resize(request->objects.size());
  wait->left = 1;  // this function's own share, so that nothing ends before all are begun
  for (std::size_t i = 0; i < request->objects.size(); ++i) {
    const auto& object = request->objects[i];
    if (object.acks.empty()) continue;
    auto& parts = put->second.parts[object.key];
    parts[object.shape.number] = object.acks.front().digest;
    if (parts.size() < put->second.part_count) {
      wait->response.objects[i].state = wire::CommitState::kPending;
    } else {
      CommitChunk(put_id, object.key, put->second, wait, i);
    }
  }
  if (--wait->left == 0) {
    EndWith(id, wait->response);
  }
}

void EmbeddedCalls::CommitChunk(const PutId& put_id, const ChunkKey& key, const Put& put,
                                const std::shared_ptr<CommitWait>& wait, std::size_t object) {
  auto& answer = wait->response.objects[object];
  answer = {wire::CommitState::kVisible, 1, 1};  // until a part of it says otherwise
  for (const auto& [part, digest] : put.parts.at(key)) {
    const std::uint64_t tag = next_id_++;
    commits_[tag] = {wait, object};
    ++wait->left;
    store_->Commit({tenant_, key, part, put_id}, digest, tag);
  }
}

void EmbeddedCalls::OnCompletion(storage::Completion completion) {
  if (completion.kind == storage::Completion::Kind::kRead) {
    const CallId id{completion.tag};
    if (completion.read) return SendRead(id, *completion.read);
    wire::ReadResponse response;
    response.items.push_back({completion.code, {}, 0, 0});
    return EndWith(id, response);
  }
  const auto it = commits_.find(completion.tag);
  if (it == commits_.end()) return;
  const auto [wait, object] = it->second;
  commits_.erase(it);
  auto& answer = wait->response.objects[object];
  const bool committed = completion.code == Code::kOk || completion.code == Code::kAlreadyExists;
  if (!committed) answer = {wire::CommitState::kFailed, 0, 0, completion.code};
  if (completion.on_disk.empty()) answer.replicas_on_disk = 0;
  if (--wait->left > 0) return;
  EndWith(wait->call, wait->response);
}

void EmbeddedCalls::AnswerPutAbort(CallId id, ConstBytes bytes) {
  const auto request = wire::PutAbortRequest::Decode(bytes);
  if (!request) return End(id, request.error().code());
  ByteReader ticket(request->ticket);
  // The objects' room goes back when they expire; the grant is gone at once.
  puts_.erase(ticket.OpaqueId<PutId>());
  End(id, Code::kOk);
}

void EmbeddedCalls::ExpirePuts() {
  const TimePoint now = clock_.Now();
  std::erase_if(puts_, [&](const auto& put) { return put.second.expires <= now; });
}

}  // namespace kdn::client

#include "tests/proto/wire/message_cases.h"

#include <cstdlib>

#include "proto/wire/context.h"
#include "proto/wire/inventory.h"
#include "proto/wire/lookup.h"
#include "proto/wire/node_ops.h"
#include "proto/wire/overload.h"
#include "proto/wire/put.h"
#include "proto/wire/read.h"
#include "proto/wire/ticket.h"

namespace kdn::test {
namespace {

using wire::Buffer;

// An id whose bytes count up from `first`, so that a field in the wrong place is seen.
template <class Id>
Id Counting(unsigned first) {
  Id id;
  for (std::byte& b : id.bytes) b = static_cast<std::byte>(first++);
  return id;
}

template <class Message>
Message WithTrace(Message message) {
  message.head.trace = Counting<TraceId>(0xA0);
  return message;
}

const PartShape kWhole{.number = 0, .count = 1, .layers = {0, 32}, .kv_heads = {0, 8}};
const PartShape kLowHalf{.number = 0, .count = 2, .layers = {0, 32}, .kv_heads = {0, 4}};
const PartShape kHighHalf{.number = 1, .count = 2, .layers = {0, 32}, .kv_heads = {4, 4}};
const Provenance kLossyStandard{ProvenanceKind::kLossy, Level::kStandard, 0};

wire::LookupRequest LookupRequestSample() {
  wire::LookupRequest request;
  request.floor = ProvenanceKind::kLossy;
  request.level_min = Level::kStandard;
  request.known_map_version = 7;
  request.chains = {{Counting<ChunkKey>(1), Counting<ChunkKey>(2), Counting<ChunkKey>(3)},
                    {Counting<ChunkKey>(4), Counting<ChunkKey>(5), Counting<ChunkKey>(6)}};
  return WithTrace(request);
}

wire::NodeMap NodeMapSample() {
  return {.version = 8,
          .nodes = {{NodeId{3}, Counting<HostId>(0x30), {"10.0.0.3:7000", "10.0.0.3:7001"}},
                    {NodeId{5}, Counting<HostId>(0x50), {"[fd00::5]:7000"}}}};
}

wire::LookupResponse LookupResponseSample() {
  const wire::ReplicaLocation fast{NodeId{3}, kAllLevels, Level::kDraft};
  const wire::ReplicaLocation slow{NodeId{5}, LevelSet{}, kAllLevels};
  wire::LookupResponse response;
  response.epoch = Epoch{9};
  response.chain = 1;
  response.map = NodeMapSample();
  response.chunks.resize(2);
  response.chunks[0] = {.put_id = Counting<PutId>(0x10),
                        .provenance = kExactProvenance,
                        .token_count = 256,
                        .parts = {{kWhole, {100, 200, 300, 400}, {fast, slow}}}};
  response.chunks[1] = {.put_id = Counting<PutId>(0x20),
                        .provenance = kLossyStandard,
                        .token_count = 17,
                        .parts = {{kLowHalf, {0, 0, 0, 1000}, {slow}},
                                  {kHighHalf, {0, 0, 0, 1001}, {fast, slow, fast}}}};
  return response;
}

// Between them the chunks keep and change each field.
wire::LookupResponse CompactLookupResponseSample() {
  wire::LookupResponse response = LookupResponseSample();
  response.layout = wire::LookupLayout::kCompact;
  response.chunks.push_back(response.chunks[1]);
  response.chunks.push_back(response.chunks[0]);
  response.chunks.push_back(response.chunks[0]);
  response.chunks.back().put_id = Counting<PutId>(0x11);
  response.chunks.push_back(response.chunks.back());
  response.chunks.back().parts[0].level_bytes[0] = 101;
  return response;
}

wire::PutStartRequest PutStartRequestSample() {
  wire::PutStartRequest request;
  request.model = Counting<ModelFingerprint>(0x40);
  request.provenance = {ProvenanceKind::kBlended, Level::kDraft, 150};
  request.part_count = 2;
  request.replicas = 3;
  request.known_map_version = 8;
  request.chunks = {{Counting<ChunkKey>(1), ChunkKey{}, 256, 123456},
                    {Counting<ChunkKey>(2), Counting<ChunkKey>(1), 100, 65432}};
  return WithTrace(request);
}

wire::Ticket TicketSample() {
  return {.epoch = Epoch{9},
          .tenant = TenantId{77},
          .put_id = Counting<PutId>(0x60),
          .model = Counting<ModelFingerprint>(0x40),
          .part_count = 2,
          .object_bytes_max = 123456,
          .expires_ms = 987654321,
          .nodes = {NodeId{3}, NodeId{5}},
          .keys = {Counting<ChunkKey>(1), Counting<ChunkKey>(2)}};
}

const HmacKey& TicketKey() {
  static const HmacKey key(AsBytes("the cluster's secret"));
  return key;
}

wire::PutStartResponse PutStartResponseSample() {
  wire::PutStartResponse response;
  response.map = NodeMapSample();
  response.verdicts = {wire::PutVerdict::kStore, wire::PutVerdict::kPresent,
                       wire::PutVerdict::kBusy, wire::PutVerdict::kRefused,
                       wire::PutVerdict::kStore};
  response.grant_of = {0, wire::kNoGrant, wire::kNoGrant, wire::kNoGrant, 1};
  response.grants = {{Counting<PutId>(0x60), {NodeId{3}, NodeId{5}}, Buffer(5, std::byte{0x55}), 2},
                     {Counting<PutId>(0x70), {NodeId{5}}, Buffer(3, std::byte{0x66}), 2}};
  return response;
}

wire::PutPieceRequest PutPieceRequestSample() {
  wire::PutPieceRequest request;
  request.ticket = Buffer(5, std::byte{0x55});
  request.key = Counting<ChunkKey>(1);
  request.part = 1;
  request.hop = 1;
  request.object_bytes = 100000;
  request.offset = 65536;
  request.size_bytes = 34464;
  return WithTrace(request);
}

wire::PutPieceResponse PutPieceResponseSample() {
  return {
      .acks = {{NodeId{3}, {Counting<Checksum>(0x70)}}, {NodeId{5}, {Counting<Checksum>(0x80)}}},
      .failed = {NodeId{6}}};
}

wire::PutCommitRequest PutCommitRequestSample() {
  wire::PutCommitRequest request;
  request.ticket = Buffer(5, std::byte{0x55});
  request.objects = {{Counting<ChunkKey>(1),
                      kLowHalf,
                      {1, 2, 3, 4},
                      {{NodeId{3}, {Counting<Checksum>(0x70)}}, {NodeId{5}, {}}}},
                     {Counting<ChunkKey>(2), kHighHalf, {0, 0, 0, 9}, {{NodeId{5}, {}}}}};
  return WithTrace(request);
}

wire::PutCommitResponse PutCommitResponseSample() {
  return {.objects = {{wire::CommitState::kVisible, 3, 2},
                      {wire::CommitState::kPending, 0, 0},
                      {wire::CommitState::kFailed, 0, 0}}};
}

// To a commit of version 2.
wire::PutCommitResponse PutCommitCodesSample() {
  return {.objects = {{wire::CommitState::kFailed, 0, 0, Code::kResourceExhausted},
                      {wire::CommitState::kFailed, 0, 0, Code::kUnavailable}}};
}

wire::PutAbortRequest PutAbortRequestSample() {
  wire::PutAbortRequest request;
  request.ticket = Buffer(5, std::byte{0x55});
  return WithTrace(request);
}

wire::ContextUpdateRequest ContextUpdateRequestSample() {
  wire::ContextUpdateRequest request;
  request.name = "books/war and peace";
  request.model = Counting<ModelFingerprint>(0x40);
  request.first_chunk = 12;
  request.token_count = 3500;
  request.keys = {Counting<ChunkKey>(1), Counting<ChunkKey>(2)};
  return WithTrace(request);
}

wire::ContextGetRequest ContextGetRequestSample() {
  wire::ContextGetRequest request;
  request.name = "books/war and peace";
  return WithTrace(request);
}

wire::ContextGetResponse ContextGetResponseSample() {
  return {.model = Counting<ModelFingerprint>(0x40),
          .token_count = 512,
          .keys = {Counting<ChunkKey>(1), Counting<ChunkKey>(2)}};
}

wire::ReadRequest ReadRequestSample() {
  wire::ReadRequest request;
  request.items = {{.key = Counting<ChunkKey>(1),
                    .part = 0,
                    .put_id = Counting<PutId>(0x10),
                    .levels = kAllLevels,
                    .layers = {0, 32},
                    .kv_heads = {0, 8},
                    .window_offset = 0,
                    .window_bytes = 1 << 20},
                   {.key = Counting<ChunkKey>(2),
                    .part = 3,
                    .put_id = Counting<PutId>(0x20),
                    .levels = Level::kDraft,
                    .layers = {16, 8},
                    .kv_heads = {4, 2},
                    .window_offset = 1 << 20,
                    .window_bytes = 4096}};
  return WithTrace(request);
}

wire::ReadResponse ReadResponseSample() {
  return {.items = {{Code::kOk, kAllLevels, 64, 1000000}, {Code::kNotFound, LevelSet{}, 0, 0}}};
}

wire::ReportCorruptRequest ReportCorruptRequestSample() {
  wire::ReportCorruptRequest request;
  request.key = Counting<ChunkKey>(1);
  request.part = 1;
  request.put_id = Counting<PutId>(0x10);
  return WithTrace(request);
}

const wire::ObjectName kFirstName{TenantId{77}, Counting<ChunkKey>(1), 0, Counting<PutId>(0x10)};
const wire::ObjectName kSecondName{TenantId{78}, Counting<ChunkKey>(2), 5, Counting<PutId>(0x20)};

wire::CommitObjectsRequest CommitObjectsRequestSample() {
  wire::CommitObjectsRequest request;
  request.epoch = Epoch{9};
  request.objects = {{kFirstName, {Counting<Checksum>(0x70)}},
                     {kSecondName, {Counting<Checksum>(0x80)}}};
  return WithTrace(request);
}

wire::DropObjectsRequest DropObjectsRequestSample() {
  wire::DropObjectsRequest request;
  request.epoch = Epoch{9};
  request.objects = {{kFirstName, kAllLevels}, {kSecondName, Level::kExact}};
  return WithTrace(request);
}

wire::VerifyObjectsRequest VerifyObjectsRequestSample() {
  wire::VerifyObjectsRequest request;
  request.epoch = Epoch{9};
  request.objects = {kFirstName, kSecondName};
  return WithTrace(request);
}

wire::ObjectCodesResponse ObjectCodesResponseSample() {
  return {.objects = {{Code::kOk, kAllLevels}, {Code::kDataLoss, LevelSet{}}}};
}

wire::InventoryEntry InventoryEntrySample() {
  return {.tenant = TenantId{77},
          .key = Counting<ChunkKey>(1),
          .parent = Counting<ChunkKey>(2),
          .chain_root = Counting<ChunkKey>(3),
          .model = Counting<ModelFingerprint>(0x40),
          .put_id = Counting<PutId>(0x10),
          .match_hash = MatchHash{0x1122334455667788},
          .shape = kHighHalf,
          .token_count = 256,
          .provenance = kLossyStandard,
          .level_bytes = {100, 200, 300, 400},
          .in_dram = Level::kDraft,
          .on_disk = kAllLevels};
}

template <auto kSample>
Buffer Encoded() {
  Buffer bytes;
  kSample().Encode(bytes);
  return bytes;
}

void RequireInvalidArgument(const Status& status) {
  if (status.code() != Code::kInvalidArgument) std::abort();
}

template <class Message>
std::optional<Buffer> Reencoded(ConstBytes bytes) {
  const Result<Message> message = Message::Decode(bytes);
  if (!message) {
    RequireInvalidArgument(message.error());
    return std::nullopt;
  }
  Buffer again;
  message->Encode(again);
  return again;
}

Buffer EncodedEntry() {
  Buffer bytes;
  ByteWriter writer(bytes);
  InventoryEntrySample().Encode(writer);
  return bytes;
}

std::optional<Buffer> ReencodedEntry(ConstBytes bytes) {
  ByteReader in(bytes);
  const wire::InventoryEntry entry = wire::InventoryEntry::Decode(in);
  if (!in.AtEnd()) return std::nullopt;
  Buffer again;
  ByteWriter writer(again);
  entry.Encode(writer);
  return again;
}

// A ticket's layout is what is tested here, so the bytes go without their MAC and are signed before
// they are opened; wire_ticket_test.cc has the rest.
Buffer TicketBody(const wire::Ticket& ticket) {
  const Buffer sealed = wire::SealTicket(ticket, TicketKey());
  return {sealed.begin(), sealed.end() - std::ptrdiff_t{sizeof(Digest)}};
}

wire::Overload OverloadSample() {
  return {wire::ShedReason::kTenantBytes, wire::Priority::kPrefetch,
          std::chrono::milliseconds(250)};
}

Buffer EncodedTicket() {
  return TicketBody(TicketSample());
}

std::optional<Buffer> ReencodedTicket(ConstBytes bytes) {
  Buffer sealed(bytes.begin(), bytes.end());
  ByteWriter(sealed).Bytes(TicketKey().Sign(bytes));
  const Result<wire::Ticket> ticket = wire::OpenTicket(sealed, TicketKey());
  if (!ticket) {
    RequireInvalidArgument(ticket.error());
    return std::nullopt;
  }
  return TicketBody(*ticket);
}

template <auto kSample>
constexpr MessageCase CaseOf(std::string_view name, bool has_head) {
  return {name, has_head, Encoded<kSample>, Reencoded<decltype(kSample())>};
}

constexpr MessageCase kCases[] = {
    CaseOf<LookupRequestSample>("lookup_request", true),
    CaseOf<LookupResponseSample>("lookup_response", false),
    CaseOf<CompactLookupResponseSample>("compact_lookup_response", false),
    CaseOf<PutStartRequestSample>("put_start_request", true),
    CaseOf<PutStartResponseSample>("put_start_response", false),
    CaseOf<PutPieceRequestSample>("put_piece_request", true),
    CaseOf<PutPieceResponseSample>("put_piece_response", false),
    CaseOf<PutCommitRequestSample>("put_commit_request", true),
    CaseOf<PutCommitResponseSample>("put_commit_response", false),
    CaseOf<PutCommitCodesSample>("put_commit_codes_response", false),
    CaseOf<PutAbortRequestSample>("put_abort_request", true),
    CaseOf<ContextUpdateRequestSample>("context_update_request", true),
    CaseOf<ContextGetRequestSample>("context_get_request", true),
    CaseOf<ContextGetResponseSample>("context_get_response", false),
    CaseOf<ReadRequestSample>("read_request", true),
    CaseOf<ReadResponseSample>("read_response", false),
    CaseOf<ReportCorruptRequestSample>("report_corrupt_request", true),
    CaseOf<CommitObjectsRequestSample>("commit_objects_request", true),
    CaseOf<DropObjectsRequestSample>("drop_objects_request", true),
    CaseOf<VerifyObjectsRequestSample>("verify_objects_request", true),
    CaseOf<ObjectCodesResponseSample>("object_codes_response", false),
    CaseOf<OverloadSample>("overload", false),
    {"inventory_entry", false, EncodedEntry, ReencodedEntry},
    {"ticket", false, EncodedTicket, ReencodedTicket},
};

}  // namespace

std::span<const MessageCase> MessageCases() {
  return kCases;
}

const MessageCase& FindMessageCase(std::string_view name) {
  for (const MessageCase& one : kCases) {
    if (one.name == name) return one;
  }
  std::abort();
}

}  // namespace kdn::test

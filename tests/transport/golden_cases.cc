#include "tests/transport/golden_cases.h"

#include <algorithm>

namespace kdn::transport::test {
namespace {

// Bytes `first`, first + 1, ...
template <class Container>
Container Counting(Container bytes, int first) {
  for (std::byte& b : bytes) b = static_cast<std::byte>(first++);
  return bytes;
}

template <class Id>
Id CountingId(int first) {
  Id id;
  id.bytes = Counting(id.bytes, first);
  return id;
}

template <class Message>
GoldenCase Encoded(std::string name, const Message& message) {
  GoldenCase golden{std::move(name), {}};
  message.Encode(golden.bytes);
  return golden;
}

}  // namespace

ClientHello GoldenClientHello() {
  ClientHello hello;
  hello.version_min = 1;
  hello.version_max = 0x0102;
  hello.cluster = CountingId<ClusterId>(0x10);
  hello.role = PeerRole::kAdmin;
  hello.scheme = HelloScheme::kHmac;
  hello.tenant = TenantId{0x1122334455667788};
  hello.peer = CountingId<PeerId>(0x20);
  hello.host = CountingId<HostId>(0x30);
  hello.features = kFeatureSharedMemory | kFeatureTls;
  hello.nonce = Counting(Nonce{}, 0x40);
  hello.credential = Counting(std::vector<std::byte>(5), 0x70);
  return hello;
}

ServerHello GoldenServerHello() {
  ServerHello hello;
  hello.code = Code::kFailedPrecondition;
  hello.version = 0x0102;
  hello.cluster = CountingId<ClusterId>(0x10);
  hello.peer = CountingId<PeerId>(0x20);
  hello.features = kFeatureRdma;
  hello.epoch = Epoch{0x01020304};
  hello.map_version = 0x1122334455667788;
  hello.nonce = Counting(Nonce{}, 0x40);
  hello.reason = "no";
  return hello;
}

ClientProof GoldenClientProof() {
  return {Counting(std::vector<std::byte>(32), 0x50)};
}

ServerProof GoldenServerProof() {
  return {Code::kUnauthenticated, Counting(std::vector<std::byte>(32), 0x60), "wrong"};
}

ServerProof GoldenShareProof() {
  ServerProof proof{Code::kOk, Counting(std::vector<std::byte>(32), 0x60), ""};
  proof.share = ShareInvite{"kdn-0123", Counting(Nonce{}, 0x80)};
  return proof;
}

shm::MemoryOffer GoldenOffer() {
  return {{Counting(Nonce{}, 0x80), Counting(Nonce{}, 0xA0)}, {0x10000000, 0x3000}};
}

std::vector<FrameHeader> GoldenFrames() {
  FrameHeader request{.type = FrameType::kRequest, .call = 0x01020304, .size = 5};
  request.size_a = 0x8000000;
  request.size_b = 0x4000001;
  request.remaining_us = 0x1122334455667788;
  FrameHeader response{.type = FrameType::kResponse, .code = Code::kNotFound, .call = 9, .size = 3};
  FrameHeader slice{.type = FrameType::kSlice, .call = 9, .piece = 0x0A0B0C0D, .size = 0x20000};
  slice.offset = 0x0123456;
  FrameHeader end{.type = FrameType::kPieceEnd, .call = 9, .piece = 0x0A0B0C0D};
  end.offset = 0x0123456;
  end.size_a = 0x400000;
  FrameHeader pull = end;
  pull.type = FrameType::kPull;
  const FrameHeader cancel{.type = FrameType::kCancel, .call = 9};
  const FrameHeader goodbye{.type = FrameType::kGoodbye, .code = Code::kUnavailable};
  FrameHeader shared{.type = FrameType::kRequest, .call = 0x01020304, .size = 5};
  shared.piece = PackSharedBulk({2, 0x3FE});
  shared.offset = 0x0102030000;
  shared.size_b = 0x4000001;
  return {request, response, slice, end, pull, cancel, goodbye, shared};
}

std::vector<std::byte> GoldenBody(const FrameHeader& header) {
  if (!HasMessageBody(header.type)) return {};
  return Counting(std::vector<std::byte>(header.size), 0x31);
}

std::vector<GoldenCase> GoldenHellos() {
  return {
      Encoded("client_hello", GoldenClientHello()), Encoded("server_hello", GoldenServerHello()),
      Encoded("client_proof", GoldenClientProof()), Encoded("server_proof", GoldenServerProof())};
}

std::vector<GoldenCase> GoldenShares() {
  return {Encoded("share_proof", GoldenShareProof()), Encoded("memory_offer", GoldenOffer())};
}

std::vector<GoldenCase> GoldenFrameHeaders() {
  const std::vector<std::string> names = {"request", "response", "slice",   "piece_end",
                                          "pull",    "cancel",   "goodbye", "shared_request"};
  std::vector<GoldenCase> cases;
  for (const FrameHeader& header : GoldenFrames()) {
    FrameBytes bytes;
    Seal(header, GoldenBody(header), bytes);
    cases.push_back({"frame_" + names[cases.size()], {bytes.begin(), bytes.end()}});
  }
  return cases;
}

}  // namespace kdn::transport::test

// A TCP server from its first byte: a Hello of any bytes, or a right one and then frames of any
// order, beside a service that sends, receives, finishes and lets go at any time. Memory is written
// where and while it was given, each piece moves once, each call ends once, and what the server
// says is well formed and within what was asked for.
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <utility>

#include "base/endpoint.h"
#include "tests/fuzz/transport/script.h"
#include "tests/support/manual_clock.h"
#include "transport/channel.h"
#include "transport/hello.h"
#include "transport/wakeup.h"

namespace {

using namespace kdn::transport;
using fuzz::Framed;
using fuzz::Require;
using fuzz::Script;
using kdn::ConstBytes;
using kdn::MutableBytes;

constexpr std::byte kSent{0x5A};
constexpr std::size_t kSourceBytes = std::size_t{1} << 20;
constexpr std::size_t kHeldMax = 32;

class OpenAuthenticator final : public Authenticator {
 public:
  [[nodiscard]] std::vector<std::byte> SecretOf(PeerRole, kdn::TenantId) const override {
    return {};
  }
  [[nodiscard]] bool AllowsNone(PeerRole, kdn::TenantId) const override { return true; }
  [[nodiscard]] kdn::Epoch epoch() const override { return kdn::Epoch{1}; }
  [[nodiscard]] std::uint64_t map_version() const override { return 1; }
};

// Mostly small; sometimes so large that a socket does not take all of it at once.
std::size_t LargeSize(Script& script) {
  const std::size_t size = script.Short();
  return size < 0xE000 ? size % 0x2000 : size * 16;
}

// Holds calls until the script says otherwise.
class HoldingService final : public Service {
 public:
  void OnCall(std::unique_ptr<Exchange> call) override {
    if (held_.size() >= kHeldMax) return;
    Exchange* key = call.get();
    held_[key].exchange = std::move(call);
    order_.push_back(key);
  }
  void OnMoved(Exchange& call, std::uint32_t piece, kdn::Code) override {
    Held& held = held_.at(&call);
    const auto moved = held.moving.find(piece);
    Require(moved != held.moving.end());
    held.moving.erase(moved);  // Frees its memory: a sanitizer sees whoever writes there now.
  }
  void OnAbandoned(Exchange& call) override {
    Held& held = held_.at(&call);
    Require(!held.finished && !held.abandoned);
    held.abandoned = true;
  }

  void Send(Script& script) {
    static const std::vector<std::byte> source(kSourceBytes, kSent);
    Held* held = Pick(script);
    const std::size_t offset = script.Short();
    const ConstBytes from = ConstBytes(source).first(LargeSize(script));
    if (held == nullptr) return;
    const std::uint32_t piece = held->next_piece++;
    held->moving.emplace(piece, nullptr);
    const ConstBytes spans[] = {from.first(from.size() / 3), from.subspan(from.size() / 3)};
    held->exchange->SendPiece(piece, offset, spans);
  }
  void Receive(Script& script) {
    Held* held = Pick(script);
    const std::size_t offset = script.Short();
    const std::size_t size = script.Short();
    if (held == nullptr) return;
    const std::uint32_t piece = held->next_piece++;
    auto memory = std::make_unique<std::byte[]>(size);
    const MutableBytes into(memory.get(), size);
    held->moving.emplace(piece, std::move(memory));
    held->exchange->ReceivePiece(piece, offset, {&into, 1});
  }
  void Finish(Script& script) {
    Held* held = Pick(script);
    const std::vector<std::byte> response(script.Short());
    if (held == nullptr) return;
    held->exchange->Finish(kdn::Code::kOk, response);
    held->finished = !held->abandoned;
  }
  void LetGo(Script& script) {
    if (Held* held = Pick(script)) {
      Exchange* key = held->exchange.get();
      std::erase(order_, key);
      held_.erase(key);
    }
  }
  // Whether every call has ended and nothing moves any more.
  [[nodiscard]] bool Quiet() const {
    return std::ranges::all_of(held_, [](const auto& entry) {
      return entry.second.moving.empty() && (entry.second.finished || entry.second.abandoned);
    });
  }
  void Clear() {
    order_.clear();
    held_.clear();
  }

 private:
  struct Held {
    // Destroyed after the exchange, which may still refer to it.
    std::map<std::uint32_t, std::unique_ptr<std::byte[]>> moving;
    std::unique_ptr<Exchange> exchange;
    std::uint32_t next_piece = 0;
    bool finished = false;
    bool abandoned = false;
  };
  Held* Pick(Script& script) {
    const std::uint32_t which = script.Byte();
    return order_.empty() ? nullptr : &held_.at(order_[which % order_.size()]);
  }

  std::map<Exchange*, Held> held_;
  std::vector<Exchange*> order_;
};

// One server for all inputs: each finds it as the last one left it.
struct World {
  kdn::test::ManualClock clock;
  kdn::SystemRandom random;
  kdn::NullLog log;
  OpenAuthenticator authenticator;
  HoldingService service;
  std::unique_ptr<Domain> domain = *OpenDomain({.connections = 1}, clock, random, log);
  std::unique_ptr<Server> server =
      *domain->Listen("127.0.0.1:0", kdn::ClusterId{}, kdn::PeerId{}, service, authenticator);
  std::uint16_t port = PortOf(server->endpoint());

  static std::uint16_t PortOf(const std::string& endpoint) {
    return static_cast<std::uint16_t>(std::stoi(endpoint.substr(endpoint.rfind(':') + 1)));
  }
};

// The client's end of one connection.
class RawClient {
 public:
  explicit RawClient(World& world) : world_(world), fd_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    to.sin_port = htons(world.port);
    Require(connect(fd_.get(), reinterpret_cast<sockaddr*>(&to), sizeof(to)) == 0);
    const linger none{1, 0};  // A reset leaves no port waiting.
    setsockopt(fd_.get(), SOL_SOCKET, SO_LINGER, &none, sizeof(none));
    world.server->Poll();
  }

  void Send(ConstBytes bytes) {
    [[maybe_unused]] const ssize_t sent =
        send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    world_.server->Poll();
  }
  ConstBytes Receive() {
    const ssize_t got = recv(fd_.get(), buffer_.data(), buffer_.size(), MSG_DONTWAIT);
    return ConstBytes(buffer_).first(got > 0 ? static_cast<std::size_t>(got) : 0);
  }
  void SayHello() {
    std::vector<std::byte> out;
    HelloClient hello(Identity{}, Nonce{}, out);
    for (int turn = 0; turn < 1000 && hello.state() == HelloState::kTalking; ++turn) {
      if (!out.empty()) Send(std::exchange(out, {}));
      world_.server->Poll();
      hello.Feed(Receive(), out);
    }
    Require(hello.state() == HelloState::kAccepted);
  }
  void Close() { fd_.Close(); }

 private:
  World& world_;
  Fd fd_;
  std::vector<std::byte> buffer_ = std::vector<std::byte>(std::size_t{256} * 1024);
};

// A client that has said its Hello and keeps to no rule beyond it.
class Dialogue {
 public:
  Dialogue(World& world, Script script) : world_(world), client_(world), script_(script) {
    client_.SayHello();
  }
  void Run() {
    for (int step = 0; step < 200 && !script_.AtEnd(); ++step) {
      Step();
      world_.server->Poll();
      if (reading_) Read();
    }
    client_.Close();
    for (int turn = 0; turn < 10'000 && !world_.service.Quiet(); ++turn) world_.server->Poll();
    Require(world_.service.Quiet());
    world_.service.Clear();
    world_.server->Poll();
  }

 private:
  struct Asked {
    std::uint64_t send = 0;
    std::uint64_t room = 0;
  };

  void Step() {
    switch (script_.Byte() % 13) {
      case 0:
        return Request(kdn::limits::kMiB);
      case 1:
        return Bulk(FrameType::kSlice);
      case 2:
        return Bulk(FrameType::kPieceEnd);
      case 3:
        return client_.Send(Framed({.type = FrameType::kCancel, .call = CallId()}, {}));
      case 4:
        return AnyFrame();
      case 5:
        return world_.service.Send(script_);
      case 6:
        return world_.service.Receive(script_);
      case 7:
        return world_.service.Finish(script_);
      case 8:
        return world_.service.LetGo(script_);
      case 9:
        return world_.clock.Advance(script_.Time());
      case 10:
        return Spoilt();
      case 11:
        return AnswerPull();
      default:
        reading_ = !reading_;
    }
  }
  // Few slots, so that they meet each other.
  std::uint32_t CallId() {
    const std::uint32_t byte = script_.Byte();
    return byte % 8 + kCallSlots * (byte / 64);
  }
  FrameHeader RequestHeader(std::uint64_t room_max) {
    FrameHeader header{.type = FrameType::kRequest, .call = CallId()};
    header.size_a = script_.Short();
    header.size_b = std::min<std::uint64_t>(std::uint64_t{script_.Short()} * 16, room_max);
    const std::chrono::microseconds remaining = script_.Time();
    header.remaining_us = static_cast<std::uint64_t>(remaining.count());
    return header;
  }
  void Request(std::uint64_t room_max) {
    const FrameHeader header = RequestHeader(room_max);
    const std::vector<std::byte> body(script_.Byte());
    Asked& asked = asked_[header.call];  // The id may be used anew: whatever was asked last counts.
    asked = {std::max(asked.send, header.size_a), std::max(asked.room, header.size_b)};
    client_.Send(Framed(header, body));
  }
  void Bulk(FrameType type) {
    FrameHeader header{.type = type, .call = CallId(), .piece = script_.Byte()};
    header.offset = script_.Short();
    const std::uint32_t size = script_.Short();
    if (type == FrameType::kPieceEnd) header.size_a = size;
    const std::vector<std::byte> body(type == FrameType::kSlice ? size : 0);
    client_.Send(Framed(header, body));
  }
  void AnyFrame() {
    FrameHeader header{.type = static_cast<FrameType>(script_.Byte()), .call = CallId()};
    header.code = kdn::CodeFromNumber(static_cast<std::uint8_t>(script_.Byte()));
    header.piece = script_.Byte();
    header.offset = script_.Short();
    header.size_a = script_.Short();
    header.size_b = script_.Short();
    const std::vector<std::byte> body(script_.Byte());
    if (header.type == FrameType::kRequest) asked_[header.call] = {1ULL << 32, 1ULL << 32};
    client_.Send(Framed(header, body));
  }
  // A frame with a bit turned over where a checksum covers it: it has no effect but the end.
  void Spoilt() {
    FrameHeader header = RequestHeader(0);
    header.call += 1000;  // no other request's
    std::vector<std::byte> bytes = Framed(header, std::vector<std::byte>(script_.Byte()));
    const std::uint32_t at = script_.Short();
    bytes[at % bytes.size()] ^= std::byte{1} << (at % 8);
    client_.Send(bytes);
  }
  void AnswerPull() {
    if (pulls_.empty()) return;
    const FrameHeader pull = pulls_.front();
    pulls_.pop_front();
    FrameHeader header{.type = FrameType::kSlice, .call = pull.call, .piece = pull.piece};
    header.offset = pull.offset;
    const std::vector<std::byte> body(std::min<std::size_t>(pull.size_a, kSliceBytesMax));
    if (!body.empty()) client_.Send(Framed(header, body));
    header.type = FrameType::kPieceEnd;
    header.size_a = body.size();
    client_.Send(Framed(header, {}));
  }

  void Read() {
    for (ConstBytes got = client_.Receive(); !got.empty(); got = client_.Receive()) {
      reader_.Add(got);
      fuzz::FrameReader::Frame frame;
      while (reader_.Next(frame)) Check(frame);
      world_.server->Poll();
    }
  }
  void Check(const fuzz::FrameReader::Frame& frame) {
    const FrameHeader& header = frame.header;
    if (header.type == FrameType::kGoodbye) return;
    Require(header.call % kCallSlots < 8);  // None was told by a frame that was spoilt.
    const Asked& asked = asked_.at(header.call);
    switch (header.type) {
      case FrameType::kSlice:
        Require(header.offset + frame.body.size() <= asked.room);
        return Require(fuzz::AllAre(frame.body, kSent) || IsFilledUp(frame.body));
      case FrameType::kPieceEnd:
        return Require(header.offset + header.size_a <= asked.room);
      case FrameType::kPull:
        Require(header.offset + header.size_a <= asked.send);
        return pulls_.push_back(header);
      default:
        return Require(header.type == FrameType::kResponse);
    }
  }

  // What was given up halfway.
  static bool IsFilledUp(ConstBytes body) {
    const auto zeros = std::ranges::find(body, std::byte{0}) - body.begin();
    const auto cut = static_cast<std::size_t>(zeros);
    return fuzz::AllAre(body.first(cut), kSent) && fuzz::AllAre(body.subspan(cut), std::byte{0});
  }

  World& world_;
  RawClient client_;
  Script script_;
  bool reading_ = true;
  fuzz::FrameReader reader_;
  std::map<std::uint32_t, Asked> asked_;
  std::deque<FrameHeader> pulls_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static World& world = *new World;
  Script script(std::as_bytes(std::span(data, size)));
  if (script.Byte() % 4 != 0) {
    Dialogue(world, script).Run();
    return 0;
  }
  RawClient stranger(world);
  stranger.Send(script.Rest());
  stranger.Receive();
  stranger.Close();
  world.server->Poll();
  Require(world.service.Quiet());
  world.service.Clear();
  return 0;
}

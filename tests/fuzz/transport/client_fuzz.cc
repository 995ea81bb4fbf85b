// A client's channel against a server that keeps to no rule: its frames come in any order, of calls
// that are open, over or never were. Every call ends once, by its deadline; a piece that is told is
// there; nothing is written outside a call's window, nor after its end; what the channel says is
// well formed.
#include <sys/socket.h>

#include <array>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <utility>

#include "tests/fuzz/transport/script.h"
#include "tests/support/manual_clock.h"
#include "transport/tcp/tcp_channel.h"

namespace {

using namespace kdn::transport;
using fuzz::Framed;
using fuzz::Require;
using fuzz::Script;
using kdn::ConstBytes;
using kdn::MutableBytes;
using kdn::TimePoint;

constexpr std::size_t kCalls = 8;
constexpr std::size_t kRoomBytes = 1024;  // of each call: a window, and as much to be sent
constexpr std::size_t kConnections = 2;
constexpr std::byte kUntouched{0x11};
constexpr std::byte kSent{0x5A};

// Lets something happen at the next look at it: between what a channel heard from its sockets and
// what it does about deadlines.
class AmbushClock final : public kdn::Clock {
 public:
  [[nodiscard]] TimePoint Now() const override {
    if (const auto ambush = std::exchange(ambush_, nullptr)) ambush();
    return clock_.Now();
  }
  void Advance(kdn::Duration by) { clock_.Advance(by); }
  void AtNextLook(std::function<void()> ambush) { ambush_ = std::move(ambush); }

 private:
  kdn::test::ManualClock clock_;
  mutable std::function<void()> ambush_;
};

class Dialogue {
 public:
  explicit Dialogue(Script script) : script_(script), memory_(2 * kCalls * kRoomBytes, kUntouched) {
    Require(regions_.Register({memory_.data(), memory_.size(), MemoryKind::kHost, 0}).ok());
    std::vector<Fd> ours;
    for (Fd& theirs : theirs_) {
      int fds[2];
      Require(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) == 0);
      ours.emplace_back(fds[0]);
      theirs = Fd(fds[1]);
    }
    channel_ = std::make_unique<tcp::TcpChannel>(std::move(ours), kCalls, regions_, clock_);
  }

  void Run() {
    for (int step = 0; step < 200 && !script_.AtEnd(); ++step) {
      Step();
      Poll();
    }
    clock_.Advance(kCallTimeMax);
    Poll();
    for (const OpenCall& call : calls_) Require(!call.open);
    channel_.reset();
    Require(regions_.Unregister(memory_.data()).ok());
    CheckMemory();
  }

 private:
  struct OpenCall {
    bool open = false;
    TimePoint deadline{};
    std::size_t window = 0;           // bytes of its room
    std::vector<std::byte> at_end{};  // what its window held then
  };

  void Step() {
    switch (script_.Byte() % 9) {
      case 0:
        return Submit();
      case 1:
        return channel_->Cancel(script_.Byte() % kCalls);
      case 2:
        return clock_.Advance(script_.Time());
      case 3:
        return Say(FrameType::kSlice);
      case 4:
        return Say(static_cast<FrameType>(script_.Byte() % 9));
      case 5:
        return Piece();
      case 6:
        return Listen(script_.Byte() % kConnections);
      case 7:
        return CloseLate();
      default:
        theirs_[script_.Byte() % kConnections].Close();
    }
  }

  void CloseLate() {
    Fd& theirs = theirs_[script_.Byte() % kConnections];
    clock_.Advance(script_.Time());
    clock_.AtNextLook([&theirs] { theirs.Close(); });
  }

  MutableBytes WindowOf(std::size_t call) {
    return MutableBytes(memory_).subspan(2 * call * kRoomBytes, calls_[call].window);
  }
  ConstBytes BulkOf(std::size_t call) {
    return ConstBytes(memory_).subspan((2 * call + 1) * kRoomBytes, kRoomBytes);
  }

  void Submit() {
    const std::size_t at = script_.Byte() % kCalls;
    OpenCall& call = calls_[at];
    const std::size_t window = script_.Short() % (kRoomBytes + 1);
    const ConstBytes bulk = BulkOf(at).first(script_.Short() % (kRoomBytes + 1));
    const std::vector<std::byte> request(script_.Byte());
    const TimePoint deadline = clock_.Now() + script_.Time();
    if (call.open) return;
    std::ranges::fill(memory_.begin() + static_cast<std::ptrdiff_t>(2 * at * kRoomBytes),
                      memory_.begin() + static_cast<std::ptrdiff_t>((2 * at + 1) * kRoomBytes),
                      kUntouched);
    call = {.deadline = std::min(deadline, clock_.Now() + kCallTimeMax), .window = window};
    Call start;
    start.tag = at;
    start.request = request;
    start.receive_bulk = WindowOf(at);
    start.deadline = deadline;
    if (!bulk.empty()) start.send_bulk = {&bulk, 1};
    call.open = channel_->Submit(start).ok();
    if (!call.open) call.at_end.assign(window, kUntouched);
  }

  void Poll() {
    for (int turn = 0; turn < 4; ++turn) {
      std::array<Event, 64> events;
      const std::size_t count = channel_->Poll(events);
      for (const Event& event : std::span(events).first(count)) Check(event);
      if (count == 0) break;
    }
    for (const OpenCall& call : calls_) Require(!call.open || clock_.Now() < call.deadline);
  }
  void Check(const Event& event) {
    OpenCall& call = calls_.at(event.tag);
    Require(call.open);
    const MutableBytes window = WindowOf(event.tag);
    if (event.kind == EventKind::kPiece) {
      Require(event.offset <= window.size() && event.size_bytes <= window.size() - event.offset);
      return Require(fuzz::AllAre(window.subspan(event.offset, event.size_bytes), kSent));
    }
    call.open = false;
    call.at_end.assign(window.begin(), window.end());
  }
  // Nothing but windows has changed, and those not since their calls ended.
  void CheckMemory() {
    for (std::size_t at = 0; at < kCalls; ++at) {
      const MutableBytes window = WindowOf(at);
      Require(std::ranges::equal(window, calls_[at].at_end));
      const ConstBytes beyond = ConstBytes(memory_).subspan(2 * at * kRoomBytes + window.size(),
                                                            2 * kRoomBytes - window.size());
      Require(fuzz::AllAre(beyond, kUntouched));
    }
  }

  // -- The server ------------------------------------------------------------------------------

  void Send(std::size_t connection, ConstBytes bytes) {
    const Fd& fd = theirs_[connection];
    if (!fd.valid()) return;
    [[maybe_unused]] const ssize_t sent =
        send(fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  }
  // A request that was heard on this connection, or one that never was.
  FrameHeader Heard(std::size_t connection) {
    const std::deque<FrameHeader>& heard = heard_[connection];
    const std::uint32_t which = script_.Byte();
    if (which >= 250 || heard.empty()) return {.call = which};
    return heard[which % heard.size()];
  }
  void Say(FrameType type) {
    const std::size_t connection = script_.Byte() % kConnections;
    FrameHeader header{.type = type, .call = Heard(connection).call, .piece = script_.Byte()};
    header.code = kdn::CodeFromNumber(static_cast<std::uint8_t>(script_.Byte()));
    header.offset = script_.Short() % (2 * kRoomBytes);
    const std::uint32_t size = script_.Short() % (2 * kRoomBytes);
    const bool bodied = HasMessageBody(type) || type == FrameType::kSlice;
    if (!bodied) header.size_a = size;
    std::vector<std::byte> bytes = Framed(header, std::vector<std::byte>(bodied ? size : 0, kSent));
    // One in four is spoilt where a checksum covers it.
    const std::uint32_t spoil = script_.Byte();
    if (spoil >= 192) bytes[spoil % kFrameHeaderBytes] ^= std::byte{4};
    Send(connection, bytes);
  }
  // A whole piece within the window, in two slices.
  void Piece() {
    const std::size_t connection = script_.Byte() % kConnections;
    const FrameHeader request = Heard(connection);
    FrameHeader header{.type = FrameType::kSlice, .call = request.call, .piece = script_.Byte()};
    header.offset = script_.Short() % (request.size_b + 1);
    const std::size_t size = script_.Short() % (request.size_b - header.offset + 1);
    const std::size_t cut = size / 2;
    const FrameHeader whole{.type = FrameType::kPieceEnd,
                            .call = header.call,
                            .piece = header.piece,
                            .offset = header.offset,
                            .size_a = size};
    Send(connection, Framed(header, std::vector<std::byte>(cut, kSent)));
    header.offset += cut;
    Send(connection, Framed(header, std::vector<std::byte>(size - cut, kSent)));
    Send(connection, Framed(whole, {}));
  }
  void Listen(std::size_t connection) {
    std::array<std::byte, 65536> bytes;
    const Fd& fd = theirs_[connection];
    if (!fd.valid()) return;
    const ssize_t got = recv(fd.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
    if (got <= 0) return;
    readers_[connection].Add(ConstBytes(bytes).first(static_cast<std::size_t>(got)));
    fuzz::FrameReader::Frame frame;
    while (readers_[connection].Next(frame)) {
      const FrameType type = frame.header.type;
      Require(type == FrameType::kRequest || type == FrameType::kSlice ||
              type == FrameType::kPieceEnd || type == FrameType::kCancel);
      if (type == FrameType::kRequest) heard_[connection].push_back(frame.header);
    }
  }

  Script script_;
  AmbushClock clock_;
  std::vector<std::byte> memory_;
  RegionTable regions_;
  std::array<Fd, kConnections> theirs_;
  std::array<fuzz::FrameReader, kConnections> readers_;
  std::array<std::deque<FrameHeader>, kConnections> heard_;
  std::array<OpenCall, kCalls> calls_{};
  std::unique_ptr<tcp::TcpChannel> channel_;  // gone before what it uses
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Dialogue(Script(std::as_bytes(std::span(data, size)))).Run();
  return 0;
}

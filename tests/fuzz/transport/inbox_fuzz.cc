// A stream of frames as a connection reads it: whatever comes, nothing is written but where the
// handler said, and reading ends. Each frame of the input is put right first, or nothing would come
// past its checksum: two bytes choose its type and size, the rest of it is taken as it is.
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "transport/tcp/inbox.h"

namespace {

using namespace kdn::transport;

constexpr std::byte kGuard{0xA5};
constexpr std::size_t kRoom = 4096;

class Handler final : public tcp::InboxHandler {
 public:
  Handler() : memory_(kRoom + 2, kGuard) {}
  bool CanTake(const FrameHeader&) override { return true; }
  tcp::Landing OnBody(const FrameHeader& header) override {
    using Kind = tcp::Landing::Kind;
    if (header.size > kRoom) return {.kind = Kind::kError};
    if (header.call % 3 == 0) return {};
    const kdn::MutableBytes room = kdn::MutableBytes(memory_).subspan(1, header.size);
    if (HasMessageBody(header.type)) return {.kind = Kind::kTake, .body = room};
    // In two spans, of which one may be empty.
    const std::size_t cut = header.piece % (room.size() + 1);
    const kdn::MutableBytes spans[] = {room.first(cut), room.subspan(cut)};
    scatter_.Reset(spans);
    landed_ = 0;
    return {.kind = Kind::kTake, .slice = &scatter_, .told = header.call % 2 == 0};
  }
  // What is told of is what has come, in order and none of it twice.
  void OnSliceLanded(const FrameHeader& header, std::size_t filled, std::size_t landed) override {
    landed_ += landed;
    if (filled != landed_ || filled != scatter_.filled() || filled > header.size) std::abort();
  }
  bool OnFrame(const FrameHeader& header, kdn::ConstBytes) override {
    return header.type != FrameType::kGoodbye;
  }
  void Check() const {
    if (memory_.front() != kGuard || memory_.back() != kGuard) std::abort();
  }

 private:
  std::vector<std::byte> memory_;
  tcp::Scatter scatter_;
  std::size_t landed_ = 0;
};

std::vector<std::byte> Frames(kdn::ConstBytes in) {
  std::vector<std::byte> out;
  while (in.size() >= 4) {
    FrameHeader header;
    header.type = static_cast<FrameType>(static_cast<unsigned>(in[0]) % 9);
    header.call = static_cast<std::uint32_t>(in[1]);
    header.piece = HasMessageBody(header.type) ? 0 : static_cast<std::uint32_t>(in[2]);
    const std::size_t size =
        std::min<std::size_t>(static_cast<std::size_t>(in[3]) * 20, in.size() - 4);
    const bool bare = !HasMessageBody(header.type) && header.type != FrameType::kSlice;
    const kdn::ConstBytes body = in.subspan(4, bare ? 0 : size);
    header.size = static_cast<std::uint32_t>(body.size());
    FrameBytes bytes;
    Seal(header, body, bytes);
    out.insert(out.end(), bytes.begin(), bytes.end());
    out.insert(out.end(), body.begin(), body.end());
    in = in.subspan(4 + body.size());
  }
  out.insert(out.end(), in.begin(), in.end());
  return out;
}

void Read(kdn::ConstBytes stream, std::size_t step) {
  int fds[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) != 0) std::abort();
  Handler handler;
  tcp::Inbox inbox;
  tcp::ReadResult result = tcp::ReadResult::kDrained;
  while (!stream.empty() && result == tcp::ReadResult::kDrained) {
    const ssize_t sent = write(fds[0], stream.data(), std::min(step, stream.size()));
    if (sent <= 0) std::abort();
    stream = stream.subspan(static_cast<std::size_t>(sent));
    result = inbox.Read(fds[1], kdn::limits::kMiB, handler);
    handler.Check();
  }
  close(fds[0]);
  close(fds[1]);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const kdn::ConstBytes bytes =
      std::as_bytes(std::span(data, size)).first(std::min<std::size_t>(size, 60'000));
  Read(bytes, 4096);
  const std::vector<std::byte> frames = Frames(bytes);
  Read(frames, 100'000);
  Read(frames, 61);
  return 0;
}

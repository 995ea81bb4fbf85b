// What one connection receives. Bulk goes by recvmsg() straight to where the handler says; only
// headers and the first few bytes of what follows them pass through a small buffer.
//
// Knows nothing of calls. Thread-safety: not safe; caller synchronises.
#pragma once

#include <sys/uio.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/bytes.h"
#include "transport/frame.h"

namespace kdn::transport::tcp {

// Memory that fills up from the front.
class Scatter {
 public:
  // The outer span is copied.
  void Reset(std::span<const MutableBytes> into);
  // Appends vectors for the next `bytes`, as many as `out` has room for; returns how many.
  std::size_t Gather(std::span<iovec> out, std::size_t bytes) const;
  void Advance(std::size_t bytes);
  void CopyIn(ConstBytes bytes);
  [[nodiscard]] std::size_t filled() const { return filled_; }

 private:
  std::vector<MutableBytes> into_;
  std::size_t span_ = 0;
  std::size_t span_offset_ = 0;
  std::size_t filled_ = 0;
};

// Where the body of a frame goes.
struct Landing {
  enum class Kind : std::uint8_t { kTake, kDiscard, kError };
  Kind kind = Kind::kDiscard;
  Scatter* slice = nullptr;  // of kTake for kSlice: has room for header.size bytes
  bool told = false;         // with `slice`: OnSliceLanded() is wanted
  MutableBytes body{};       // of kTake for messages: header.size bytes
};

class InboxHandler {
 public:
  virtual ~InboxHandler() = default;
  // False: nothing more can be taken in for now; Read() stops, and begins with this frame again.
  [[nodiscard]] virtual bool CanTake(const FrameHeader& header) = 0;
  // A frame with a body begins.
  [[nodiscard]] virtual Landing OnBody(const FrameHeader& header) = 0;
  // The first `filled` bytes of the slice at hand are where they belong, the last `landed` of them
  // since this was told last.
  virtual void OnSliceLanded(const FrameHeader& /*header*/, std::size_t /*filled*/,
                             std::size_t /*landed*/) {}
  // A frame is complete. `body` is what OnBody() gave for a message, checked; empty for bulk. Not
  // called for a frame that was discarded. False: the peer broke the protocol.
  [[nodiscard]] virtual bool OnFrame(const FrameHeader& header, ConstBytes body) = 0;
};

enum class ReadResult : std::uint8_t { kDrained, kMore, kStalled, kClosed, kBroken };

class Inbox {
 public:
  Inbox();

  // Receives until the socket is empty, the handler is full, or `budget` bytes were taken.
  [[nodiscard]] ReadResult Read(int fd, std::size_t budget, InboxHandler& handler);

  // The memory behind `slice` or `body` is not written any more; what is still to come for it is
  // thrown away.
  void Drop(const Scatter* slice);
  void DropBody(const std::byte* body);

  // Whether bulk is likely to come next: then only little is read ahead, because what is read ahead
  // is copied.
  void ExpectBulk(bool expect) { expect_bulk_ = expect; }

  // In all, so far.
  [[nodiscard]] std::uint64_t bytes_received() const { return bytes_received_; }

 private:
  static constexpr std::size_t kBufferBytes = 32 * limits::kKiB;
  static constexpr std::size_t kReadAheadBytes = 512;   // behind a body
  static constexpr std::size_t kFirstReadBytes = 4096;  // where bulk is expected
  static constexpr std::size_t kVectorsMax = 33;

  enum class Step : std::uint8_t { kNeedsMore, kStalled, kBroken };
  [[nodiscard]] Step Parse(InboxHandler& handler);
  [[nodiscard]] bool BeginFrame(InboxHandler& handler);
  [[nodiscard]] bool EndFrame(InboxHandler& handler);
  std::size_t PlanRead(std::span<iovec> vectors, std::size_t& asked);
  void Landed(std::size_t bytes, InboxHandler& handler);

  std::unique_ptr<std::byte[]> buffer_;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
  bool expect_bulk_ = false;
  std::uint64_t bytes_received_ = 0;
  // The frame at hand, while its body is incomplete.
  FrameHeader header_;
  FrameBytes header_bytes_{};
  Landing landing_;
  std::size_t body_left_ = 0;
};

}  // namespace kdn::transport::tcp

// What one connection has to send, as a few large sendmsg() calls straight from where the bytes
// lie. Messages go first; the calls that send bulk take turns, a piece each or a part of a large
// one.
//
// Knows nothing of what is received. Bounded by its users: a call has a bounded number of pieces
// and messages.
//
// Thread-safety: not safe; caller synchronises.
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
#include "transport/shm/server_share.h"

namespace kdn::transport::tcp {

// Who is told what became of what it gave to an Outbox.
class OutSink {
 public:
  virtual ~OutSink() = default;
  // The memory of this piece is free: its bytes are sent (kOk) or never will be.
  virtual void OnPieceOut(std::uint32_t piece, Code code) = 0;
  // The end of the last piece that was queued is laid out: a message pushed now follows it.
  virtual void OnStreamEmpty() = 0;
  // The body of the message is free.
  virtual void OnMessageOut() = 0;
};

struct OutPiece {
  std::uint32_t number = 0;
  std::uint64_t offset = 0;
  std::size_t size = 0;
  std::size_t laid = 0;  // bytes that are in a batch or beyond
  std::vector<ConstBytes> from;
  std::size_t span = 0;  // of `from`, where byte `laid` lies
  std::size_t span_offset = 0;
  OutPiece* next = nullptr;
};

// The bulk that one call sends: its pieces in order. Lives in the call.
struct OutStream {
  std::uint32_t call = 0;
  OutSink* sink = nullptr;
  OutPiece* head = nullptr;
  OutPiece* tail = nullptr;
  OutStream* next_ready = nullptr;
  shm::SharedPlace place;      // if valid, pieces are copied to there and only their ends are sent
  bool ready = false;          // in the Outbox's ring
  std::uint32_t in_batch = 0;  // frames of it in the batch
};

enum class FlushResult : std::uint8_t { kIdle, kBlocked, kMore, kBroken };

class Outbox {
 public:
  // `zeros` points to kSliceBytesMax bytes of zeros and outlives it.
  explicit Outbox(void* zeros) : zeros_(zeros) {}
  Outbox(const Outbox&) = delete;
  Outbox& operator=(const Outbox&) = delete;
  ~Outbox();

  // Queues a message. `body` stays until sink->OnMessageOut(); without a sink it is empty.
  void Push(const FrameHeader& header, ConstBytes body, OutSink* sink);
  // Takes a queued message back, as if it had never been pushed; false if it is being sent already.
  [[nodiscard]] bool TakeBack(const OutSink* sink);

  // Queues the bytes [skip, skip + size) of `from` as a piece of the stream's call.
  void PushPiece(OutStream& stream, std::uint32_t number, std::uint64_t offset,
                 std::span<const ConstBytes> from, std::size_t skip, std::size_t size);
  // Nothing of the stream's memory is looked at after this; a slice that is half sent is filled up
  // with zeros. Every piece not fully sent reports OnPieceOut(code).
  void Abandon(OutStream& stream, Code code);

  // Sends until there is nothing left, the socket is full or `budget` bytes are sent.
  [[nodiscard]] FlushResult Flush(int fd, std::size_t budget);
  // The connection is gone: reports every message as out. Streams are abandoned one by one.
  void DropMessages();

  [[nodiscard]] bool idle() const {
    return BatchDone() && queue_.empty() && ready_head_ == nullptr;
  }
  [[nodiscard]] std::size_t queued_messages() const { return queue_.size() - queue_next_; }
  // That a socket has taken so far, in all.
  [[nodiscard]] std::uint64_t bytes_sent() const { return bytes_sent_; }

 private:
  static constexpr std::size_t kVectorsMax = 96;
  static constexpr std::size_t kFramesMax = 48;
  static constexpr std::size_t kBatchBytes = 1 << 20;
  // Of a piece, what goes before another call has its turn: pieces that come one after another,
  // instead of all at the end, keep the stages behind them busy.
  static constexpr std::size_t kTurnBytes = 2 << 20;
  // Of shared memory: what is copied before the next call has its turn.
  static constexpr std::size_t kCopyBytesMax = 1 << 20;

  struct Message {
    FrameHeader header;
    ConstBytes body;
    OutSink* sink;
  };
  // One frame of the batch: its vectors, and whom to tell when they are out.
  struct Frame {
    std::size_t first = 0;
    std::size_t count = 0;
    std::size_t bytes = 0;
    OutSink* sink = nullptr;      // of a message
    OutStream* stream = nullptr;  // of a slice or an end
    OutPiece* piece = nullptr;    // of an end
  };

  [[nodiscard]] bool BatchDone() const { return frame_next_ == frame_count_; }
  void FillBatch();
  void LayMessage(const Message& message);
  void LaySlice(OutStream& stream);
  void LayEnd(OutStream& stream);
  // Takes the next bytes of a piece, at most `size_max`.
  static ConstBytes TakeBytes(OutPiece& piece, std::size_t size_max);
  // The next slice of a piece, to where the peer sees it. False if the peer has given the call up.
  [[nodiscard]] bool CopySlice(OutStream& stream);
  Frame& BeginFrame();
  void AddVector(Frame& frame, const void* data, std::size_t size);
  void Advance(std::size_t sent);
  void FinishFrame(Frame& frame);
  void MakeReady(OutStream& stream);
  // Before all others. Requires: it is not ready.
  void MakeReadyFirst(OutStream& stream);
  void Unready(OutStream& stream);
  void AbandonFrame(std::size_t index, Code code);
  OutPiece* NewPiece();
  void Recycle(OutPiece* piece);

  void* zeros_;
  std::uint64_t bytes_sent_ = 0;
  std::vector<Message> queue_;
  std::size_t queue_next_ = 0;
  OutStream* ready_head_ = nullptr;
  OutStream* ready_tail_ = nullptr;
  OutPiece* free_pieces_ = nullptr;

  std::array<iovec, kVectorsMax> vectors_{};
  std::size_t vector_count_ = 0;
  std::size_t vector_next_ = 0;
  std::array<Frame, kFramesMax> frames_{};
  std::array<FrameBytes, kFramesMax> headers_{};
  std::size_t frame_count_ = 0;
  std::size_t frame_next_ = 0;
  std::size_t frame_sent_ = 0;  // bytes of frames_[frame_next_] that are sent
  std::size_t batch_bytes_ = 0;
  std::size_t copied_bytes_ = 0;  // to shared memory, since Flush() looked
};

}  // namespace kdn::transport::tcp

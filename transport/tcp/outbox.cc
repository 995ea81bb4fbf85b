#include "transport/tcp/outbox.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace kdn::transport::tcp {

Outbox::~Outbox() {
  while (free_pieces_ != nullptr) {
    OutPiece* piece = free_pieces_;
    free_pieces_ = piece->next;
    delete piece;
  }
}

OutPiece* Outbox::NewPiece() {
  if (free_pieces_ == nullptr) return new OutPiece;
  OutPiece* piece = free_pieces_;
  free_pieces_ = piece->next;
  piece->next = nullptr;
  piece->laid = piece->span = piece->span_offset = 0;
  piece->from.clear();
  return piece;
}

void Outbox::Recycle(OutPiece* piece) {
  piece->next = free_pieces_;
  free_pieces_ = piece;
}

void Outbox::Push(const FrameHeader& header, ConstBytes body, OutSink* sink) {
  queue_.push_back({header, body, sink});
}

bool Outbox::TakeBack(const OutSink* sink) {
  // It leaves nothing behind: a peer that takes nothing any more would let such remains pile up.
  const auto begin = queue_.begin() + static_cast<std::ptrdiff_t>(queue_next_);
  const auto found = std::find_if(begin, queue_.end(),
                                  [sink](const Message& message) { return message.sink == sink; });
  if (found == queue_.end()) return false;
  queue_.erase(found);
  return true;
}

void Outbox::DropMessages() {
  for (; queue_next_ < queue_.size(); ++queue_next_) {
    if (OutSink* sink = queue_[queue_next_].sink) sink->OnMessageOut();
  }
  queue_.clear();
  queue_next_ = 0;
  for (std::size_t i = frame_next_; i < frame_count_; ++i) {
    if (OutSink* sink = std::exchange(frames_[i].sink, nullptr)) sink->OnMessageOut();
  }
}

void Outbox::MakeReady(OutStream& stream) {
  if (stream.ready) return;
  stream.ready = true;
  stream.next_ready = nullptr;
  (ready_tail_ == nullptr ? ready_head_ : ready_tail_->next_ready) = &stream;
  ready_tail_ = &stream;
}

void Outbox::MakeReadyFirst(OutStream& stream) {
  stream.ready = true;
  stream.next_ready = ready_head_;
  ready_head_ = &stream;
  if (ready_tail_ == nullptr) ready_tail_ = &stream;
}

void Outbox::Unready(OutStream& stream) {
  if (!stream.ready) return;
  stream.ready = false;
  OutStream* before = nullptr;
  for (OutStream* at = ready_head_; at != &stream; at = at->next_ready) before = at;
  (before == nullptr ? ready_head_ : before->next_ready) = stream.next_ready;
  if (ready_tail_ == &stream) ready_tail_ = before;
}

void Outbox::PushPiece(OutStream& stream, std::uint32_t number, std::uint64_t offset,
                       std::span<const ConstBytes> from, std::size_t skip, std::size_t size) {
  OutPiece* piece = NewPiece();
  piece->number = number;
  piece->offset = offset;
  piece->size = size;
  std::size_t left = size;
  for (const ConstBytes bytes : from) {
    const std::size_t skipped = std::min(skip, bytes.size());
    skip -= skipped;
    const std::size_t used = std::min(left, bytes.size() - skipped);
    if (used > 0) piece->from.push_back(bytes.subspan(skipped, used));
    left -= used;
  }
  (stream.tail == nullptr ? stream.head : stream.tail->next) = piece;
  stream.tail = piece;
  MakeReady(stream);
}

Outbox::Frame& Outbox::BeginFrame() {
  Frame& frame = frames_[frame_count_];
  frame = Frame{};
  frame.first = vector_count_;
  AddVector(frame, headers_[frame_count_].data(), kFrameHeaderBytes);
  ++frame_count_;
  return frame;
}

void Outbox::AddVector(Frame& frame, const void* data, std::size_t size) {
  vectors_[vector_count_++] = {const_cast<void*>(data), size};
  ++frame.count;
  frame.bytes += size;
  batch_bytes_ += size;
}

void Outbox::LayMessage(const Message& message) {
  FrameBytes& header = headers_[frame_count_];
  Frame& frame = BeginFrame();
  frame.sink = message.sink;
  Seal(message.header, message.body, header);
  if (!message.body.empty()) AddVector(frame, message.body.data(), message.body.size());
}

ConstBytes Outbox::TakeBytes(OutPiece& piece, std::size_t size_max) {
  const ConstBytes span = piece.from[piece.span].subspan(piece.span_offset);
  const std::size_t used = std::min(span.size(), size_max);
  piece.laid += used;
  piece.span_offset += used;
  if (used == span.size()) {
    ++piece.span;
    piece.span_offset = 0;
  }
  return span.first(used);
}

bool Outbox::CopySlice(OutStream& stream) {
  OutPiece& piece = *stream.head;
  std::array<ConstBytes, kVectorsMax> from;
  const std::size_t offset = piece.offset + piece.laid;
  std::size_t count = 0;
  std::size_t size = 0;
  while (piece.laid < piece.size && size < kCopyBytesMax && count < from.size()) {
    from[count] = TakeBytes(piece, kCopyBytesMax - size);
    size += from[count++].size();
  }
  batch_bytes_ += size;
  copied_bytes_ += size;
  return stream.place.Write(offset, std::span(from).first(count));
}

void Outbox::LaySlice(OutStream& stream) {
  OutPiece* piece = stream.head;
  if (stream.place.valid()) {
    if (piece->laid < piece->size && !CopySlice(stream)) return Abandon(stream, Code::kCancelled);
  } else if (piece->laid < piece->size) {
    FrameBytes& bytes = headers_[frame_count_];
    Frame& frame = BeginFrame();
    frame.stream = &stream;
    ++stream.in_batch;
    FrameHeader header{.type = FrameType::kSlice, .call = stream.call, .piece = piece->number};
    header.offset = piece->offset + piece->laid;
    // One vector stays free for the end of the piece.
    while (piece->laid < piece->size && header.size < kSliceBytesMax &&
           vector_count_ + 1 < kVectorsMax) {
      const ConstBytes bytes_taken = TakeBytes(*piece, kSliceBytesMax - header.size);
      AddVector(frame, bytes_taken.data(), bytes_taken.size());
      header.size += static_cast<std::uint32_t>(bytes_taken.size());
    }
    Seal(header, {}, bytes);
  }
  if (piece->laid == piece->size) LayEnd(stream);
}

void Outbox::LayEnd(OutStream& stream) {
  OutPiece* piece = stream.head;
  FrameBytes& bytes = headers_[frame_count_];
  Frame& frame = BeginFrame();
  frame.stream = &stream;
  frame.piece = piece;
  ++stream.in_batch;
  Seal({.type = FrameType::kPieceEnd,
        .call = stream.call,
        .piece = piece->number,
        .offset = piece->offset,
        .size_a = piece->size},
       {}, bytes);
  stream.head = piece->next;
  if (stream.head == nullptr) stream.tail = nullptr;
  piece->next = nullptr;
}

void Outbox::FillBatch() {
  vector_count_ = vector_next_ = frame_count_ = frame_next_ = frame_sent_ = batch_bytes_ = 0;
  const auto has_space = [this] {
    return frame_count_ + 2 <= kFramesMax && vector_count_ + 3 <= kVectorsMax;
  };
  const auto has_room = [&] { return has_space() && batch_bytes_ < kBatchBytes; };
  while (queue_next_ < queue_.size() && has_room()) LayMessage(queue_[queue_next_++]);
  while (ready_head_ != nullptr && has_room()) {
    OutStream& stream = *ready_head_;
    const OutPiece* piece = stream.head;
    Unready(stream);
    LaySlice(stream);
    if (stream.head != nullptr) {
      const bool goes_on = stream.head == piece && piece->laid < kTurnBytes;
      goes_on ? MakeReadyFirst(stream) : MakeReady(stream);
      continue;
    }
    stream.sink->OnStreamEmpty();
    // What was copied is there already: the answer does not wait for the next call's copies.
    while (stream.place.valid() && queue_next_ < queue_.size() && has_space()) {
      LayMessage(queue_[queue_next_++]);
    }
  }
  if (queue_next_ == queue_.size()) {
    queue_.clear();
    queue_next_ = 0;
  }
}

FlushResult Outbox::Flush(int fd, std::size_t budget) {
  std::size_t sent_in_all = 0;
  for (;;) {
    while (BatchDone()) {
      if (idle()) return FlushResult::kIdle;
      if (sent_in_all >= budget) return FlushResult::kMore;
      FillBatch();  // nothing is laid out of a piece that is being copied until its end
      sent_in_all += std::exchange(copied_bytes_, 0);
    }
    msghdr message{};
    message.msg_iov = &vectors_[vector_next_];
    message.msg_iovlen = vector_count_ - vector_next_;
    const ssize_t sent = sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0) {
      if (errno == EAGAIN || errno == EWOULDBLOCK) return FlushResult::kBlocked;
      if (errno == EINTR) continue;
      return FlushResult::kBroken;
    }
    sent_in_all += static_cast<std::size_t>(sent);
    Advance(static_cast<std::size_t>(sent));
    if (!BatchDone()) return FlushResult::kBlocked;
  }
}

void Outbox::Advance(std::size_t sent) {
  bytes_sent_ += sent;
  frame_sent_ += sent;
  while (vector_next_ < vector_count_) {
    iovec& vector = vectors_[vector_next_];
    const std::size_t used = std::min(sent, vector.iov_len);
    vector.iov_base = static_cast<std::byte*>(vector.iov_base) + used;
    vector.iov_len -= used;
    sent -= used;
    if (vector.iov_len > 0) break;
    ++vector_next_;
  }
  while (frame_next_ < frame_count_ && frame_sent_ >= frames_[frame_next_].bytes) {
    frame_sent_ -= frames_[frame_next_].bytes;
    FinishFrame(frames_[frame_next_++]);
  }
}

void Outbox::FinishFrame(Frame& frame) {
  if (OutSink* sink = std::exchange(frame.sink, nullptr)) sink->OnMessageOut();
  OutPiece* piece = std::exchange(frame.piece, nullptr);
  OutStream* stream = std::exchange(frame.stream, nullptr);
  if (stream != nullptr) --stream->in_batch;
  if (piece == nullptr) return;
  const std::uint32_t number = piece->number;
  Recycle(piece);
  if (stream != nullptr) stream->sink->OnPieceOut(number, Code::kOk);
}

void Outbox::AbandonFrame(std::size_t index, Code code) {
  Frame& frame = frames_[index];
  OutStream* stream = std::exchange(frame.stream, nullptr);
  --stream->in_batch;
  const bool begun = index == frame_next_ && frame_sent_ > 0;
  for (std::size_t i = std::max(frame.first, vector_next_); i < frame.first + frame.count; ++i) {
    // A frame that is not begun is not sent at all; of one that is begun, the header stays.
    if (!begun) {
      vectors_[i].iov_len = 0;
    } else if (i != frame.first) {
      vectors_[i].iov_base = zeros_;
    }
  }
  if (!begun) frame.bytes = 0;
  if (OutPiece* piece = std::exchange(frame.piece, nullptr)) {
    const std::uint32_t number = piece->number;
    Recycle(piece);
    stream->sink->OnPieceOut(number, code);
  }
}

void Outbox::Abandon(OutStream& stream, Code code) {
  Unready(stream);
  for (std::size_t i = frame_next_; i < frame_count_ && stream.in_batch > 0; ++i) {
    if (frames_[i].stream == &stream) AbandonFrame(i, code);
  }
  while (stream.head != nullptr) {
    OutPiece* piece = stream.head;
    stream.head = piece->next;
    const std::uint32_t number = piece->number;
    Recycle(piece);
    stream.sink->OnPieceOut(number, code);
  }
  stream.tail = nullptr;
}

}  // namespace kdn::transport::tcp

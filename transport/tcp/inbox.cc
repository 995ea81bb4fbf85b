#include "transport/tcp/inbox.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace kdn::transport::tcp {

void Scatter::Reset(std::span<const MutableBytes> into) {
  into_.assign(into.begin(), into.end());
  span_ = span_offset_ = filled_ = 0;
}

std::size_t Scatter::Gather(std::span<iovec> out, std::size_t bytes) const {
  std::size_t count = 0;
  std::size_t offset = span_offset_;
  for (std::size_t i = span_; i < into_.size() && bytes > 0 && count < out.size(); ++i) {
    const MutableBytes span = into_[i].subspan(offset);
    offset = 0;
    const std::size_t used = std::min(span.size(), bytes);
    if (used == 0) continue;
    out[count++] = {span.data(), used};
    bytes -= used;
  }
  return count;
}

void Scatter::Advance(std::size_t bytes) {
  filled_ += bytes;
  while (bytes > 0) {
    const std::size_t used = std::min(bytes, into_[span_].size() - span_offset_);
    bytes -= used;
    span_offset_ += used;
    if (span_offset_ == into_[span_].size()) {
      ++span_;
      span_offset_ = 0;
    }
  }
}

void Scatter::CopyIn(ConstBytes bytes) {
  while (!bytes.empty()) {
    const std::size_t used = std::min(bytes.size(), into_[span_].size() - span_offset_);
    if (used > 0) std::memcpy(into_[span_].data() + span_offset_, bytes.data(), used);
    if (used == 0) {
      ++span_;
      span_offset_ = 0;
      continue;
    }
    bytes = bytes.subspan(used);
    Advance(used);
  }
}

Inbox::Inbox() : buffer_(std::make_unique_for_overwrite<std::byte[]>(kBufferBytes)) {}

void Inbox::Drop(const Scatter* slice) {
  if (body_left_ > 0 && landing_.slice == slice) landing_ = Landing{};
}

void Inbox::DropBody(const std::byte* body) {
  if (body_left_ > 0 && body != nullptr && landing_.body.data() == body) landing_ = Landing{};
}

// Step 1: what is asked of the kernel: the rest of the body, where it belongs, then a little more
// for the headers that follow; without a body, whatever there is.
std::size_t Inbox::PlanRead(std::span<iovec> vectors, std::size_t& asked) {
  if (begin_ == end_) begin_ = end_ = 0;
  if (begin_ > 0 && kBufferBytes - end_ < kReadAheadBytes) {
    std::memmove(buffer_.get(), buffer_.get() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
  }
  std::size_t count = 0;
  std::size_t ahead = expect_bulk_ ? kFirstReadBytes : kBufferBytes;
  if (body_left_ > 0) {
    ahead = kReadAheadBytes;
    switch (landing_.kind) {
      case Landing::Kind::kTake:
        if (landing_.slice != nullptr) {
          count = landing_.slice->Gather(vectors.first(vectors.size() - 1), body_left_);
        } else {
          const std::size_t done = landing_.body.size() - body_left_;
          vectors[count++] = {landing_.body.data() + done, body_left_};
        }
        break;
      case Landing::Kind::kDiscard:
      case Landing::Kind::kError:
        // The buffer is empty now, and nobody will look at what passes through it.
        vectors[count++] = {buffer_.get(), std::min(body_left_, kBufferBytes)};
        break;
    }
  }
  asked = 0;
  for (std::size_t i = 0; i < count; ++i) asked += vectors[i].iov_len;
  if (body_left_ > 0 && (asked < body_left_ || landing_.kind != Landing::Kind::kTake)) return count;
  vectors[count++] = {buffer_.get() + end_, std::min(ahead, kBufferBytes - end_)};
  asked += vectors[count - 1].iov_len;
  return count;
}

// Step 2: `bytes` of the body are where they belong.
void Inbox::Landed(std::size_t bytes, InboxHandler& handler) {
  body_left_ -= bytes;
  const bool told = landing_.kind == Landing::Kind::kTake && landing_.told && bytes > 0;
  if (told) handler.OnSliceLanded(header_, header_.size - body_left_, bytes);
}

ReadResult Inbox::Read(int fd, std::size_t budget, InboxHandler& handler) {
  std::array<iovec, kVectorsMax> vectors;
  // A frame that did not fit last time may fit now.
  switch (Parse(handler)) {
    case Step::kNeedsMore:
      break;
    case Step::kStalled:
      return ReadResult::kStalled;
    case Step::kBroken:
      return ReadResult::kBroken;
  }
  for (std::size_t taken = 0; taken < budget;) {
    std::size_t asked = 0;
    msghdr message{};
    message.msg_iov = vectors.data();
    message.msg_iovlen = PlanRead(vectors, asked);
    const ssize_t result = recvmsg(fd, &message, MSG_DONTWAIT);
    if (result == 0) return ReadResult::kClosed;
    if (result < 0) {
      if (errno == EAGAIN || errno == EWOULDBLOCK) return ReadResult::kDrained;
      if (errno == EINTR) continue;
      return ReadResult::kClosed;
    }
    const auto got = static_cast<std::size_t>(result);
    taken += got;
    bytes_received_ += got;
    const std::size_t of_body = std::min(got, body_left_);
    if (landing_.kind == Landing::Kind::kTake && landing_.slice != nullptr) {
      landing_.slice->Advance(of_body);
    }
    Landed(of_body, handler);
    end_ += got - of_body;
    if (of_body > 0 && body_left_ == 0 && !EndFrame(handler)) return ReadResult::kBroken;
    switch (Parse(handler)) {
      case Step::kNeedsMore:
        break;
      case Step::kStalled:
        return ReadResult::kStalled;
      case Step::kBroken:
        return ReadResult::kBroken;
    }
    if (got < asked) return ReadResult::kDrained;
  }
  return ReadResult::kMore;
}

// Step 3: frames that lie in the buffer, as far as they are complete.
Inbox::Step Inbox::Parse(InboxHandler& handler) {
  for (;;) {
    if (body_left_ > 0) {
      const std::size_t used = std::min(body_left_, end_ - begin_);
      const ConstBytes bytes(buffer_.get() + begin_, used);
      begin_ += used;
      if (landing_.kind == Landing::Kind::kTake && landing_.slice != nullptr) {
        landing_.slice->CopyIn(bytes);
      } else if (landing_.kind == Landing::Kind::kTake && used > 0) {
        const std::size_t done = landing_.body.size() - body_left_;
        std::memcpy(landing_.body.data() + done, bytes.data(), used);
      }
      Landed(used, handler);
      if (body_left_ > 0) return Step::kNeedsMore;
      if (!EndFrame(handler)) return Step::kBroken;
    }
    if (end_ - begin_ < kFrameHeaderBytes) return Step::kNeedsMore;
    const ConstBytes bytes(buffer_.get() + begin_, kFrameHeaderBytes);
    const std::optional<FrameHeader> header = OpenFrame(bytes);
    if (!header) return Step::kBroken;
    if (!handler.CanTake(*header)) return Step::kStalled;
    header_ = *header;
    std::copy(bytes.begin(), bytes.end(), header_bytes_.begin());
    begin_ += kFrameHeaderBytes;
    if (!BeginFrame(handler)) return Step::kBroken;
  }
}

bool Inbox::BeginFrame(InboxHandler& handler) {
  landing_ = Landing{.kind = Landing::Kind::kTake};
  body_left_ = header_.size;
  if (header_.size == 0) return EndFrame(handler);
  landing_ = handler.OnBody(header_);
  return landing_.kind != Landing::Kind::kError;
}

bool Inbox::EndFrame(InboxHandler& handler) {
  const Landing landed = landing_;
  landing_ = Landing{};
  if (landed.kind != Landing::Kind::kTake) return true;
  if (HasMessageBody(header_.type) && !BodyIsIntact(header_bytes_, landed.body)) return false;
  return handler.OnFrame(header_, landed.body);
}

}  // namespace kdn::transport::tcp

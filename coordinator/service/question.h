// A question from one thread to another, for callers that may wait: gRPC's threads ask the core's.
// The answering side holds a Reply<T>; the asking side waits on the Question<T> with a timeout. A
// Reply that is dropped unanswered, as when the daemon stops, answers kUnavailable.
//
// Thread-safety: safe.
#pragma once

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

#include "base/result.h"

namespace kdn::coordinator {

template <class T>
struct QuestionState {
  std::mutex mutex;
  std::condition_variable answered;
  std::optional<Result<T>> answer;  // guarded by mutex
};

template <class T>
class Reply {
 public:
  explicit Reply(std::shared_ptr<QuestionState<T>> state) : state_(std::move(state)) {}
  Reply(Reply&&) noexcept = default;
  Reply& operator=(Reply&&) = delete;
  ~Reply() {
    if (state_ != nullptr) Set(Error(Code::kUnavailable, "the coordinator is stopping"));
  }

  // Requires: not called before.
  void Set(Result<T> answer) {
    const std::shared_ptr<QuestionState<T>> state = std::exchange(state_, nullptr);
    {
      const std::lock_guard lock(state->mutex);
      state->answer = std::move(answer);
    }
    state->answered.notify_one();
  }

 private:
  std::shared_ptr<QuestionState<T>> state_;  // null: answered
};

template <class T>
class Question {
 public:
  Question() : state_(std::make_shared<QuestionState<T>>()) {}

  // To be taken once.
  [[nodiscard]] Reply<T> TakeReply() { return Reply<T>(state_); }

  // The answer, or kDeadlineExceeded.
  [[nodiscard]] Result<T> Wait(std::chrono::milliseconds timeout) {
    std::unique_lock lock(state_->mutex);
    if (!state_->answered.wait_for(lock, timeout, [this] { return state_->answer.has_value(); })) {
      return Error(Code::kDeadlineExceeded, "the coordinator's core does not answer");
    }
    return std::move(*state_->answer);
  }

 private:
  // Shared, since the asker may have given up before the answer comes.
  std::shared_ptr<QuestionState<T>> state_;
};

}  // namespace kdn::coordinator

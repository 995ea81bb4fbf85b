// The client's I/O thread: runs what other threads post to it, polls the Calls, and wakes for
// timers. All state of loads and stores that is not engine memory is touched on this thread only.
//
// Thread-safety: Post() is safe; everything else runs on the loop's own thread.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "client/core/calls.h"

namespace kdn::client {

class IoLoop {
 public:
  using Work = std::function<void()>;

  // Starts the thread. kResourceExhausted if the system has no descriptors or threads left.
  // It looks for work for `spin` before it sleeps.
  static Result<std::unique_ptr<IoLoop>> Start(std::unique_ptr<Calls> calls, const Clock& clock,
                                               std::chrono::microseconds spin);
  ~IoLoop();
  IoLoop(const IoLoop&) = delete;
  IoLoop& operator=(const IoLoop&) = delete;

  // Runs `work` soon; drops it once Stop() has begun.
  void Post(Work work);

  // Ends all calls, whose callbacks still run, and joins the thread. Not to be called by the loop.
  void Stop();

  // Of the loop's thread:
  [[nodiscard]] Calls& calls() { return *calls_; }
  // Runs `work` at `when`. Cannot be taken back: work asks whether it is still wanted.
  void At(TimePoint when, Work work);
  [[nodiscard]] TimePoint Now() const { return clock_.Now(); }

 private:
  IoLoop(std::unique_ptr<Calls> calls, const Clock& clock, std::chrono::microseconds spin,
         int epoll_fd, int wake_fd);
  void Run();
  bool RunPosted();
  bool RunTimers();
  void Wait();

  std::unique_ptr<Calls> calls_;
  const Clock& clock_;
  const std::chrono::microseconds spin_;
  int epoll_fd_;
  int wake_fd_;
  std::multimap<TimePoint, Work> timers_;  // of the loop's thread

  std::mutex mutex_;
  std::vector<Work> posted_;  // guarded by mutex_
  bool stopping_ = false;     // guarded by mutex_
  bool stopped_ = false;      // guarded by mutex_
  std::thread thread_;
};

}  // namespace kdn::client

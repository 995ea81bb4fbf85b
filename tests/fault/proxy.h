// A TCP proxy that may turn single bits over: what a bad switch does to packets whose checksum is
// computed after it.
//
// Thread-safety: safe.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/result.h"

namespace kdn::fault {

class FlippingProxy {
 public:
  // Listens at `listen` and forwards to `target`, both "host:port".
  static Result<std::unique_ptr<FlippingProxy>> Start(const std::string& listen,
                                                      const std::string& target);
  ~FlippingProxy();

  // From now on one bit in about `bytes` of what the target sends is turned over; 0: none.
  void FlipOneBitEvery(std::uint64_t bytes) { answers_every_.store(bytes); }
  // The same of what callers send.
  void FlipOneSentBitEvery(std::uint64_t bytes) { sent_every_.store(bytes); }
  [[nodiscard]] std::uint64_t flips() const { return flips_.load(); }

 private:
  FlippingProxy(int listener, std::string target)
      : listener_(listener), target_(std::move(target)) {}
  void Accept();
  void Forward(int from, int to, const std::atomic<std::uint64_t>& every_bytes);

  int listener_;
  std::string target_;
  std::atomic<std::uint64_t> answers_every_{0};
  std::atomic<std::uint64_t> sent_every_{0};
  std::atomic<std::uint64_t> flips_{0};
  std::mutex mutex_;
  std::vector<int> sockets_;          // guarded by mutex_
  std::vector<std::thread> threads_;  // guarded by mutex_
  std::thread acceptor_;
};

}  // namespace kdn::fault

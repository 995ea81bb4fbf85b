// What keeps the promise that nothing is written into a call's window once the call has ended at
// its caller: a word in memory that both sides see. The server enters it before it touches the
// bulk and leaves it after every block; the client closes it when the call ends. While the server
// is inside, closing has to wait for it to leave, and so the client sees whether it has.
//
//   free -> open(call) <-> inside(call) -> closing(call) -> closed
//               `----------------------------------------> closed
//
// The word names its call, so that a server that is late, or was frozen, finds a gate that is of
// another call by now closed to it. Nothing else is trusted in it: a client that writes what it
// likes harms its own memory alone.
//
// Thread-safety: each side uses a gate from one thread; the sides are different processes.
#pragma once

#include <atomic>
#include <cstdint>

namespace kdn::transport::shm {

// Lies in shared memory, alone in its cache line.
struct alignas(64) GateWord {
  std::uint64_t value = 0;
};

// Which call, of all that a channel makes: its connection and its id there.
[[nodiscard]] constexpr std::uint64_t GateKey(std::uint32_t connection, std::uint32_t call) {
  return std::uint64_t{connection} << 32 | call;
}

class Gate {
 public:
  explicit Gate(GateWord& word) : word_(word.value) {}

  // -- The client's side.
  void Open(std::uint64_t key) { word_.store(Value(key, kOpen), std::memory_order_release); }

  // Lets nobody in any more. True: and nobody is inside. False: ask IsClosed() until it says so.
  [[nodiscard]] bool Close() {
    // A server that works goes in and out a few times at most meanwhile.
    for (int i = 0; i < 16; ++i) {
      std::uint64_t seen = word_.load(std::memory_order_acquire);
      switch (StateOf(seen)) {
        case kOpen:
          if (Change(seen, kClosed)) return true;
          break;
        case kInside:
          if (Change(seen, kClosing)) return false;
          break;
        case kClosing:
          return false;
        case kClosed:
          return true;
      }
    }
    return false;
  }
  [[nodiscard]] bool IsClosed() { return Close(); }

  // -- The server's side. False: the call has ended at its caller.
  [[nodiscard]] bool Enter(std::uint64_t key) {
    std::uint64_t expected = Value(key, kOpen);
    return word_.compare_exchange_strong(expected, Value(key, kInside), std::memory_order_acq_rel);
  }
  [[nodiscard]] bool Leave(std::uint64_t key) {
    std::uint64_t expected = Value(key, kInside);
    if (word_.compare_exchange_strong(expected, Value(key, kOpen), std::memory_order_acq_rel)) {
      return true;
    }
    expected = Value(key, kClosing);
    word_.compare_exchange_strong(expected, Value(key, kClosed), std::memory_order_acq_rel);
    return false;
  }

 private:
  enum State : std::uint64_t { kClosed = 0, kOpen = 1, kInside = 2, kClosing = 3 };
  static constexpr std::uint64_t Value(std::uint64_t key, State state) { return key << 2 | state; }
  static constexpr State StateOf(std::uint64_t value) { return static_cast<State>(value & 3); }
  bool Change(std::uint64_t seen, State to) {
    return word_.compare_exchange_strong(seen, (seen & ~std::uint64_t{3}) | to,
                                         std::memory_order_acq_rel);
  }

  std::atomic_ref<std::uint64_t> word_;
};

}  // namespace kdn::transport::shm

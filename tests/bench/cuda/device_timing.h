// How long a GPU takes, and the rows that say so.
//
// Thread-safety: not safe; caller synchronises.
#pragma once

#include <cuda_runtime_api.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "tests/codec/device_machine.h"

namespace kdn::codec {

inline constexpr int kRuns = 30;

struct Row {
  std::string name;
  double value;
  std::string unit;
  double bar;  // 0: none
  bool at_most;
  [[nodiscard]] bool holds() const { return bar == 0 || (at_most ? value <= bar : value >= bar); }
};

class Stream {
 public:
  Stream() { MustCuda(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "stream"); }
  Stream(const Stream&) = delete;
  ~Stream() { cudaStreamDestroy(stream_); }
  [[nodiscard]] cudaStream_t get() const { return stream_; }
  [[nodiscard]] DeviceStream device() const { return {stream_}; }
  void Wait() const { MustCuda(cudaStreamSynchronize(stream_), "wait"); }

 private:
  cudaStream_t stream_ = nullptr;
};

// Work on a stream, recorded to be launched again.
class Graph {
 public:
  template <class Work>
  Graph(const Stream& stream, Work&& work) {
    cudaGraph_t graph = nullptr;
    MustCuda(cudaStreamBeginCapture(stream.get(), cudaStreamCaptureModeGlobal), "capture");
    work();
    MustCuda(cudaStreamEndCapture(stream.get(), &graph), "capture");
    MustCuda(cudaGraphInstantiate(&ready_, graph, 0), "graph");
    cudaGraphDestroy(graph);
  }
  Graph(Graph&& other) noexcept : ready_(std::exchange(other.ready_, nullptr)) {}
  Graph(const Graph&) = delete;
  ~Graph() {
    if (ready_ != nullptr) cudaGraphExecDestroy(ready_);
  }
  void Launch(const Stream& stream) const {
    MustCuda(cudaGraphLaunch(ready_, stream.get()), "graph");
  }

 private:
  cudaGraphExec_t ready_ = nullptr;
};

// Calls `work` with 0 to `count` - 1 in turn, so that what it takes is in no cache from the call
// before.
template <class Work>
auto InTurn(std::size_t count, Work work) {
  return [count, work, next = std::size_t{0}]() mutable { work(next++ % count); };
}

// Microseconds that the stream spent on each call of `work`, the median.
template <class Work>
double DeviceMicros(const Stream& stream, Work&& work) {
  cudaEvent_t begin = nullptr;
  cudaEvent_t end = nullptr;
  MustCuda(cudaEventCreate(&begin), "event");
  MustCuda(cudaEventCreate(&end), "event");
  std::vector<double> micros;
  for (int run = -3; run < kRuns; ++run) {
    MustCuda(cudaEventRecord(begin, stream.get()), "event");
    work();
    MustCuda(cudaEventRecord(end, stream.get()), "event");
    stream.Wait();
    float ms = 0.0F;
    MustCuda(cudaEventElapsedTime(&ms, begin, end), "event");
    if (run >= 0) micros.push_back(1e3 * double{ms});
  }
  cudaEventDestroy(begin);
  cudaEventDestroy(end);
  std::sort(micros.begin(), micros.end());
  return micros[micros.size() / 2];
}

// The same by the host's clock, from the call to the end of the work.
template <class Work>
double HostMicros(const Stream& stream, Work&& work) {
  std::vector<double> micros;
  for (int run = -3; run < 2 * kRuns; ++run) {
    const auto begin = std::chrono::steady_clock::now();
    work();
    stream.Wait();
    const std::chrono::duration<double, std::micro> took = std::chrono::steady_clock::now() - begin;
    if (run >= 0) micros.push_back(took.count());
  }
  std::sort(micros.begin(), micros.end());
  return micros[micros.size() / 2];
}

}  // namespace kdn::codec

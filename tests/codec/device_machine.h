// A GPU as tests and benches use it: memory that frees itself, and a LaunchMachine on it. What CUDA
// refuses ends the program.
//
// Thread-safety: not safe; caller synchronises.
#pragma once

#include <cuda_runtime_api.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "codec/cuda/device_decoder.h"
#include "codec/cuda/device_encoder.h"
#include "tests/codec/lane_objects.h"

namespace kdn::codec {

inline void MustCuda(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  std::fprintf(stderr, "%s: %s\n", what, cudaGetErrorString(error));
  std::exit(1);
}
inline void MustBeOk(const Status& status, const char* what) {
  if (status.ok()) return;
  std::fprintf(stderr, "%s: %s\n", what, status.ToString().c_str());
  std::exit(1);
}

class DeviceBytes {
 public:
  explicit DeviceBytes(std::size_t size) : size_(size) {
    MustCuda(cudaMalloc(&data_, std::max<std::size_t>(size, 16)), "cudaMalloc");
  }
  explicit DeviceBytes(ConstBytes bytes) : DeviceBytes(bytes.size()) { Fill(bytes); }
  DeviceBytes(DeviceBytes&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(other.size_) {}
  DeviceBytes(const DeviceBytes&) = delete;
  ~DeviceBytes() { cudaFree(data_); }

  [[nodiscard]] std::byte* data() const { return static_cast<std::byte*>(data_); }
  [[nodiscard]] std::size_t size() const { return size_; }
  void Fill(ConstBytes bytes) {
    MustCuda(cudaMemcpy(data_, bytes.data(), bytes.size(), cudaMemcpyHostToDevice), "copy there");
  }
  void Read(MutableBytes bytes) const {
    MustCuda(cudaMemcpy(bytes.data(), data_, bytes.size(), cudaMemcpyDeviceToHost), "copy back");
  }

 private:
  void* data_ = nullptr;
  std::size_t size_;
};

class DeviceMachine final : public LaunchMachine {
 public:
  explicit DeviceMachine(ChangeCopy change = {}) : change_(std::move(change)) {}
  const std::byte* Keep(ConstBytes bytes) override {
    AlignedBytes copy(bytes);
    if (change_) change_(copy);
    return kept_.emplace_back(copy.bytes()).data();
  }

  PagedKv Lend(TestMemory& memory) override {
    for (std::size_t g = 0; g < memory.group_count(); ++g) {
      std::vector<DeviceBytes>& tensors = tensors_.emplace_back();
      for (const auto& tensor : memory.group(g).tensors()) tensors.emplace_back(tensor);
    }
    bases_.resize(memory.group_count());
    pools_.clear();
    for (std::size_t g = 0; g < memory.group_count(); ++g) {
      KvPool& pool = pools_.emplace_back(memory.group(g).pool());
      for (std::size_t p = 0; p < pool.planes.size(); ++p) {
        for (const std::byte* base : pool.planes[p].base) {
          bases_[g][p].push_back(DeviceAddress(memory, g, base));
        }
        pool.planes[p].base = bases_[g][p];
      }
    }
    return PagedKv{pools_};
  }

  std::vector<std::uint32_t> Launch(const DecodePlan& plan) override {
    const DeviceBytes plan_dev(plan.bytes);
    const DeviceBytes workspace(plan.shape.workspace_bytes);
    std::vector<std::uint32_t> verdicts(plan.shape.verdicts(), 7);
    const DeviceBytes verdicts_dev(std::as_bytes(std::span(verdicts)));
    MustBeOk(LaunchDecode(plan.shape, plan_dev.data(), workspace.data(),
                          reinterpret_cast<std::uint32_t*>(verdicts_dev.data()), DeviceStream()),
             "launch");
    MustCuda(cudaDeviceSynchronize(), "the decoder");
    verdicts_dev.Read(std::as_writable_bytes(std::span(verdicts)));
    return verdicts;
  }

  HostEncoded Encode(const EncodePlan& plan) override {
    const DeviceBytes plan_dev(plan.bytes);
    const DeviceBytes workspace(plan.shape.workspace_bytes);
    const DeviceBytes out(plan.shape.out_bytes_max);
    HostEncoded encoded;
    encoded.sizes.assign(plan.shape.tiles, 0);
    const DeviceBytes sizes(std::as_bytes(std::span(encoded.sizes)));
    MustBeOk(
        LaunchEncode(plan.shape, plan_dev.data(),
                     {workspace.data(), out.data(), reinterpret_cast<std::uint32_t*>(sizes.data())},
                     DeviceStream()),
        "launch");
    MustCuda(cudaDeviceSynchronize(), "the encoder");
    sizes.Read(std::as_writable_bytes(std::span(encoded.sizes)));
    std::size_t size = 0;
    for (const std::uint32_t one : encoded.sizes) size += one;
    // Sizes that no encoder gives are for the caller to find wrong.
    encoded.out.resize(std::min(size, out.size()));
    out.Read(encoded.out);
    return encoded;
  }

  void Return(TestMemory& memory) override {
    for (std::size_t g = 0; g < memory.group_count(); ++g) {
      for (std::size_t i = 0; i < tensors_[g].size(); ++i) {
        tensors_[g][i].Read(memory.group(g).tensors()[i]);
      }
    }
  }

 private:
  std::byte* DeviceAddress(TestMemory& memory, std::size_t group, const std::byte* base) {
    if (base == nullptr) return nullptr;
    const auto& tensors = memory.group(group).tensors();
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      if (base < tensors[i].data() || base >= tensors[i].data() + tensors[i].size()) continue;
      return tensors_[group][i].data() + (base - tensors[i].data());
    }
    return nullptr;
  }

  ChangeCopy change_;
  std::vector<DeviceBytes> kept_;
  std::vector<std::vector<DeviceBytes>> tensors_;  // by group
  std::vector<std::array<std::vector<std::byte*>, 2>> bases_;
  std::vector<KvPool> pools_;
};

}  // namespace kdn::codec

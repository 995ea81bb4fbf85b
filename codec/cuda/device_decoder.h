// Decodes a plan (codec/lane/decode_planner.h) on a GPU: entropy, refinement, dequantising, inverse
// transform, rotation and the stores into paged memory are one kernel, a warp per rANS block. exact
// on top of fine takes two more kernels behind that.
//
// A build without CUDA links device_decoder_none.cc, in which DeviceCount() is 0 and the other
// calls return kUnimplemented: callers ask, they never #ifdef. This header needs no CUDA toolkit; a
// .cu file includes it, so it stays within C++17.
//
// Thread-safety: calls are asynchronous with respect to the host and ordered by their stream; calls
// on different streams may run concurrently.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/status.h"
#include "codec/lane/launch_plan.h"

namespace kdn::codec {

// A cudaStream_t that the caller owns and keeps until the work on it is done.
struct DeviceStream {
  void* handle = nullptr;
};

// Usable GPUs; 0 without a driver, a device or CUDA in the build.
[[nodiscard]] int DeviceCount() noexcept;

// Loads the kernels and lets them use the fast memory they need. Once per process and device,
// before the first launch and outside of any capture.
[[nodiscard]] Status PrepareDevice();

// Enqueues the kernels, which may be captured into a graph: nothing is allocated, nothing is waited
// for. `plan_dev` is a copy of DecodePlan::bytes at a multiple of 16; workspace_dev, another one,
// has room for shape.workspace_bytes, and may be null if those are 0; verdicts_dev has room for
// shape.verdicts() numbers, which DecodePlan explains. The plan and all memory that it names are
// the device's or may be read and written by it, and stay until the work is done. An OK status
// means enqueued, not finished. Requires: PrepareDevice().
[[nodiscard]] Status LaunchDecode(const LaunchShape& shape, const std::byte* plan_dev,
                                  std::byte* workspace_dev, std::uint32_t* verdicts_dev,
                                  DeviceStream stream);

}  // namespace kdn::codec

#include "codec/cuda/device_decoder.h"

#include <cuda_runtime.h>

#include <string>

#include "codec/lane/unit_values.h"

namespace kdn::codec {
namespace {

// What the largest unit of any plan takes: codes, means and scales of 1,024 channels, a full team.
constexpr int kFastBytesMax =
    32 * 1024 + 8 * 1024 + kTeamWarpsMax * (LaneMemory::kWarpBytes + kSlabBytes);

template <class Type>
__global__ void __launch_bounds__(kTeamWarpsMax* kWarpLanes)
    DecodeUnits(const std::byte* __restrict__ plan, LaneMemory memory, std::uint32_t* verdicts) {
  extern __shared__ uint4 fast[];
  const unsigned number = threadIdx.x / kWarpLanes;
  const UnitWork work =
      WorkOf(plan, blockIdx.x, memory, blockDim.x / kWarpLanes, reinterpret_cast<std::byte*>(fast));
  PrepareUnit(work, threadIdx.x);
  __syncthreads();
  const DeviceWarp warp;
  const int good = __syncthreads_and(DecodeUnitBlocks(warp, work, number));
  if (threadIdx.x == 0) verdicts[blockIdx.x] = good != 0 ? 0 : 1;
  if (good != 0) WriteUnit<Type>(warp, work, number);
}

using Kernel = void (*)(const std::byte*, LaneMemory, std::uint32_t*);
// By the number of a DType.
constexpr Kernel kKernels[kKernelDTypes] = {DecodeUnits<Bf16Lanes>, DecodeUnits<Fp16Lanes>,
                                            DecodeUnits<Fp32Lanes>, DecodeUnits<Fp8E4M3Lanes>,
                                            DecodeUnits<Fp8E5M2Lanes>};

Status FromCuda(cudaError_t error, const char* action) {
  if (error == cudaSuccess) return Status();
  return Status(Code::kInternal, std::string(action) + ": " + cudaGetErrorString(error));
}

}  // namespace

int DeviceCount() noexcept {
  int count = 0;
  return cudaGetDeviceCount(&count) == cudaSuccess ? count : 0;
}

Status PrepareDevice() {
  for (const Kernel kernel : kKernels) {
    const cudaError_t error =
        cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                             cudaFuncAttributeMaxDynamicSharedMemorySize, kFastBytesMax);
    if (error != cudaSuccess) return FromCuda(error, "prepare the decoder");
  }
  return Status();
}

Status LaunchDecode(const LaunchShape& shape, const std::byte* plan_dev,
                    std::uint32_t* verdicts_dev, DeviceStream stream) {
  if (shape.units == 0) return Status();
  if (shape.dtype >= kKernelDTypes || shape.warps == 0 || shape.warps > kTeamWarpsMax ||
      shape.units > 0x7FFFFFFFU) {
    return Status(Code::kInvalidArgument, "no such launch");
  }
  kKernels
      [shape.dtype]<<<shape.units, shape.warps * kWarpLanes, shape.memory.TotalBytes(shape.warps),
                      static_cast<cudaStream_t>(stream.handle)>>>(plan_dev, shape.memory,
                                                                  verdicts_dev);
  return FromCuda(cudaGetLastError(), "launch the decoder");
}

}  // namespace kdn::codec

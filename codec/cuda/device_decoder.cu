#include "codec/cuda/device_decoder.h"

#include <cuda_runtime.h>

#include <string>

#include "codec/lane/correct_lanes.h"
#include "codec/lane/unit_values.h"

namespace kdn::codec {
namespace {

// What the largest unit of any plan takes: codes, means and scales of 1,024 channels, a full team.
constexpr int kFastBytesMax =
    32 * 1024 + 8 * 1024 + kTeamWarpsMax * (LaneMemory::kWarpBytes + kSlabBytes);

template <class Type>
__global__ void __launch_bounds__(kTeamWarpsMax* kWarpLanes)
    DecodeUnits(const std::byte* __restrict__ plan, LaneMemory memory, std::byte* workspace,
                std::uint32_t* verdicts) {
  extern __shared__ uint4 fast[];
  const unsigned number = threadIdx.x / kWarpLanes;
  const UnitWork work = WorkOf(plan, blockIdx.x, memory, blockDim.x / kWarpLanes, workspace,
                               reinterpret_cast<std::byte*>(fast));
  PrepareUnit(work, threadIdx.x);
  __syncthreads();
  const DeviceWarp warp;
  const int good = __syncthreads_and(DecodeUnitBlocks(warp, work, number));
  if (threadIdx.x == 0) verdicts[blockIdx.x] = good != 0 ? 0 : 1;
  if (good != 0) WriteUnit<Type>(warp, work, number);
}

// The segment of a warp of the grid.
__device__ std::uint32_t SegmentNumber() {
  return blockIdx.x * kSegmentWarps + threadIdx.x / kWarpLanes;
}

template <class W>
__global__ void __launch_bounds__(kSegmentWarps* kWarpLanes)
    MeasureSegments(const std::byte* __restrict__ plan, std::uint32_t segments,
                    std::byte* workspace) {
  if (SegmentNumber() >= segments) return;
  MeasureSegment<W>(DeviceWarp(), SegmentWorkOf(plan, SegmentNumber(), workspace));
}

template <class Type, class W>
__global__ void __launch_bounds__(kSegmentWarps* kWarpLanes)
    CorrectSegments(const std::byte* __restrict__ plan, std::uint32_t units, std::uint32_t segments,
                    std::byte* workspace, std::uint32_t* verdicts) {
  __shared__ float slabs[kSegmentWarps][kSlabValues];
  const std::uint32_t segment = SegmentNumber();
  if (segment >= segments) return;
  const SegmentWork work = SegmentWorkOf(plan, segment, workspace);
  const bool good =
      CorrectSegment<Type, W>(DeviceWarp(), work, verdicts, slabs[threadIdx.x / kWarpLanes]);
  if (threadIdx.x % kWarpLanes == 0) verdicts[units + segment] = good ? 0 : 1;
}

struct TypeKernels {
  void (*units)(const std::byte*, LaneMemory, std::byte*, std::uint32_t*);
  void (*measure)(const std::byte*, std::uint32_t, std::byte*);
  void (*correct)(const std::byte*, std::uint32_t, std::uint32_t, std::byte*, std::uint32_t*);
};
template <class Type, class W>
constexpr TypeKernels KernelsOf() {
  return {DecodeUnits<Type>, MeasureSegments<W>, CorrectSegments<Type, W>};
}
// By the number of a DType.
constexpr TypeKernels kKernels[kKernelDTypes] = {
    KernelsOf<Bf16Lanes, Bf16Words>(), KernelsOf<Fp16Lanes, Fp16Words>(),
    KernelsOf<Fp32Lanes, Fp32Words>(), KernelsOf<Fp8E4M3Lanes, Fp8E4M3Words>(),
    KernelsOf<Fp8E5M2Lanes, Fp8E5M2Words>()};

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
  for (const TypeKernels& kernels : kKernels) {
    cudaError_t error =
        cudaFuncSetAttribute(reinterpret_cast<const void*>(kernels.units),
                             cudaFuncAttributeMaxDynamicSharedMemorySize, kFastBytesMax);
    // A kernel that was never launched is loaded when it first is, which a capture may refuse.
    cudaFuncAttributes attributes;
    for (const void* kernel : {reinterpret_cast<const void*>(kernels.measure),
                               reinterpret_cast<const void*>(kernels.correct)}) {
      if (error == cudaSuccess) error = cudaFuncGetAttributes(&attributes, kernel);
    }
    if (error != cudaSuccess) return FromCuda(error, "prepare the decoder");
  }
  return Status();
}

Status LaunchDecode(const LaunchShape& shape, const std::byte* plan_dev, std::byte* workspace_dev,
                    std::uint32_t* verdicts_dev, DeviceStream stream) {
  if (shape.units == 0) return Status();
  if (shape.dtype >= kKernelDTypes || shape.warps == 0 || shape.warps > kTeamWarpsMax ||
      shape.units > 0x7FFFFFFFU || (shape.workspace_bytes != 0 && workspace_dev == nullptr)) {
    return Status(Code::kInvalidArgument, "no such launch");
  }
  const TypeKernels& kernels = kKernels[shape.dtype];
  const auto on = static_cast<cudaStream_t>(stream.handle);
  kernels
      .units<<<shape.units, shape.warps * kWarpLanes, shape.memory.TotalBytes(shape.warps), on>>>(
          plan_dev, shape.memory, workspace_dev, verdicts_dev);
  if (shape.segments != 0) {
    const unsigned teams = (shape.segments + kSegmentWarps - 1) / kSegmentWarps;
    kernels.measure<<<teams, kSegmentWarps * kWarpLanes, 0, on>>>(plan_dev, shape.segments,
                                                                  workspace_dev);
    kernels.correct<<<teams, kSegmentWarps * kWarpLanes, 0, on>>>(
        plan_dev, shape.units, shape.segments, workspace_dev, verdicts_dev);
  }
  return FromCuda(cudaGetLastError(), "launch the decoder");
}

}  // namespace kdn::codec

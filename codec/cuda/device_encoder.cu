#include "codec/cuda/device_encoder.h"

#include <cuda_runtime.h>

#include <string>

#include "codec/lane/analyse_lanes.h"
#include "codec/lane/lean_encode_lanes.h"
#include "codec/lane/own_table_lanes.h"
#include "codec/lane/tile_lanes.h"

namespace kdn::codec {
namespace {

constexpr unsigned kTeamThreads = kEncodeTeamWarps * kWarpLanes;
// What the widest strip takes: 1,024 channels. More would have to be asked for.
static_assert(EncodeMemory{1024}.TotalBytes() <= 48 * 1024);

__device__ unsigned WarpNumber() {
  return threadIdx.x / kWarpLanes;
}
// Of all warps of a grid.
__device__ std::uint32_t GridWarp() {
  return blockIdx.x * kEncodeTeamWarps + WarpNumber();
}

template <class Number>
__global__ void __launch_bounds__(kTeamThreads)
    EncodeStrips(const std::byte* __restrict__ plan, EncodeMemory memory, std::byte* workspace) {
  extern __shared__ uint4 fast[];
  const StripWork work =
      StripWorkOf(plan, blockIdx.x, memory, workspace, reinterpret_cast<std::byte*>(fast));
  const DeviceWarp warp;
  MeasureStrip<Number>(warp, work, WarpNumber());
  __syncthreads();
  CutStrip<Number>(warp, work, WarpNumber());
  __syncthreads();
  CloseStrip(warp, work, WarpNumber());
}

__global__ void __launch_bounds__(kWarpLanes)
    MakeTables(const std::byte* __restrict__ plan, std::byte* workspace) {
  MakeOwnTable(DeviceWarp(), plan, blockIdx.x, workspace);
}

__global__ void __launch_bounds__(kTeamThreads)
    EncodeBlocks(const std::byte* __restrict__ plan, std::uint32_t blocks, std::byte* workspace) {
  __shared__ LaneEncodeTable tables[kEncodeTeamWarps];
  if (GridWarp() >= blocks) return;
  EncodeBlockOf(DeviceWarp(), plan, GridWarp(), workspace, &tables[WarpNumber()]);
}

__global__ void __launch_bounds__(kTeamThreads)
    SizeTiles(const std::byte* __restrict__ plan, std::uint32_t tiles, std::byte* workspace,
              std::uint32_t* sizes) {
  if (GridWarp() >= tiles) return;
  SizeTile(DeviceWarp(), TileWork{plan, workspace}, GridWarp(), sizes);
}

__global__ void __launch_bounds__(kWarpLanes)
    LayTiles(const std::byte* __restrict__ plan, std::uint32_t tiles, std::byte* workspace) {
  PlaceTiles(DeviceWarp(), TileWork{plan, workspace}, tiles);
}

__global__ void __launch_bounds__(kTeamThreads)
    WriteTiles(const std::byte* __restrict__ plan, std::byte* workspace, std::byte* out) {
  WritePieces(DeviceWarp(), TileWork{plan, workspace}, blockIdx.x / kNestedLevels,
              blockIdx.x % kNestedLevels, WarpNumber(), out);
}

using StripKernel = void (*)(const std::byte*, EncodeMemory, std::byte*);
// By the number of a DType.
constexpr StripKernel kStripKernels[kKernelDTypes] = {
    EncodeStrips<Bf16Number>, EncodeStrips<Fp16Number>, EncodeStrips<Fp32Number>,
    EncodeStrips<Fp8E4M3Number>, EncodeStrips<Fp8E5M2Number>};

Status FromCuda(cudaError_t error, const char* action) {
  if (error == cudaSuccess) return Status();
  return Status(Code::kInternal, std::string(action) + ": " + cudaGetErrorString(error));
}

unsigned Teams(std::uint32_t warps) {
  return (warps + kEncodeTeamWarps - 1) / kEncodeTeamWarps;
}

}  // namespace

Status PrepareEncoder() {
  // A kernel that was never launched is loaded when it first is, which a capture may refuse.
  const void* kernels[] = {
      reinterpret_cast<const void*>(MakeTables), reinterpret_cast<const void*>(EncodeBlocks),
      reinterpret_cast<const void*>(SizeTiles), reinterpret_cast<const void*>(LayTiles),
      reinterpret_cast<const void*>(WriteTiles)};
  cudaFuncAttributes attributes;
  for (const void* kernel : kernels) {
    const cudaError_t error = cudaFuncGetAttributes(&attributes, kernel);
    if (error != cudaSuccess) return FromCuda(error, "prepare the encoder");
  }
  for (const StripKernel kernel : kStripKernels) {
    const cudaError_t error =
        cudaFuncGetAttributes(&attributes, reinterpret_cast<const void*>(kernel));
    if (error != cudaSuccess) return FromCuda(error, "prepare the encoder");
  }
  return Status();
}

Status LaunchEncode(const EncodeShape& shape, const std::byte* plan_dev,
                    const EncodeBuffers& buffers, DeviceStream stream) {
  if (shape.strips == 0) return Status();
  if (shape.dtype >= kKernelDTypes || shape.memory.channels > 1024 ||
      shape.strips > 0x7FFFFFFFU / kNestedLevels) {
    return Status(Code::kInvalidArgument, "no such launch");
  }
  const auto on = static_cast<cudaStream_t>(stream.handle);
  std::byte* workspace = buffers.workspace;
  kStripKernels[shape.dtype]<<<shape.strips, kTeamThreads, shape.memory.TotalBytes(), on>>>(
      plan_dev, shape.memory, workspace);
  MakeTables<<<shape.places, kWarpLanes, 0, on>>>(plan_dev, workspace);
  // Profiles may code nothing at the levels that are asked for.
  if (shape.blocks != 0) {
    EncodeBlocks<<<Teams(shape.blocks), kTeamThreads, 0, on>>>(plan_dev, shape.blocks, workspace);
  }
  SizeTiles<<<Teams(shape.tiles), kTeamThreads, 0, on>>>(plan_dev, shape.tiles, workspace,
                                                         buffers.sizes);
  LayTiles<<<1, kWarpLanes, 0, on>>>(plan_dev, shape.tiles, workspace);
  WriteTiles<<<shape.strips * kNestedLevels, kTeamThreads, 0, on>>>(plan_dev, workspace,
                                                                    buffers.out);
  return FromCuda(cudaGetLastError(), "launch the encoder");
}

}  // namespace kdn::codec

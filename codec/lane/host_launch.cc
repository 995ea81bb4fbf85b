#include "codec/lane/host_launch.h"

#include <memory>

#include "codec/lane/correct_lanes.h"
#include "codec/lane/unit_values.h"

namespace kdn::codec {
namespace {

// f(i) for all i below `count`, in the order wanted.
template <class F>
void EachOf(std::uint32_t count, bool backwards, F&& f) {
  for (std::uint32_t i = 0; i < count; ++i) f(backwards ? count - 1 - i : i);
}

template <class Type>
bool RunUnit(const HostWarp& warp, const UnitWork& work) {
  EachOf(work.warps * kWarpLanes, warp.backwards,
         [&](unsigned thread) { PrepareUnit(work, thread); });
  bool good = true;
  EachOf(work.warps, warp.backwards,
         [&](unsigned w) { good = DecodeUnitBlocks(warp, work, w) && good; });
  if (!good) return false;
  EachOf(work.warps, warp.backwards, [&](unsigned w) { WriteUnit<Type>(warp, work, w); });
  return true;
}

using RunUnitFunction = bool (*)(const HostWarp&, const UnitWork&);
// By the number of a DType.
constexpr RunUnitFunction kRunUnit[] = {RunUnit<Bf16Lanes>, RunUnit<Fp16Lanes>, RunUnit<Fp32Lanes>,
                                        RunUnit<Fp8E4M3Lanes>, RunUnit<Fp8E5M2Lanes>};

template <class Type, class W>
void RunSegments(const HostWarp& warp, const LaunchShape& shape, const std::byte* plan,
                 std::byte* workspace, std::uint32_t* verdicts) {
  EachOf(shape.segments, warp.backwards,
         [&](std::uint32_t s) { MeasureSegment<W>(warp, SegmentWorkOf(plan, s, workspace)); });
  EachOf(shape.segments, warp.backwards, [&](std::uint32_t s) {
    const auto slab = std::make_unique<float[]>(kSlabValues);
    const SegmentWork work = SegmentWorkOf(plan, s, workspace);
    verdicts[shape.units + s] = CorrectSegment<Type, W>(warp, work, verdicts, slab.get()) ? 0 : 1;
  });
}

using RunSegmentsFunction = void (*)(const HostWarp&, const LaunchShape&, const std::byte*,
                                     std::byte*, std::uint32_t*);
constexpr RunSegmentsFunction kRunSegments[] = {
    RunSegments<Bf16Lanes, Bf16Words>, RunSegments<Fp16Lanes, Fp16Words>,
    RunSegments<Fp32Lanes, Fp32Words>, RunSegments<Fp8E4M3Lanes, Fp8E4M3Words>,
    RunSegments<Fp8E5M2Lanes, Fp8E5M2Words>};

std::size_t Quads(std::size_t bytes) {
  return (bytes + sizeof(Quad) - 1) / sizeof(Quad);
}

}  // namespace

std::vector<std::uint32_t> LaunchOnHost(const DecodePlan& plan, bool backwards) {
  const LaunchShape& shape = plan.shape;
  const HostWarp warp{backwards};
  std::vector<Quad> copy(Quads(plan.bytes.size()));
  std::memcpy(copy.data(), plan.bytes.data(), plan.bytes.size());
  const auto* front = reinterpret_cast<const std::byte*>(copy.data());
  const auto kept = std::make_unique<Quad[]>(Quads(shape.workspace_bytes));
  auto* workspace = reinterpret_cast<std::byte*>(kept.get());
  std::memset(workspace, 0xA5, shape.workspace_bytes);
  const auto fast_bytes = std::size_t{shape.memory.TotalBytes(shape.warps)};
  std::vector<std::uint32_t> verdicts(shape.verdicts());
  EachOf(shape.units, backwards, [&](std::uint32_t u) {
    // Of its own for each unit, as long as needed and no longer: memory checkers see a step
    // outside.
    const auto fast = std::make_unique<Quad[]>(Quads(fast_bytes));
    const UnitWork work = WorkOf(front, u, shape.memory, shape.warps, workspace,
                                 reinterpret_cast<std::byte*>(fast.get()));
    verdicts[u] = kRunUnit[shape.dtype](warp, work) ? 0 : 1;
  });
  kRunSegments[shape.dtype](warp, shape, front, workspace, verdicts.data());
  return verdicts;
}

}  // namespace kdn::codec

#include "codec/lane/host_launch.h"

#include <memory>

#include "codec/lane/unit_values.h"

namespace kdn::codec {
namespace {

template <class Type>
bool RunUnit(const UnitWork& work) {
  const HostWarp warp;
  for (unsigned thread = 0; thread < work.warps * kWarpLanes; ++thread) PrepareUnit(work, thread);
  bool good = true;
  for (unsigned w = 0; w < work.warps; ++w) good = DecodeUnitBlocks(warp, work, w) && good;
  if (!good) return false;
  for (unsigned w = 0; w < work.warps; ++w) WriteUnit<Type>(warp, work, w);
  return true;
}

using RunUnitFunction = bool (*)(const UnitWork&);
// By the number of a DType.
constexpr RunUnitFunction kRunUnit[] = {RunUnit<Bf16Lanes>, RunUnit<Fp16Lanes>, RunUnit<Fp32Lanes>,
                                        RunUnit<Fp8E4M3Lanes>, RunUnit<Fp8E5M2Lanes>};

std::size_t Quads(std::size_t bytes) {
  return (bytes + sizeof(Quad) - 1) / sizeof(Quad);
}

}  // namespace

std::vector<std::uint32_t> LaunchOnHost(const DecodePlan& plan) {
  std::vector<Quad> copy(Quads(plan.bytes.size()));
  std::memcpy(copy.data(), plan.bytes.data(), plan.bytes.size());
  const auto fast_bytes = std::size_t{plan.shape.memory.TotalBytes(plan.shape.warps)};
  std::vector<std::uint32_t> verdicts;
  for (std::uint32_t u = 0; u < plan.shape.units; ++u) {
    // Of its own for each unit, as long as needed and no longer: memory checkers see a step
    // outside.
    const auto fast = std::make_unique<Quad[]>(Quads(fast_bytes));
    const UnitWork work =
        WorkOf(reinterpret_cast<const std::byte*>(copy.data()), u, plan.shape.memory,
               plan.shape.warps, reinterpret_cast<std::byte*>(fast.get()));
    verdicts.push_back(kRunUnit[plan.shape.dtype](work) ? 0 : 1);
  }
  return verdicts;
}

}  // namespace kdn::codec

// The table of a place without a profile, made of the counts of all its strips: ModelOf() of
// codec/rans_model.h for symbols that all occur, by one warp.
//
// A .cu file may include this header, so it stays within C++17. Thread-safety: pure functions of
// memory that the caller owns.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/host_device.h"
#include "codec/lane/encode_plan.h"
#include "codec/lane/warp.h"

namespace kdn::codec {
namespace {

// One more for a symbol of frequency f saves count · log2((f + 1) / f) bits, about
// count / (f + 1/2); one less costs about count / (f - 1/2).
struct OwnShare {
  std::uint64_t count;
  std::uint32_t frequency;

  [[nodiscard]] KDN_HOST_DEVICE bool GainsMoreThan(const OwnShare& other) const {
    return count * (2 * other.frequency + 1) > other.count * (2 * frequency + 1);
  }
  [[nodiscard]] KDN_HOST_DEVICE bool LosesLessThan(const OwnShare& other) const {
    if (frequency == 1 || other.frequency == 1) return frequency > other.frequency;
    return count * (2 * other.frequency - 1) < other.count * (2 * frequency - 1);
  }
};

// Frequencies that add up, of counts that are not 0.
KDN_HOST_DEVICE inline void BalanceOwn(OwnShare* shares) {
  constexpr auto kSum = static_cast<std::uint32_t>(kRansSlots);
  std::uint64_t total = 0;
  std::uint32_t sum = 0;
  for (unsigned i = 0; i < kOwnSymbols; ++i) total += shares[i].count;
  for (unsigned i = 0; i < kOwnSymbols; ++i) {
    const std::uint64_t rounded = (shares[i].count * kSum + total / 2) / total;
    shares[i].frequency = static_cast<std::uint32_t>(rounded < 1     ? 1
                                                     : rounded > 255 ? 255
                                                                     : rounded);
    sum += shares[i].frequency;
  }
  for (; sum < kSum; ++sum) {
    unsigned best = 0;
    for (unsigned i = 1; i < kOwnSymbols; ++i) {
      if (shares[i].GainsMoreThan(shares[best])) best = i;
    }
    ++shares[best].frequency;
  }
  for (; sum > kSum; --sum) {
    unsigned best = 0;
    for (unsigned i = 1; i < kOwnSymbols; ++i) {
      if (shares[i].LosesLessThan(shares[best])) best = i;
    }
    --shares[best].frequency;
  }
}

// Fills the table of place `number` of a plan, if it is to have one.
template <class Warp>
KDN_HOST_DEVICE void MakeOwnTable(const Warp& warp, const std::byte* plan, std::uint32_t number,
                                  std::byte* workspace) {
  const auto* header = reinterpret_cast<const EncodePlanHeader*>(plan);
  const EncodePlace& place = reinterpret_cast<const EncodePlace*>(plan + header->places)[number];
  if (!place.own) return;
  const auto* strips =
      reinterpret_cast<const EncodeStrip*>(plan + header->strips) + place.first_strip;
  auto* table = reinterpret_cast<LaneEncodeTable*>(workspace + place.table);
  // Each symbol once, whether it occurs or not. The counts wait where the table's numbers go.
  warp.Each([&](unsigned lane) {
    if (lane >= kOwnSymbols) return;
    std::uint32_t count = 1;
    for (std::uint32_t s = 0; s < place.strip_count; ++s) {
      count += reinterpret_cast<const std::uint32_t*>(workspace + strips[s].counts)[lane];
    }
    table->magic[lane] = count;
  });
  warp.Sync();
  warp.Each([&](unsigned lane) {
    if (lane != 0) return;
    OwnShare shares[kOwnSymbols];
    for (unsigned i = 0; i < kOwnSymbols; ++i) shares[i] = {table->magic[i], 0};
    BalanceOwn(shares);
    std::uint32_t cumulative = 0;
    for (unsigned i = 0; i < kOwnSymbols; ++i) {
      const unsigned symbol = kOwnFirstSymbol + i;
      table->magic[symbol] = ~std::uint32_t{0} / shares[i].frequency;
      table->frequency[symbol] = static_cast<std::uint8_t>(shares[i].frequency);
      table->cumulative[symbol] = static_cast<std::uint8_t>(cumulative);
      cumulative += shares[i].frequency;
    }
    // Of symbols up to kOwnBinMax from the middle.
    constexpr std::uint32_t kRanks = 2 * kOwnBinMax + 1;
    table->ends.count = kRanks * kRanks * kRanks * kRanks;
    table->ends.bits = BitWidth(table->ends.count - 1);
  });
}

}  // namespace
}  // namespace kdn::codec

// A warp of 32 lanes in lockstep: on a GPU a real one, on the host a loop over lanes. Code that is
// written over it runs on both, step for step.
//
//   Lanes<T>       one T a lane; element [lane] may be touched by that lane alone
//   Each(f)        f(lane) for all lanes; no lane sees what another writes in the same call
//   Ballot(lanes)  bit l is lane l's element
//   Mirror(lanes)  lane l gets what lane 31 - l has
//   Most, Least    of all lanes' elements, for all lanes
//   SumBefore(lanes)  lane l gets the sum of the lanes before it; returns that of all
//   Sync()         what lanes have written to memory before is seen by all of them after
//
// A .cu file may include this header, so it stays within C++17. Thread-safety: one warp is one
// thread of control.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/host_device.h"
#include "codec/lane/launch_plan.h"

namespace kdn::codec {
namespace {

struct HostWarp {
  // Lanes of one Each() take their turns from the last to the first: what is then different was no
  // lockstep code.
  bool backwards = false;

  template <class T>
  class Lanes {
   public:
    KDN_HOST_DEVICE T& operator[](unsigned lane) { return value_[lane]; }
    KDN_HOST_DEVICE const T& operator[](unsigned lane) const { return value_[lane]; }

   private:
    T value_[kWarpLanes] = {};
  };
  template <class F>
  KDN_HOST_DEVICE void Each(F&& f) const {
    for (unsigned i = 0; i < kWarpLanes; ++i) f(backwards ? kWarpLanes - 1 - i : i);
  }
  KDN_HOST_DEVICE std::uint32_t Ballot(const Lanes<bool>& lanes) const {
    std::uint32_t mask = 0;
    for (unsigned lane = 0; lane < kWarpLanes; ++lane) mask |= std::uint32_t{lanes[lane]} << lane;
    return mask;
  }
  KDN_HOST_DEVICE void Mirror(Lanes<std::uint32_t>& lanes) const {
    for (unsigned lane = 0; lane < kWarpLanes / 2; ++lane) {
      const std::uint32_t value = lanes[lane];
      lanes[lane] = lanes[kWarpLanes - 1 - lane];
      lanes[kWarpLanes - 1 - lane] = value;
    }
  }
  KDN_HOST_DEVICE std::uint32_t Most(const Lanes<std::uint32_t>& lanes) const {
    std::uint32_t most = lanes[0];
    for (unsigned lane = 1; lane < kWarpLanes; ++lane) {
      if (lanes[lane] > most) most = lanes[lane];
    }
    return most;
  }
  KDN_HOST_DEVICE std::uint32_t Least(const Lanes<std::uint32_t>& lanes) const {
    std::uint32_t least = lanes[0];
    for (unsigned lane = 1; lane < kWarpLanes; ++lane) {
      if (lanes[lane] < least) least = lanes[lane];
    }
    return least;
  }
  template <class T>
  KDN_HOST_DEVICE T SumBefore(Lanes<T>& lanes) const {
    T sum = 0;
    for (unsigned lane = 0; lane < kWarpLanes; ++lane) {
      const T mine = lanes[lane];
      lanes[lane] = sum;
      sum += mine;
    }
    return sum;
  }
  KDN_HOST_DEVICE void Sync() const {}
};

#if defined(__CUDACC__)
struct DeviceWarp {
  template <class T>
  class Lanes {
   public:
    KDN_HOST_DEVICE T& operator[](unsigned) { return value_; }
    KDN_HOST_DEVICE const T& operator[](unsigned) const { return value_; }

   private:
    T value_ = {};
  };
  template <class F>
  KDN_HOST_DEVICE void Each([[maybe_unused]] F&& f) const {
#if defined(__CUDA_ARCH__)
    f(threadIdx.x % kWarpLanes);
#endif
  }
  KDN_HOST_DEVICE std::uint32_t Ballot([[maybe_unused]] const Lanes<bool>& lanes) const {
#if defined(__CUDA_ARCH__)
    return __ballot_sync(0xFFFFFFFFU, lanes[0]);
#else
    return 0;
#endif
  }
  KDN_HOST_DEVICE void Mirror([[maybe_unused]] Lanes<std::uint32_t>& lanes) const {
#if defined(__CUDA_ARCH__)
    lanes[0] = __shfl_xor_sync(0xFFFFFFFFU, lanes[0], static_cast<int>(kWarpLanes - 1));
#endif
  }
  [[nodiscard]] KDN_HOST_DEVICE std::uint32_t Most(
      [[maybe_unused]] const Lanes<std::uint32_t>& lanes) const {
#if defined(__CUDA_ARCH__)
    return __reduce_max_sync(0xFFFFFFFFU, lanes[0]);
#else
    return 0;
#endif
  }
  [[nodiscard]] KDN_HOST_DEVICE std::uint32_t Least(
      [[maybe_unused]] const Lanes<std::uint32_t>& lanes) const {
#if defined(__CUDA_ARCH__)
    return __reduce_min_sync(0xFFFFFFFFU, lanes[0]);
#else
    return 0;
#endif
  }
  template <class T>
  KDN_HOST_DEVICE T SumBefore([[maybe_unused]] Lanes<T>& lanes) const {
#if defined(__CUDA_ARCH__)
    const T mine = lanes[0];
    T sum = mine;
    for (unsigned apart = 1; apart < kWarpLanes; apart *= 2) {
      const T before = __shfl_up_sync(0xFFFFFFFFU, sum, apart);
      if (threadIdx.x % kWarpLanes >= apart) sum += before;
    }
    lanes[0] = sum - mine;
    return __shfl_sync(0xFFFFFFFFU, sum, static_cast<int>(kWarpLanes - 1));
#else
    return 0;
#endif
  }
  KDN_HOST_DEVICE void Sync() const {
#if defined(__CUDA_ARCH__)
    __syncwarp();
#endif
  }
};
#endif

KDN_HOST_DEVICE inline std::uint32_t CountBits(std::uint32_t mask) {
#if defined(__CUDA_ARCH__)
  return static_cast<std::uint32_t>(__popc(mask));
#else
  return static_cast<std::uint32_t>(__builtin_popcount(mask));
#endif
}

// Bits up to the highest that is set.
KDN_HOST_DEVICE inline std::uint32_t BitWidth(std::uint32_t x) {
#if defined(__CUDA_ARCH__)
  return 32U - static_cast<std::uint32_t>(__clz(static_cast<int>(x)));
#else
  return x == 0 ? 0U : 32U - static_cast<std::uint32_t>(__builtin_clz(x));
#endif
}

// Lanes before `lane`.
KDN_HOST_DEVICE inline std::uint32_t LanesBelow(unsigned lane) {
  return (std::uint32_t{1} << lane) - 1;
}

// Adds to a number that several lanes of a team add to, in any order.
KDN_HOST_DEVICE inline void AddTo(std::uint32_t* sum, std::uint32_t value) {
#if defined(__CUDA_ARCH__)
  atomicAdd(sum, value);
#else
  *sum += value;
#endif
}

// What a GPU refuses, the host does, too.
KDN_HOST_DEVICE inline void MustBeAligned([[maybe_unused]] const std::byte* at,
                                          [[maybe_unused]] std::size_t alignment) {
#if !defined(__CUDA_ARCH__)
  if (reinterpret_cast<std::uintptr_t>(at) % alignment != 0) __builtin_trap();
#endif
}

// Loads and stores of aligned memory; strict about types on the host, single instructions on a GPU.
template <class T>
KDN_HOST_DEVICE T Load(const std::byte* from) {
#if defined(__CUDA_ARCH__)
  return *reinterpret_cast<const T*>(from);
#else
  MustBeAligned(from, alignof(T));
  T value;
  std::memcpy(&value, from, sizeof(T));
  return value;
#endif
}
template <class T>
KDN_HOST_DEVICE void Store(const T& value, std::byte* to) {
#if defined(__CUDA_ARCH__)
  *reinterpret_cast<T*>(to) = value;
#else
  MustBeAligned(to, alignof(T));
  std::memcpy(to, &value, sizeof(T));
#endif
}

struct alignas(16) Quad {
  std::uint32_t word[4];
};
KDN_HOST_DEVICE inline Quad LoadQuad(const std::byte* from) {
#if defined(__CUDA_ARCH__)
  const uint4 q = *reinterpret_cast<const uint4*>(from);
  return {{q.x, q.y, q.z, q.w}};
#else
  return Load<Quad>(from);
#endif
}
KDN_HOST_DEVICE inline void StoreQuad(const Quad& quad, std::byte* to) {
#if defined(__CUDA_ARCH__)
  *reinterpret_cast<uint4*>(to) =
      make_uint4(quad.word[0], quad.word[1], quad.word[2], quad.word[3]);
#else
  Store(quad, to);
#endif
}

}  // namespace
}  // namespace kdn::codec

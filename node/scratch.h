// Registered memory for what a shard sends beside its arena: object headers and tile entries.
//
// Thread-safety: owned by one shard.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "transport/channel.h"

namespace kdn::node {

class ScratchPool {
 public:
  static constexpr std::size_t kBlockBytes = 16 * 1024;
  static constexpr std::size_t kSlabBlocks = 64;
  static constexpr std::size_t kSlabsMax = 64;

  // `domain` outlives this object.
  explicit ScratchPool(transport::Domain& domain) : domain_(domain) {}
  ~ScratchPool();
  ScratchPool(const ScratchPool&) = delete;
  ScratchPool& operator=(const ScratchPool&) = delete;

  // A copy of `bytes` in registered memory, in runs, until Free(). kResourceExhausted once all
  // slabs are in use.
  [[nodiscard]] Result<std::vector<ConstBytes>> Copy(ConstBytes bytes);
  void Free(const std::vector<ConstBytes>& runs);

 private:
  [[nodiscard]] Status AddSlab();

  transport::Domain& domain_;
  std::vector<std::unique_ptr<std::byte[]>> slabs_;
  std::vector<std::byte*> free_;
};

}  // namespace kdn::node

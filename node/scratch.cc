#include "node/scratch.h"

#include <algorithm>
#include <cstring>

namespace kdn::node {

ScratchPool::~ScratchPool() {
  for (const auto& slab : slabs_) (void)domain_.Unregister(slab.get());
}

Status ScratchPool::AddSlab() {
  if (slabs_.size() >= kSlabsMax) return Status(Code::kResourceExhausted);
  auto slab = std::make_unique_for_overwrite<std::byte[]>(kSlabBlocks * kBlockBytes);
  KDN_RETURN_IF_ERROR(domain_.Register({slab.get(), kSlabBlocks * kBlockBytes}));
  for (std::size_t i = 0; i < kSlabBlocks; ++i) free_.push_back(slab.get() + i * kBlockBytes);
  slabs_.push_back(std::move(slab));
  return {};
}

Result<std::vector<ConstBytes>> ScratchPool::Copy(ConstBytes bytes) {
  const std::size_t block_count = (bytes.size() + kBlockBytes - 1) / kBlockBytes;
  while (free_.size() < block_count) {
    if (Status status = AddSlab(); !status.ok()) return std::unexpected(std::move(status));
  }
  std::vector<ConstBytes> runs;
  runs.reserve(block_count);
  while (!bytes.empty()) {
    const std::size_t size = std::min(bytes.size(), kBlockBytes);
    std::memcpy(free_.back(), bytes.data(), size);
    runs.emplace_back(free_.back(), size);
    free_.pop_back();
    bytes = bytes.subspan(size);
  }
  return runs;
}

void ScratchPool::Free(const std::vector<ConstBytes>& runs) {
  for (const ConstBytes& run : runs) {
    // The block is ours: const only in what Copy() gave out.
    free_.push_back(const_cast<std::byte*>(run.data()));
  }
}

}  // namespace kdn::node

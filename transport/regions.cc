#include "transport/regions.h"

#include <algorithm>
#include <functional>

#include "transport/shm/shared_memory.h"

namespace kdn::transport {

Region::Region(const MemoryRegion& memory) : memory_(memory) {
  if (memory.fd < 0) return;
  const std::size_t blocks = (memory.size_bytes + kPopulateBytes - 1) / kPopulateBytes;
  populated_ = std::make_unique<std::atomic<bool>[]>(blocks);
}

bool Region::Contains(ConstBytes bytes) const {
  const std::byte* end = memory_.address + memory_.size_bytes;
  return !std::less<>()(bytes.data(), memory_.address) &&
         !std::less<>()(end, bytes.data() + bytes.size());
}

bool Region::Pin() {
  if ((uses_.fetch_add(1, std::memory_order_acquire) & kClosed) == 0) return true;
  Unpin();
  return false;
}

void Region::Unpin() {
  const std::uint32_t before = uses_.fetch_sub(1, std::memory_order_release);
  if ((before & kClosed) != 0) uses_.notify_all();
}

void Region::Close() {
  std::uint32_t uses = uses_.fetch_or(kClosed, std::memory_order_acq_rel) | kClosed;
  while (uses != kClosed) {
    uses_.wait(uses, std::memory_order_acquire);
    uses = uses_.load(std::memory_order_acquire);
  }
}

bool Region::IsShared(ConstBytes bytes) const {
  if (memory_.fd < 0) return false;
  if (!any_private_.load(std::memory_order_acquire)) return true;
  const std::lock_guard lock(mutex_);
  return std::none_of(private_.begin(), private_.end(), [&](ConstBytes gone) {
    return std::less<>()(bytes.data(), gone.data() + gone.size()) &&
           std::less<>()(gone.data(), bytes.data() + bytes.size());
  });
}

bool Region::MakePrivate(MutableBytes bytes) {
  if (!shm::MakePagesPrivate(bytes)) return false;
  const std::lock_guard lock(mutex_);
  private_.push_back(shm::PagesOf(bytes));
  any_private_.store(true, std::memory_order_release);
  return true;
}

void Region::Populate(ConstBytes bytes) {
  if (populated_ == nullptr || bytes.empty()) return;
  const auto begin = static_cast<std::size_t>(bytes.data() - memory_.address);
  const std::size_t last = (begin + bytes.size() - 1) / kPopulateBytes;
  for (std::size_t block = begin / kPopulateBytes; block <= last; ++block) {
    if (populated_[block].exchange(true, std::memory_order_relaxed)) continue;
    const std::size_t at = block * kPopulateBytes;
    shm::Populate({memory_.address + at, std::min(kPopulateBytes, memory_.size_bytes - at)});
  }
}

Status RegionTable::Register(const MemoryRegion& region) {
  if (region.kind != MemoryKind::kHost) {
    return Status(Code::kUnimplemented, "this transport moves host memory only");
  }
  if (region.address == nullptr || region.size_bytes == 0) {
    return Status(Code::kInvalidArgument, "an empty region cannot be registered");
  }
  const std::lock_guard lock(mutex_);
  const std::byte* end = region.address + region.size_bytes;
  for (const auto& other : regions_) {
    const MemoryRegion& memory = other->memory();
    if (std::less<>()(memory.address, end) &&
        std::less<>()(region.address, memory.address + memory.size_bytes)) {
      return Status(Code::kAlreadyExists, "the region overlaps one that is registered");
    }
  }
  regions_.push_back(std::make_shared<Region>(region));
  version_.fetch_add(1, std::memory_order_release);
  return Status();
}

Status RegionTable::Unregister(const std::byte* address) {
  std::shared_ptr<Region> region;
  {
    const std::lock_guard lock(mutex_);
    const auto it = std::find_if(regions_.begin(), regions_.end(), [&](const auto& candidate) {
      return candidate->memory().address == address;
    });
    if (it == regions_.end()) return Status(Code::kNotFound);
    region = *it;
    regions_.erase(it);
    version_.fetch_add(1, std::memory_order_release);
  }
  region->Close();
  return Status();
}

std::vector<std::shared_ptr<Region>> RegionTable::Shareable(std::size_t count_max) const {
  std::vector<std::shared_ptr<Region>> found;
  const std::lock_guard lock(mutex_);
  for (const auto& region : regions_) {
    if (region->memory().fd >= 0 && found.size() < count_max) found.push_back(region);
  }
  return found;
}

Status RegionView::Pin(ConstBytes bytes, std::vector<Region*>& pins) {
  if (!pins.empty() && pins.back()->Contains(bytes)) return Status();
  if (version_ != table_.version_.load(std::memory_order_acquire)) {
    const std::lock_guard lock(table_.mutex_);
    for (const auto& region : regions_) {
      const auto& now = table_.regions_;
      if (std::find(now.begin(), now.end(), region) == now.end()) retired_.push_back(region);
    }
    // A retired region that is closed and shared with nobody else has no calls left.
    std::erase_if(retired_, [](const auto& region) { return region.use_count() == 1; });
    regions_ = table_.regions_;
    version_ = table_.version_.load(std::memory_order_acquire);
  }
  for (const auto& region : regions_) {
    if (region->Contains(bytes) && region->Pin()) {
      pins.push_back(region.get());
      return Status();
    }
  }
  return Status(Code::kFailedPrecondition, "bulk memory is not registered");
}

void UnpinAll(std::vector<Region*>& pins) {
  for (Region* region : pins) region->Unpin();
  pins.clear();
}

}  // namespace kdn::transport

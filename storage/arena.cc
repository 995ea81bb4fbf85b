#include "storage/arena.h"

#include <sys/mman.h>

#include <cassert>
#include <cerrno>
#include <string>

namespace kdn::storage {
namespace {

constexpr std::size_t kHugePageBytes = 2 * 1024 * 1024;
// Of Runs::kLong: pages of a run on average, and the part of the arena that may lie idle for them.
constexpr std::uint32_t kLongRunPages = 8;
constexpr std::uint32_t kIdleShare = 32;

// Touched now, so that no page fault falls into a transfer, and a machine without the memory says
// so at start.
bool Touch(void* address, std::size_t size_bytes) {
#ifdef MADV_POPULATE_WRITE
  if (::madvise(address, size_bytes, MADV_POPULATE_WRITE) == 0) return true;
  if (errno != EINVAL) return false;  // EINVAL: a kernel before 5.14
#endif
  for (std::size_t at = 0; at < size_bytes; at += 4096) {
    static_cast<volatile std::byte*>(address)[at] = std::byte{0};
  }
  return true;
}

}  // namespace

Result<std::unique_ptr<Arena>> Arena::Map(std::size_t size_bytes) {
  size_bytes -= size_bytes % kPageBytes;
  if (size_bytes == 0) {
    return Error(Code::kInvalidArgument, "the DRAM tier needs at least 64 KiB");
  }
  if (size_bytes / kPageBytes >= 0xFFFFFFFF) {
    return Error(Code::kInvalidArgument, "the DRAM tier is limited to 256 TiB");
  }
  // Mapped with room to begin at a huge page's border; the ends are given back.
  const std::size_t mapped_bytes = size_bytes + kHugePageBytes;
  void* const mapped = ::mmap(nullptr, mapped_bytes, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED) {
    return Error(Code::kResourceExhausted,
                 "cannot map the DRAM tier of " + std::to_string(size_bytes >> 20) + " MiB");
  }
  auto* const begin = static_cast<std::byte*>(mapped);
  const std::size_t skipped =
      (kHugePageBytes - reinterpret_cast<std::uintptr_t>(begin) % kHugePageBytes) % kHugePageBytes;
  if (skipped > 0) ::munmap(begin, skipped);
  ::munmap(begin + skipped + size_bytes, mapped_bytes - skipped - size_bytes);
  std::byte* const base = begin + skipped;
  ::madvise(base, size_bytes, MADV_HUGEPAGE);  // a wish: without huge pages it is slower only
  if (!Touch(base, size_bytes)) {
    ::munmap(base, size_bytes);
    return Error(Code::kResourceExhausted, "not enough memory for the DRAM tier of " +
                                               std::to_string(size_bytes >> 20) + " MiB");
  }
  return std::unique_ptr<Arena>(new Arena(MutableBytes(base, size_bytes)));
}

Arena::Arena(MutableBytes memory)
    : memory_(memory),
      pages_(static_cast<std::uint32_t>(memory.size() / kPageBytes)),
      tails_(pages_) {}

Arena::~Arena() {
  ::munmap(memory_.data(), memory_.size());
}

MutableBytes Arena::BytesOf(PageRun run) const {
  return memory_.subspan(std::size_t{run.first} * kPageBytes, std::size_t{run.count} * kPageBytes);
}

bool Arena::Contents(Runs wanted, std::uint32_t page_count) const {
  const std::size_t runs_max = (page_count + kLongRunPages - 1) / kLongRunPages;
  return wanted == Runs::kAny || taken_.size() <= runs_max ||
         pages_.free_count() >= pages_.page_count() / kIdleShare;
}

bool Arena::Allocate(std::size_t size_bytes, std::vector<MutableBytes>& runs, Runs wanted) {
  assert(size_bytes > 0);
  if (size_bytes > memory_.size()) return false;
  std::size_t units = (size_bytes + kUnitBytes - 1) / kUnitBytes;
  const auto page_count = static_cast<std::uint32_t>(units / kUnitsPerPage);
  units %= kUnitsPerPage;
  taken_.clear();
  if (page_count > 0 && !pages_.Allocate(page_count, taken_)) return false;
  if (!Contents(wanted, page_count)) {
    for (const PageRun run : taken_) pages_.Free(run);
    return false;
  }
  const std::size_t runs_before = runs.size();
  for (const PageRun run : taken_) runs.push_back(BytesOf(run));
  if (units == 0) return true;
  const auto tail = tails_.Allocate(static_cast<std::uint32_t>(units));
  if (!tail) {
    for (const PageRun run : taken_) pages_.Free(run);
    runs.resize(runs_before);
    return false;
  }
  runs.push_back(memory_.subspan(tail->page * kPageBytes + tail->first * kUnitBytes,
                                 tail->count * kUnitBytes));
  return true;
}

void Arena::FreeRun(MutableBytes run) {
  if (run.empty()) return;
  const auto offset = static_cast<std::size_t>(run.data() - memory_.data());
  const auto page = static_cast<std::uint32_t>(offset / kPageBytes);
  // Whole pages are pages of the object's own; anything less is a share.
  if (run.size() % kPageBytes == 0) {
    pages_.Free({page, static_cast<std::uint32_t>(run.size() / kPageBytes)});
  } else {
    tails_.Free({page, static_cast<std::uint32_t>(offset % kPageBytes / kUnitBytes),
                 static_cast<std::uint32_t>(run.size() / kUnitBytes)});
  }
}

void Arena::Free(std::span<const MutableBytes> runs) {
  for (const MutableBytes run : runs) FreeRun(run);
}

void Arena::Trim(std::vector<MutableBytes>& runs, std::size_t size_bytes) {
  assert(size_bytes > 0);
  for (std::size_t i = 0; i < runs.size(); ++i) {
    if (size_bytes == 0) {
      Free(std::span(runs).subspan(i));
      runs.resize(i);
      return;
    }
    const std::size_t granule = runs[i].size() % kPageBytes == 0 ? kPageBytes : kUnitBytes;
    const std::size_t kept =
        std::min(runs[i].size(), (size_bytes + granule - 1) / granule * granule);
    FreeRun(runs[i].subspan(kept));
    runs[i] = runs[i].first(kept);
    size_bytes -= std::min(size_bytes, kept);
  }
}

std::size_t Arena::bytes_used() const {
  return memory_.size() - std::size_t{pages_.free_count()} * kPageBytes -
         tails_.idle_count() * kUnitBytes;
}

}  // namespace kdn::storage

#include "client/core/bulk_memory.h"

#include <sys/mman.h>

namespace kdn::client {
namespace {

class PrivateMemory final : public BulkMemory {
 public:
  explicit PrivateMemory(MutableBytes bytes) : bytes_(bytes) {}
  PrivateMemory(const PrivateMemory&) = delete;
  PrivateMemory& operator=(const PrivateMemory&) = delete;
  ~PrivateMemory() override { munmap(bytes_.data(), bytes_.size()); }
  [[nodiscard]] MutableBytes bytes() const override { return bytes_; }

 private:
  MutableBytes bytes_;
};

}  // namespace

Result<std::unique_ptr<BulkMemory>> MapPrivateMemory(std::size_t size_bytes) {
  void* address = mmap(nullptr, size_bytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (address == MAP_FAILED) {
    return Error(Code::kResourceExhausted, "no memory for the client's staging pool");
  }
  madvise(address, size_bytes, MADV_HUGEPAGE);
  return std::make_unique<PrivateMemory>(
      MutableBytes(static_cast<std::byte*>(address), size_bytes));
}

}  // namespace kdn::client

// Memory that another process of this host can be let into: pages behind a descriptor, whose number
// is sealed, so that whoever maps them never finds them gone.
//
// Thread-safety: not safe; caller synchronises. The bytes are the owner's business.
#pragma once

#include <cstddef>

#include "base/bytes.h"
#include "base/result.h"
#include "transport/channel.h"
#include "transport/wakeup.h"

namespace kdn::transport::shm {

inline constexpr std::size_t kPageBytes = 4096;

// A mapping of all of a descriptor's pages, which it undoes at its end.
class Mapping {
 public:
  Mapping() = default;
  Mapping(Mapping&& other) noexcept;
  Mapping& operator=(Mapping&& other) noexcept;
  ~Mapping();

  // For reading and writing, shared; in huge pages where the system has them. `size_bytes`: a
  // multiple of kPageBytes. kResourceExhausted if it cannot be had.
  static Result<Mapping> Of(int fd, std::size_t size_bytes);

  [[nodiscard]] MutableBytes bytes() const { return bytes_; }

 private:
  explicit Mapping(MutableBytes bytes) : bytes_(bytes) {}
  MutableBytes bytes_;
};

class SharedMemory {
 public:
  // `size_bytes`, rounded up to pages, of zeros that take no memory before they are touched.
  // kResourceExhausted if they cannot be had, kUnimplemented if this system has no such memory.
  static Result<SharedMemory> Make(std::size_t size_bytes);

  [[nodiscard]] MutableBytes bytes() const { return mapping_.bytes(); }
  [[nodiscard]] int fd() const { return fd_.get(); }
  // To be registered with a domain. The memory outlives its registration.
  [[nodiscard]] MemoryRegion region() const;

 private:
  SharedMemory(Fd fd, Mapping mapping);
  Fd fd_;
  Mapping mapping_;
};

// Whether a peer's descriptor can be mapped without harm: memory of the system's own, of at least
// `size_bytes`, whose pages can be neither taken away nor run out. kInvalidArgument with the
// reason.
[[nodiscard]] Status CheckShareable(int fd, std::size_t size_bytes);

// Puts private pages with the same contents in the place of the pages that hold `bytes`, at once
// for all threads of this process: who has the old ones mapped writes to what is not seen here any
// more. Requires: nobody here writes to them meanwhile. False, and nothing has changed, if there is
// no memory.
[[nodiscard]] bool MakePagesPrivate(MutableBytes bytes);

// Has memory behind the pages of `bytes`, as far as there is any, without changing a byte.
void Populate(MutableBytes bytes);

// `bytes` and the rest of the pages in which they begin and end.
[[nodiscard]] MutableBytes PagesOf(MutableBytes bytes);

}  // namespace kdn::transport::shm

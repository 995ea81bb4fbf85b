// Reading past the page cache by the kernel's own asynchronous I/O: no library, no threads, and it
// is allowed where io_uring is not.
#include <linux/aio_abi.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>

#include "storage/rocks/blob_place.h"

namespace kdn::storage::rocks {
namespace {

constexpr std::uint64_t kSectorBytes = 4096;  // a multiple of every disk's
constexpr std::size_t kPieceBytes = 256 * 1024;
constexpr std::size_t kPiecesMax = 8;

}  // namespace

// One round of pieces that are under way together.
struct DirectReader::Pieces {
  int fd = -1;
  std::uint64_t begin = 0;  // in the file
  MutableBytes memory;
  std::array<iocb, kPiecesMax> requests{};
  std::array<std::int64_t, kPiecesMax> got{};  // bytes, or -errno
  std::array<bool, kPiecesMax> ended{};
  std::size_t count = 0;
  std::size_t under_way = 0;

  [[nodiscard]] MutableBytes Of(std::size_t piece) const {
    const std::size_t at = piece * kPieceBytes;
    return memory.subspan(at, std::min(kPieceBytes, memory.size() - at));
  }
};

DirectReader::DirectReader() {
  aio_context_t queue = 0;
  if (::syscall(SYS_io_setup, kPiecesMax, &queue) == 0) queue_ = queue;
}

DirectReader::~DirectReader() {
  if (queue_ != 0) ::syscall(SYS_io_destroy, aio_context_t{queue_});
  std::free(memory_.data());
}

MutableBytes DirectReader::Memory(std::size_t size_bytes) {
  if (memory_.size() < size_bytes) {
    std::free(memory_.data());
    memory_ = {};
    void* const fresh = std::aligned_alloc(kSectorBytes, size_bytes);
    if (fresh == nullptr) return {};
    memory_ = MutableBytes(static_cast<std::byte*>(fresh), size_bytes);
  }
  return memory_.first(size_bytes);
}

bool DirectReader::Start(Pieces& pieces) {
  pieces.count = (pieces.memory.size() + kPieceBytes - 1) / kPieceBytes;
  std::array<iocb*, kPiecesMax> pointers{};
  for (std::size_t i = 0; i < pieces.count; ++i) {
    const MutableBytes memory = pieces.Of(i);
    iocb& request = pieces.requests[i];
    request.aio_data = i;
    request.aio_lio_opcode = IOCB_CMD_PREAD;
    request.aio_fildes = static_cast<std::uint32_t>(pieces.fd);
    request.aio_buf = reinterpret_cast<std::uintptr_t>(memory.data());
    request.aio_nbytes = memory.size();
    request.aio_offset = static_cast<std::int64_t>(pieces.begin + i * kPieceBytes);
    pointers[i] = &request;
  }
  while (pieces.under_way < pieces.count) {
    const long submitted = ::syscall(SYS_io_submit, aio_context_t{queue_},
                                     pieces.count - pieces.under_way, &pointers[pieces.under_way]);
    if (submitted < 0 && errno == EINTR) continue;
    if (submitted <= 0) return false;
    pieces.under_way += static_cast<std::size_t>(submitted);
  }
  return true;
}

bool DirectReader::WaitOne(Pieces& pieces) {
  std::array<io_event, kPiecesMax> events{};
  long count = 0;
  do {
    count = ::syscall(SYS_io_getevents, aio_context_t{queue_}, 1L, long{kPiecesMax}, events.data(),
                      nullptr);
  } while (count < 0 && errno == EINTR);
  for (long i = 0; i < count; ++i) {
    const io_event& event = events[static_cast<std::size_t>(i)];
    pieces.got[event.data] = event.res;
    pieces.ended[event.data] = true;
    --pieces.under_way;
  }
  return count > 0;
}

// The disk writes into our memory until then.
void DirectReader::WaitAll(Pieces& pieces) {
  while (pieces.under_way > 0 && WaitOne(pieces)) {
  }
}

bool DirectReader::Read(int fd, std::uint64_t offset, std::size_t size_bytes, const Take& take) {
  if (queue_ == 0) return false;
  const std::uint64_t end = offset + size_bytes;
  while (offset < end) {
    Pieces pieces;
    pieces.fd = fd;
    pieces.begin = offset / kSectorBytes * kSectorBytes;
    const std::uint64_t sectors = (end - pieces.begin + kSectorBytes - 1) / kSectorBytes;
    pieces.memory = Memory(std::min<std::size_t>(sectors * kSectorBytes, kPiecesMax * kPieceBytes));
    if (pieces.memory.empty()) return false;
    bool whole = Start(pieces);
    for (std::size_t i = 0; i < pieces.count && whole; ++i) {
      while (!pieces.ended[i] && whole) whole = WaitOne(pieces);
      if (!whole || pieces.got[i] < 0) break;
      const std::uint64_t at = pieces.begin + i * kPieceBytes;
      const std::uint64_t got_end = at + static_cast<std::uint64_t>(pieces.got[i]);
      const std::uint64_t wanted_end = std::min<std::uint64_t>(end, at + pieces.Of(i).size());
      if (got_end < wanted_end) break;  // the file's end
      take(pieces.Of(i).subspan(offset - at, wanted_end - offset));
      offset = wanted_end;
    }
    WaitAll(pieces);
    if (offset < std::min<std::uint64_t>(end, pieces.begin + pieces.memory.size())) return false;
  }
  return true;
}

}  // namespace kdn::storage::rocks

// Where RocksDB keeps a value, so that it is read from there past RocksDB: that reads a value into
// fresh memory and copies it into more of it, which costs more than the reading. What is in the
// page cache comes from there; what is not is read past the cache, which has no use for it: the
// DRAM tier keeps what was read.
//
// A get inside a LocateBlobs() file system comes to where it would read a blob, finds that it is
// only to be located, and fails with a status of ours; by then the place is noted.
//
// Thread-safety: a locator belongs to one thread, a place and a buffer to one at a time; the rest
// is safe.
#pragma once

#include <rocksdb/file_system.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "base/bytes.h"
#include "base/status.h"

namespace kdn::storage::rocks {

// Values from this size on may lie in blob files, and are located.
inline constexpr std::uint64_t kBlobBytesMin = 4 * 1024;

// What reading past the page cache takes: memory for whole sectors, which grows to the largest read
// and is kept, and a queue by which pieces of one read are under way together.
class DirectReader {
 public:
  DirectReader();
  ~DirectReader();
  DirectReader(const DirectReader&) = delete;
  DirectReader& operator=(const DirectReader&) = delete;

  // Reads bytes [offset, offset + size_bytes) of the file; `take` is called with the bytes front to
  // back, piece by piece, as they arrive. False, after some of it perhaps, if the file cannot be
  // read so, for whatever reason. Requires: the descriptor has O_DIRECT.
  using Take = std::function<void(ConstBytes)>;
  [[nodiscard]] bool Read(int fd, std::uint64_t offset, std::size_t size_bytes, const Take& take);

 private:
  struct Pieces;
  [[nodiscard]] MutableBytes Memory(std::size_t size_bytes);
  [[nodiscard]] bool Start(Pieces& pieces);
  [[nodiscard]] bool WaitOne(Pieces& pieces);
  void WaitAll(Pieces& pieces);

  MutableBytes memory_;
  std::uint64_t queue_ = 0;  // 0: the kernel gave none
};

class BlobPlace {
 public:
  // Opens the file. Without a descriptor, Read() gives kUnavailable.
  BlobPlace(const std::string& path, std::uint64_t offset, std::uint64_t size_bytes);
  ~BlobPlace();
  BlobPlace(BlobPlace&& other) noexcept
      : fd_(std::exchange(other.fd_, -1)), offset_(other.offset_), size_bytes_(other.size_bytes_) {}
  BlobPlace& operator=(BlobPlace&& other) noexcept {
    std::swap(fd_, other.fd_);
    offset_ = other.offset_;
    size_bytes_ = other.size_bytes_;
    return *this;
  }

  [[nodiscard]] std::uint64_t size_bytes() const { return size_bytes_; }
  // Fills `out` with the value's bytes from `skipped` on. The file may have been deleted since it
  // was located. kUnavailable if the disk does not give them, kDataLoss if the file ends before.
  // Requires: the value has as many.
  [[nodiscard]] Status Read(std::uint64_t skipped, std::span<const MutableBytes> out,
                            DirectReader& direct) const;

 private:
  int fd_;
  std::uint64_t offset_;
  std::uint64_t size_bytes_;
};

// While one lives, gets of its thread locate blobs instead of reading them.
class BlobLocator {
 public:
  BlobLocator();
  ~BlobLocator();
  BlobLocator(const BlobLocator&) = delete;
  BlobLocator& operator=(const BlobLocator&) = delete;

  // Of the blob that the last get has come to; nullopt if it came to none.
  [[nodiscard]] std::optional<BlobPlace> Take() { return std::exchange(place_, std::nullopt); }

 private:
  friend class LocatedFile;
  std::optional<BlobPlace> place_;
};

// `base` with blob files that can be located.
[[nodiscard]] std::shared_ptr<rocksdb::FileSystem> LocateBlobs(
    std::shared_ptr<rocksdb::FileSystem> base);

}  // namespace kdn::storage::rocks

// A backup of a coordinator's hard state: a file that names its cluster and reign, then every
// record of the metastore, in blocks that are checked one by one, so that it can be written and
// read without being held in memory. Knows nothing of what the records mean. The layout is in
// docs/protocol.md.
//
// Thread-safety: not safe; caller synchronises.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/result.h"

namespace kdn::backup {

inline constexpr std::uint16_t kVersion = 1;

struct Header {
  ClusterId cluster;
  Epoch epoch{};                // of the coordinator that wrote it
  std::uint64_t written_s = 0;  // seconds since 1970

  friend bool operator==(const Header&, const Header&) = default;
};

class Writer {
 public:
  // Takes the file's bytes, in order, at most some MiB at a time.
  using Sink = std::function<Status(ConstBytes)>;

  Writer(const Header& header, Sink sink);

  // Requires: all keys differ. kOutOfRange for a record of more than 62 MiB; else errors are the
  // sink's. After one the file is worth nothing.
  Status Add(std::string_view key, std::string_view value);
  // Makes the file whole. To be called once, last.
  Status Finish();

 private:
  Status EndBlock();

  Sink sink_;
  std::vector<std::byte> header_;  // until the first block ends; then its checksum alone
  Checksum header_checksum_;
  std::vector<std::byte> records_;  // of the block that is being filled
  std::uint32_t count_ = 0;
  std::uint64_t block_ = 0;
  std::uint64_t total_ = 0;
};

struct Contents {
  Header header;
  std::uint64_t records = 0;
};

// Fills `into` from where the last call ended; kOutOfRange if the file has fewer bytes left.
using Source = std::function<Status(MutableBytes into)>;
using Visitor = std::function<Status(std::string_view key, std::string_view value)>;

// Reads a whole file and hands over its records, each once it is known to be what was written; what
// follows the file's end is not read. kDataLoss if it is damaged or cut short, kUnimplemented if a
// newer build wrote it, kInvalidArgument if it is no backup; errors of `visit` are returned. An
// empty `visit` only checks.
[[nodiscard]] Result<Contents> Read(const Source& source, const Visitor& visit);

}  // namespace kdn::backup

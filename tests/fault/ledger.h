// What must be so, in a file that only grows: each put before it begins, and after it what it was
// acknowledged as. Whoever writes it and whoever holds the cluster to it are different processes.
//
//   begin 1000     document 1000 may be there from now on
//   disk 1000      it was acknowledged, and is on a disk: it may not be lost
//   memory 1000    it was acknowledged: it may go with the node that has it
//   drop 1000      it may be gone from now on
//   wrong 1000     a get of it delivered wrong bytes
//
// Thread-safety: not safe; caller synchronises.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "base/result.h"

namespace kdn::fault {

// What is expected of a document: the last that the ledger says of it.
enum class Expected : std::uint8_t { kAnything, kMemory, kDisk, kDropped, kWrong };

class Ledger {
 public:
  // For appending; the file is made if it is missing.
  static Result<Ledger> Open(const std::string& path);
  Ledger(Ledger&& other) noexcept;
  Ledger& operator=(Ledger&&) = delete;
  ~Ledger();

  // One line, written whole before this returns.
  Status Append(Expected expected, std::uint64_t document);

 private:
  explicit Ledger(int fd) : fd_(fd) {}
  int fd_;
};

// All lines so far, by document; a last line without its end is left out.
[[nodiscard]] Result<std::map<std::uint64_t, Expected>> ReadLedger(const std::string& path);

}  // namespace kdn::fault

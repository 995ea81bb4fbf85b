#include "tests/fault/ledger.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <sstream>
#include <string_view>
#include <utility>

namespace kdn::fault {
namespace {

// By Expected.
constexpr std::array<std::string_view, 5> kWords = {"begin", "memory", "disk", "drop", "wrong"};

}  // namespace

Result<Ledger> Ledger::Open(const std::string& path) {
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (fd < 0) return Error(Code::kInternal, "cannot open " + path);
  return Ledger(fd);
}

Ledger::Ledger(Ledger&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

Ledger::~Ledger() {
  if (fd_ >= 0) close(fd_);
}

Status Ledger::Append(Expected expected, std::uint64_t document) {
  const std::string line = std::string(kWords[static_cast<std::size_t>(expected)]) + " " +
                           std::to_string(document) + "\n";
  const bool written = write(fd_, line.data(), line.size()) == static_cast<ssize_t>(line.size());
  return written ? Status() : Status(Code::kInternal, "cannot write the ledger");
}

Result<std::map<std::uint64_t, Expected>> ReadLedger(const std::string& path) {
  std::ifstream file(path);
  if (!file) return Error(Code::kNotFound, "no ledger at " + path);
  std::map<std::uint64_t, Expected> documents;
  for (std::string line; std::getline(file, line) && !file.eof();) {
    std::istringstream words(line);
    std::string word;
    std::uint64_t document = 0;
    words >> word >> document;
    const auto known = std::ranges::find(kWords, word);
    if (known == kWords.end() || words.fail()) {
      return Error(Code::kDataLoss, "the ledger has the line '" + line + "'");
    }
    const auto expected = static_cast<Expected>(known - kWords.begin());
    Expected& entry = documents[document];
    // Told again without more of a promise: what was promised stands.
    if (expected != Expected::kAnything &&
        !(expected == Expected::kMemory && entry == Expected::kDisk)) {
      entry = expected;
    }
  }
  return documents;
}

}  // namespace kdn::fault

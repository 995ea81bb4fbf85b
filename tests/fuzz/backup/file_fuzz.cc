// A backup from bytes that anyone may have written: refused, or its records come back out of a
// backup that is made of them. Tried as it is and with numbers and checksums put right, or no
// mutation would come past them.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "proto/backup/backup.h"
#include "proto/object/checksum.h"

namespace {

using kdn::ConstBytes;
using Records = std::vector<std::pair<std::string, std::string>>;

constexpr std::size_t kHeaderBytes = 64;
constexpr std::size_t kBlockHeadBytes = 32;

kdn::Result<kdn::backup::Contents> ReadFrom(ConstBytes file, Records& records) {
  return kdn::backup::Read(
      [&file](kdn::MutableBytes into) {
        if (file.size() < into.size()) return kdn::Status(kdn::Code::kOutOfRange);
        std::copy_n(file.begin(), into.size(), into.begin());
        file = file.subspan(into.size());
        return kdn::Status();
      },
      [&records](std::string_view key, std::string_view value) {
        records.emplace_back(key, value);
        return kdn::Status();
      });
}

void Check(ConstBytes file) {
  Records records;
  const auto contents = ReadFrom(file, records);
  if (!contents) {
    const kdn::Code code = contents.error().code();
    if (code != kdn::Code::kDataLoss && code != kdn::Code::kUnimplemented &&
        code != kdn::Code::kInvalidArgument) {
      std::abort();
    }
    return;
  }
  if (contents->records != records.size()) std::abort();
  std::vector<std::byte> again;
  kdn::backup::Writer writer(contents->header, [&again](ConstBytes bytes) {
    again.insert(again.end(), bytes.begin(), bytes.end());
    return kdn::Status();
  });
  for (const auto& [key, value] : records) {
    if (!writer.Add(key, value).ok()) std::abort();
  }
  if (!writer.Finish().ok()) std::abort();
  Records read;
  const auto twice = ReadFrom(again, read);
  if (!twice || twice->header != contents->header || read != records) std::abort();
}

void PutChecksum(ConstBytes of, std::span<std::byte> at) {
  const kdn::Checksum sum = kdn::ChecksumOf(of);
  std::copy(sum.bytes.begin(), sum.bytes.end(), at.begin());
}

// Numbers and checksums as a writer would have set them; sizes and records stay.
std::vector<std::byte> Repaired(ConstBytes bytes) {
  std::vector<std::byte> file(bytes.begin(), bytes.end());
  const std::span<std::byte> all(file);
  PutChecksum(all.first(kHeaderBytes - 16), all.subspan(kHeaderBytes - 16, 16));
  std::size_t at = kHeaderBytes;
  for (std::uint64_t number = 0; file.size() - at >= kBlockHeadBytes; ++number) {
    for (std::size_t i = 0; i < 8; ++i) file[at + i] = static_cast<std::byte>(number >> (8 * i));
    std::size_t size = 0;
    for (std::size_t i = 0; i < 4; ++i) {
      size |= static_cast<std::size_t>(file[at + 12 + i]) << (8 * i);
    }
    if (size > file.size() - at - kBlockHeadBytes) break;
    std::vector<std::byte> covered(file.begin() + kHeaderBytes - 16, file.begin() + kHeaderBytes);
    const auto head = all.subspan(at, 16);
    const auto records = all.subspan(at + kBlockHeadBytes, size);
    covered.insert(covered.end(), head.begin(), head.end());
    covered.insert(covered.end(), records.begin(), records.end());
    PutChecksum(covered, all.subspan(at + 16, 16));
    at += kBlockHeadBytes + size;
  }
  return file;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const ConstBytes bytes = std::as_bytes(std::span(data, size));
  Check(bytes);
  if (size >= kHeaderBytes) Check(Repaired(bytes));
  return 0;
}

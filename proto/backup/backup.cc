#include "proto/backup/backup.h"

#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include "proto/object/checksum.h"

namespace kdn::backup {
namespace {

constexpr std::string_view kMagic = "KDNBKUP\n";
constexpr std::size_t kHeaderBytes = 64;
constexpr std::size_t kBlockHeadBytes = 32;
constexpr std::size_t kBlockBytesTarget = 1U << 20;
constexpr std::size_t kBlockBytesMax = 64U << 20;
// With what may be in the block already, and its lengths.
constexpr std::size_t kRecordBytesMax = kBlockBytesMax - kBlockBytesTarget - 8;

Status Damaged(std::string_view what) {
  return Status(Code::kDataLoss, "the backup is damaged: " + std::string(what));
}

// Bound to the file's header, so that a block of another backup is none of this one.
Checksum ChecksumOfBlock(const Checksum& header, ConstBytes head, ConstBytes records) {
  std::vector<std::byte> bytes;
  bytes.reserve(Checksum::kSize + head.size() + records.size());
  ByteWriter out(bytes);
  out.Id(header);
  out.Bytes(head);
  out.Bytes(records);
  return ChecksumOf(bytes);
}

// A read beyond the end says that the file was cut.
Status Fill(const Source& source, MutableBytes into) {
  Status status = source(into);
  if (status.code() == Code::kOutOfRange) return Damaged("it ends early");
  return status;
}

// Takes memory only as bytes are there to fill it: a size that is claimed costs nothing.
Status FillSome(const Source& source, std::size_t size, std::vector<std::byte>& into) {
  into.clear();
  while (into.size() < size) {
    const std::size_t had = into.size();
    into.resize(std::min(size, had + kBlockBytesTarget));
    KDN_RETURN_IF_ERROR(Fill(source, MutableBytes(into).subspan(had)));
  }
  return {};
}

Result<Header> ReadHeader(const Source& source, Checksum& checksum) {
  std::vector<std::byte> bytes(kHeaderBytes);
  Status status = source(bytes);
  if (!status.ok() && status.code() != Code::kOutOfRange) return std::unexpected(status);
  if (!status.ok() || AsText(ConstBytes(bytes).first(kMagic.size())) != kMagic) {
    return Error(Code::kInvalidArgument, "this is no backup of a coordinator");
  }
  ByteReader in(ConstBytes(bytes).subspan(kMagic.size()));
  const auto version = in.Integer<std::uint16_t>();
  in.Zeros(2);
  Header header;
  header.epoch = in.Integer<Epoch>();
  header.cluster = in.OpaqueId<ClusterId>();
  header.written_s = in.Integer<std::uint64_t>();
  in.Zeros(8);
  checksum = in.OpaqueId<Checksum>();
  const auto covered = ConstBytes(bytes).first(kHeaderBytes - Checksum::kSize);
  if (ChecksumOf(covered) != checksum) return std::unexpected(Damaged("its header"));
  if (version != kVersion) {
    return Error(Code::kUnimplemented, "the backup is of version " + std::to_string(version) +
                                           ", not " + std::to_string(kVersion));
  }
  if (!in.AtEnd()) return std::unexpected(Damaged("its header"));
  return header;
}

}  // namespace

// magic (8) ‖ version (2) ‖ 0 (2) ‖ epoch (4) ‖ cluster (16) ‖ written (8) ‖ 0 (8) ‖ checksum of
// all before (16)
Writer::Writer(const Header& header, Sink sink) : sink_(std::move(sink)) {
  ByteWriter out(header_);
  out.Bytes(AsBytes(kMagic));
  out.Integer(kVersion);
  out.Zeros(2);
  out.Integer(header.epoch);
  out.Id(header.cluster);
  out.Integer(header.written_s);
  out.Zeros(8);
  header_checksum_ = ChecksumOf(header_);
  out.Id(header_checksum_);
}

Status Writer::Add(std::string_view key, std::string_view value) {
  if (key.size() + value.size() > kRecordBytesMax) {
    return Status(Code::kOutOfRange, "a record of " + std::to_string(key.size() + value.size()) +
                                         " bytes is too large for a backup");
  }
  ByteWriter out(records_);
  out.Sized(AsBytes(key));
  out.Sized(AsBytes(value));
  ++count_;
  ++total_;
  return records_.size() < kBlockBytesTarget ? Status() : EndBlock();
}

// number (8) ‖ record count (4) ‖ size (4) ‖ checksum (16) ‖ records, each key and value after its
// length (4)
Status Writer::EndBlock() {
  if (!header_.empty()) KDN_RETURN_IF_ERROR(sink_(std::exchange(header_, {})));
  std::vector<std::byte> block;
  block.reserve(kBlockHeadBytes + records_.size());
  ByteWriter out(block);
  out.Integer(block_++);
  out.Integer(count_);
  out.Integer(static_cast<std::uint32_t>(records_.size()));
  out.Id(ChecksumOfBlock(header_checksum_, block, records_));
  out.Bytes(records_);
  records_.clear();
  count_ = 0;
  return sink_(block);
}

// The last block has no records, and how many there were.
Status Writer::Finish() {
  if (count_ > 0) KDN_RETURN_IF_ERROR(EndBlock());
  ByteWriter(records_).Integer(total_);
  return EndBlock();
}

Result<Contents> Read(const Source& source, const Visitor& visit) {
  Contents contents;
  Checksum header_checksum;
  KDN_ASSIGN_OR_RETURN(contents.header, ReadHeader(source, header_checksum));
  std::vector<std::byte> records;
  for (std::uint64_t number = 0;; ++number) {
    std::array<std::byte, kBlockHeadBytes> head;
    if (Status status = Fill(source, head); !status.ok()) return std::unexpected(status);
    ByteReader in(head);
    const auto told = in.Integer<std::uint64_t>();
    const auto count = in.Integer<std::uint32_t>();
    const auto size = in.Integer<std::uint32_t>();
    const auto checksum = in.OpaqueId<Checksum>();
    if (told != number || size > kBlockBytesMax) return std::unexpected(Damaged("a block's head"));
    if (Status status = FillSome(source, size, records); !status.ok()) {
      return std::unexpected(status);
    }
    const auto covered = ConstBytes(head).first(kBlockHeadBytes - Checksum::kSize);
    if (ChecksumOfBlock(header_checksum, covered, records) != checksum) {
      return std::unexpected(Damaged("block " + std::to_string(number)));
    }
    ByteReader at(records);
    if (count == 0) {
      if (at.Integer<std::uint64_t>() == contents.records && at.AtEnd()) return contents;
      return std::unexpected(Damaged("its end"));
    }
    for (std::uint32_t i = 0; i < count; ++i) {
      const std::string_view key = AsText(at.Sized(kBlockBytesMax));
      const std::string_view value = AsText(at.Sized(kBlockBytesMax));
      if (!at.ok()) return std::unexpected(Damaged("a record"));
      if (!visit) continue;
      if (Status status = visit(key, value); !status.ok()) return std::unexpected(status);
    }
    if (!at.AtEnd()) return std::unexpected(Damaged("a record"));
    contents.records += count;
  }
}

}  // namespace kdn::backup

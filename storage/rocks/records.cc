#include "storage/rocks/records.h"

#include <cstring>
#include <vector>

#include "base/bytes.h"
#include "proto/object/checksum.h"

namespace kdn::storage::rocks {
namespace {

constexpr std::size_t kRecordHeadBytes = 8;
constexpr std::size_t kRecordBytes = kRecordHeadBytes + kObjectHeaderBytes + Checksum::kSize;

// Big-endian, so that keys sort by number.
template <class T>
void AppendBigEndian(std::string& out, T value) {
  for (std::size_t i = sizeof(T); i-- > 0;) {
    out.push_back(static_cast<char>(static_cast<std::uint64_t>(value) >> (8 * i) & 0xFF));
  }
}

template <class T>
T ReadBigEndian(std::string_view bytes) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < sizeof(T); ++i) {
    value = value << 8 | static_cast<unsigned char>(bytes[i]);
  }
  return static_cast<T>(value);
}

Checksum RecordChecksum(std::string_view name, std::string_view head_and_header) {
  std::string covered(name);
  covered.append(head_and_header);
  return ChecksumOf(AsBytes(covered));
}

}  // namespace

std::string NameKey(const ObjectId& id) {
  std::string key;
  key.reserve(kNameBytes + sizeof(std::uint32_t));
  AppendBigEndian(key, static_cast<std::uint64_t>(id.tenant));
  key.append(AsText(id.key.bytes));
  AppendBigEndian(key, id.part);
  key.append(AsText(id.put_id.bytes));
  return key;
}

void SetSlice(std::string& key, std::uint32_t slice) {
  key.resize(kNameBytes);
  AppendBigEndian(key, slice);
}

Result<ObjectId> ParseNameKey(std::string_view key) {
  if (key.size() != kNameBytes) return Error(Code::kDataLoss, "key of another length");
  ObjectId id;
  id.tenant = TenantId{ReadBigEndian<std::uint64_t>(key)};
  key.remove_prefix(8);
  std::memcpy(id.key.bytes.data(), key.data(), ChunkKey::kSize);
  key.remove_prefix(ChunkKey::kSize);
  id.part = ReadBigEndian<std::uint16_t>(key);
  key.remove_prefix(2);
  std::memcpy(id.put_id.bytes.data(), key.data(), PutId::kSize);
  return id;
}

std::string EncodeRecord(std::string_view name, const ObjectRecord& record) {
  std::string value(kRecordHeadBytes, '\0');
  value[0] = static_cast<char>(record.levels.bits());
  value.append(AsText(record.header));
  value.append(AsText(RecordChecksum(name, value).bytes));
  return value;
}

Result<DecodedRecord> DecodeRecord(std::string_view name, std::string_view value) {
  KDN_ASSIGN_OR_RETURN(const ObjectId id, ParseNameKey(name));
  if (value.size() != kRecordBytes) return Error(Code::kDataLoss, "record of another length");
  const std::string_view covered = value.substr(0, kRecordBytes - Checksum::kSize);
  if (AsText(RecordChecksum(name, covered).bytes) != value.substr(covered.size())) {
    return Error(Code::kDataLoss, "record checksum");
  }
  DecodedRecord record;
  record.levels = LevelSet(static_cast<std::uint8_t>(value[0]));
  KDN_ASSIGN_OR_RETURN(record.header, DecodeHeader(AsBytes(covered.substr(kRecordHeadBytes))));
  const ObjectHeader& header = record.header;
  if (!(id == ObjectId{header.tenant, header.key, header.part.number, header.put_id})) {
    return Error(Code::kDataLoss, "header is of another object");
  }
  if (record.levels.empty() || !((record.levels & header.levels_encoded) == record.levels)) {
    return Error(Code::kDataLoss, "levels that were not encoded");
  }
  return record;
}

}  // namespace kdn::storage::rocks

#include "tests/storage/map_tier.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace kdn::storage::test {

Status MapTier::Write(const ObjectId& id, const HeaderBytes& header, const Segments& segments) {
  const std::scoped_lock lock(mutex_);
  KDN_RETURN_IF_ERROR(write_status_);
  Result<ObjectHeader> decoded = DecodeHeader(header);
  if (!decoded) return decoded.error();
  Object object{.id = id, .header = *decoded, .segments = {}};
  std::uint64_t bytes = kObjectHeaderBytes;
  if (const auto present = objects_.find(KeyOf(id)); present != objects_.end()) {
    object = present->second;
    bytes = 0;
  }
  for (const LevelInfo& info : Levels()) {
    if (object.segments.contains(info.level)) continue;
    std::vector<std::byte> segment;
    for (const ConstBytes run : segments[static_cast<std::size_t>(info.level)]) {
      segment.insert(segment.end(), run.begin(), run.end());
    }
    bytes += segment.size();
    if (!segment.empty()) object.segments[info.level] = std::move(segment);
  }
  if (object.segments.empty()) return Status(Code::kInvalidArgument);
  if (UsedLocked() + bytes > bytes_max_) return Status(Code::kOutOfRange);
  objects_[KeyOf(id)] = std::move(object);
  return {};
}

Status MapTier::Read(const ObjectId& id, Level level, std::uint64_t offset,
                     std::span<const MutableBytes> out) {
  const std::scoped_lock lock(mutex_);
  ++reads_;
  KDN_RETURN_IF_ERROR(read_status_);
  const auto object = objects_.find(KeyOf(id));
  if (object == objects_.end()) return Status(Code::kNotFound);
  const auto segment = object->second.segments.find(level);
  if (segment == object->second.segments.end()) return Status(Code::kNotFound);
  for (const MutableBytes run : out) {
    if (offset + run.size() > segment->second.size()) return Status(Code::kDataLoss);
    std::memcpy(run.data(), segment->second.data() + offset, run.size());
    offset += run.size();
  }
  return {};
}

Status MapTier::Delete(const ObjectId& id, LevelSet levels) {
  const std::scoped_lock lock(mutex_);
  KDN_RETURN_IF_ERROR(write_status_);
  const auto object = objects_.find(KeyOf(id));
  if (object == objects_.end()) return {};
  std::erase_if(object->second.segments, [&](const auto& s) { return levels.Has(s.first); });
  if (object->second.segments.empty()) objects_.erase(object);
  return {};
}

Status MapTier::Scan(const Visitor& visit) {
  const std::scoped_lock lock(mutex_);
  for (const auto& [key, object] : objects_) {
    LevelSet levels;
    for (const auto& [level, segment] : object.segments) levels.Add(level);
    visit(object.id, object.header, levels);
  }
  return {};
}

Status MapTier::PutValue(std::string_view name, ConstBytes value) {
  const std::scoped_lock lock(mutex_);
  values_[std::string(name)].assign(value.begin(), value.end());
  return {};
}

Result<std::vector<std::byte>> MapTier::GetValue(std::string_view name) {
  const std::scoped_lock lock(mutex_);
  const auto value = values_.find(std::string(name));
  if (value == values_.end()) return Error(Code::kNotFound);
  return value->second;
}

std::uint64_t MapTier::UsedLocked() const {
  std::uint64_t bytes = 0;
  for (const auto& [key, object] : objects_) {
    bytes += kObjectHeaderBytes;
    for (const auto& [level, segment] : object.segments) bytes += segment.size();
  }
  return bytes;
}

std::uint64_t MapTier::bytes_used() const {
  const std::scoped_lock lock(mutex_);
  return UsedLocked();
}

bool MapTier::Post(DiskWork, std::function<void()> work) {
  if (!later_) {
    work();
    return true;
  }
  if (posted_.size() >= queue_depth_) return false;
  posted_.push_back(std::move(work));
  return true;
}

void MapTier::RunPosted() {
  while (!posted_.empty()) {
    const auto work = std::move(posted_.front());
    posted_.pop_front();
    work();
  }
}

Status MapTier::Close() {
  RunPosted();
  return {};
}

void MapTier::Corrupt(const ObjectId& id, Level level, std::size_t offset) {
  const std::scoped_lock lock(mutex_);
  objects_.at(KeyOf(id)).segments.at(level).at(offset) ^= std::byte{1};
}

LevelSet MapTier::LevelsOf(const ObjectId& id) const {
  const std::scoped_lock lock(mutex_);
  LevelSet levels;
  const auto object = objects_.find(KeyOf(id));
  if (object == objects_.end()) return levels;
  for (const auto& [level, segment] : object->second.segments) levels.Add(level);
  return levels;
}

}  // namespace kdn::storage::test

#include "storage/object_table.h"

#include <cassert>

namespace kdn::storage {

LevelSet Record::in_dram() const {
  LevelSet levels;
  for (const LevelInfo& info : Levels()) {
    if (copies[static_cast<std::size_t>(info.level)].block != nullptr) levels.Add(info.level);
  }
  return levels;
}

std::size_t Record::BytesIn(LevelSet levels) const {
  return SumOfLevels(header.level_bytes, levels);
}

Record* ObjectTable::Find(const ObjectName& name) {
  const auto found = names_.find(name);
  return found == names_.end() ? nullptr : &At(found->second);
}

const Record* ObjectTable::Find(const ObjectName& name) const {
  const auto found = names_.find(name);
  return found == names_.end() ? nullptr : records_[static_cast<std::size_t>(found->second)].get();
}

Record* ObjectTable::Find(const ObjectId& id) {
  Record* const record = Find(NameOf(id));
  return record != nullptr && record->id.put_id == id.put_id ? record : nullptr;
}

Record& ObjectTable::At(ObjectSlot slot) {
  return *records_[static_cast<std::size_t>(slot)];
}

Record* ObjectTable::NextFrom(ObjectSlot slot) {
  for (auto at = static_cast<std::size_t>(slot); at < records_.size(); ++at) {
    if (records_[at] != nullptr) return records_[at].get();
  }
  return nullptr;
}

Record* ObjectTable::Get(ObjectSlot slot, std::uint64_t number) {
  Record* const record = records_[static_cast<std::size_t>(slot)].get();
  return record != nullptr && record->number == number ? record : nullptr;
}

Record& ObjectTable::Insert(const ObjectId& id, const ObjectHeader& header) {
  if (free_slots_.empty()) {
    free_slots_.push_back(ObjectSlot{records_.size()});
    records_.emplace_back();
  }
  const ObjectSlot slot = free_slots_.back();
  free_slots_.pop_back();
  const bool inserted = names_.emplace(NameOf(id), slot).second;
  assert(inserted);
  static_cast<void>(inserted);
  auto record = std::make_unique<Record>();
  record->slot = slot;
  record->number = next_number_++;
  record->id = id;
  record->header = header;
  std::unique_ptr<Record>& place = records_[static_cast<std::size_t>(slot)];
  place = std::move(record);
  return *place;
}

void ObjectTable::Erase(Record& record) {
  const ObjectSlot slot = record.slot;
  names_.erase(NameOf(record.id));
  free_slots_.push_back(slot);
  records_[static_cast<std::size_t>(slot)].reset();
}

}  // namespace kdn::storage

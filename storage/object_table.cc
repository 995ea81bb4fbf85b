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

std::uint32_t ObjectTable::SlotOf(const ObjectName& name) const {
  return index_.Find(HashOf(name), [&](std::uint32_t slot) {
    const ObjectId& id = RecordAt(slot).id;
    return id.key == name.key && id.part == name.part && id.tenant == name.tenant;
  });
}

Record* ObjectTable::Find(const ObjectName& name) {
  const std::uint32_t slot = SlotOf(name);
  return slot == FlatIndex::kNone ? nullptr : &RecordAt(slot);
}

const Record* ObjectTable::Find(const ObjectName& name) const {
  const std::uint32_t slot = SlotOf(name);
  return slot == FlatIndex::kNone ? nullptr : &RecordAt(slot);
}

Record* ObjectTable::Find(const ObjectId& id) {
  Record* const record = Find(NameOf(id));
  return record != nullptr && record->id.put_id == id.put_id ? record : nullptr;
}

Record& ObjectTable::At(ObjectSlot slot) {
  return RecordAt(static_cast<std::uint32_t>(slot));
}

Record* ObjectTable::NextFrom(ObjectSlot slot) {
  for (auto at = static_cast<std::uint32_t>(slot); at < slot_count_; ++at) {
    if (Record& record = RecordAt(at); record.number != 0) return &record;
  }
  return nullptr;
}

Record* ObjectTable::Get(ObjectSlot slot, std::uint64_t number) {
  Record& record = At(slot);
  return record.number == number ? &record : nullptr;
}

Record& ObjectTable::Insert(const ObjectId& id, const ObjectHeader& header) {
  assert(SlotOf(NameOf(id)) == FlatIndex::kNone);
  std::uint32_t slot = slot_count_;
  if (free_slots_.empty()) {
    if (slot_count_ % kRecordsPerSlab == 0) {
      slabs_.push_back(std::make_unique<Record[]>(kRecordsPerSlab));
    }
    ++slot_count_;
  } else {
    slot = free_slots_.back();
    free_slots_.pop_back();
  }
  Record& record = RecordAt(slot);
  record.slot = ObjectSlot{slot};
  record.number = next_number_++;
  record.id = id;
  record.header = header;
  index_.Insert(HashOf(NameOf(id)), slot);
  return record;
}

void ObjectTable::Erase(Record& record) {
  const auto slot = static_cast<std::uint32_t>(record.slot);
  index_.Erase(HashOf(NameOf(record.id)), slot);
  free_slots_.push_back(slot);
  record = Record{};
}

}  // namespace kdn::storage

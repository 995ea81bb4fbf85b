#include "storage/fsck.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>
#include <utility>

#include "base/bytes.h"
#include "proto/object/segment.h"
#include "storage/rocks/database.h"
#include "storage/rocks/format.h"
#include "storage/rocks/records.h"

namespace kdn::storage {
namespace {

using rocks::Database;
using rocks::Family;

// Of the whole key of a slice: the object's name and the number.
constexpr std::size_t kSliceKeyBytes = rocks::kNameBytes + sizeof(std::uint32_t);

class Fsck {
 public:
  Fsck(const FsckOptions& options, Database& db) : options_(options), db_(db) {}

  Result<FsckReport> Run() {
    KDN_ASSIGN_OR_RETURN(report_.format, rocks::ReadFormat(db_, options_.folder));
    if (Status status = ReadRecords(); !status.ok()) return std::unexpected(std::move(status));
    for (const LevelInfo& info : Levels())
      if (Status status = CheckLevel(info.level); !status.ok())
        return std::unexpected(std::move(status));
    if (options_.repair && !report_.Sound())
      if (Status status = Repair(); !status.ok()) return std::unexpected(std::move(status));
    return std::move(report_);
  }

 private:
  // Damage is a finding; anything else ends the check.
  Status Note(const Status& walked) {
    if (walked.code() != Code::kDataLoss) return walked;
    if (report_.damaged_tables.empty()) report_.damaged_tables = walked.message();
    return {};
  }

  Status ReadRecords() {
    return Note(db_.ForEach(Family::kObjects, [&](std::string_view name, std::string_view value) {
      auto record = rocks::DecodeRecord(name, value);
      if (!record) {
        ++report_.bad_records;
        bad_records_.emplace_back(name);
        return;
      }
      ++report_.objects;
      report_.bytes += SumOfLevels(record->header.level_bytes, record->levels);
      records_.emplace(name, *std::move(record));
    }));
  }

  // Slices come in the order of their names: a segment is put together and checked as soon as the
  // next one begins. What has a record and does not come at all is missing.
  Status CheckLevel(Level level) {
    std::set<std::string> met;
    std::string name;
    std::vector<std::byte> segment;
    std::uint32_t slices = 0;
    std::string gap;
    const auto end_segment = [&] {
      if (slices > 0) CheckSegmentOf(name, level, segment, gap);
      segment.clear();
      slices = 0;
      gap.clear();
    };
    const auto visit = [&](std::string_view key, std::string_view value) {
      const std::string_view owner = key.substr(0, std::min(key.size(), rocks::kNameBytes));
      checked_ += value.size();
      if (options_.progress) options_.progress(checked_);
      const auto record = records_.find(std::string(owner));
      const bool owned = key.size() == kSliceKeyBytes && record != records_.end() &&
                         record->second.levels.Has(level);
      if (!owned) {
        ++report_.orphan_slices;
        report_.orphan_bytes += value.size();
        orphans_.emplace_back(rocks::FamilyOf(level), key);
        return;
      }
      if (owner != name) {
        end_segment();
        name = owner;
        met.insert(name);
      }
      std::string expected = name;
      rocks::SetSlice(expected, slices++);
      if (key != expected) gap = "a slice is missing";
      const ConstBytes bytes = AsBytes(value);
      segment.insert(segment.end(), bytes.begin(), bytes.end());
    };
    const Status walked = db_.ForEach(rocks::FamilyOf(level), visit, /*verify=*/false);
    end_segment();
    for (const auto& [each, record] : records_) {
      if (record.levels.Has(level) && !met.contains(each)) AddBad(each, level, "not there");
    }
    return Note(walked);
  }

  void CheckSegmentOf(const std::string& name, Level level, ConstBytes segment,
                      const std::string& gap) {
    const ObjectHeader& header = records_.at(name).header;
    if (!gap.empty()) return AddBad(name, level, gap);
    if (segment.size() != header.level_bytes[static_cast<std::size_t>(level)]) {
      return AddBad(name, level, "of another length");
    }
    const Status verified = VerifySegment(header, level, segment, /*index_only=*/false);
    if (!verified.ok()) AddBad(name, level, verified.message());
  }

  void AddBad(const std::string& name, Level level, std::string why) {
    report_.bad_levels.push_back({*rocks::ParseNameKey(name), level, std::move(why)});
    bad_[name].Add(level);
  }

  Status Repair() {
    KDN_RETURN_IF_ERROR(db_.Write(/*sync=*/true, [&](Database::Batch& batch) {
      for (const std::string& name : bad_records_) batch.Delete(Family::kObjects, name);
      for (const auto& [family, key] : orphans_) batch.Delete(family, key);
      for (const auto& [name, levels] : bad_) DropLevels(name, levels, batch);
    }));
    for (const LevelInfo& info : Levels()) {
      KDN_RETURN_IF_ERROR(db_.Reclaim(rocks::FamilyOf(info.level), 0.2));
    }
    report_.repaired = true;
    return {};
  }

  // Finer levels decode over coarser ones: they go with them.
  void DropLevels(const std::string& name, LevelSet bad, Database::Batch& batch) {
    const rocks::DecodedRecord& record = records_.at(name);
    LevelSet left;
    bool lost = false;
    for (const LevelInfo& info : Levels()) {
      if (!record.levels.Has(info.level)) continue;
      lost = lost || bad.Has(info.level);
      if (!lost) {
        left.Add(info.level);
        continue;
      }
      const std::uint32_t count =
          rocks::SliceCount(record.header.level_bytes[static_cast<std::size_t>(info.level)]);
      std::string key = name;
      for (std::uint32_t slice = 0; slice < count; ++slice) {
        rocks::SetSlice(key, slice);
        batch.Delete(rocks::FamilyOf(info.level), key);
      }
    }
    if (left.empty()) {
      batch.Delete(Family::kObjects, name);
    } else {
      batch.Put(Family::kObjects, name,
                rocks::EncodeRecord(name, {left, EncodeHeader(record.header)}));
    }
  }

  const FsckOptions& options_;
  Database& db_;
  FsckReport report_;
  std::uint64_t checked_ = 0;
  std::map<std::string, rocks::DecodedRecord> records_;  // by name
  std::map<std::string, LevelSet> bad_;
  std::vector<std::string> bad_records_;
  std::vector<std::pair<Family, std::string>> orphans_;
};

}  // namespace

Result<FsckReport> CheckDiskTier(const FsckOptions& options) {
  std::error_code error;
  if (!std::filesystem::exists(options.folder + "/rocks/CURRENT", error)) {
    return Error(Code::kNotFound, "no disk tier in " + options.folder);
  }
  Database db(options.folder, rocksdb::Env::Default());
  Status opened = options.repair ? db.Open() : db.OpenToRead();
  if (!opened.ok()) return std::unexpected(std::move(opened));
  auto report = Fsck(options, db).Run();
  Status closed = db.Close();
  if (report && options.repair && !closed.ok()) return std::unexpected(std::move(closed));
  return report;
}

}  // namespace kdn::storage

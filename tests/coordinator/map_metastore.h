// The specification of a metastore: a std::map. A write can be made to fail, and the map outlives
// the coordinator that wrote it, as a disk does.
//
// Thread-safety: not safe; caller synchronises.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "coordinator/metastore/metastore.h"

namespace kdn::coordinator {

class MapMetastore final : public Metastore {
 public:
  Status Write(const MetaBatch& batch) override {
    if (failing) return Status(Code::kUnavailable, "told to fail");
    for (const MetaBatch::Operation& operation : batch.operations) {
      if (operation.value) {
        records[operation.key] = *operation.value;
      } else {
        records.erase(operation.key);
      }
    }
    return Status();
  }

  Result<std::string> Get(std::string_view key) override {
    const auto at = records.find(std::string(key));
    if (at == records.end()) return Error(Code::kNotFound);
    return at->second;
  }

  Status Scan(std::string_view prefix, const Visitor& visit) override {
    for (auto at = records.lower_bound(std::string(prefix));
         at != records.end() && at->first.starts_with(prefix); ++at) {
      KDN_RETURN_IF_ERROR(visit(at->first, at->second));
    }
    return Status();
  }

  std::unique_ptr<MetaSnapshot> TakeSnapshot() override {
    class Copy final : public MetaSnapshot {
     public:
      explicit Copy(const MapMetastore& of) { copy_.records = of.records; }
      Status Scan(std::string_view prefix, const Visitor& visit) override {
        return copy_.Scan(prefix, visit);
      }

     private:
      MapMetastore copy_;
    };
    return std::make_unique<Copy>(*this);
  }

  std::map<std::string, std::string> records;
  bool failing = false;
};

}  // namespace kdn::coordinator

// Where decisions are kept: a small transactional store of keys and values. Holds the hard state of
// a cluster (epoch, cluster id, node ids, tenants, named contexts) and nothing that nodes can tell
// again. Knows nothing of what the values mean.
//
// Thread-safety: not safe; caller synchronises. Every call may block on a disk, so none is made
// from the thread that answers lookups.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace kdn::coordinator {

// Changes that happen together or not at all, applied in order.
struct MetaBatch {
  struct Operation {
    std::string key;
    std::optional<std::string> value;  // absent: the key is deleted
  };
  std::vector<Operation> operations;

  void Put(std::string key, std::string value) {
    operations.push_back({std::move(key), std::move(value)});
  }
  void Delete(std::string key) { operations.push_back({std::move(key), std::nullopt}); }
  [[nodiscard]] bool empty() const { return operations.empty(); }
};

// Records as they were at one moment.
class MetaSnapshot {
 public:
  virtual ~MetaSnapshot() = default;

  using Visitor = std::function<Status(std::string_view key, std::string_view value)>;
  // As Metastore::Scan().
  virtual Status Scan(std::string_view prefix, const Visitor& visit) = 0;
};

class Metastore {
 public:
  virtual ~Metastore() = default;

  // All of the batch, on stable storage when this returns ok; or none of it.
  virtual Status Write(const MetaBatch& batch) = 0;

  // kNotFound if there is no such key.
  [[nodiscard]] virtual Result<std::string> Get(std::string_view key) = 0;

  using Visitor = std::function<Status(std::string_view key, std::string_view value)>;
  // Every key that begins with `prefix`, in ascending order of bytes. Ends with the first error of
  // `visit`, which it returns.
  virtual Status Scan(std::string_view prefix, const Visitor& visit) = 0;

  // Everything that a Write() which has returned left. Unlike all else this may be called on any
  // thread, and the snapshot be used on it, while others write; it dies before the metastore.
  [[nodiscard]] virtual std::unique_ptr<MetaSnapshot> TakeSnapshot() = 0;
};

// The kinds that this build has.
[[nodiscard]] std::vector<std::string> MetastoreKinds();

// Opens the metastore of this kind, making it if there is none. kNotFound if this build has no such
// kind; kFailedPrecondition if another process has it open.
[[nodiscard]] Result<std::unique_ptr<Metastore>> OpenMetastore(std::string_view kind,
                                                               const std::string& folder);

}  // namespace kdn::coordinator

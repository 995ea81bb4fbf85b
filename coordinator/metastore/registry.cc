#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "coordinator/metastore/metastore.h"
#include "coordinator/metastore/rocks_metastore.h"

namespace kdn::coordinator {
namespace {

struct Kind {
  std::string_view name;
  Result<std::unique_ptr<Metastore>> (*open)(const std::string& folder);
};

// To add a metastore, add a row. See docs/extending.md.
constexpr std::array kKinds = {
    Kind{"rocksdb", OpenRocksMetastore},
};

}  // namespace

std::vector<std::string> MetastoreKinds() {
  std::vector<std::string> names;
  for (const Kind& known : kKinds) names.emplace_back(known.name);
  return names;
}

Result<std::unique_ptr<Metastore>> OpenMetastore(std::string_view kind, const std::string& folder) {
  for (const Kind& known : kKinds) {
    if (known.name == kind) return known.open(folder);
  }
  return Error(Code::kNotFound, "no metastore of kind '" + std::string(kind) + "' in this build");
}

}  // namespace kdn::coordinator

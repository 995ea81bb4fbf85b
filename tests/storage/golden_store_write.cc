// Writes the tier that golden_store_test opens, in the format of this build, to an empty folder.
// Run once for each format version; what it wrote stays as it is.
#include <cstdio>
#include <filesystem>

#include "storage/disk_tier.h"
#include "tests/storage/golden_store.h"

int main(int argc, char** argv) {
  using namespace kdn::storage;
  namespace fs = std::filesystem;
  if (argc != 2) {
    std::fprintf(stderr, "usage: golden_store_write FOLDER\n");
    return 2;
  }
  const std::string folder = argv[1];
  const std::string made = folder + ".made";
  bool good = true;
  {
    // The first two in tables and blob files, the last in the log, as after a kill.
    auto tier = OpenRocksTier({.folder = made}).value();
    good = good && test::WriteGolden(*tier, 0) && test::WriteGolden(*tier, 1) && tier->Close().ok();
    tier = OpenRocksTier({.folder = made}).value();
    good = good && test::WriteGolden(*tier, 2);
    fs::copy(made, folder, fs::copy_options::recursive);
  }
  fs::remove_all(made);
  for (const auto& entry : fs::directory_iterator(folder + "/rocks")) {
    // What RocksDB does not need to open it.
    const std::string name = entry.path().filename();
    if (name.starts_with("LOG") || name.starts_with("OPTIONS") || name == "LOCK") {
      fs::remove(entry.path());
    }
  }
  return good ? 0 : 1;
}

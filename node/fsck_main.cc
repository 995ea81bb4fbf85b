// kdn-fsck: checks what a stopped node keeps on its disk.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/ids.h"
#include "storage/fsck.h"

namespace {

using kdn::Code;
using kdn::storage::FsckReport;

constexpr int kSound = 0;
constexpr int kRepaired = 1;
constexpr int kNoStore = 3;
constexpr int kCannotCheck = 4;
constexpr int kDamaged = 5;
constexpr std::size_t kListedMax = 1000;

struct Arguments {
  std::string folder;
  bool repair = false;
  std::string output = "text";
};

int ExitCodeOf(const FsckReport& report) {
  if (report.Sound()) return kSound;
  return report.repaired ? kRepaired : kDamaged;
}

void PrintJson(const FsckReport& report) {
  nlohmann::json bad = nlohmann::json::array();
  for (const FsckReport::BadLevel& one : report.bad_levels) {
    if (bad.size() == kListedMax) break;
    bad.push_back({{"tenant", static_cast<std::uint64_t>(one.id.tenant)},
                   {"key", kdn::ToHex(one.id.key)},
                   {"part", one.id.part},
                   {"put_id", kdn::ToHex(one.id.put_id)},
                   {"level", std::string(kdn::LevelName(one.level))},
                   {"why", one.why}});
  }
  const nlohmann::json all = {{"format", report.format},
                              {"objects", report.objects},
                              {"bytes", report.bytes},
                              {"sound", report.Sound()},
                              {"repaired", report.repaired},
                              {"levels_bad", report.bad_levels.size()},
                              {"levels_bad_listed", bad},
                              {"records_bad", report.bad_records},
                              {"orphan_slices", report.orphan_slices},
                              {"orphan_bytes", report.orphan_bytes},
                              {"tables_damaged", report.damaged_tables}};
  std::printf("%s\n", all.dump(2).c_str());
}

void PrintText(const FsckReport& report) {
  std::printf("%llu objects, %llu bytes, format %u\n",
              static_cast<unsigned long long>(report.objects),
              static_cast<unsigned long long>(report.bytes), report.format);
  std::size_t listed = 0;
  for (const FsckReport::BadLevel& one : report.bad_levels) {
    if (listed++ == kListedMax) break;
    std::printf("bad: chunk %s part %u, %s: %s\n", kdn::ToHex(one.id.key).c_str(),
                unsigned{one.id.part}, std::string(kdn::LevelName(one.level)).c_str(),
                one.why.c_str());
  }
  if (!report.damaged_tables.empty()) {
    std::printf("bad: a table cannot be read: %s\n", report.damaged_tables.c_str());
  }
  std::printf("%zu levels and %llu records are bad, %llu slices belong to nothing%s\n",
              report.bad_levels.size(), static_cast<unsigned long long>(report.bad_records),
              static_cast<unsigned long long>(report.orphan_slices),
              report.Sound() ? "" : (report.repaired ? ": deleted" : "; --repair deletes them"));
}

// The node's data_dir, or the folder of its disk tier.
std::string TierFolder(const std::string& folder) {
  std::error_code error;
  return std::filesystem::exists(folder + "/rocks", error) ? folder : folder + "/objects";
}

}  // namespace

int main(int argc, char** argv) {
  Arguments arguments;
  CLI::App app(
      "kdn-fsck: reads everything that a stopped node keeps on its disk and verifies every tile",
      "kdn-fsck");
  app.add_option("DATA_DIR", arguments.folder, "the node's data_dir")->required();
  app.add_flag("--repair", arguments.repair,
               "delete what does not verify; else nothing is changed");
  app.add_option("--output", arguments.output, "text or json")
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str();
  app.footer(
      "Exit code: 0 sound, 1 damage was found and repaired, 5 damage was found, 3 there is nothing "
      "to check, 4 it cannot be checked (in use, of a newer version, the disk fails), 2 wrong "
      "usage.");
  app.set_version_flag("--version", KDN_VERSION);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  const auto report = kdn::storage::CheckDiskTier(
      {.folder = TierFolder(arguments.folder), .repair = arguments.repair, .progress = {}});
  if (!report) {
    std::fprintf(stderr, "kdn-fsck: %s\n", report.error().message().c_str());
    return report.error().code() == Code::kNotFound ? kNoStore : kCannotCheck;
  }
  arguments.output == "json" ? PrintJson(*report) : PrintText(*report);
  return ExitCodeOf(*report);
}

// Reads a TOML file into a struct by a table of fields, each with bounds. Unknown keys and bad
// values are refused with file, key, value and what was expected: a typo must not silently become
// a default. Missing keys keep the default that the struct was made with.
//
// A component keeps its config struct beside its user and describes it with a ConfigTable:
//
//   ConfigTable table("node");                       // the [node] section
//   table.Text("data_dir", &config.data_dir, "folder of the disk tier");
//   table.Integer("dram_mib", &config.dram_mib, 16, 1 << 20, "size of the DRAM tier in MiB");
//   KDN_RETURN_IF_ERROR(ReadConfig(path, {&table}));
//
// Thread-safety: not safe; used at start only.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"

namespace kdn {

class ConfigTable {
 public:
  explicit ConfigTable(std::string section) : section_(std::move(section)) {}

  // Each names a key, where its value goes, its bounds and what it means. The targets outlive the
  // table.
  void Text(std::string key, std::string* value, std::string help);
  void Choice(std::string key, std::string* value, std::vector<std::string> allowed,
              std::string help);
  void TextList(std::string key, std::vector<std::string>* value, std::string help);
  void Boolean(std::string key, bool* value, std::string help);
  void Integer(std::string key, std::int64_t* value, std::int64_t min, std::int64_t max,
               std::string help);

  // One "key = default  # help" line per key, for --help and docs.
  [[nodiscard]] std::string Describe() const;

 private:
  friend class ConfigSetter;  // of config.cc

  enum class Kind : std::uint8_t { kText, kTextList, kBoolean, kInteger };
  struct Field {
    std::string key;
    Kind kind;
    std::string help;
    std::string* text = nullptr;
    std::vector<std::string>* texts = nullptr;
    bool* boolean = nullptr;
    std::int64_t* integer = nullptr;
    std::vector<std::string> allowed;  // of kText; empty: anything
    std::int64_t min = 0;
    std::int64_t max = 0;
  };
  std::string section_;
  std::vector<Field> fields_;
};

// Fills the targets of all tables from the file. kInvalidArgument says file, key, value and what
// was expected; the targets may then be partly filled.
//
// A section may be named by several tables; "" holds the keys before the first section, "a.b" is a
// section within a section.
[[nodiscard]] Status ReadConfig(const std::string& path, std::span<ConfigTable* const> tables);
[[nodiscard]] inline Status ReadConfig(const std::string& path,
                                       std::initializer_list<ConfigTable*> tables) {
  return ReadConfig(path, std::span<ConfigTable* const>(tables.begin(), tables.size()));
}

// Applies one "section.key=value", as given on a command line. A list's values are separated by
// commas; text stands without quotes. kInvalidArgument as above; the targets are then unchanged.
[[nodiscard]] Status SetConfig(std::string_view assignment, std::span<ConfigTable* const> tables);
[[nodiscard]] inline Status SetConfig(std::string_view assignment,
                                      std::initializer_list<ConfigTable*> tables) {
  return SetConfig(assignment, std::span<ConfigTable* const>(tables.begin(), tables.size()));
}

// The error of a check that no single field can make: kInvalidArgument, "`setting` = "`value`":
// expected `expected`".
[[nodiscard]] Status RefuseSetting(std::string_view setting, std::string_view value,
                                   std::string_view expected);

// Whether a daemon may be given this endpoint: host:port and, unless `insecure`, on loopback
// (base/endpoint.h).
[[nodiscard]] Status CheckEndpointSetting(std::string_view setting, std::string_view value,
                                          bool insecure);

}  // namespace kdn

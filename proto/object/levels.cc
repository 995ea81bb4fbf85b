#include "proto/object/levels.h"

namespace kdn {
namespace {

constexpr std::array<LevelInfo, kLevelCount> kLevels = {{
    {Level::kDraft, "draft", false},
    {Level::kStandard, "standard", false},
    {Level::kFine, "fine", false},
    {Level::kExact, "exact", true},
}};

}  // namespace

std::span<const LevelInfo> Levels() {
  return kLevels;
}

std::string_view LevelName(Level level) {
  for (const LevelInfo& info : kLevels) {
    if (info.level == level) return info.name;
  }
  return "unknown";
}

Result<Level> FindLevel(std::string_view name) {
  for (const LevelInfo& info : kLevels) {
    if (info.name == name) return info.level;
  }
  return Error(Code::kNotFound);
}

}  // namespace kdn

// A folder that lives as long as the object that names it. Knows nothing of what is put into it.
//
// Thread-safety: immutable after construction.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace kdn::test {

class TempDir {
 public:
  // Aborts if no folder can be made: no test could go on.
  TempDir();
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }
  // The path of a file in the folder.
  [[nodiscard]] std::string File(std::string_view name) const { return (path_ / name).string(); }

 private:
  std::filesystem::path path_;
};

}  // namespace kdn::test

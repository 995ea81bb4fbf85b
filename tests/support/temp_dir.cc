#include "tests/support/temp_dir.h"

#include <cstdio>
#include <cstdlib>
#include <system_error>

namespace kdn::test {

TempDir::TempDir() {
  std::string name = (std::filesystem::temp_directory_path() / "kdn_test_XXXXXX").string();
  if (mkdtemp(name.data()) == nullptr) {
    std::perror(name.c_str());
    std::abort();
  }
  path_ = name;
}

TempDir::~TempDir() {
  std::error_code ignored;  // A process that is just being killed may still hold a file.
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace kdn::test

// A log that can lose lines, but not its process.
#include "storage/rocks/info_log.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "tests/support/temp_dir.h"

namespace kdn::storage::rocks {
namespace {

std::string ContentOf(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST(InfoLog, WritesLinesAndCutsLongOnes) {
  const test::TempDir folder;
  InfoLog log(folder.File("LOG"), 1 << 20);
  rocksdb::Info(&log, "one of %d", 2);
  rocksdb::Info(&log, "%s", std::string(5000, 'x').c_str());
  const std::string content = ContentOf(folder.File("LOG"));
  EXPECT_NE(content.find(" one of 2\n"), std::string::npos) << content;
  EXPECT_EQ(content.back(), '\n');
  EXPECT_LT(content.size(), 1200U);
}

TEST(InfoLog, OnADiskWithoutSpaceLosesItsLines) {
  InfoLog log("/dev/full", 1 << 20);
  for (int i = 0; i < 3; ++i) rocksdb::Info(&log, "line %d", i);
  InfoLog nowhere("/nonexistent/LOG", 1 << 20);
  for (int i = 0; i < 3; ++i) rocksdb::Info(&nowhere, "line %d", i);
}

TEST(InfoLog, TakesTwoFilesAtMost) {
  const test::TempDir folder;
  constexpr std::uint64_t kBytesMax = 4096;
  {
    InfoLog log(folder.File("LOG"), kBytesMax);
    for (int i = 0; i < 1000; ++i) rocksdb::Info(&log, "line %d", i);
  }
  InfoLog again(folder.File("LOG"), kBytesMax);
  rocksdb::Info(&again, "the last");
  EXPECT_NE(ContentOf(folder.File("LOG")).find("the last"), std::string::npos);
  std::size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder.path())) {
    ++files;
    EXPECT_LE(entry.file_size(), kBytesMax + 1000);
  }
  EXPECT_EQ(files, 2U);
}

}  // namespace
}  // namespace kdn::storage::rocks

#include "proto/backup/backup.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>

#include "base/random.h"

namespace kdn::backup {
namespace {

using Records = std::map<std::string, std::string>;

std::vector<std::byte> Written(const Header& header, const Records& records) {
  std::vector<std::byte> file;
  Writer writer(header, [&](ConstBytes bytes) {
    file.insert(file.end(), bytes.begin(), bytes.end());
    return Status();
  });
  for (const auto& [key, value] : records) EXPECT_TRUE(writer.Add(key, value).ok());
  EXPECT_TRUE(writer.Finish().ok());
  return file;
}

Result<Contents> ReadBack(ConstBytes file, const Visitor& visit = {}) {
  return Read(
      [file](MutableBytes into) mutable {
        if (file.size() < into.size()) return Status(Code::kOutOfRange);
        std::copy_n(file.begin(), into.size(), into.begin());
        file = file.subspan(into.size());
        return Status();
      },
      visit);
}

Header SomeHeader() {
  SeededRandom random(1);
  return {.cluster = RandomId<ClusterId>(random), .epoch = Epoch{7}, .written_s = 1'700'000'000};
}

TEST(Backup, ComesBackOverSeveralBlocks) {
  SeededRandom random(2);
  Records records;
  for (int i = 0; i < 300; ++i) {
    std::string value(random.Next() % 20000, 'x');
    if (!value.empty()) value[random.Next() % value.size()] = '\0';
    records["key " + std::to_string(i)] = value;
  }
  records["empty"] = "";
  Records read;
  const auto contents =
      ReadBack(Written(SomeHeader(), records), [&](std::string_view key, std::string_view value) {
        read.emplace(key, value);
        return Status();
      });
  ASSERT_TRUE(contents) << contents.error().ToString();
  EXPECT_EQ(contents->header, SomeHeader());
  EXPECT_EQ(contents->records, records.size());
  EXPECT_EQ(read, records);
}

TEST(Backup, OfNothingIsWhole) {
  const auto contents = ReadBack(Written(SomeHeader(), {}));
  ASSERT_TRUE(contents);
  EXPECT_EQ(contents->records, 0U);
}

TEST(Backup, CutAnywhereIsRefused) {
  const auto file = Written(SomeHeader(), {{"a", "1"}, {"b", "2"}});
  for (std::size_t size = 0; size < file.size(); ++size) {
    const auto contents = ReadBack(ConstBytes(file).first(size));
    ASSERT_FALSE(contents) << size;
    const Code code = contents.error().code();
    EXPECT_EQ(code, size < 64 ? Code::kInvalidArgument : Code::kDataLoss) << size;
  }
}

TEST(Backup, WithAnyBitFlippedIsRefused) {
  auto file = Written(SomeHeader(), {{"a", "1"}, {"b", "2"}});
  for (std::size_t at = 0; at < file.size(); ++at) {
    for (const unsigned bit : {0U, 3U, 7U}) {
      file[at] ^= static_cast<std::byte>(1U << bit);
      EXPECT_FALSE(ReadBack(file)) << at;
      file[at] ^= static_cast<std::byte>(1U << bit);
    }
  }
  EXPECT_TRUE(ReadBack(file));
}

TEST(Backup, WithABlockOfAnotherIsRefused) {
  Header other = SomeHeader();
  other.epoch = Epoch{8};
  const auto file = Written(SomeHeader(), {{"a", "1"}});
  auto mixed = Written(other, {{"a", "1"}});
  ASSERT_EQ(mixed.size(), file.size());
  std::copy(file.begin() + 64, file.end(), mixed.begin() + 64);
  EXPECT_EQ(ReadBack(mixed).error().code(), Code::kDataLoss);
}

TEST(Backup, EndsWithTheFirstErrorOfWhoReadsIt) {
  const auto contents =
      ReadBack(Written(SomeHeader(), {{"a", "1"}, {"b", "2"}}),
               [](std::string_view, std::string_view) { return Status(Code::kAborted); });
  EXPECT_EQ(contents.error().code(), Code::kAborted);
}

}  // namespace
}  // namespace kdn::backup

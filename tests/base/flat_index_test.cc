#include "base/flat_index.h"

#include <gtest/gtest.h>

#include <map>

#include "base/random.h"

namespace kdn {
namespace {

// Against a map, with hashes of which many fall together, and nearly all slots' neighbours in use.
TEST(FlatIndex, FindsWhatAMapFinds) {
  for (const std::uint64_t hashes : {8U, 100U, 100000U}) {
    SeededRandom random(hashes);
    FlatIndex index;
    std::map<std::uint32_t, std::uint64_t> inserted;  // number to hash
    for (int step = 0; step < 20000; ++step) {
      const auto number = static_cast<std::uint32_t>(random.Next() % 500);
      const auto at = inserted.find(number);
      if (at == inserted.end()) {
        const std::uint64_t hash = random.Next() % hashes * 0x9E3779B97F4A7C15ULL;
        index.Insert(hash, number);
        inserted.emplace(number, hash);
      } else {
        index.Erase(at->second, number);
        inserted.erase(at);
      }
      ASSERT_EQ(index.size(), inserted.size());
      const auto wanted = static_cast<std::uint32_t>(random.Next() % 500);
      const auto expected = inserted.find(wanted);
      const std::uint64_t hash = expected == inserted.end() ? 0 : expected->second;
      const std::uint32_t found =
          index.Find(hash, [&](std::uint32_t candidate) { return candidate == wanted; });
      ASSERT_EQ(found, expected == inserted.end() ? FlatIndex::kNone : wanted) << step;
    }
  }
}

TEST(FlatIndex, FindsNothingBeforeAnythingIsThere) {
  const FlatIndex index;
  EXPECT_EQ(index.Find(1, [](std::uint32_t) { return true; }), FlatIndex::kNone);
}

}  // namespace
}  // namespace kdn

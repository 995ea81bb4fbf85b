// Goal: slow requests get a line at info level, others one at debug level where all are wanted.
#include "base/request_lines.h"

#include <gtest/gtest.h>

namespace kdn {
namespace {

using std::chrono::milliseconds;

TEST(RequestLinesTest, SlowRequestsGetALineAtInfoLevel) {
  for (const bool all : {false, true}) {
    const RequestLines lines{milliseconds(20), all};
    EXPECT_EQ(lines.LevelOf(milliseconds(20)), LogLevel::kInfo);
    EXPECT_EQ(lines.LevelOf(std::chrono::hours(1)), LogLevel::kInfo);
  }
}

TEST(RequestLinesTest, OthersGetOneOnlyWhereAllAreWanted) {
  EXPECT_EQ((RequestLines{milliseconds(20), true}.LevelOf(milliseconds(19))), LogLevel::kDebug);
  EXPECT_EQ((RequestLines{milliseconds(20), false}.LevelOf(milliseconds(19))), std::nullopt);
}

TEST(RequestLinesTest, TheTimeIsToldInMicroseconds) {
  EXPECT_EQ(TookField(milliseconds(3)).value, "3000");
}

}  // namespace
}  // namespace kdn

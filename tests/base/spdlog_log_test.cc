// Goal: a line says when, how grave and who, and is dropped below the level asked for.
#include "base/spdlog_log.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

namespace kdn {
namespace {

std::string WithDigitsAsZeros(std::string text) {
  std::replace_if(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; }, '0');
  return text;
}

TEST(SpdlogLog, WritesTimeLevelComponentAndEventToStandardError) {
  SpdlogLog log("node", LogLevel::kInfo);
  testing::internal::CaptureStderr();
  log.Write(LogLevel::kWarning, "put refused", {{"tenant", "7"}});
  const std::string text = testing::internal::GetCapturedStderr();
  EXPECT_EQ(WithDigitsAsZeros(text),
            "0000-00-00T00:00:00.000Z warning node event=\"put refused\" tenant=0\n");
}

TEST(SpdlogLog, DropsWhatIsBelowItsLevel) {
  SpdlogLog log("node", LogLevel::kWarning);
  testing::internal::CaptureStderr();
  log.Write(LogLevel::kDebug, "a", {});
  log.Write(LogLevel::kInfo, "b", {});
  log.Write(LogLevel::kError, "c", {});
  const std::string text = testing::internal::GetCapturedStderr();
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1);
  EXPECT_NE(text.find("error node event=\"c\""), std::string::npos);
}

TEST(SpdlogLog, BracesInAValueAreNoFormat) {
  SpdlogLog log("node", LogLevel::kDebug);
  testing::internal::CaptureStderr();
  log.Write(LogLevel::kDebug, "e", {{"labels", "{0}{}%v"}});
  EXPECT_NE(testing::internal::GetCapturedStderr().find("labels={0}{}%v"), std::string::npos);
}

TEST(SpdlogLog, TwoOfOneNameMayLive) {
  SpdlogLog first("node", LogLevel::kInfo);
  SpdlogLog second("node", LogLevel::kInfo);
  testing::internal::CaptureStderr();
  first.Write(LogLevel::kInfo, "a", {});
  second.Write(LogLevel::kInfo, "b", {});
  EXPECT_FALSE(testing::internal::GetCapturedStderr().empty());
}

TEST(FindLogLevel, KnowsItsFourNames) {
  EXPECT_EQ(FindLogLevel("debug"), LogLevel::kDebug);
  EXPECT_EQ(FindLogLevel("info"), LogLevel::kInfo);
  EXPECT_EQ(FindLogLevel("warning"), LogLevel::kWarning);
  EXPECT_EQ(FindLogLevel("error"), LogLevel::kError);
  EXPECT_EQ(FindLogLevel("warn").error().code(), Code::kInvalidArgument);
}

}  // namespace
}  // namespace kdn

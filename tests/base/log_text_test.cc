// Goal: one event, one line, whatever is in its fields.
#include "base/log_text.h"

#include <gtest/gtest.h>

#include <string>

namespace kdn {
namespace {

TEST(LogText, PlainValuesStandAsTheyAre) {
  EXPECT_EQ(LogText("put committed", {{"tenant", "7"}, {"node", "127.0.0.1:9000"}}),
            "event=\"put committed\" tenant=7 node=127.0.0.1:9000");
}

TEST(LogText, OtherValuesAreQuotedAndEscaped) {
  EXPECT_EQ(LogText("e", {{"a", "two words"}, {"b", ""}, {"c", "x=\"y\\\""}}),
            "event=\"e\" a=\"two words\" b=\"\" c=\"x=\\\"y\\\\\\\"\"");
}

TEST(LogText, NoValueBreaksTheLine) {
  const std::string text = LogText("e", {{"peer", "a\nlevel=error\x1b[2J\x7f"}});
  EXPECT_EQ(text, "event=\"e\" peer=\"a\\x0alevel=error\\x1b[2J\\x7f\"");
}

}  // namespace
}  // namespace kdn

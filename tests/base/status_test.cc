#include "base/status.h"

#include <gtest/gtest.h>

#include <string>

#include "base/result.h"

namespace kdn {
namespace {

TEST(Code, EveryNumberUpToSixteenHasANameOfItsOwn) {
  for (std::uint8_t number = 0; number <= 16; ++number) {
    const Code code = CodeFromNumber(number);
    EXPECT_EQ(static_cast<std::uint8_t>(code), number);
    EXPECT_EQ(CodeName(code) == "unknown", code == Code::kUnknown);
  }
}

TEST(Code, NumbersOfANewerPeerAreUnknown) {
  EXPECT_EQ(CodeFromNumber(17), Code::kUnknown);
  EXPECT_EQ(CodeFromNumber(255), Code::kUnknown);
  EXPECT_EQ(CodeName(static_cast<Code>(99)), "unknown");
}

TEST(Status, ReadsAsCodeAndMessage) {
  EXPECT_EQ(Status().ToString(), "ok");
  EXPECT_EQ(Status(Code::kNotFound).ToString(), "not found");
  EXPECT_EQ(Status(Code::kNotFound, "no context 'x'").ToString(), "not found: no context 'x'");
}

Result<int> Half(int value) {
  if (value % 2 != 0) return Error(Code::kInvalidArgument, "odd");
  return value / 2;
}

Status CheckHalf(int value) {
  KDN_RETURN_IF_ERROR(Half(value) ? Status() : Half(value).error());
  return {};
}

Result<int> Quarter(int value) {
  KDN_ASSIGN_OR_RETURN(const int half, Half(value));
  KDN_ASSIGN_OR_RETURN(const int quarter, Half(half));
  return quarter;
}

TEST(Result, MacrosPassErrorsOnAndValuesThrough) {
  EXPECT_EQ(Quarter(12), 3);
  EXPECT_EQ(Quarter(6).error().message(), "odd");
  EXPECT_TRUE(CheckHalf(4).ok());
  EXPECT_EQ(CheckHalf(3).code(), Code::kInvalidArgument);
}

}  // namespace
}  // namespace kdn

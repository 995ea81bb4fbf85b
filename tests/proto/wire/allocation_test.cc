// A count is believed only as far as the bytes that came with it: a message that claims more than
// it holds is refused before memory is taken for it.
#include <gtest/gtest.h>

#include <algorithm>

#include "base/limits.h"
#include "tests/proto/wire/allocation_watch.h"
#include "tests/proto/wire/message_cases.h"

namespace kdn::test {
namespace {

// A decoded element is at most this many times as large as its shortest encoding.
constexpr std::size_t kGrowthMax = 4;

class EveryMessage : public testing::TestWithParam<MessageCase> {};

TEST_P(EveryMessage, ThatClaimsMoreThanItHoldsCostsNoMoreThanItHolds) {
  const wire::Buffer sample = GetParam().sample();
  // Every two and every four bytes of the message are taken for a count once.
  for (const std::size_t width : {1U, 2U, 4U}) {
    for (std::size_t at = 0; at + width <= sample.size(); ++at) {
      wire::Buffer bytes = sample;
      std::fill_n(bytes.begin() + static_cast<std::ptrdiff_t>(at), width, std::byte{0xFF});
      ResetAllocationBytesMax();
      (void)GetParam().reencode(bytes);
      EXPECT_LE(AllocationBytesMax(), kGrowthMax * sample.size() + limits::kTicketBytesMax)
          << width << " bytes at " << at;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Wire, EveryMessage, testing::ValuesIn(MessageCases()),
                         [](const auto& one) { return std::string(one.param.name); });

}  // namespace
}  // namespace kdn::test

// A count is believed only as far as the bytes that came with it: a message that claims more than
// it holds is refused before memory is taken for it.
#include <gtest/gtest.h>

#include <algorithm>
#include <string_view>

#include "base/limits.h"
#include "tests/proto/wire/allocation_watch.h"
#include "tests/proto/wire/message_cases.h"

namespace kdn::test {
namespace {

// A decoded element is at most this many times as large as its shortest encoding; in compact
// answers to lookups, of which a client takes no more chunks than it asked for, a chunk may be
// three bytes.
constexpr std::size_t kGrowthMax = 4;
constexpr std::size_t kCompactGrowthMax = 96;
constexpr std::size_t kWriterStepBytes = 4096;  // by which writers of lookups' answers grow

class EveryMessage : public testing::TestWithParam<MessageCase> {};

TEST_P(EveryMessage, ThatClaimsMoreThanItHoldsCostsNoMoreThanItHolds) {
  const wire::Buffer sample = GetParam().sample();
  const std::string_view name = GetParam().name;
  const std::size_t growth = name == "compact_lookup_response" ? kCompactGrowthMax : kGrowthMax;
  const std::size_t written = name.ends_with("lookup_response") ? kWriterStepBytes : std::size_t{0};
  // Every two and every four bytes of the message are taken for a count once.
  for (const std::size_t width : {1U, 2U, 4U}) {
    for (std::size_t at = 0; at + width <= sample.size(); ++at) {
      wire::Buffer bytes = sample;
      std::fill_n(bytes.begin() + static_cast<std::ptrdiff_t>(at), width, std::byte{0xFF});
      ResetAllocationBytesMax();
      (void)GetParam().reencode(bytes);
      EXPECT_LE(AllocationBytesMax(), growth * sample.size() + limits::kTicketBytesMax + written)
          << width << " bytes at " << at;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Wire, EveryMessage, testing::ValuesIn(MessageCases()),
                         [](const auto& one) { return std::string(one.param.name); });

}  // namespace
}  // namespace kdn::test

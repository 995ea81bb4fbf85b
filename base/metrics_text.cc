#include "base/metrics_text.h"

#include <charconv>
#include <string>

namespace kdn {
namespace {

// Calls `visit(labels, value)` for each line of the family `name`; what is no whole number is 0.
template <class Visit>
void ForEach(std::string_view text, std::string_view name, Visit visit) {
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    if (!line.starts_with(name)) continue;
    std::string_view rest = line.substr(name.size());
    std::string_view labels;
    if (rest.starts_with('{')) {
      const auto end = rest.rfind('}');
      if (end == std::string_view::npos) continue;
      labels = rest.substr(1, end - 1);
      rest.remove_prefix(end + 1);
    }
    if (!rest.starts_with(' ')) continue;  // another family, whose name begins like this one's
    std::uint64_t value = 0;
    std::from_chars(rest.data() + 1, rest.data() + rest.size(), value);
    visit(labels, value);
  }
}

}  // namespace

std::uint64_t MetricSum(std::string_view text, std::string_view name, std::string_view label) {
  std::uint64_t sum = 0;
  ForEach(text, name, [&](std::string_view labels, std::uint64_t value) {
    if (labels.find(label) != std::string_view::npos) sum += value;
  });
  return sum;
}

std::vector<std::uint64_t> MetricBuckets(std::string_view text, std::string_view name) {
  std::vector<std::uint64_t> counts;
  std::size_t bucket = 0;
  std::uint64_t below = 0;  // lines of one label set count everything up to their edge
  ForEach(text, std::string(name) + "_bucket", [&](std::string_view labels, std::uint64_t value) {
    if (bucket == counts.size()) counts.push_back(0);
    counts[bucket++] += value - below;
    below = value;
    if (labels.find("le=\"+Inf\"") != std::string_view::npos) bucket = below = 0;
  });
  return counts;
}

}  // namespace kdn

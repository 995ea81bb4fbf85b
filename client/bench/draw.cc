#include "client/bench/draw.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

namespace kdn::bench {
namespace {

constexpr std::uint64_t kStep = 0x9E3779B97F4A7C15ULL;
constexpr double kBytesMax = 0x1p40;

// log1p(x) / x and expm1(x) / x, whole at 0.
double LogRatio(double x) {
  return std::abs(x) > 1e-8 ? std::log1p(x) / x : 1.0 - x / 2.0;
}
double ExpRatio(double x) {
  return std::abs(x) > 1e-8 ? std::expm1(x) / x : 1.0 + x / 2.0;
}

// A number at the front of `text`, which it takes away.
bool TakeNumber(std::string_view& text, double& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || !std::isfinite(number)) return false;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return true;
}

}  // namespace

std::uint64_t Mix(std::uint64_t value) {
  value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9ULL;
  value = (value ^ (value >> 27)) * 0x94D049BB133111EBULL;
  return value ^ (value >> 31);
}

std::uint64_t Lots::Next() {
  return Mix(state_ += kStep);
}
double Lots::Share() {
  return static_cast<double>(Next() >> 11) * 0x1p-53;
}
// Counts are far below 2^64: the bias is nobody's concern.
std::uint64_t Lots::Below(std::uint64_t count) {
  return Next() % count;
}

Zipfian::Zipfian(double theta)
    : theta_(theta),
      integral_first_(Integral(1.5) - 1.0),
      shortcut_(2.0 - Inverse(Integral(2.5) - Density(2.0))) {}

double Zipfian::Integral(double x) const {
  const double log_x = std::log(x);
  return ExpRatio((1.0 - theta_) * log_x) * log_x;
}

double Zipfian::Inverse(double x) const {
  const double t = std::max(x * (1.0 - theta_), -1.0);
  return std::exp(LogRatio(t) * x);
}

double Zipfian::Density(double x) const {
  return std::exp(-theta_ * std::log(x));
}

std::uint64_t Zipfian::Rank(std::uint64_t count, Lots& lots) const {
  const auto top = static_cast<double>(count);
  const double integral_last = Integral(top + 0.5);
  while (true) {
    const double u = integral_last + lots.Share() * (integral_first_ - integral_last);
    const double x = Inverse(u);
    const double rank = std::clamp(std::floor(x + 0.5), 1.0, top);
    if (rank - x <= shortcut_ || u >= Integral(rank + 0.5) - Density(rank)) {
      return static_cast<std::uint64_t>(rank);
    }
  }
}

Result<Popularity> FindPopularity(std::string_view name) {
  for (const auto popularity : {Popularity::kUniform, Popularity::kZipfian, Popularity::kLatest}) {
    if (name == PopularityName(popularity)) return popularity;
  }
  return Error(Code::kInvalidArgument, "expected uniform, zipfian or latest");
}

std::string_view PopularityName(Popularity popularity) {
  constexpr std::array<std::string_view, 3> kNames = {"uniform", "zipfian", "latest"};
  return kNames[static_cast<std::size_t>(popularity)];
}

std::uint64_t RecordChooser::Choose(std::uint64_t count, Lots& lots) const {
  switch (popularity_) {
    case Popularity::kUniform:
      return lots.Below(count);
    case Popularity::kZipfian:
      return Mix(zipfian_.Rank(count, lots)) % count;
    case Popularity::kLatest:
      break;
  }
  return count - zipfian_.Rank(count, lots);
}

Result<std::size_t> ParseBytes(std::string_view text) {
  constexpr std::array<std::pair<std::string_view, double>, 5> kUnits = {
      {{"", 1.0}, {"B", 1.0}, {"KiB", 0x1p10}, {"MiB", 0x1p20}, {"GiB", 0x1p30}}};
  std::string_view rest = text;
  double number = 0.0;
  if (TakeNumber(rest, number) && number > 0.0) {
    for (const auto& [unit, factor] : kUnits) {
      const double bytes = number * factor;
      if (rest == unit && bytes <= kBytesMax && bytes == std::floor(bytes)) {
        return static_cast<std::size_t>(bytes);
      }
    }
  }
  return Error(Code::kInvalidArgument,
               "'" + std::string(text) + "' is no size; expected one like 4096, 64KiB or 1.5MiB");
}

Result<Sizes> Sizes::Parse(std::string_view text) {
  Sizes sizes;
  while (true) {
    std::string_view item = text.substr(0, text.find(','));
    const bool last_item = item.size() == text.size();
    Choice choice;
    const auto colon = item.find(':');
    if (colon != std::string_view::npos) {
      std::string_view weight = item.substr(colon + 1);
      if (!TakeNumber(weight, choice.weight) || !weight.empty() || choice.weight <= 0.0) {
        return Error(Code::kInvalidArgument,
                     "'" + std::string(item) + "': behind the colon stands a weight above 0");
      }
      item = item.substr(0, colon);
    }
    const auto dash = item.find('-');
    KDN_ASSIGN_OR_RETURN(choice.first, ParseBytes(item.substr(0, dash)));
    choice.last = choice.first;
    if (dash != std::string_view::npos) {
      KDN_ASSIGN_OR_RETURN(choice.last, ParseBytes(item.substr(dash + 1)));
      if (choice.last < choice.first) {
        return Error(Code::kInvalidArgument,
                     "'" + std::string(item) + "': the smaller size comes first");
      }
    }
    sizes.weight_ += choice.weight;
    sizes.choices_.push_back(choice);
    if (last_item) return sizes;
    text.remove_prefix(text.find(',') + 1);
  }
}

std::size_t Sizes::Of(std::uint64_t seed, std::uint64_t record) const {
  Lots lots(Mix(seed) ^ record);
  double at = lots.Share() * weight_;
  const Choice* chosen = &choices_.front();
  for (const Choice& choice : choices_) {
    chosen = &choice;
    if ((at -= choice.weight) < 0.0) break;
  }
  return chosen->first + lots.Below(chosen->last - chosen->first + 1);
}

std::size_t Sizes::max() const {
  return std::ranges::max(choices_, {}, &Choice::last).last;
}
std::size_t Sizes::min() const {
  return std::ranges::min(choices_, {}, &Choice::first).first;
}

}  // namespace kdn::bench

// What is drawn by lot in a workload: which record is next, how large a record is, when the next
// operation arrives, which kind it is. All of it follows from seeds.
//
// Thread-safety: not safe, each thread draws its own; pure functions where it says so.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace kdn::bench {

// A bijection that leaves no pattern: SplitMix64's finaliser. Pure.
[[nodiscard]] std::uint64_t Mix(std::uint64_t value);

class Lots {
 public:
  explicit Lots(std::uint64_t seed) : state_(seed) {}
  [[nodiscard]] std::uint64_t Next();
  // In [0, 1).
  [[nodiscard]] double Share();
  // In [0, count). Requires: count > 0.
  [[nodiscard]] std::uint64_t Below(std::uint64_t count);

 private:
  std::uint64_t state_;
};

// Ranks 1, 2, ... with probability proportional to 1 / rank^theta, over a number of ranks that may
// grow from draw to draw: rejection-inversion after Hoermann and Derflinger (1996), which needs no
// table. Requires: 0 < theta, theta != 1.
class Zipfian {
 public:
  explicit Zipfian(double theta);
  // In [1, count]. Requires: count > 0.
  [[nodiscard]] std::uint64_t Rank(std::uint64_t count, Lots& lots) const;

 private:
  [[nodiscard]] double Integral(double x) const;
  [[nodiscard]] double Inverse(double x) const;
  [[nodiscard]] double Density(double x) const;

  double theta_;
  double integral_first_;
  double shortcut_;
};

enum class Popularity : std::uint8_t {
  kUniform,  // all records alike
  kZipfian,  // few are popular; which ones, is scattered over all
  kLatest,   // the popular ones are those that were inserted last
};
// kInvalidArgument unless it is uniform, zipfian or latest.
[[nodiscard]] Result<Popularity> FindPopularity(std::string_view name);
[[nodiscard]] std::string_view PopularityName(Popularity popularity);

class RecordChooser {
 public:
  RecordChooser(Popularity popularity, double theta) : popularity_(popularity), zipfian_(theta) {}
  // In [0, count); the newest record has the highest number. Requires: count > 0.
  [[nodiscard]] std::uint64_t Choose(std::uint64_t count, Lots& lots) const;

 private:
  Popularity popularity_;
  Zipfian zipfian_;
};

// Sizes of objects in bytes: one, evenly between two, or a list with weights.
class Sizes {
 public:
  // "1MiB", "64KiB-4MiB" or "64KiB:70,1MiB:25,16MiB:5". kInvalidArgument says what is wrong.
  [[nodiscard]] static Result<Sizes> Parse(std::string_view text);
  // The size of the record with this number: always the same. Pure.
  [[nodiscard]] std::size_t Of(std::uint64_t seed, std::uint64_t record) const;
  [[nodiscard]] std::size_t max() const;
  [[nodiscard]] std::size_t min() const;

 private:
  struct Choice {
    std::size_t first = 0;  // sizes from first to last are alike likely
    std::size_t last = 0;
    double weight = 1.0;
  };
  std::vector<Choice> choices_;
  double weight_ = 0.0;
};

// "512", "64KiB", "1.5MiB", "2GiB"; kInvalidArgument for anything else. Pure.
[[nodiscard]] Result<std::size_t> ParseBytes(std::string_view text);

}  // namespace kdn::bench

// For benches with several bars: each is printed with its figures, all are written, and the bench
// fails if one is missed. Keeps the heavy headers of options and JSON to itself.
//
// Thread-safety: not safe; caller synchronises.
#pragma once

#include <map>
#include <string>
#include <vector>

namespace kdn::bench {

// ours / theirs is to be at least, or at most, `bar`.
struct Bar {
  enum class Side { kAtLeast, kAtMost };

  std::string what;
  double ours = 0.0;
  double theirs = 0.0;
  std::string unit;
  Side side = Side::kAtLeast;
  double bar = 0.0;

  [[nodiscard]] double Ratio() const { return ours / theirs; }
  [[nodiscard]] bool Holds() const {
    return side == Side::kAtLeast ? Ratio() >= bar : Ratio() <= bar;
  }
  // At least 1 where it holds.
  [[nodiscard]] double Margin() const {
    return side == Side::kAtLeast ? Ratio() / bar : bar / Ratio();
  }
};

struct BarsOptions {
  std::string name;     // the program's
  std::string group;    // of scripts/bench
  std::string command;  // as it was called
  std::string json;     // where the result is to be written; empty: nowhere
  std::string kernels;  // instead of the fastest
  bool details = true;  // figures that no bar needs
};
// Ends the program for --help and for options that it has not.
[[nodiscard]] BarsOptions ParseBarsOptions(int argc, char** argv, const std::string& what_for,
                                           const std::string& group = "codec");

// What else a bench measured, to be written beside the bars.
struct Figures {
  std::map<std::string, std::string> labels;
  std::map<std::string, std::vector<double>> numbers;
};

class Bars {
 public:
  explicit Bars(BarsOptions options);

  // Prints it.
  void Add(Bar bar);
  void AddFigures(Figures figures);
  [[nodiscard]] const BarsOptions& options() const { return options_; }

  // Prints the tightest of all and writes everything, with the fields of Report(). Returns what
  // main() is to return: 0 if all hold, 1 if not, 2 if nothing can be written. Requires: a bar.
  [[nodiscard]] int Finish() const;

 private:
  [[nodiscard]] bool Write(const Bar& tightest) const;

  BarsOptions options_;
  std::vector<Bar> bars_;
  std::vector<Figures> figures_;
};

}  // namespace kdn::bench

#include "tests/bench/bars.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <utility>

#include "tests/bench/report.h"

namespace kdn::bench {

BarsOptions ParseBarsOptions(int argc, char** argv, const std::string& what_for,
                             const std::string& group) {
  BarsOptions options;
  options.group = group;
  options.command = CommandLine(argc, argv);
  options.name = options.command.substr(0, options.command.find(' '));
  CLI::App app(what_for);
  app.add_option("--json", options.json, "write the result to this file");
  app.add_option("--kernels", options.kernels, "scalar, avx2 or avx512 instead of the fastest");
  app.add_flag("--details,!--no-details", options.details, "measure what no bar needs, too");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    std::exit(app.exit(error));
  }
  return options;
}

Bars::Bars(BarsOptions options) : options_(std::move(options)) {
  std::setvbuf(stdout, nullptr, _IOLBF, 0);  // long runs are watched
}

void Bars::Add(Bar bar) {
  std::printf("  %-7s %s: %.4g against %.4g %s, ratio %.3f, bar: at %s %.3g\n",
              bar.Holds() ? "holds" : "MISSED", bar.what.c_str(), bar.ours, bar.theirs,
              bar.unit.c_str(), bar.Ratio(), bar.side == Bar::Side::kAtLeast ? "least" : "most",
              bar.bar);
  bars_.push_back(std::move(bar));
}

void Bars::AddFigures(Figures figures) {
  figures_.push_back(std::move(figures));
}

int Bars::Finish() const {
  const Bar& tightest = *std::ranges::min_element(bars_, {}, &Bar::Margin);
  std::printf("%s: %zu of %zu bars hold; the tightest is \"%s\"\n", options_.name.c_str(),
              static_cast<std::size_t>(std::ranges::count_if(bars_, &Bar::Holds)), bars_.size(),
              tightest.what.c_str());
  if (!options_.json.empty() && !Write(tightest)) return 2;
  return tightest.Holds() ? 0 : 1;
}

bool Bars::Write(const Bar& tightest) const {
  const auto fields = [](const Bar& bar) {
    return nlohmann::json{{"what", bar.what},
                          {"ours", bar.ours},
                          {"theirs", bar.theirs},
                          {"unit", bar.unit},
                          {"ratio", bar.Ratio()},
                          {"bar", bar.bar},
                          {"side", bar.side == Bar::Side::kAtLeast ? "at least" : "at most"},
                          {"holds", bar.Holds()}};
  };
  nlohmann::json all = fields(tightest);
  all["name"] = options_.name;
  all["group"] = options_.group;
  all["command"] = options_.command;
  all["machine"] = MachineName();
  for (const Bar& bar : bars_) all["bars"].push_back(fields(bar));
  for (const Figures& figures : figures_) {
    nlohmann::json row = figures.labels;
    for (const auto& [name, numbers] : figures.numbers) row[name] = numbers;
    all["figures"].push_back(row);
  }
  std::ofstream file(options_.json);
  file << all.dump(1) << "\n";
  if (file.flush()) return true;
  std::fprintf(stderr, "%s: cannot write %s\n", options_.name.c_str(), options_.json.c_str());
  return false;
}

}  // namespace kdn::bench

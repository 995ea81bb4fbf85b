// What every benchmark prints and writes: both sides of one run, their ratio and the bar.
//
// Thread-safety: pure functions.
#pragma once

#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

namespace kdn::bench {

struct Comparison {
  std::string name;     // the program's
  std::string group;    // demo, path, codec, stream, policy, secure or blend
  double ours = 0.0;    // in `unit`
  double theirs = 0.0;  // the ceiling, peer or requirement it is held against
  std::string unit;
  double ratio = 0.0;
  double bar = 0.0;  // the least ratio that holds
  std::string command;
};

// The CPU's name, as the kernel tells it.
inline std::string MachineName() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  }
  return "unknown";
}

// argv as one line, without the folder that the program lies in.
inline std::string CommandLine(int argc, char** argv) {
  const std::string program = argv[0];
  std::string line = program.substr(program.find_last_of('/') + 1);
  for (int i = 1; i < argc; ++i) line += std::string(" ") + argv[i];
  return line;
}

// Prints the comparison, writes it to `json_path` unless that is empty, and returns what main() is
// to return: 0 if the bar holds, 1 if not, 2 if the file cannot be written.
inline int Report(const Comparison& c, const std::string& json_path) {
  const bool holds = c.ratio >= c.bar;
  std::printf("%s: %.4g against %.4g %s, ratio %.3f, bar %.3g: %s\n", c.name.c_str(), c.ours,
              c.theirs, c.unit.c_str(), c.ratio, c.bar, holds ? "holds" : "below");
  if (!json_path.empty()) {
    const nlohmann::json row = {
        {"name", c.name},       {"group", c.group},        {"ours", c.ours}, {"theirs", c.theirs},
        {"unit", c.unit},       {"ratio", c.ratio},        {"bar", c.bar},   {"holds", holds},
        {"command", c.command}, {"machine", MachineName()}};
    std::ofstream file(json_path);
    file << row.dump(2) << "\n";
    if (!file.flush()) {
      std::fprintf(stderr, "%s: cannot write %s\n", c.name.c_str(), json_path.c_str());
      return 2;
    }
  }
  return holds ? 0 : 1;
}

}  // namespace kdn::bench

// What quality_bench has measured so far, a line of JSON for each context, so that a long run that
// was ended goes on where it was.
//
// Thread-safety: not safe; caller synchronises.
#pragma once

#include <cstddef>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "base/result.h"

namespace kdn::bench {

// One context, read once and coded in several ways.
struct QualitySample {
  // Answers asked for, or bits that the text behind the context takes over KV that was not coded.
  double weight = 0.0;
  double right = 0.0;       // of the answers, over KV that was not coded
  double text_bytes = 0.0;  // of the text behind the context
  double values = 0.0;      // of the context's KV
  // By way of coding: right answers or bits more than over KV that was not coded; answers that only
  // the one or the other has; bytes that the KV takes.
  std::vector<double> more;
  std::vector<double> won;
  std::vector<double> lost;
  std::vector<double> bytes;
};

class QualityLog {
 public:
  // Goes on with the file at `path` if `key`, which says what is measured of what, is that of its
  // first line; else begins it anew. An empty path keeps nothing. kUnavailable if the file cannot
  // be written.
  static Result<QualityLog> Open(const std::string& path, const std::string& key);

  // Null if the context of this name has not been measured; valid until the log goes.
  [[nodiscard]] const QualitySample* Find(const std::string& name) const;
  // kUnavailable if it could not be written; it is then remembered nevertheless.
  Status Add(const std::string& name, QualitySample sample);

 private:
  QualityLog() = default;
  std::ofstream file_;
  std::map<std::string, QualitySample> samples_;
};

}  // namespace kdn::bench

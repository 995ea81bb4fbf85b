#include "tests/bench/quality_log.h"

#include <nlohmann/json.hpp>
#include <utility>

namespace kdn::bench {
namespace {

using nlohmann::json;

json ToJson(const std::string& name, const QualitySample& s) {
  return {
      {"name", name},       {"weight", s.weight}, {"right", s.right}, {"text_bytes", s.text_bytes},
      {"values", s.values}, {"more", s.more},     {"won", s.won},     {"lost", s.lost},
      {"bytes", s.bytes}};
}

QualitySample FromJson(const json& line) {
  return {.weight = line.at("weight"),
          .right = line.at("right"),
          .text_bytes = line.at("text_bytes"),
          .values = line.at("values"),
          .more = line.at("more"),
          .won = line.at("won"),
          .lost = line.at("lost"),
          .bytes = line.at("bytes")};
}

}  // namespace

Result<QualityLog> QualityLog::Open(const std::string& path, const std::string& key) {
  QualityLog log;
  if (path.empty()) return log;
  std::ifstream before(path);
  std::string line;
  if (std::getline(before, line) && line == key) {
    while (std::getline(before, line)) {
      const json sample = json::parse(line, nullptr, /*allow_exceptions=*/false);
      if (sample.is_discarded()) break;  // the run ended in the middle of it
      log.samples_.insert_or_assign(sample.at("name"), FromJson(sample));
    }
  }
  // Written again, so that no half of a line stays in the middle.
  log.file_.open(path, std::ios::trunc);
  log.file_ << key << "\n";
  for (const auto& [name, sample] : log.samples_) log.file_ << ToJson(name, sample).dump() << "\n";
  if (!log.file_.flush()) return Error(Code::kUnavailable, "cannot write " + path);
  return log;
}

const QualitySample* QualityLog::Find(const std::string& name) const {
  const auto found = samples_.find(name);
  return found == samples_.end() ? nullptr : &found->second;
}

Status QualityLog::Add(const std::string& name, QualitySample sample) {
  const auto at = samples_.insert_or_assign(name, std::move(sample)).first;
  if (!file_.is_open()) return {};
  file_ << ToJson(at->first, at->second).dump() << "\n";
  if (!file_.flush()) return {Code::kUnavailable, "the log cannot be written"};
  return {};
}

}  // namespace kdn::bench

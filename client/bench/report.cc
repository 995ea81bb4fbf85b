#include "client/bench/report.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <nlohmann/json.hpp>

namespace kdn::bench {
namespace {

using nlohmann::json;

constexpr std::array<std::pair<const char*, double>, 5> kQuantiles = {
    {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p99_9", 0.999}, {"p99_99", 0.9999}}};
// The parts of an operation, and the whole.
constexpr std::array<std::pair<const char*, LatencyHistogram Tally::*>, 5> kTimes = {
    {{"latency_us", &Tally::latency},
     {"start_delay_us", &Tally::start_delay},
     {"lookup_us", &Tally::lookup},
     {"load_us", &Tally::load},
     {"store_us", &Tally::store}}};

double Microseconds(std::chrono::nanoseconds time) {
  return static_cast<double>(time.count()) / 1e3;
}

json TimesJson(const LatencyHistogram& histogram, bool buckets) {
  json times = {{"count", histogram.count()},
                {"min", Microseconds(histogram.min())},
                {"mean", Microseconds(histogram.Mean())},
                {"max", Microseconds(histogram.max())}};
  for (const auto& [name, share] : kQuantiles) {
    times[name] = Microseconds(histogram.Quantile(share));
  }
  if (buckets) times["buckets"] = histogram.NonEmpty();
  return times;
}

json TallyJson(const Tally& tally, double seconds, bool open_loop, bool buckets) {
  json row;
  std::uint64_t count = 0;
  for (std::size_t i = 0; i < kOutcomes; ++i) {
    row[std::string(kOutcomeNames[i])] = tally.outcomes[i];
    count += tally.outcomes[i];
  }
  row["count"] = count;
  row["ended_in_time"] = tally.ended;
  row["bytes_in_time"] = tally.bytes;
  row["ops_per_second"] = static_cast<double>(tally.ended) / seconds;
  row["mb_per_second"] = static_cast<double>(tally.bytes) / 1e6 / seconds;
  for (const auto& [name, member] : kTimes) {
    const LatencyHistogram& times = tally.*member;
    if (times.count() == 0 || (member == &Tally::start_delay && !open_loop)) continue;
    row[name] = TimesJson(times, buckets);
  }
  return row;
}

Status MergeRow(const json& row, Tally& tally) {
  for (std::size_t i = 0; i < kOutcomes; ++i) {
    tally.outcomes[i] += row.at(std::string(kOutcomeNames[i])).get<std::uint64_t>();
  }
  tally.ended += row.at("ended_in_time").get<std::uint64_t>();
  tally.bytes += row.at("bytes_in_time").get<std::uint64_t>();
  for (const auto& [name, member] : kTimes) {
    if (!row.contains(name)) continue;
    const auto histogram =
        LatencyHistogram::Of(row.at(name).at("buckets").get<LatencyHistogram::Buckets>());
    if (!histogram) return histogram.error();
    (tally.*member).Merge(*histogram);
  }
  return {};
}

std::string Format(const char* format, auto... values) {
  std::array<char, 256> text{};
  std::snprintf(text.data(), text.size(), format, values...);
  return text.data();
}

std::string TimeText(const json& times, const char* name) {
  const double us = times.at(name).get<double>();
  if (us < 1e3) return Format("%.0f us", us);
  return us < 1e6 ? Format("%.2f ms", us / 1e3) : Format("%.2f s", us / 1e6);
}

void AppendTimes(const std::string& name, const std::string& rates, const json& times,
                 std::string& text) {
  text += Format("%-13s %-24s", name.c_str(), rates.c_str());
  for (const char* column : {"mean", "p50", "p90", "p99", "p99_9", "max"}) {
    text += Format(" %10s", TimeText(times, column).c_str());
  }
  text += "\n";
}

}  // namespace

json ReportJson(const Options& options, const RunTotals& totals, const Tallies& tallies) {
  json report = {{"parameters", JsonOf(options)},
                 {"runs", 1},
                 {"seconds", totals.seconds},
                 {"load_seconds", totals.load_seconds},
                 {"bytes_verified", totals.bytes_verified},
                 {"under_replicated", totals.under_replicated},
                 {"operations", json::object()}};
  for (std::size_t kind = 0; kind < kKinds; ++kind) {
    if (tallies[kind].latency.count() == 0) continue;
    report["operations"][std::string(kKindNames[kind])] =
        TallyJson(tallies[kind], totals.seconds, options.rate > 0.0, options.histograms);
  }
  return report;
}

Result<json> MergeReports(const std::vector<json>& reports) try {
  json merged = reports.at(0);
  std::array<Tally, kKinds> tallies;
  merged["bytes_verified"] = 0;
  merged["under_replicated"] = 0;
  merged["runs"] = 0;
  for (const json& report : reports) {
    if (report.at("seconds") != merged.at("seconds")) {
      return Error(Code::kInvalidArgument, "the runs counted for different times");
    }
    for (const char* sum : {"bytes_verified", "under_replicated", "runs"}) {
      merged[sum] = merged[sum].get<std::uint64_t>() + report.at(sum).get<std::uint64_t>();
    }
    for (const auto& [name, row] : report.at("operations").items()) {
      const auto kind = std::ranges::find(kKindNames, name);
      if (kind == kKindNames.end()) return Error(Code::kInvalidArgument, "no kind is " + name);
      const auto index = static_cast<std::size_t>(kind - kKindNames.begin());
      if (Status status = MergeRow(row, tallies[index]); !status.ok()) {
        return std::unexpected(status);
      }
    }
  }
  merged["operations"] = json::object();
  const bool open_loop = merged.at("parameters").at("loop") == "open";
  for (std::size_t kind = 0; kind < kKinds; ++kind) {
    if (tallies[kind].latency.count() == 0) continue;
    merged["operations"][std::string(kKindNames[kind])] =
        TallyJson(tallies[kind], merged.at("seconds").get<double>(), open_loop, true);
  }
  return merged;
} catch (const std::exception& error) {
  // What the file lacks; only nlohmann's accessors and at() throw here.
  return Error(Code::kInvalidArgument,
               std::string("not written by kdn-bench --output json --histograms: ") + error.what());
}

std::string ReportText(const json& report) {
  const json& parameters = report.at("parameters");
  std::string text = Format("%.1f s, %s loop, %u clients", report.at("seconds").get<double>(),
                            parameters.at("loop").get<std::string>().c_str(),
                            parameters.at("clients").get<unsigned>());
  if (parameters.at("loop") == "open") {
    text += Format(", %.0f %s arrivals/s", parameters.at("rate").get<double>(),
                   parameters.at("arrivals").get<std::string>().c_str());
  }
  if (report.at("runs").get<unsigned>() > 1) {
    text += Format(", %u runs together", report.at("runs").get<unsigned>());
  }
  text += Format("\n%-13s %10s %13s", "operation", "ops/s", "MB/s");
  for (const char* column : {"mean", "p50", "p90", "p99", "p99.9", "max"}) {
    text += Format(" %10s", column);
  }
  text += "\n";
  std::string trouble;
  for (const auto& [name, row] : report.at("operations").items()) {
    const std::string rates = Format("%10.1f %13.1f", row.at("ops_per_second").get<double>(),
                                     row.at("mb_per_second").get<double>());
    AppendTimes(name, rates, row.at("latency_us"), text);
    for (const char* part : {"start_delay_us", "lookup_us", "load_us", "store_us"}) {
      if (!row.contains(part)) continue;
      std::string label = std::string("  ") + part;
      label.resize(label.size() - 3);
      AppendTimes(label, "", row.at(part), text);
    }
    for (std::size_t i = 1; i < kOutcomes; ++i) {
      const std::string outcome(kOutcomeNames[i]);
      const auto count = row.at(outcome).get<std::uint64_t>();
      if (count == 0) continue;
      trouble +=
          Format("%s: %llu of %llu %s\n", name.c_str(), static_cast<unsigned long long>(count),
                 row.at("count").get<unsigned long long>(), outcome.c_str());
    }
  }
  text += trouble;
  text += Format("%.1f MB compared with what was stored, %llu operations brought wrong bytes\n",
                 report.at("bytes_verified").get<double>() / 1e6,
                 static_cast<unsigned long long>(CountOf(report, Outcome::kWrong)));
  if (const auto few = report.at("under_replicated").get<unsigned long long>(); few > 0) {
    text += Format("%llu chunks are on fewer nodes than were wanted\n", few);
  }
  return text;
}

std::uint64_t CountOf(const json& report, Outcome outcome) {
  std::uint64_t count = 0;
  for (const auto& [name, row] : report.at("operations").items()) {
    count +=
        row.at(std::string(kOutcomeNames[static_cast<std::size_t>(outcome)])).get<std::uint64_t>();
  }
  return count;
}

}  // namespace kdn::bench

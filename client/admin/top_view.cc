#include "client/admin/top_view.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <vector>

#include "client/admin/output.h"

namespace kdn::admin {
namespace {

using nlohmann::json;

// Between two totals; a counter that has become smaller began anew.
struct Span {
  double seconds = 0.0;
  bool anew = false;

  [[nodiscard]] double Rate(std::uint64_t before, std::uint64_t now) const {
    return static_cast<double>(anew ? now : now - before) / seconds;
  }
};

double Share(double part, double rest) {
  return part + rest > 0.0 ? part / (part + rest) : 0.0;
}

json RatesOf(const v1::NodeLoad& before, const v1::NodeLoad& now) {
  if (before.at_us() == now.at_us() || now.at_us() == 0) return nullptr;
  const bool anew = now.gets() < before.gets() || now.put_pieces() < before.put_pieces() ||
                    now.at_us() < before.at_us() || before.at_us() == 0;
  const v1::NodeLoad none;
  const v1::NodeLoad& from = anew ? none : before;
  const Span span{anew && now.at_us() < before.at_us()
                      ? static_cast<double>(now.at_us()) / 1e6
                      : static_cast<double>(now.at_us() - before.at_us()) / 1e6,
                  false};
  const double found = span.Rate(from.gets(), now.gets());
  const double missed = span.Rate(from.gets_missed(), now.gets_missed());
  return {{"gets_per_second", found},
          {"misses_per_second", missed},
          {"hit_ratio", Share(found, missed)},
          {"dram_hit_ratio", Share(span.Rate(from.reads_dram(), now.reads_dram()),
                                   span.Rate(from.reads_disk(), now.reads_disk()))},
          {"errors_per_second", span.Rate(from.gets_failed(), now.gets_failed())},
          {"bytes_out_per_second", span.Rate(from.get_bytes(), now.get_bytes())},
          {"put_pieces_per_second", span.Rate(from.put_pieces(), now.put_pieces())},
          {"bytes_in_per_second", span.Rate(from.put_bytes(), now.put_bytes())},
          {"puts_refused_per_second", span.Rate(from.puts_refused(), now.puts_refused())},
          {"shed_per_second", span.Rate(from.calls_shed(), now.calls_shed())},
          {"get_p50_us", QuantileUs(from.get_times(), now.get_times(), 0.5)},
          {"get_p99_us", QuantileUs(from.get_times(), now.get_times(), 0.99)},
          {"put_p50_us", QuantileUs(from.put_times(), now.put_times(), 0.5)},
          {"put_p99_us", QuantileUs(from.put_times(), now.put_times(), 0.99)}};
}

json NodeJson(const v1::OverviewResponse& before, const v1::NodeOverview& node) {
  json row = {{"node_id", node.node_id()},
              {"state", node.state()},
              {"endpoint", node.endpoint()},
              {"silent_ms", node.silent_ms()},
              {"objects", node.objects()},
              {"dram_bytes", node.dram_bytes()},
              {"dram_bytes_used", node.dram_bytes_used()},
              {"disk_bytes_used", node.disk_bytes_used()},
              {"dirty_bytes", node.load().dirty_bytes()},
              {"shed_total", node.load().calls_shed()},
              {"rates", nullptr}};
  if (node.state() != "alive") return row;
  for (const v1::NodeOverview& old : before.nodes()) {
    if (old.node_id() == node.node_id()) row["rates"] = RatesOf(old.load(), node.load());
  }
  return row;
}

json CoordinatorJson(const v1::CoordinatorLoad& before, const v1::CoordinatorLoad& now) {
  const bool anew = now.epoch() != before.epoch();
  const v1::CoordinatorLoad none;
  const v1::CoordinatorLoad& from = anew ? none : before;
  const Span span{std::max(static_cast<double>(now.at_us() - from.at_us()) / 1e6, 1e-6), false};
  const double keys = span.Rate(from.lookup_keys(), now.lookup_keys());
  const double hits = span.Rate(from.lookup_hits(), now.lookup_hits());
  return {
      {"cluster_id", HexText(now.cluster_id())},
      {"epoch", now.epoch()},
      {"version", now.version()},
      {"uptime_ms", now.at_us() / 1000},
      {"chunks", now.chunks()},
      {"contexts", now.contexts()},
      {"directory_bytes", now.directory_bytes()},
      {"inventories_complete", now.inventories_complete()},
      {"puts_open", now.puts_open()},
      {"lookups_per_second", span.Rate(from.lookups(), now.lookups())},
      {"lookup_keys_per_second", keys},
      {"lookup_hit_ratio", keys > 0.0 ? hits / keys : 0.0},
      {"lookup_p50_us", QuantileUs(from.lookup_times(), now.lookup_times(), 0.5)},
      {"lookup_p99_us", QuantileUs(from.lookup_times(), now.lookup_times(), 0.99)},
      {"chunks_committed_per_second", span.Rate(from.chunks_committed(), now.chunks_committed())},
      {"calls_refused_per_second", span.Rate(from.calls_refused(), now.calls_refused())}};
}

std::string Format(const char* format, double value) {
  std::array<char, 48> text{};
  std::snprintf(text.data(), text.size(), format, value);
  return text.data();
}

std::string CountText(double value) {
  if (value >= 1e6) return Format("%.2fM", value / 1e6);
  if (value >= 1e4) return Format("%.1fk", value / 1e3);
  return Format(value < 10.0 && value > 0.0 ? "%.1f" : "%.0f", value);
}

std::string TimeText(double us) {
  if (us <= 0.0) return "-";
  if (us < 1e3) return Format("%.0fus", us);
  return us < 1e6 ? Format("%.1fms", us / 1e3) : Format("%.1fs", us / 1e6);
}

std::string PercentText(double share) {
  return Format("%.1f%%", 100.0 * share);
}

double Number(const json& row, const char* name) {
  return row.at(name).get<double>();
}
std::uint64_t Bytes(const json& row, const char* name) {
  return row.at(name).get<std::uint64_t>();
}

std::string StateText(const json& node) {
  const auto state = node.at("state").get<std::string>();
  if (state == "alive") return state;
  return state + " " + Format("%.0fs", Number(node, "silent_ms") / 1e3);
}

const Row kHead = {"node",    "state",   "gets/s", "hit",     "DRAM hit", "MB/s out",
                   "get p50", "get p99", "puts/s", "MB/s in", "put p50",  "put p99",
                   "shed/s",  "DRAM",    "disk",   "dirty",   "objects"};

Row NodeCells(const json& node) {
  Row row = {std::to_string(node.at("node_id").get<unsigned>()), StateText(node)};
  const json& rates = node.at("rates");
  if (rates.is_null()) {
    row.resize(13, "-");
  } else {
    const bool gets = Number(rates, "gets_per_second") + Number(rates, "misses_per_second") > 0.0;
    row.push_back(CountText(Number(rates, "gets_per_second")));
    row.push_back(gets ? PercentText(Number(rates, "hit_ratio")) : "-");
    row.push_back(gets ? PercentText(Number(rates, "dram_hit_ratio")) : "-");
    row.push_back(Format("%.1f", Number(rates, "bytes_out_per_second") / 1e6));
    row.push_back(TimeText(Number(rates, "get_p50_us")));
    row.push_back(TimeText(Number(rates, "get_p99_us")));
    row.push_back(CountText(Number(rates, "put_pieces_per_second")));
    row.push_back(Format("%.1f", Number(rates, "bytes_in_per_second") / 1e6));
    row.push_back(TimeText(Number(rates, "put_p50_us")));
    row.push_back(TimeText(Number(rates, "put_p99_us")));
    row.push_back(
        CountText(Number(rates, "shed_per_second") + Number(rates, "puts_refused_per_second")));
  }
  const std::uint64_t total = Bytes(node, "dram_bytes");
  const std::uint64_t used = Bytes(node, "dram_bytes_used");
  row.push_back(BytesText(used) + (total > 0
                                       ? " " + Format("%.0f%%", 100.0 * static_cast<double>(used) /
                                                                    static_cast<double>(total))
                                       : ""));
  row.push_back(BytesText(Bytes(node, "disk_bytes_used")));
  row.push_back(BytesText(Bytes(node, "dirty_bytes")));
  row.push_back(CountText(Number(node, "objects")));
  return row;
}

void AppendRows(const std::vector<Row>& rows, std::string& text) {
  std::vector<std::size_t> widths;
  for (const Row& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (std::size_t c = 0; c < row.size(); ++c) widths[c] = std::max(widths[c], row[c].size());
  }
  for (const Row& row : rows) {
    for (std::size_t c = 0; c < row.size(); ++c) {
      const std::string padding(widths[c] - row[c].size(), ' ');
      text += c < 2 ? row[c] + padding : padding + row[c];
      text += c + 1 < row.size() ? "  " : "\n";
    }
  }
}

std::string Cut(const std::string& text, std::size_t columns) {
  std::string cut;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = text.find('\n', at);
    cut += text.substr(at, std::min(end - at, columns)) + "\n";
    at = end + 1;
  }
  return cut;
}

}  // namespace

double QuantileUs(const v1::Durations& before, const v1::Durations& now, double share) {
  std::vector<double> counts;
  double total = 0.0;
  for (int i = 0; i < now.counts_size(); ++i) {
    const std::uint64_t old = i < before.counts_size() ? before.counts(i) : 0;
    counts.push_back(static_cast<double>(now.counts(i) >= old ? now.counts(i) - old : 0));
    total += counts.back();
  }
  if (total <= 0.0) return 0.0;
  double below = 0.0;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    if (counts[i] > 0.0 && below + counts[i] >= share * total) {
      const double upper = std::exp2(static_cast<double>(i));
      const double lower = i == 0 ? 0.0 : upper / 2.0;
      return lower + (upper - lower) * std::max(share * total - below, 0.0) / counts[i];
    }
    below += counts[i];
  }
  return std::exp2(static_cast<double>(counts.size()));
}

json TopJson(const v1::OverviewResponse& before, const v1::OverviewResponse& now) {
  json nodes = json::array();
  for (const v1::NodeOverview& node : now.nodes()) nodes.push_back(NodeJson(before, node));
  return {{"coordinator", CoordinatorJson(before.coordinator(), now.coordinator())},
          {"nodes", std::move(nodes)}};
}

std::string TopText(const json& top, std::size_t columns) {
  const json& c = top.at("coordinator");
  std::string text = "cluster " + c.at("cluster_id").get<std::string>().substr(0, 8) + "  epoch " +
                     std::to_string(c.at("epoch").get<unsigned>()) + "  up " +
                     std::to_string(Bytes(c, "uptime_ms") / 1000) + " s  version " +
                     c.at("version").get<std::string>() +
                     (c.at("inventories_complete").get<bool>() ? "" : "  inventories coming in") +
                     "\n";
  text += "chunks " + CountText(Number(c, "chunks")) + "  contexts " +
          CountText(Number(c, "contexts")) + "  directory " +
          BytesText(Bytes(c, "directory_bytes")) + "  puts open " +
          CountText(Number(c, "puts_open")) + "  committed/s " +
          CountText(Number(c, "chunks_committed_per_second")) + "  refused/s " +
          CountText(Number(c, "calls_refused_per_second")) + "\n";
  const bool looked = Number(c, "lookup_keys_per_second") > 0.0;
  text += "lookups/s " + CountText(Number(c, "lookups_per_second")) + "  keys/s " +
          CountText(Number(c, "lookup_keys_per_second")) + "  hit " +
          (looked ? PercentText(Number(c, "lookup_hit_ratio")) : "-") + "  p50 " +
          TimeText(Number(c, "lookup_p50_us")) + "  p99 " + TimeText(Number(c, "lookup_p99_us")) +
          "\n\n";
  std::vector<Row> rows = {kHead};
  for (const json& node : top.at("nodes")) rows.push_back(NodeCells(node));
  AppendRows(rows, text);
  return Cut(text, columns);
}

}  // namespace kdn::admin

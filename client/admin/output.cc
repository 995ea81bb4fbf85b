#include "client/admin/output.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdint>
#include <cstdio>
#include <nlohmann/json.hpp>

namespace kdn::admin {
namespace {

bool IsNumber(const std::string& text) {
  return !text.empty() && std::isdigit(static_cast<unsigned char>(text.front())) != 0;
}

std::string Line(const Row& cells, const std::vector<std::size_t>& widths, bool head) {
  std::string line;
  for (std::size_t c = 0; c < cells.size(); ++c) {
    const std::string padding(widths[c] - cells[c].size(), ' ');
    const bool right = !head && IsNumber(cells[c]);
    line += (right ? padding + cells[c] : cells[c] + padding) + "  ";
  }
  line.erase(line.find_last_not_of(' ') + 1);
  return line;
}

}  // namespace

int ExitCodeOf(Code code) {
  switch (code) {
    case Code::kOk:
      return 0;
    case Code::kInvalidArgument:
      return 2;
    case Code::kNotFound:
      return 3;
    case Code::kUnavailable:
    case Code::kDeadlineExceeded:
    case Code::kUnauthenticated:
    case Code::kPermissionDenied:
      return 4;
    case Code::kDataLoss:
      return 5;
    default:
      return 1;
  }
}

int PrintError(const Status& status) {
  std::fprintf(stderr, "kdnctl: %s\n", status.ToString().c_str());
  return ExitCodeOf(status.code());
}

void PrintTable(const Row& head, const std::vector<Row>& rows) {
  std::vector<std::size_t> widths;
  for (const std::string& cell : head) widths.push_back(cell.size());
  for (const Row& row : rows) {
    for (std::size_t c = 0; c < row.size(); ++c) widths[c] = std::max(widths[c], row[c].size());
  }
  std::printf("%s\n", Line(head, widths, true).c_str());
  for (const Row& row : rows) std::printf("%s\n", Line(row, widths, false).c_str());
}

void PrintJson(const nlohmann::json& json) {
  std::printf("%s\n", json.dump(2).c_str());
}

std::string BytesText(std::uint64_t bytes) {
  constexpr std::array kUnits = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  auto value = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (value >= 1024.0 && unit + 1 < kUnits.size()) {
    value /= 1024.0;
    ++unit;
  }
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), unit == 0 ? "%.0f %s" : "%.1f %s", value, kUnits[unit]);
  return text.data();
}

std::string HexText(const std::string& raw) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (const char c : raw) {
    const auto byte = static_cast<unsigned char>(c);
    text.push_back(kDigits[byte >> 4]);
    text.push_back(kDigits[byte & 15]);
  }
  return text;
}

}  // namespace kdn::admin

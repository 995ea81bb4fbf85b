// What kdnctl prints: tables for people, JSON for programs, errors on standard error. One exit code
// per kind of failure, listed in `kdnctl --help`.
//
// Thread-safety: not safe; caller synchronises.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "base/status.h"

namespace kdn::admin {

// 0 success, 2 wrong usage, 3 not found, 4 no answer or refused, 5 data is damaged or lost, 1
// anything else.
[[nodiscard]] int ExitCodeOf(Code code);

// "kdnctl: not found: ...", and the exit code.
[[nodiscard]] int PrintError(const Status& status);

using Row = std::vector<std::string>;
// Columns as wide as their longest cell; cells that are numbers are aligned to the right.
void PrintTable(const Row& head, const std::vector<Row>& rows);
void PrintJson(const nlohmann::json& json);

// "1.4 GiB".
[[nodiscard]] std::string BytesText(std::uint64_t bytes);
// Lower-case hexadecimal of raw bytes, as protobuf carries ids.
[[nodiscard]] std::string HexText(const std::string& raw);

}  // namespace kdn::admin

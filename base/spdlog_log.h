// Structured log lines on standard error, one per event:
//
//   2026-03-01T12:00:00.123Z warning node event="put refused" tenant=7 reason="no room"
//
// A value with spaces, quotes or control characters is quoted and escaped, so that a line stays one
// line whatever a peer sent. For daemons and tools: `main` owns the one instance and passes it on;
// nothing global is touched.
//
// Thread-safety: safe.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/log.h"
#include "base/result.h"

namespace kdn {

class SpdlogLog final : public Log {
 public:
  // `component` is the daemon's name. Lines below `level_min` are dropped.
  SpdlogLog(const std::string& component, LogLevel level_min);
  ~SpdlogLog() override;

  void Write(LogLevel level, std::string_view event,
             std::initializer_list<LogField> fields) override;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// "debug", "info", "warning", "error". kInvalidArgument for anything else.
[[nodiscard]] Result<LogLevel> FindLogLevel(std::string_view name);

}  // namespace kdn

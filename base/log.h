// Where log lines go. A daemon passes one that writes structured lines to standard error
// (base/spdlog_log.h); inside an engine the client passes on what the host gave it, or nothing.
//
// Thread-safety: safe.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>

namespace kdn {

enum class LogLevel : unsigned char { kDebug, kInfo, kWarning, kError };

struct LogField {
  std::string_view name;
  std::string value;
};

class Log {
 public:
  virtual ~Log() = default;
  // `event` is a fixed phrase, what varies goes into fields, so that lines can be counted.
  virtual void Write(LogLevel level, std::string_view event,
                     std::initializer_list<LogField> fields) = 0;
};

// Writes nothing.
class NullLog final : public Log {
 public:
  void Write(LogLevel, std::string_view, std::initializer_list<LogField>) override {}
};

}  // namespace kdn

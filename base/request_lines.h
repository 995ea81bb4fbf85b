// Which requests get a log line when they are over: those that were slow, and all of them where an
// operator or engine wants to see each. The lines carry the request's trace id, by which it can be
// followed from the engine to the disk. Nothing is formatted for requests that get none.
//
// Thread-safety: values.
#pragma once

#include <chrono>
#include <optional>

#include "base/clock.h"
#include "base/log.h"

namespace kdn {

struct RequestLines {
  std::chrono::milliseconds slow{1000};  // at info level from here on
  bool all = false;                      // the others at debug level

  // The level of the line about a request that took so long; nothing: it gets none.
  [[nodiscard]] std::optional<LogLevel> LevelOf(Duration took) const {
    if (took >= slow) return LogLevel::kInfo;
    return all ? std::optional(LogLevel::kDebug) : std::nullopt;
  }
};

[[nodiscard]] inline LogField TookField(Duration took) {
  return {"took_us",
          std::to_string(std::chrono::duration_cast<std::chrono::microseconds>(took).count())};
}

}  // namespace kdn

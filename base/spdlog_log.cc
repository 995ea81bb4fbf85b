#include "base/spdlog_log.h"

#include <spdlog/logger.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_sinks.h>

#include "base/log_text.h"

namespace kdn {
namespace {

spdlog::level::level_enum ToSpdlog(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarning:
      return spdlog::level::warn;
    case LogLevel::kError:
      break;
  }
  return spdlog::level::err;
}

}  // namespace

struct SpdlogLog::Impl {
  Impl(const std::string& component, LogLevel level_min)
      : logger(component, std::make_shared<spdlog::sinks::stderr_sink_mt>()) {
    logger.set_formatter(std::make_unique<spdlog::pattern_formatter>(
        "%Y-%m-%dT%H:%M:%S.%eZ %l %n %v", spdlog::pattern_time_type::utc));
    logger.set_level(ToSpdlog(level_min));
    logger.flush_on(spdlog::level::debug);
  }
  spdlog::logger logger;  // not in spdlog's registry
};

SpdlogLog::SpdlogLog(const std::string& component, LogLevel level_min)
    : impl_(std::make_unique<Impl>(component, level_min)) {}

SpdlogLog::~SpdlogLog() = default;

void SpdlogLog::Write(LogLevel level, std::string_view event,
                      std::initializer_list<LogField> fields) {
  const auto spdlog_level = ToSpdlog(level);
  if (!impl_->logger.should_log(spdlog_level)) return;
  impl_->logger.log(spdlog_level, LogText(event, fields));
}

Result<LogLevel> FindLogLevel(std::string_view name) {
  if (name == "debug") return LogLevel::kDebug;
  if (name == "info") return LogLevel::kInfo;
  if (name == "warning") return LogLevel::kWarning;
  if (name == "error") return LogLevel::kError;
  return Error(Code::kInvalidArgument, "expected debug, info, warning or error");
}

}  // namespace kdn

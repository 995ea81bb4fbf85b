#include "client/c/callback_log.h"

#include <mutex>
#include <string>

#include "base/log_text.h"

namespace kdn::client::c {

void CallbackLog::Write(LogLevel level, std::string_view event,
                        std::initializer_list<LogField> fields) {
  if (level < level_min_) return;
  const std::string line = LogText(event, fields);
  const std::shared_lock lock(mutex_);
  if (function_ != nullptr) function_(context_, static_cast<int32_t>(level), line.c_str());
}

void CallbackLog::Close() {
  const std::unique_lock lock(mutex_);
  function_ = nullptr;
}

}  // namespace kdn::client::c

// A Log that hands its lines to a function of the C ABI's caller.
//
// Thread-safety: safe. The caller's function is called by several threads at once.
#pragma once

#include <initializer_list>
#include <shared_mutex>
#include <string_view>

#include "base/log.h"
#include "kdn/kdn.h"

namespace kdn::client::c {

class CallbackLog final : public Log {
 public:
  // `function` must not be NULL. Lines below `level_min` are dropped.
  CallbackLog(kdn_log_function function, void* context, LogLevel level_min)
      : function_(function), context_(context), level_min_(level_min) {}

  void Write(LogLevel level, std::string_view event,
             std::initializer_list<LogField> fields) override;
  // Waits for calls under way; afterwards the function is not called any more.
  void Close();

 private:
  std::shared_mutex mutex_;
  kdn_log_function function_;  // null once closed; guarded by mutex_
  void* const context_;
  const LogLevel level_min_;
};

}  // namespace kdn::client::c

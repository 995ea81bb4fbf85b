// A log line's text: one event, one line, whatever is in its fields.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>

#include "base/log.h"

namespace kdn {

// event="..." name=value ...; a value that is not plain ASCII without spaces is quoted and escaped.
[[nodiscard]] std::string LogText(std::string_view event, std::initializer_list<LogField> fields);

}  // namespace kdn

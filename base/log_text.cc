#include "base/log_text.h"

#include <algorithm>

namespace kdn {
namespace {

bool IsPlain(char c) {
  return c > ' ' && c < 0x7F && c != '"' && c != '\\' && c != '=';
}

void AppendQuoted(std::string_view value, std::string& text) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  text.push_back('"');
  for (const char c : value) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      text.push_back('\\');
      text.push_back(c);
    } else if (byte < 0x20 || byte == 0x7F) {
      text.append("\\x").push_back(kDigits[byte >> 4]);
      text.push_back(kDigits[byte & 15]);
    } else {
      text.push_back(c);
    }
  }
  text.push_back('"');
}

}  // namespace

std::string LogText(std::string_view event, std::initializer_list<LogField> fields) {
  std::string text = "event=";
  AppendQuoted(event, text);
  for (const LogField& field : fields) {
    text.append(" ").append(field.name).append("=");
    if (!field.value.empty() && std::all_of(field.value.begin(), field.value.end(), IsPlain)) {
      text.append(field.value);
    } else {
      AppendQuoted(field.value, text);
    }
  }
  return text;
}

}  // namespace kdn

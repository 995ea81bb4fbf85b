#include "base/config.h"

#include <toml++/toml.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <optional>
#include <sstream>

#include "base/endpoint.h"
#include "base/result.h"

namespace kdn {

// Where a value comes from is the caller's business: a file's node or a command line's text both
// become a Value, and one place checks and assigns it.
class ConfigSetter {
 public:
  struct Value {
    std::string shown;  // as the operator wrote it
    std::optional<std::string> text;
    std::optional<std::vector<std::string>> texts;
    std::optional<bool> boolean;
    std::optional<std::int64_t> integer;
  };
  using Tables = std::span<ConfigTable* const>;

  // `where` begins the error message: a file and line, or "command line".
  static Status Set(Tables tables, std::string_view where, const std::string& section,
                    std::string_view key, const Value& value) {
    const std::string name = section.empty() ? std::string(key) : section + "." + std::string(key);
    for (const ConfigTable* table : tables) {
      if (table->section_ != section) continue;
      for (const ConfigTable::Field& field : table->fields_) {
        if (field.key != key) continue;
        if (Assign(field, value)) return {};
        return Refuse(where, name + " = " + value.shown + ": expected " + Expected(field));
      }
    }
    return Refuse(where, name + ": no such key; expected " + Known(tables, section));
  }

  static Status Refuse(std::string_view where, const std::string& what) {
    return Status(Code::kInvalidArgument, std::string(where) + ": " + what);
  }

  static bool HasSection(Tables tables, const std::string& section) {
    for (const ConfigTable* table : tables) {
      if (table->section_ == section || table->section_.starts_with(section + ".")) return true;
    }
    return false;
  }

  static std::string SectionList(Tables tables) {
    std::string list;
    for (const ConfigTable* table : tables) {
      list.append(list.empty() ? "one of [" : ", [").append(table->section_).append("]");
    }
    return list;
  }

 private:
  static bool Assign(const ConfigTable::Field& field, const Value& value) {
    switch (field.kind) {
      case ConfigTable::Kind::kText:
        if (!value.text || !IsAllowed(field, *value.text)) return false;
        *field.text = *value.text;
        return true;
      case ConfigTable::Kind::kTextList:
        if (!value.texts) return false;
        *field.texts = *value.texts;
        return true;
      case ConfigTable::Kind::kBoolean:
        if (!value.boolean) return false;
        *field.boolean = *value.boolean;
        return true;
      case ConfigTable::Kind::kInteger:
        if (!value.integer || *value.integer < field.min || *value.integer > field.max) {
          return false;
        }
        *field.integer = *value.integer;
        return true;
    }
    return false;
  }

  static bool IsAllowed(const ConfigTable::Field& field, const std::string& text) {
    if (field.allowed.empty()) return true;
    for (const std::string& allowed : field.allowed) {
      if (allowed == text) return true;
    }
    return false;
  }

  static std::string Expected(const ConfigTable::Field& field) {
    switch (field.kind) {
      case ConfigTable::Kind::kText:
        break;
      case ConfigTable::Kind::kTextList:
        return "a list of strings";
      case ConfigTable::Kind::kBoolean:
        return "true or false";
      case ConfigTable::Kind::kInteger:
        return "an integer from " + std::to_string(field.min) + " to " + std::to_string(field.max);
    }
    if (field.allowed.empty()) return "a string";
    std::string list = "one of ";
    for (const std::string& allowed : field.allowed) {
      if (&allowed != &field.allowed.front()) list.append(", ");
      list.append("\"").append(allowed).append("\"");
    }
    return list;
  }

  static std::string Known(Tables tables, const std::string& section) {
    std::string list;
    for (const ConfigTable* table : tables) {
      if (table->section_ != section) continue;
      for (const ConfigTable::Field& field : table->fields_) {
        list.append(list.empty() ? "one of " : ", ").append(field.key);
      }
    }
    return list.empty() ? SectionList(tables) : list;
  }
};

namespace {

using Value = ConfigSetter::Value;
using Tables = ConfigSetter::Tables;

Value ValueOf(const toml::node& node) {
  Value value;
  std::ostringstream shown;
  node.visit([&shown](const auto& concrete) { shown << concrete; });
  value.shown = shown.str();
  if (const auto* text = node.as_string()) value.text = text->get();
  if (const auto* boolean = node.as_boolean()) value.boolean = boolean->get();
  if (const auto* integer = node.as_integer()) value.integer = integer->get();
  if (const toml::array* array = node.as_array()) {
    std::vector<std::string> texts;
    for (const toml::node& element : *array) {
      if (const auto* text = element.as_string()) texts.push_back(text->get());
    }
    if (texts.size() == array->size()) value.texts = std::move(texts);
  }
  return value;
}

Value ValueOf(std::string_view shown) {
  Value value;
  value.shown = shown;
  value.text = value.shown;
  if (shown == "true" || shown == "false") value.boolean = shown == "true";
  std::int64_t integer = 0;
  const auto [end, error] = std::from_chars(shown.data(), shown.data() + shown.size(), integer);
  if (error == std::errc() && end == shown.data() + shown.size()) value.integer = integer;
  value.texts.emplace();
  for (std::size_t from = 0; from < shown.size();) {
    const std::size_t comma = std::min(shown.find(',', from), shown.size());
    value.texts->emplace_back(shown.substr(from, comma - from));
    from = comma + 1;
  }
  return value;
}

std::string Place(const std::string& path, const toml::source_region& source) {
  return path + ":" + std::to_string(source.begin.line);
}

Status SetAll(const toml::table& values, const std::string& section, const std::string& path,
              Tables tables) {
  for (const auto& [key, node] : values) {
    const std::string where = Place(path, key.source());
    if (const toml::table* inner = node.as_table()) {
      const std::string name =
          section.empty() ? std::string(key) : section + "." + std::string(key);
      if (!ConfigSetter::HasSection(tables, name)) {
        return ConfigSetter::Refuse(where, "[" + name + "]: no such section; expected " +
                                               ConfigSetter::SectionList(tables));
      }
      KDN_RETURN_IF_ERROR(SetAll(*inner, name, path, tables));
    } else {
      KDN_RETURN_IF_ERROR(ConfigSetter::Set(tables, where, section, key.str(), ValueOf(node)));
    }
  }
  return {};
}

std::string Quoted(const std::string& text) {
  return '"' + text + '"';
}

}  // namespace

void ConfigTable::Text(std::string key, std::string* value, std::string help) {
  Choice(std::move(key), value, {}, std::move(help));
}

void ConfigTable::Choice(std::string key, std::string* value, std::vector<std::string> allowed,
                         std::string help) {
  fields_.push_back({.key = std::move(key),
                     .kind = Kind::kText,
                     .help = std::move(help),
                     .text = value,
                     .allowed = std::move(allowed)});
}

void ConfigTable::TextList(std::string key, std::vector<std::string>* value, std::string help) {
  fields_.push_back({.key = std::move(key),
                     .kind = Kind::kTextList,
                     .help = std::move(help),
                     .texts = value,
                     .allowed = {}});
}

void ConfigTable::Boolean(std::string key, bool* value, std::string help) {
  fields_.push_back({.key = std::move(key),
                     .kind = Kind::kBoolean,
                     .help = std::move(help),
                     .boolean = value,
                     .allowed = {}});
}

void ConfigTable::Integer(std::string key, std::int64_t* value, std::int64_t min, std::int64_t max,
                          std::string help) {
  fields_.push_back({.key = std::move(key),
                     .kind = Kind::kInteger,
                     .help = std::move(help),
                     .integer = value,
                     .allowed = {},
                     .min = min,
                     .max = max});
}

std::string ConfigTable::Describe() const {
  std::string lines;
  for (const Field& field : fields_) {
    std::string value;
    if (field.text != nullptr) value = Quoted(*field.text);
    if (field.boolean != nullptr) value = *field.boolean ? "true" : "false";
    if (field.integer != nullptr) value = std::to_string(*field.integer);
    if (field.texts != nullptr) {
      for (const std::string& text : *field.texts) {
        value.append(value.empty() ? "" : ", ").append(Quoted(text));
      }
      value.insert(0, "[").append("]");
    }
    lines.append(field.key).append(" = ").append(value).append("  # ").append(field.help);
    lines.push_back('\n');
  }
  return lines;
}

Status ReadConfig(const std::string& path, std::span<ConfigTable* const> tables) {
  std::ifstream file(path);
  if (!file) {
    return Status(Code::kInvalidArgument, path + ": cannot be read; expected a TOML file");
  }
  try {
    return SetAll(toml::parse(file, path), "", path, tables);
  } catch (const toml::parse_error& error) {
    return ConfigSetter::Refuse(Place(path, error.source()),
                                std::string(error.description()) + "; expected TOML");
  }
}

Status SetConfig(std::string_view assignment, std::span<ConfigTable* const> tables) {
  const std::size_t equals = assignment.find('=');
  if (equals == std::string_view::npos) {
    return ConfigSetter::Refuse("command line",
                                std::string(assignment) + ": expected section.key=value");
  }
  const std::string_view name = assignment.substr(0, equals);
  const std::size_t dot = name.rfind('.');
  const std::string section(dot == std::string_view::npos ? "" : name.substr(0, dot));
  const std::string_view key = dot == std::string_view::npos ? name : name.substr(dot + 1);
  return ConfigSetter::Set(tables, "command line", section, key,
                           ValueOf(assignment.substr(equals + 1)));
}

Status RefuseSetting(std::string_view setting, std::string_view value, std::string_view expected) {
  std::string message(setting);
  message.append(" = \"").append(value).append("\": expected ").append(expected);
  return Status(Code::kInvalidArgument, std::move(message));
}

Status CheckEndpointSetting(std::string_view setting, std::string_view value, bool insecure) {
  const auto parts = SplitEndpoint(value);
  if (!parts) return RefuseSetting(setting, value, "host:port");
  if (!insecure && !IsLoopback(parts->host)) {
    return RefuseSetting(setting, value, "a loopback address, or insecure = true");
  }
  return {};
}

}  // namespace kdn

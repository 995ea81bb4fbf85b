#include "coordinator/tenants.h"

#include <toml++/toml.h>

#include <algorithm>
#include <fstream>
#include <sstream>
#include <utility>

#include "base/limits.h"
#include "base/secret_file.h"

namespace kdn::coordinator {
namespace {

constexpr std::int64_t kRateMax = 1'000'000'000;

struct Place {
  const std::string& path;

  [[nodiscard]] Status Refuse(const toml::source_position& at, const std::string& what) const {
    return Status(Code::kInvalidArgument, path + ":" + std::to_string(at.line) + ": " + what);
  }
  [[nodiscard]] Status Refuse(const toml::node& node, const std::string& what) const {
    return Refuse(node.source().begin, what);
  }
};

std::string Shown(const toml::node& node) {
  std::ostringstream text;
  node.visit([&](const auto& value) { text << value; });
  return text.str();
}

Status SetField(const Place& place, std::string_view key, const toml::node& value, Tenant& tenant) {
  if (key == "name") {
    const auto name = value.value_exact<std::string>();
    if (!name || name->empty() || name->size() > limits::kContextNameBytesMax) {
      return place.Refuse(value,
                          "tenant.name = " + Shown(value) + ": expected a text of 1 to 256 bytes");
    }
    tenant.name = *name;
  } else if (key == "id") {
    const auto id = value.value_exact<std::int64_t>();
    if (!id || *id < 1) {
      return place.Refuse(
          value, "tenant.id = " + Shown(value) + ": expected a whole number of at least 1");
    }
    tenant.id = static_cast<TenantId>(*id);
  } else if (key == "access_secret") {
    const auto text = value.value_exact<std::string>();
    auto secret = ParseSecret(text.value_or(""), "tenant.access_secret");
    if (!secret) return place.Refuse(value, secret.error().message());
    tenant.access_secret = std::move(*secret);
  } else if (key == "allow_none") {
    const auto allowed = value.value_exact<bool>();
    if (!allowed) {
      return place.Refuse(value,
                          "tenant.allow_none = " + Shown(value) + ": expected true or false");
    }
    tenant.allow_none = *allowed;
  } else if (key == "requests_per_second" || key == "mib_per_second") {
    const auto number = value.value_exact<std::int64_t>();
    if (!number || *number < 0 || *number > kRateMax) {
      return place.Refuse(value, "tenant." + std::string(key) + " = " + Shown(value) +
                                     ": expected a whole number of 0 to 1000000000");
    }
    if (key == "requests_per_second") {
      tenant.rate.requests_per_second = static_cast<std::uint32_t>(*number);
    } else {
      tenant.rate.bytes_per_second = static_cast<std::uint64_t>(*number) * limits::kMiB;
    }
  } else {
    return place.Refuse(value, "tenant." + std::string(key) +
                                   ": no such key; expected one of name, id, access_secret, "
                                   "allow_none, requests_per_second, mib_per_second");
  }
  return Status();
}

Result<Tenant> ReadTenant(const Place& place, const toml::node& node) {
  const toml::table* table = node.as_table();
  if (table == nullptr) return std::unexpected(place.Refuse(node, "expected a [[tenant]] table"));
  Tenant tenant;
  for (const auto& [key, value] : *table) {
    if (Status status = SetField(place, key.str(), value, tenant); !status.ok()) {
      return std::unexpected(std::move(status));
    }
  }
  if (tenant.id == TenantId{}) {
    return std::unexpected(place.Refuse(node, "tenant.id is missing: expected a number"));
  }
  if (tenant.name.empty()) {
    return std::unexpected(place.Refuse(node, "tenant.name is missing: expected a text"));
  }
  if (tenant.access_secret.empty() && !tenant.allow_none) {
    return std::unexpected(
        place.Refuse(node, "tenant.access_secret is missing: expected it, or allow_none = true"));
  }
  return tenant;
}

Result<std::vector<Tenant>> ReadRoot(const Place& place, const toml::table& root) {
  std::vector<Tenant> tenants;
  for (const auto& [key, value] : root) {
    const toml::array* list = value.as_array();
    if (key.str() != "tenant" || list == nullptr) {
      return std::unexpected(place.Refuse(
          value, std::string(key.str()) + ": no such key; expected [[tenant]] tables"));
    }
    for (const toml::node& node : *list) {
      KDN_ASSIGN_OR_RETURN(Tenant tenant, ReadTenant(place, node));
      const auto same = std::ranges::find_if(tenants, [&](const Tenant& other) {
        return other.id == tenant.id || other.name == tenant.name;
      });
      if (same != tenants.end()) {
        return std::unexpected(place.Refuse(
            node, "tenant '" + tenant.name + "': expected a name and an id of its own"));
      }
      tenants.push_back(std::move(tenant));
    }
  }
  std::ranges::sort(tenants, {}, &Tenant::id);
  return tenants;
}

}  // namespace

Result<std::vector<Tenant>> ReadTenants(const std::string& path) {
  const Place place{path};
  std::ifstream file(path);
  if (!file) return Error(Code::kNotFound, path + ": cannot be read");
  try {
    return ReadRoot(place, toml::parse(file, path));
  } catch (const toml::parse_error& error) {
    return std::unexpected(place.Refuse(error.source().begin, std::string(error.description())));
  }
}

}  // namespace kdn::coordinator

#include <nlohmann/json.hpp>

#include "client/admin/output.h"
#include "client/admin/verbs/verbs.h"
#include "proto/wire/context.h"

namespace kdn::admin {
namespace {

int Run(const VerbContext& context, const std::string& prefix) {
  const auto settings = context.ReadSettings();
  if (!settings) return PrintError(settings.error());
  const auto rpc = context.Connect();
  if (!rpc) return PrintError(rpc.error());
  nlohmann::json json = nlohmann::json::array();
  std::vector<Row> rows;
  v1::ListContextsRequest request;
  request.set_tenant_id(static_cast<std::uint64_t>(settings->tenant_id));
  request.set_name_prefix(prefix);
  do {
    const auto page = rpc->ListContexts(request);
    if (!page) return PrintError(page.error());
    for (int i = 0; i < page->contexts_size(); ++i) {
      const v1::Context& found = page->contexts(i);
      // What KDN keeps for itself, unless it is asked for: `kdnctl profile list` explains it.
      const bool own = found.name().starts_with(wire::kOwnContextPrefix);
      if (own && !prefix.starts_with(wire::kOwnContextPrefix)) continue;
      const std::uint32_t chunks = i < page->chunk_counts_size() ? page->chunk_counts(i) : 0;
      json.push_back({{"name", found.name()},
                      {"tenant_id", found.tenant_id()},
                      {"model_fingerprint", HexText(found.model_fingerprint())},
                      {"tokens", found.token_count()},
                      {"chunks", chunks},
                      {"revision", found.revision()}});
      rows.push_back({found.name(), std::to_string(found.token_count()), std::to_string(chunks),
                      HexText(found.model_fingerprint()).substr(0, 12),
                      std::to_string(found.revision())});
    }
    request.set_page_token(page->next_page_token());
  } while (!request.page_token().empty());
  if (context.json()) {
    PrintJson(json);
  } else {
    PrintTable({"context", "tokens", "chunks", "model", "revision"}, rows);
  }
  return 0;
}

}  // namespace

void AddContextsVerb(CLI::App& app, VerbContext& context) {
  CLI::App* verb = app.add_subcommand("contexts", "The tenant's named contexts");
  auto prefix = std::make_shared<std::string>();
  verb->add_option("--prefix", *prefix, "only names that begin with this");
  verb->callback([&context, prefix] { context.exit_code = Run(context, *prefix); });
}

}  // namespace kdn::admin

// kdnctl: what an operator, or somebody who tries KDN out, says to a cluster.
#include <CLI/CLI.hpp>
#include <cstdlib>

#include "client/admin/output.h"
#include "client/admin/verbs/verbs.h"

namespace kdn::admin {
namespace {

// To add a verb, add a row.
constexpr void (*kVerbs[])(CLI::App&, VerbContext&) = {
    AddStatusVerb, AddNodesVerb, AddContextsVerb, AddWhereVerb,
    AddVerifyVerb, AddPutVerb,   AddGetVerb,      AddClusterVerb,
};

constexpr const char* kFooter = R"(
Which cluster: --config FILE names a TOML file with an [admin] section; without it, the
kdnctl.toml in the folder of --cluster is read, which `kdnctl cluster up` writes. KDN_CLUSTER sets
the default of --cluster.

Exit codes: 0 done; 2 wrong usage or configuration; 3 not found; 4 no answer; 5 data damaged or
missing; 1 anything else. Errors go to standard error.

A first try:
  kdnctl cluster up                 # one coordinator, three nodes
  kdnctl put /usr/bin/ls --name ls
  kdnctl where ls
  kdnctl get ls | cmp - /usr/bin/ls
  kdnctl verify
  kdnctl cluster down
)";

}  // namespace

Result<Settings> VerbContext::ReadSettings() const {
  return admin::ReadSettings(config_path.empty() ? cluster_folder + "/kdnctl.toml" : config_path);
}

Result<CoordinatorRpc> VerbContext::Connect() const {
  KDN_ASSIGN_OR_RETURN(const Settings settings, ReadSettings());
  return CoordinatorRpc(settings.grpc, std::chrono::milliseconds(settings.timeout_ms));
}

}  // namespace kdn::admin

int main(int argc, char** argv) {
  kdn::admin::VerbContext context;
  if (const char* folder = std::getenv("KDN_CLUSTER")) context.cluster_folder = folder;
  CLI::App app("Commands a KDN cluster: what it holds, where it is, and whether it is whole.",
               "kdnctl");
  app.add_option("--cluster", context.cluster_folder, "folder of a local cluster")
      ->capture_default_str();
  app.add_option("--config", context.config_path, "TOML file that says how to reach a cluster");
  app.add_option("--output", context.output, "table or json")
      ->check(CLI::IsMember({"table", "json"}))
      ->capture_default_str();
  app.set_version_flag("--version", KDN_VERSION);
  app.require_subcommand(1);
  app.fallthrough();  // --output may stand behind the verb too
  app.footer(kdn::admin::kFooter);
  for (const auto add : kdn::admin::kVerbs) add(app, context);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const int code = app.exit(error);
    return code == 0 ? 0 : 2;
  }
  return context.exit_code;
}

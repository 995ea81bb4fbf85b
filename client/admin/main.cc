// kdnctl: what an operator, or somebody who tries KDN out, says to a cluster.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstdlib>

#include "client/admin/output.h"
#include "client/admin/verbs/verbs.h"

namespace kdn::admin {
namespace {

// To add a verb, add a row.
constexpr void (*kVerbs[])(CLI::App&, VerbContext&) = {
    AddStatusVerb, AddNodesVerb,   AddContextsVerb, AddWhereVerb, AddVerifyVerb, AddPutVerb,
    AddGetVerb,    AddProfileVerb, AddClusterVerb,  AddTopVerb,   AddBackupVerb, AddRestoreVerb,
};

constexpr const char* kFooter = R"(
Which cluster: --config FILE names a TOML file with an [admin] section; without it, the
kdnctl.toml in the folder of --cluster is read, which `kdnctl cluster up` writes. KDN_CLUSTER sets
the default of --cluster.

Exit codes: 0 done; 2 wrong usage or configuration; 3 not found; 4 no answer, or refused; 5 data
damaged or lost; 1 anything else. Errors and warnings go to standard error.

A first try:
  kdnctl cluster up                 # one coordinator, three nodes
  kdnctl put /usr/bin/ls --name ls
  kdnctl where ls
  kdnctl get ls | cmp - /usr/bin/ls
  kdnctl verify
  kdnctl cluster down
)";

void PrintVerbs(const CLI::App& app) {
  std::string names;
  for (const CLI::App* verb : app.get_subcommands([](const CLI::App*) { return true; })) {
    names += (names.empty() ? "" : ", ") + verb->get_name();
  }
  std::fprintf(stderr, "Verbs: %s\n", names.c_str());
}

}  // namespace

Result<Settings> VerbContext::ReadSettings() const {
  auto settings =
      admin::ReadSettings(config_path.empty() ? cluster_folder + "/kdnctl.toml" : config_path);
  if (!settings) return Error(Code::kInvalidArgument, settings.error().message());
  return settings;
}

Result<CoordinatorRpc> VerbContext::Connect() const {
  KDN_ASSIGN_OR_RETURN(const Settings settings, ReadSettings());
  KDN_ASSIGN_OR_RETURN(const std::vector<std::byte> secret, ClusterSecretOf(settings));
  return CoordinatorRpc(settings.grpc, secret, std::chrono::milliseconds(settings.timeout_ms));
}

Result<v1::WhereResponse> VerbContext::Where(const std::string& name) const {
  KDN_ASSIGN_OR_RETURN(const Settings settings, ReadSettings());
  KDN_ASSIGN_OR_RETURN(const CoordinatorRpc rpc, Connect());
  v1::WhereRequest request;
  request.set_tenant_id(static_cast<std::uint64_t>(settings.tenant_id));
  request.set_context(name);
  auto where = rpc.Where(request);
  if (where || where.error().code() != Code::kNotFound) return where;
  return Error(Code::kNotFound, "nothing is stored under '" + name +
                                    "'. `kdnctl contexts` lists the names that there are");
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
  app.footer("`kdnctl --help` has the options of all verbs, exit codes and examples.");
  for (const auto add : kdn::admin::kVerbs) add(app, context);  // They take over that footer.
  app.footer(kdn::admin::kFooter);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const int code = app.exit(error);
    if (code != 0 && app.get_subcommands().empty()) kdn::admin::PrintVerbs(app);
    return code == 0 ? 0 : 2;
  }
  return context.exit_code;
}

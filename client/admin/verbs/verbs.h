// The verbs of kdnctl. Each has a file of its own and a row in main.cc's table.
//
// Thread-safety: not safe; used by one thread.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "client/admin/coordinator_rpc.h"
#include "client/admin/settings.h"

namespace kdn::admin {

// What all verbs share, and what the one that was called leaves.
struct VerbContext {
  std::string config_path;
  std::string cluster_folder = "kdn-cluster";
  std::string output = "table";
  int exit_code = 0;

  [[nodiscard]] bool json() const { return output == "json"; }
  // From --config, or the cluster folder's kdnctl.toml. kInvalidArgument also if there is none.
  [[nodiscard]] Result<Settings> ReadSettings() const;
  [[nodiscard]] Result<CoordinatorRpc> Connect() const;
  // Every chunk of a named context. kNotFound says how to find the names that there are.
  [[nodiscard]] Result<v1::WhereResponse> Where(const std::string& name) const;
};

void AddStatusVerb(CLI::App& app, VerbContext& context);
void AddNodesVerb(CLI::App& app, VerbContext& context);
void AddContextsVerb(CLI::App& app, VerbContext& context);
void AddWhereVerb(CLI::App& app, VerbContext& context);
void AddVerifyVerb(CLI::App& app, VerbContext& context);
void AddProfileVerb(CLI::App& app, VerbContext& context);
void AddPutVerb(CLI::App& app, VerbContext& context);
void AddGetVerb(CLI::App& app, VerbContext& context);
void AddTopVerb(CLI::App& app, VerbContext& context);
void AddBackupVerb(CLI::App& app, VerbContext& context);
void AddRestoreVerb(CLI::App& app, VerbContext& context);
void AddClusterVerb(CLI::App& app, VerbContext& context);

}  // namespace kdn::admin

// kdn-coordinator: who holds what, who may store where. Prints `ready <endpoint> <grpc endpoint>`
// on standard output once it serves; ends on SIGTERM or SIGINT.
#include <sys/stat.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/config.h"
#include "base/random.h"
#include "base/secret_file.h"
#include "base/spdlog_log.h"
#include "coordinator/config.h"
#include "coordinator/service/coordinator.h"
#include "coordinator/service/restore.h"
#include "coordinator/tenants.h"

namespace kdn::coordinator {
namespace {

struct Arguments {
  std::string config_path;
  std::vector<std::string> settings;
  bool check_config = false;
  std::string restore;
  bool replace = false;
  std::uint32_t epoch_min = 0;
  bool json = false;
};

// Whether a file that `setting` names can be read, as `read` says, and by nobody else.
template <class Read>
Status CheckSecrets(const char* setting, const std::string& path, Read read) {
  if (path.empty()) return {};
  if (const auto found = read(path); !found) {
    return Status(Code::kInvalidArgument, std::string(setting) + ": " + found.error().message());
  }
  if (ReadableByOthers(path)) {
    std::fprintf(stderr,
                 "kdn-coordinator: warning: %s: %s: not only its owner can read it; expected mode "
                 "0600\n",
                 setting, path.c_str());
  }
  return {};
}

Status ReadAll(const Arguments& arguments, CoordinatorConfig& config) {
  ConfigTable table = TableOf(config);
  ConfigTable* const tables[] = {&table};
  if (!arguments.config_path.empty()) {
    KDN_RETURN_IF_ERROR(ReadConfig(arguments.config_path, tables));
  }
  for (const std::string& setting : arguments.settings) {
    KDN_RETURN_IF_ERROR(SetConfig(setting, tables));
  }
  KDN_RETURN_IF_ERROR(ValidateConfig(config));
  KDN_RETURN_IF_ERROR(
      CheckSecrets("coordinator.cluster_secret_file", config.cluster_secret_file, ReadSecretFile));
  return CheckSecrets("coordinator.tenants_file", config.tenants_file, ReadTenants);
}

int Fail(const Status& status) {
  std::fprintf(stderr, "kdn-coordinator: %s\n", status.ToString().c_str());
  return status.code() == Code::kInvalidArgument ? 2 : 1;
}

// Blocks the signals that end the daemon in all threads; waited for below.
sigset_t BlockEndSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  return signals;
}

int Serve(const CoordinatorConfig& config) {
  umask(0077);  // What the coordinator keeps is nobody else's to read.
  const sigset_t end_signals = BlockEndSignals();
  const auto level = FindLogLevel(config.log_level);
  if (!level) return Fail(level.error());
  SpdlogLog log("coordinator", *level);
  const SteadyClock clock;
  SystemRandom random;
  auto coordinator = Coordinator::Start(config, clock, random, log);
  if (!coordinator) return Fail(coordinator.error());
  std::printf("ready %s %s\n", (*coordinator)->endpoint().c_str(),
              (*coordinator)->grpc_endpoint().c_str());
  std::fflush(stdout);
  int signal = 0;
  sigwait(&end_signals, &signal);
  log.Write(LogLevel::kInfo, "coordinator stops", {{"signal", std::to_string(signal)}});
  return 0;
}

int Restore(const Arguments& arguments, const CoordinatorConfig& config) {
  umask(0077);
  const Epoch epoch_min =
      arguments.epoch_min > 0 ? static_cast<Epoch>(arguments.epoch_min) : EpochOfNow();
  const auto restored = RestoreBackup(config, arguments.restore, arguments.replace, epoch_min);
  if (!restored) return Fail(restored.error());
  const auto number = [](Epoch epoch) { return static_cast<std::uint32_t>(epoch); };
  if (arguments.json) {
    std::printf(
        "{\"cluster\": \"%s\", \"backup_epoch\": %u, \"next_epoch\": %u, \"records\": %llu, "
        "\"replaced\": %s}\n",
        ToHex(restored->cluster).c_str(), number(restored->backup_epoch),
        number(restored->next_epoch), static_cast<unsigned long long>(restored->records),
        restored->replaced.empty() ? "false" : "true");
    return 0;
  }
  std::printf("cluster %s: %llu records of epoch %u; the coordinator will start with epoch %u\n",
              ToHex(restored->cluster).c_str(), static_cast<unsigned long long>(restored->records),
              number(restored->backup_epoch), number(restored->next_epoch));
  if (!restored->replaced.empty()) {
    std::printf("what was there is in %s\n", restored->replaced.c_str());
  }
  return 0;
}

}  // namespace
}  // namespace kdn::coordinator

int main(int argc, char** argv) {
  kdn::coordinator::Arguments arguments;
  kdn::coordinator::CoordinatorConfig config;
  CLI::App app("Coordinator of a KDN cluster: directory, membership, placement, named contexts.",
               "kdn-coordinator");
  app.add_option("--config", arguments.config_path, "TOML file with a [coordinator] section");
  app.add_option("--set", arguments.settings, "section.key=value, over the file; may be repeated");
  app.add_flag("--check-config", arguments.check_config, "read the configuration and stop");
  auto* restore = app.add_option(
      "--restore", arguments.restore,
      "put this backup where the coordinator keeps its hard state, and stop; see kdnctl restore");
  app.add_flag("--replace", arguments.replace, "put aside the hard state that is there")
      ->needs(restore);
  app.add_option("--epoch-min", arguments.epoch_min,
                 "start above this epoch; else above the number of seconds since 1970")
      ->needs(restore);
  app.add_flag("--json", arguments.json, "say as JSON what was restored")->needs(restore);
  app.footer("Keys of [coordinator]:\n" + kdn::coordinator::TableOf(config).Describe());
  app.set_version_flag("--version", KDN_VERSION);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  const kdn::Status status = kdn::coordinator::ReadAll(arguments, config);
  if (!status.ok()) return kdn::coordinator::Fail(status);
  if (arguments.check_config) return 0;
  return arguments.restore.empty() ? kdn::coordinator::Serve(config)
                                   : kdn::coordinator::Restore(arguments, config);
}

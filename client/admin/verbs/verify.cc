#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "client/admin/output.h"
#include "client/admin/verbs/verbs.h"

namespace kdn::admin {
namespace {

int Run(const VerbContext& context, const std::string& name) {
  const auto settings = context.ReadSettings();
  if (!settings) return PrintError(settings.error());
  const auto rpc = context.Connect();
  if (!rpc) return PrintError(rpc.error());
  v1::VerifyRequest request;
  request.set_tenant_id(static_cast<std::uint64_t>(settings->tenant_id));
  request.set_context(name);
  v1::VerifyProgress last;
  const bool live = isatty(STDERR_FILENO) == 1;
  const Status status = rpc->Verify(request, [&](const v1::VerifyProgress& progress) {
    last = progress;
    if (live) {
      std::fprintf(stderr, "\rverified %llu of %llu objects",
                   static_cast<unsigned long long>(progress.objects_checked()),
                   static_cast<unsigned long long>(progress.objects_total()));
    }
  });
  if (live) std::fprintf(stderr, "\n");
  if (!status.ok()) return PrintError(status);
  // The total is of the moment when the verb began; what was stored since may have been met too.
  const std::uint64_t unchecked =
      last.objects_total() - std::min(last.objects_total(), last.objects_checked());
  if (context.json()) {
    PrintJson({{"objects_checked", last.objects_checked()},
               {"objects_corrupt", last.objects_corrupt()},
               {"objects_missing", last.objects_missing()},
               {"objects_unchecked", unchecked},
               {"chunks_lost", last.chunks_lost()}});
  } else {
    PrintTable({"checked", "corrupt", "missing", "unchecked", "chunks lost"},
               {{std::to_string(last.objects_checked()), std::to_string(last.objects_corrupt()),
                 std::to_string(last.objects_missing()), std::to_string(unchecked),
                 std::to_string(last.chunks_lost())}});
  }
  if (!last.done()) return PrintError(Status(Code::kUnavailable, "the coordinator ended early"));
  if (last.objects_corrupt() + last.objects_missing() + last.chunks_lost() != 0) {
    return ExitCodeOf(Code::kDataLoss);
  }
  if (unchecked != 0) {
    return PrintError(Status(Code::kUnavailable, "some nodes did not answer: see kdnctl nodes"));
  }
  return 0;
}

}  // namespace

void AddVerifyVerb(CLI::App& app, VerbContext& context) {
  CLI::App* verb = app.add_subcommand(
      "verify",
      "Reads every stored byte again, on every replica, and drops what is damaged; counts the "
      "chunks "
      "of named contexts that no live node has. Exit code 5 if anything was damaged, missing or "
      "lost");
  auto name = std::make_shared<std::string>();
  verb->add_option("CONTEXT", *name, "only this context's chunks; else all of the tenant's");
  verb->callback([&context, name] { context.exit_code = Run(context, *name); });
}

}  // namespace kdn::admin

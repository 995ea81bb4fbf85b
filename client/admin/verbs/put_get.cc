#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "base/limits.h"
#include "client/admin/file_model.h"
#include "client/admin/output.h"
#include "client/admin/verbs/verbs.h"

namespace kdn::admin {
namespace {

struct OpenCluster {
  std::unique_ptr<client::Client> client;
  const client::Model* model = nullptr;
};

Result<OpenCluster> Open(const VerbContext& context) {
  KDN_ASSIGN_OR_RETURN(const Settings settings, context.ReadSettings());
  KDN_ASSIGN_OR_RETURN(client::ClientOptions options, ClientOptionsOf(settings));
  options.chunk_tokens = kFileChunkTokens;
  OpenCluster cluster;
  KDN_ASSIGN_OR_RETURN(cluster.client, client::OpenClient(options));
  KDN_ASSIGN_OR_RETURN(cluster.model, cluster.client->UseModel(FileModelSpec(), {}));
  return cluster;
}

Status NoAnswer(const Status& status) {
  return Status(status.code(),
                "the coordinator does not answer, or refuses: is [admin] "
                "coordinator its transport endpoint, and the access secret right?");
}

// -- put ---------------------------------------------------------------------------------------

struct PutArguments {
  std::string file;
  std::string name;
  std::uint32_t replicas = 0;
};

Result<client::StoreReport> Put(const VerbContext& context, const PutArguments& arguments) {
  std::ifstream file(arguments.file, std::ios::binary);
  if (!file) return Error(Code::kNotFound, "cannot read " + arguments.file);
  const std::string content{std::istreambuf_iterator<char>(file), {}};
  if (content.size() > kFileBytesMax) {
    return Error(Code::kInvalidArgument, arguments.file + " is larger than 1 GiB");
  }
  FileMemory memory = FileMemory::Of(content);
  KDN_ASSIGN_OR_RETURN(OpenCluster cluster, Open(context));
  client::StorePlanOptions options;
  options.context = arguments.name;
  options.provenance = kExactProvenance;
  options.replicas = static_cast<std::uint8_t>(arguments.replicas);
  options.with_partial = true;
  options.extras = memory.Identity();
  auto plan = cluster.client->PlanStore(*cluster.model, memory.Tokens(), options);
  if (!plan) return std::unexpected(NoAnswer(plan.error()));
  KDN_ASSIGN_OR_RETURN(
      auto store, cluster.client->Store(*cluster.model, *plan, {}, memory.kv(), memory.blocks()));
  return store->Wait();
}

int RunPut(const VerbContext& context, PutArguments arguments) {
  if (arguments.name.empty()) {
    arguments.name = std::filesystem::path(arguments.file).filename().string();
  }
  const auto report = Put(context, arguments);
  if (!report) return PrintError(report.error());
  if (report->code != Code::kOk) {
    return PrintError(Status(report->code, std::to_string(report->chunks_failed) +
                                               " chunks could not be stored. `kdnctl nodes` "
                                               "shows whether nodes are alive and have room"));
  }
  if (context.json()) {
    PrintJson({{"context", arguments.name},
               {"chunks_stored", report->chunks_stored},
               {"chunks_present", report->chunks_present},
               {"chunks_on_disk", report->chunks_on_disk},
               {"bytes_raw", report->bytes_raw},
               {"bytes_sent", report->bytes_sent}});
  } else {
    std::printf("%s: %u chunks stored, %u were there, %s sent\n", arguments.name.c_str(),
                report->chunks_stored, report->chunks_present,
                BytesText(report->bytes_sent).c_str());
  }
  return 0;
}

// -- get ---------------------------------------------------------------------------------------

struct GetArguments {
  std::string name;
  std::string out;
};

struct Got {
  std::string content;
  client::LoadReport report;
  std::string tier;
};

Result<Got> Get(const VerbContext& context, const GetArguments& arguments) {
  KDN_ASSIGN_OR_RETURN(OpenCluster cluster, Open(context));
  const client::LookupResult found =
      cluster.client->LookupContext(*cluster.model, arguments.name, {})->Take();
  if (found.tokens_matched() == 0) {
    return Error(Code::kNotFound, "no file is stored under '" + arguments.name +
                                      "'. `kdnctl contexts` lists names, `kdnctl where` places");
  }
  FileMemory memory(found.tokens_matched());
  KDN_ASSIGN_OR_RETURN(
      auto load, cluster.client->Load(*cluster.model, found, memory.kv(), memory.blocks(), {}));
  Got got;
  got.report = load->Wait();
  got.tier = found.tier();
  if (got.report.tokens_loaded < found.tokens_matched()) {
    return Error(Code::kUnavailable, "only a part could be read: a replica is out of reach");
  }
  KDN_ASSIGN_OR_RETURN(got.content, memory.Content());
  return got;
}

int RunGet(const VerbContext& context, const GetArguments& arguments) {
  const auto got = Get(context, arguments);
  if (!got) return PrintError(got.error());
  if (arguments.out.empty() || arguments.out == "-") {
    const std::size_t written = std::fwrite(got->content.data(), 1, got->content.size(), stdout);
    if (written != got->content.size() || std::fflush(stdout) != 0) {
      return PrintError(Status(Code::kInternal, "cannot write to standard output"));
    }
    return 0;
  }
  std::ofstream file(arguments.out, std::ios::binary);
  file << got->content;
  file.close();
  if (!file) return PrintError(Status(Code::kInternal, "cannot write " + arguments.out));
  if (context.json()) {
    PrintJson({{"context", arguments.name},
               {"file", arguments.out},
               {"bytes", got->content.size()},
               {"bytes_received", got->report.bytes_received},
               {"tier", got->tier},
               {"failovers", got->report.replicas_failed_over}});
  } else {
    std::printf("%s: %s from %s\n", arguments.out.c_str(), BytesText(got->content.size()).c_str(),
                got->tier.c_str());
  }
  return 0;
}

}  // namespace

void AddPutVerb(CLI::App& app, VerbContext& context) {
  CLI::App* verb = app.add_subcommand(
      "put", "Stores a file under a name: for trying out what storing and fetching do");
  auto arguments = std::make_shared<PutArguments>();
  verb->add_option("FILE", arguments->file, "any file up to 1 GiB")->required();
  verb->add_option("--name", arguments->name, "the context's name; default: the file's");
  verb->add_option("--replicas", arguments->replicas,
                   "nodes to store it on; default: the cluster's")
      ->check(CLI::Range(0U, limits::kReplicasMax));
  verb->callback([&context, arguments] { context.exit_code = RunPut(context, *arguments); });
}

void AddGetVerb(CLI::App& app, VerbContext& context) {
  CLI::App* verb = app.add_subcommand("get", "Fetches what `put` stored, every byte verified");
  auto arguments = std::make_shared<GetArguments>();
  verb->add_option("NAME", arguments->name, "the context's name")->required();
  verb->add_option("--out", arguments->out, "file to write; default: standard output");
  verb->callback([&context, arguments] { context.exit_code = RunGet(context, *arguments); });
}

}  // namespace kdn::admin

#include <algorithm>
#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/limits.h"
#include "base/spdlog_log.h"
#include "client/admin/file_model.h"
#include "client/admin/output.h"
#include "client/admin/verbs/verbs.h"

namespace kdn::admin {
namespace {

struct OpenCluster {
  std::unique_ptr<client::Client> client;
  const client::Model* model = nullptr;
};

// --trace of put and get. Empty: none was given.
Result<TraceId> TraceOf(const std::string& text) {
  TraceId trace;
  if (!text.empty() && (!FromHex(text, trace) || trace.IsZero())) {
    return Error(Code::kInvalidArgument, "--trace " + text + ": expected 32 hexadecimal digits");
  }
  return trace;
}

// With a trace id the library's lines go to standard error.
Result<OpenCluster> Open(const VerbContext& context, const TraceId& trace) {
  KDN_ASSIGN_OR_RETURN(const Settings settings, context.ReadSettings());
  Result<client::ClientOptions> options = ClientOptionsOf(settings);
  // A secret that is not there is a wrong configuration, and no file that was not found.
  if (!options) return Error(Code::kInvalidArgument, options.error().message());
  options->chunk_tokens = kFileChunkTokens;
  if (!trace.IsZero()) {
    options->log = std::make_shared<SpdlogLog>("kdnctl", LogLevel::kDebug);
    options->log_requests = true;
  }
  OpenCluster cluster;
  KDN_ASSIGN_OR_RETURN(cluster.client, client::OpenClient(*options));
  KDN_ASSIGN_OR_RETURN(cluster.model, cluster.client->UseModel(FileModelSpec(), {}));
  return cluster;
}

Status NoAnswer(Code code) {
  return Status(code,
                "the coordinator does not answer, or refuses. Does it run, is [admin] coordinator "
                "its transport endpoint, does its tenants file have this tenant_id, and is the "
                "access secret the same?");
}

// -- put ---------------------------------------------------------------------------------------

struct PutArguments {
  std::string file;
  std::string name;
  std::uint32_t replicas = 0;
  std::string trace;
};

Result<std::string> ReadWhole(const std::string& path) {
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) {
    return Error(Code::kInvalidArgument, path + " is a folder; expected a file");
  }
  std::ifstream file(path, std::ios::binary);
  if (!file) return Error(Code::kNotFound, "cannot read " + path);
  std::string content;
  std::array<char, 65536> piece{};
  do {
    file.read(piece.data(), piece.size());
    content.append(piece.data(), static_cast<std::size_t>(file.gcount()));
    if (content.size() > kFileBytesMax) {
      return Error(Code::kInvalidArgument, path + " is larger than 1 GiB");
    }
  } while (file);
  if (file.bad()) return Error(Code::kInternal, "reading " + path + " failed");
  return content;
}

Result<client::StoreReport> Put(const VerbContext& context, const PutArguments& arguments) {
  KDN_ASSIGN_OR_RETURN(const std::string content, ReadWhole(arguments.file));
  FileMemory memory = FileMemory::Of(content);
  client::StorePlanOptions options;
  KDN_ASSIGN_OR_RETURN(options.trace, TraceOf(arguments.trace));
  KDN_ASSIGN_OR_RETURN(OpenCluster cluster, Open(context, options.trace));
  options.context = arguments.name;
  options.provenance = kExactProvenance;
  options.replicas = static_cast<std::uint8_t>(arguments.replicas);
  options.with_partial = true;
  options.extras = memory.Identity();
  auto plan = cluster.client->PlanStore(*cluster.model, memory.Tokens(), options);
  if (!plan) return std::unexpected(NoAnswer(plan.error().code()));
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
  if (report->chunks_under_replicated > 0) {
    std::fprintf(
        stderr,
        "kdnctl: warning: chunks on fewer nodes than were meant to have them: %u. They can "
        "be read, but one failure may lose them. `kdnctl where %s` shows where they are\n",
        report->chunks_under_replicated, arguments.name.c_str());
  }
  if (context.json()) {
    PrintJson({{"context", arguments.name},
               {"chunks_stored", report->chunks_stored},
               {"chunks_present", report->chunks_present},
               {"chunks_on_disk", report->chunks_on_disk},
               {"chunks_under_replicated", report->chunks_under_replicated},
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
  std::string trace;
};

struct Got {
  std::string content;
  client::LoadReport report;
  std::string tier;
};

bool IsThere(const v1::ChunkWhere& chunk) {
  return !chunk.put_id().empty() && chunk.parts_present() == chunk.part_count();
}

// Why less than all of a context's chunks was found. To a client everything that it cannot have is
// a miss: the coordinator's other service knows what the name stands for.
Status WhyShort(const VerbContext& context, const std::string& name) {
  const auto where = context.Where(name);
  if (!where) return where.error();
  const auto rpc = context.Connect();
  if (!rpc) return rpc.error();
  const auto cluster = rpc->GetStatus();
  if (!cluster) return cluster.error();
  if (!cluster->inventories_complete()) {
    return Status(Code::kUnavailable,
                  "nodes have not yet reported all that they hold. Ask again in some seconds");
  }
  const auto left = std::ranges::count_if(where->chunks(), IsThere);
  if (left == where->chunks_size()) {
    return Status(Code::kFailedPrecondition, "'" + name + "' is no file that `kdnctl put` stored");
  }
  const bool may_return = cluster->nodes_dead() > 0;
  return Status(may_return ? Code::kUnavailable : Code::kDataLoss,
                "of the " + std::to_string(where->chunks_size()) + " chunks of '" + name + "' " +
                    std::to_string(left) + " are on nodes that are alive" +
                    (may_return ? "; dead nodes: " + std::to_string(cluster->nodes_dead()) : "") +
                    ". Start nodes that are missing (`kdnctl nodes`), or put the file again");
}

Result<Got> Get(const VerbContext& context, const GetArguments& arguments) {
  client::LookupOptions lookup;
  client::LoadOptions options;
  KDN_ASSIGN_OR_RETURN(lookup.trace, TraceOf(arguments.trace));
  options.trace = lookup.trace;
  KDN_ASSIGN_OR_RETURN(OpenCluster cluster, Open(context, lookup.trace));
  const client::LookupResult found =
      cluster.client->LookupContext(*cluster.model, arguments.name, lookup)->Take();
  if (found.tokens_matched() == 0) {
    if (!cluster.client->Connected()) return std::unexpected(NoAnswer(Code::kUnavailable));
    return std::unexpected(WhyShort(context, arguments.name));
  }
  FileMemory memory(found.tokens_matched());
  KDN_ASSIGN_OR_RETURN(auto load, cluster.client->Load(*cluster.model, found, memory.kv(),
                                                       memory.blocks(), options));
  Got got;
  got.report = load->Wait();
  got.tier = found.tier();
  if (got.report.tokens_loaded < found.tokens_matched()) {
    return Error(Code::kUnavailable, "only a part could be read: a replica is out of reach");
  }
  Result<std::string> content = memory.Content();
  if (!content) return std::unexpected(WhyShort(context, arguments.name));
  got.content = *std::move(content);
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

void AddTrace(CLI::App& verb, std::string& trace) {
  verb.add_option(
      "--trace", trace,
      "32 hexadecimal digits that stand in the log lines of all daemons that take part; "
      "the client's own go to standard error");
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
  AddTrace(*verb, arguments->trace);
  verb->callback([&context, arguments] { context.exit_code = RunPut(context, *arguments); });
}

void AddGetVerb(CLI::App& app, VerbContext& context) {
  CLI::App* verb = app.add_subcommand("get", "Fetches what `put` stored, every byte verified");
  auto arguments = std::make_shared<GetArguments>();
  verb->add_option("NAME", arguments->name, "the context's name")->required();
  verb->add_option("--out", arguments->out, "file to write; default: standard output");
  AddTrace(*verb, arguments->trace);
  verb->callback([&context, arguments] { context.exit_code = RunGet(context, *arguments); });
}

}  // namespace kdn::admin

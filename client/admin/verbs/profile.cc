// `kdnctl profile`: what profiles there are, which is in use, and what is in one.
#include <algorithm>
#include <array>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "client/admin/output.h"
#include "client/admin/verbs/profile_cluster.h"
#include "client/core/profile_names.h"

namespace kdn::admin {
namespace {

struct Arguments {
  std::string model;
  std::string profile;
  std::string file;
  bool dry_run = false;
};

constexpr std::uint32_t kAnyChunkTokens = 256;  // these verbs load no chunk of a model

// Bytes of a stored profile, and on how many nodes all of it is.
struct Stored {
  std::uint64_t bytes = 0;
  std::uint64_t replicas = 0;
};

Stored StoredOf(const VerbContext& context, const std::string& name) {
  Stored stored;
  const auto where = context.Where(name);
  if (!where) return stored;
  for (int i = 0; i < where->chunks_size(); ++i) {
    for (const auto& [level, bytes] : where->chunks(i).level_bytes()) stored.bytes += bytes;
    const auto replicas = static_cast<std::uint64_t>(where->chunks(i).replicas_size());
    stored.replicas = i == 0 ? replicas : std::min(stored.replicas, replicas);
  }
  return stored;
}

// -- list --------------------------------------------------------------------------------------

int RunList(const VerbContext& context, const Arguments& arguments) {
  const auto cluster = ProfileCluster::Open(context, kAnyChunkTokens);
  if (!cluster) return PrintError(cluster.error());
  ModelFingerprint only;
  if (!arguments.model.empty()) {
    const auto model = (*cluster)->FindModel(arguments.model);
    if (!model) return PrintError(model.error());
    only = *model;
  }
  const auto versions = (*cluster)->Versions(only);
  if (!versions) return PrintError(versions.error());
  nlohmann::json json = nlohmann::json::array();
  std::vector<Row> rows;
  for (const ProfileVersion& version : *versions) {
    const auto spec = (*cluster)->stored().FetchSpec(version.model, (*cluster)->interrupt());
    const auto current = (*cluster)->CurrentOf(version.model);
    const bool in_use = current && current->id == version.id;
    const Stored stored = StoredOf(context, version.context.name());
    const std::string name = spec ? spec->name : "";
    json.push_back({{"model", name},
                    {"model_fingerprint", ToHex(version.model)},
                    {"profile_id", ToHex(version.id)},
                    {"current", in_use},
                    {"bytes", stored.bytes},
                    {"replicas", stored.replicas}});
    rows.push_back({name, ToHex(version.model).substr(0, 12), ToHex(version.id).substr(0, 12),
                    in_use ? "yes" : "", BytesText(stored.bytes),
                    stored.replicas == 0 ? "lost" : std::to_string(stored.replicas)});
  }
  if (context.json()) {
    PrintJson(json);
  } else {
    PrintTable({"model", "fingerprint", "profile", "in use", "bytes", "replicas"}, rows);
  }
  return 0;
}

// -- show --------------------------------------------------------------------------------------

// Channels by the level that codes them first; the last: none does.
using StartCounts = std::array<std::uint64_t, codec::kLossyLevels + 1>;

struct Summary {
  std::uint64_t strips = 0;
  std::uint16_t block = 1;
  StartCounts starts{};
};

Summary SummaryOf(const ModelSpec& spec, const codec::Profile& profile) {
  Summary summary;
  for (std::uint32_t layer = 0; layer < LayerCount(spec); ++layer) {
    const KvGroup& group = GroupOfLayer(spec, layer);
    const std::size_t planes = group.attention == AttentionKind::kState ? 1 : 2;
    for (std::size_t plane = 0; plane < planes; ++plane) {
      for (std::uint32_t head = 0; head < group.kv_heads; ++head) {
        const codec::StripProfile& strip = profile.strip(layer, plane, head);
        ++summary.strips;
        summary.block = std::max(summary.block, strip.block);
        for (const codec::ComponentClass& one : strip.classes) {
          summary.starts[one.start] += one.width;
        }
      }
    }
  }
  return summary;
}

int RunShow(const VerbContext& context, const Arguments& arguments) {
  const auto cluster = ProfileCluster::Open(context, kAnyChunkTokens);
  if (!cluster) return PrintError(cluster.error());
  const auto fingerprint = (*cluster)->FindModel(arguments.model);
  if (!fingerprint) return PrintError(fingerprint.error());
  const auto version = arguments.profile.empty()
                           ? (*cluster)->CurrentOf(*fingerprint)
                           : (*cluster)->FindVersion(*fingerprint, arguments.profile);
  if (!version) return PrintError(version.error());
  const auto model = (*cluster)->ModelOf(*fingerprint);
  if (!model) return PrintError(model.error());
  const auto loaded =
      (*cluster)->stored().Fetch(**model, version->id, nullptr, (*cluster)->interrupt());
  if (!loaded) {
    return PrintError(
        Status(loaded.error().code() == Code::kNotFound ? Code::kDataLoss : loaded.error().code(),
               "the profile's bytes cannot be had: `kdnctl where " + version->context.name() +
                   "` shows where they should be"));
  }
  const codec::Profile& profile = (*loaded)->profile;
  if (!arguments.file.empty()) {
    std::ofstream file(arguments.file, std::ios::binary);
    file << AsText(profile.bytes());
    file.close();
    if (!file) return PrintError(Status(Code::kInternal, "cannot write " + arguments.file));
  }
  const Summary summary = SummaryOf((*model)->spec(), profile);
  if (context.json()) {
    PrintJson({{"model", (*model)->spec().name},
               {"model_fingerprint", ToHex(*fingerprint)},
               {"profile_id", ToHex(version->id)},
               {"bytes", profile.bytes().size()},
               {"transform", summary.block > 1 ? "klt" : "identity"},
               {"block", summary.block},
               {"strips", summary.strips},
               {"tables", profile.coders().size()},
               {"channels_from",
                {{"draft", summary.starts[0]},
                 {"standard", summary.starts[1]},
                 {"fine", summary.starts[2]},
                 {"none", summary.starts[3]}}}});
    return 0;
  }
  const std::string block = std::to_string(summary.block);
  PrintTable({"what", "value"},
             {{"model", (*model)->spec().name + " " + (*model)->spec().revision},
              {"profile", ToHex(version->id)},
              {"bytes", BytesText(profile.bytes().size())},
              {"transform", summary.block > 1 ? "klt, blocks of " + block : "identity"},
              {"strips", std::to_string(summary.strips)},
              {"tables", std::to_string(profile.coders().size())},
              {"channels coded from draft on", std::to_string(summary.starts[0])},
              {"from standard on", std::to_string(summary.starts[1])},
              {"from fine on", std::to_string(summary.starts[2])},
              {"by no lossy level", std::to_string(summary.starts[3])}});
  return 0;
}

// -- use ---------------------------------------------------------------------------------------

// Stores a file that `show --out` wrote, of this tenant or another.
Result<ProfileId> StoreFile(ProfileCluster& cluster, const ModelFingerprint& fingerprint,
                            const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return Error(Code::kNotFound, "cannot read " + path);
  const std::string bytes{std::istreambuf_iterator<char>(file), {}};
  KDN_ASSIGN_OR_RETURN(const client::Model* model, cluster.ModelOf(fingerprint));
  const auto profile = client::ReadProfile(*model, AsBytes(bytes), ChunkKey());
  if (!profile) {
    return Error(Code::kInvalidArgument, path + ": " + profile.error().message());
  }
  const Status status =
      cluster.stored().Store(fingerprint, AsBytes(bytes), false, cluster.interrupt());
  if (!status.ok()) return std::unexpected(status);
  return (*profile)->id;
}

int RunUse(const VerbContext& context, const Arguments& arguments) {
  if (arguments.profile.empty() == arguments.file.empty()) {
    return PrintError(Status(Code::kInvalidArgument, "name a profile, or a file with --file"));
  }
  const auto cluster = ProfileCluster::Open(context, kAnyChunkTokens);
  if (!cluster) return PrintError(cluster.error());
  const auto model = (*cluster)->FindModel(arguments.model);
  if (!model) return PrintError(model.error());
  ProfileId id;
  if (!arguments.file.empty()) {
    const auto stored = StoreFile(**cluster, *model, arguments.file);
    if (!stored) return PrintError(stored.error());
    id = *stored;
  } else {
    const auto version = (*cluster)->FindVersion(*model, arguments.profile);
    if (!version) return PrintError(version.error());
    id = version->id;
  }
  if (Status status = (*cluster)->Use(*model, id); !status.ok()) return PrintError(status);
  if (context.json()) {
    PrintJson({{"model_fingerprint", ToHex(*model)}, {"profile_id", ToHex(id)}});
  } else {
    std::printf("the model is stored with profile %s from now on\n", ToHex(id).c_str());
  }
  return 0;
}

// -- forget ------------------------------------------------------------------------------------

int RunForget(const VerbContext& context, const Arguments& arguments) {
  const auto cluster = ProfileCluster::Open(context, kAnyChunkTokens);
  if (!cluster) return PrintError(cluster.error());
  const auto model = (*cluster)->FindModel(arguments.model);
  if (!model) return PrintError(model.error());
  const auto version = (*cluster)->FindVersion(*model, arguments.profile);
  if (!version) return PrintError(version.error());
  const auto current = (*cluster)->CurrentOf(*model);
  const bool in_use = current && current->id == version->id;
  v1::DropRequest drop;
  drop.set_tenant_id((*cluster)->tenant_id());
  drop.set_context(version->context.name());
  drop.set_dry_run(arguments.dry_run);
  // The name that clients ask for goes first: nobody begins to use what is about to go.
  if (in_use && !arguments.dry_run) {
    const Status status =
        (*cluster)->rpc().DeleteContext((*cluster)->tenant_id(), client::ProfileContext(*model));
    if (!status.ok()) return PrintError(status);
  }
  const auto dropped = (*cluster)->rpc().Drop(drop);
  if (!dropped) return PrintError(dropped.error());
  if (!arguments.dry_run) {
    const Status status =
        (*cluster)->rpc().DeleteContext((*cluster)->tenant_id(), version->context.name());
    if (!status.ok()) return PrintError(status);
  }
  if (context.json()) {
    PrintJson({{"model_fingerprint", ToHex(*model)},
               {"profile_id", ToHex(version->id)},
               {"was_current", in_use},
               {"objects", dropped->objects()},
               {"bytes", dropped->bytes()},
               {"dry_run", arguments.dry_run}});
  } else {
    std::printf(
        "profile %s%s: %llu objects, %s%s\n", ToHex(version->id).c_str(),
        in_use ? ", the one in use" : "", static_cast<unsigned long long>(dropped->objects()),
        BytesText(dropped->bytes()).c_str(), arguments.dry_run ? " would be dropped" : " dropped");
  }
  return 0;
}

}  // namespace

void AddProfileVerb(CLI::App& app, VerbContext& context) {
  CLI::App* verb = app.add_subcommand(
      "profile",
      "What the codec has learned of a model: with a profile, draft to fine take fewer bytes. A "
      "profile is the tenant's own; it is stored like a context, pinned, under kdn/profile/");
  verb->require_subcommand(1);
  AddProfileLearn(*verb, context);
  const auto add = [&](const char* name, const char* text,
                       int (*run)(const VerbContext&, const Arguments&)) {
    auto arguments = std::make_shared<Arguments>();
    CLI::App* one = verb->add_subcommand(name, text);
    one->callback([&context, arguments, run] { context.exit_code = run(context, *arguments); });
    return std::pair(one, arguments);
  };
  constexpr const char* kModel = "its name, or six or more digits of its fingerprint";
  constexpr const char* kProfile = "six or more digits of its id";
  const auto [list, of_list] = add("list", "Every profile of every model of the tenant", RunList);
  list->add_option("MODEL", of_list->model, kModel);
  const auto [show, of_show] = add("show", "What is in a profile; every byte verified", RunShow);
  show->add_option("MODEL", of_show->model, kModel)->required();
  show->add_option("PROFILE", of_show->profile, "six or more digits of its id; default: in use");
  show->add_option("--out", of_show->file, "file to write its bytes to, for `use --file`");
  const auto [use, of_use] =
      add("use", "Has the model's clients code with a profile what they store from now on", RunUse);
  use->add_option("MODEL", of_use->model, kModel)->required();
  use->add_option("PROFILE", of_use->profile, kProfile);
  use->add_option("--file", of_use->file,
                  "a file that `show --out` wrote, of this tenant or of another one that shares "
                  "what it has learned");
  const auto [forget, of_forget] =
      add("forget",
          "Drops a profile. Chunks that were coded with it are misses from then on, all of their "
          "levels; only what holds exact alone is still of use",
          RunForget);
  forget->add_option("MODEL", of_forget->model, kModel)->required();
  forget->add_option("PROFILE", of_forget->profile, kProfile)->required();
  forget->add_flag("--dry-run", of_forget->dry_run,
                   "tells what would be dropped, and drops nothing");
}

}  // namespace kdn::admin

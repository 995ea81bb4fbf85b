// `kdnctl profile learn`.
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <nlohmann/json.hpp>
#include <sstream>
#include <system_error>

#include "base/limits.h"
#include "client/admin/channel_weights.h"
#include "client/admin/output.h"
#include "client/admin/verbs/profile_cluster.h"
#include "client/core/lookup_result.h"
#include "client/core/profile_study.h"
#include "codec/profile_learner.h"
#include "proto/wire/context.h"

namespace kdn::admin {
namespace {

constexpr std::size_t kMemoryBytesMax = std::size_t{8} << 30;

struct LearnArguments {
  std::string model;
  std::vector<std::string> contexts;
  std::string transform;
  std::uint16_t block = 0;  // 0: as the transform says
  double bits = 0.0;        // 0: as the transform says
  std::uint64_t tokens = 16'384;
  std::string spec_file;
  std::string weights_file;
  bool no_use = false;
  bool dry_run = false;
};

struct Sources {
  ModelFingerprint model;
  std::vector<std::string> contexts;
  std::uint32_t chunk_tokens = 0;
};

std::string RawOf(const ModelFingerprint& model) {
  return std::string(AsText(model.bytes));
}

// Which contexts to learn from; all of the model if none is named.
Result<Sources> FindSources(const VerbContext& context, const LearnArguments& arguments) {
  KDN_ASSIGN_OR_RETURN(const auto cluster, ProfileCluster::Open(context, 256));
  Sources sources;
  if (!arguments.model.empty()) {
    KDN_ASSIGN_OR_RETURN(sources.model, cluster->FindModel(arguments.model));
  }
  for (const std::string& name : arguments.contexts) {
    KDN_ASSIGN_OR_RETURN(const v1::Context found,
                         cluster->rpc().GetContext(cluster->tenant_id(), name));
    ModelFingerprint model;
    ByteReader reader(AsBytes(found.model_fingerprint()));
    model = reader.OpaqueId<ModelFingerprint>();
    if (!sources.model.IsZero() && model != sources.model) {
      return Error(Code::kInvalidArgument, "context '" + name + "' is of another model");
    }
    sources.model = model;
    sources.contexts.push_back(name);
  }
  if (arguments.contexts.empty()) {
    KDN_ASSIGN_OR_RETURN(const auto all, cluster->Contexts(""));
    for (const v1::Context& found : all) {
      const bool own = found.name().starts_with(wire::kOwnContextPrefix);
      if (!own && found.model_fingerprint() == RawOf(sources.model)) {
        sources.contexts.push_back(found.name());
      }
    }
  }
  if (sources.contexts.empty()) {
    return Error(Code::kNotFound,
                 "no named context holds chunks of the model: store some under a name first");
  }
  KDN_ASSIGN_OR_RETURN(const v1::WhereResponse where, context.Where(sources.contexts.front()));
  if (where.chunks_size() > 0) sources.chunk_tokens = where.chunks(0).token_count();
  if (sources.chunk_tokens == 0 || sources.chunk_tokens > limits::kTokensPerChunkMax) {
    return Error(Code::kDataLoss, "no node has the first chunk of '" + sources.contexts.front() +
                                      "': `kdnctl where` shows what there is");
  }
  return sources;
}

Result<const client::Model*> ModelFor(ProfileCluster& cluster, const Sources& sources,
                                      const LearnArguments& arguments) {
  if (arguments.spec_file.empty()) return cluster.ModelOf(sources.model);
  std::error_code error;
  const bool is_file = std::filesystem::is_regular_file(arguments.spec_file, error);
  std::ifstream file(arguments.spec_file, std::ios::binary);
  if (!is_file || !file) return Error(Code::kNotFound, "cannot read " + arguments.spec_file);
  const std::string bytes{std::istreambuf_iterator<char>(file), {}};
  KDN_ASSIGN_OR_RETURN(const ModelSpec spec, DecodeModelSpec(AsBytes(bytes)));
  if (FingerprintOf(spec) != sources.model) {
    return Error(Code::kInvalidArgument, arguments.spec_file + " is the spec of another model");
  }
  return cluster.client().UseModel(spec, {});
}

Result<codec::LearnOptions> OptionsOf(const LearnArguments& arguments) {
  for (const codec::TransformChoice& choice : codec::TransformChoices()) {
    if (choice.name != arguments.transform) continue;
    codec::LearnOptions options = codec::OptionsOf(choice);
    if (arguments.block != 0 && choice.block == 1) {
      return Error(Code::kInvalidArgument, "--block is of transforms that combine channels: " +
                                               arguments.transform + " does not");
    }
    if (arguments.block != 0) options.block = arguments.block;
    if (arguments.bits > 0.0) options.draft_bits = arguments.bits;
    return options;
  }
  return Error(Code::kInvalidArgument, "no such transform: " + arguments.transform);
}

// "2 for klt, 2.8 for identity".
std::string DefaultTargets() {
  std::ostringstream text;
  for (const codec::TransformChoice& choice : codec::TransformChoices()) {
    if (text.tellp() > 0) text << ", ";
    text << choice.draft_bits << " for " << choice.name;
  }
  return text.str();
}

Status AddContext(ProfileCluster& cluster, const client::Model& model, const std::string& name,
                  std::uint64_t tokens_max, client::ProfileStudy& study) {
  client::LookupOptions options;
  options.floor = ProvenanceKind::kUnknown;
  options.level_min = Level::kDraft;
  client::LookupResult found = cluster.client().LookupContext(model, name, options)->Take();
  if (found.chunks_matched() == 0) {
    // Chunks of `exact` alone have no draft.
    options.level_min = Level::kExact;
    found = cluster.client().LookupContext(model, name, options)->Take();
  }
  const bool live = isatty(STDERR_FILENO) == 1;
  for (std::size_t c = 0; c < found.chunks_matched() && study.tokens() < tokens_max; ++c) {
    KDN_RETURN_IF_ERROR(
        study.Add(cluster.client(), found, c, cluster.interrupt(), tokens_max - study.tokens()));
    if (live) {
      std::fprintf(stderr, "\rlearned from %llu tokens",
                   static_cast<unsigned long long>(study.tokens()));
    }
  }
  return Status();
}

struct Learned {
  ModelFingerprint model;
  ProfileId id;
  std::size_t bytes = 0;
  std::uint64_t tokens = 0;
  codec::LearnOptions options;
};

Result<Learned> Learn(const VerbContext& context, const LearnArguments& arguments) {
  if (arguments.model.empty() && arguments.contexts.empty()) {
    return Error(Code::kInvalidArgument, "name a model, or contexts with --context");
  }
  KDN_ASSIGN_OR_RETURN(const Sources sources, FindSources(context, arguments));
  KDN_ASSIGN_OR_RETURN(const auto cluster, ProfileCluster::Open(context, sources.chunk_tokens));
  KDN_ASSIGN_OR_RETURN(const client::Model* model, ModelFor(*cluster, sources, arguments));
  Learned learned;
  learned.model = sources.model;
  KDN_ASSIGN_OR_RETURN(learned.options, OptionsOf(arguments));
  if (!arguments.weights_file.empty()) {
    KDN_ASSIGN_OR_RETURN(learned.options.weights,
                         ReadChannelWeights(arguments.weights_file, sources.model));
  }
  KDN_ASSIGN_OR_RETURN(
      const auto study,
      client::ProfileStudy::Make(*model, sources.chunk_tokens, learned.options, kMemoryBytesMax));
  for (const std::string& name : sources.contexts) {
    const Status status = AddContext(*cluster, *model, name, arguments.tokens, *study);
    if (status.ok()) continue;
    std::fprintf(stderr, "kdnctl: warning: not all of '%s' could be read: %s\n", name.c_str(),
                 status.ToString().c_str());
  }
  if (isatty(STDERR_FILENO) == 1) std::fprintf(stderr, "\n");
  if (study->tokens() == 0) {
    return Error(Code::kUnavailable, "nothing could be read that a profile could be learned from");
  }
  KDN_ASSIGN_OR_RETURN(const codec::Profile profile, study->Learn());
  learned.id = client::ProfileIdOf(profile.bytes());
  learned.bytes = profile.bytes().size();
  learned.tokens = study->tokens();
  if (arguments.dry_run) return learned;
  Status status = cluster->stored().Store(sources.model, profile.bytes(), /*as_current=*/false,
                                          cluster->interrupt());
  if (status.ok() && !arguments.no_use) status = cluster->Use(sources.model, learned.id);
  if (!status.ok()) return std::unexpected(status);
  return learned;
}

int Run(const VerbContext& context, const LearnArguments& arguments) {
  const auto learned = Learn(context, arguments);
  if (!learned) return PrintError(learned.error());
  const bool stored = !arguments.dry_run;
  const bool current = stored && !arguments.no_use;
  if (context.json()) {
    PrintJson({{"model_fingerprint", ToHex(learned->model)},
               {"profile_id", ToHex(learned->id)},
               {"bytes", learned->bytes},
               {"tokens", learned->tokens},
               {"transform", arguments.transform},
               {"block", learned->options.block},
               {"draft_bits", learned->options.draft_bits},
               {"weighted", !learned->options.weights.empty()},
               {"stored", stored},
               {"current", current}});
  } else {
    std::printf("profile %s: %s, learned from %llu tokens%s\n", ToHex(learned->id).c_str(),
                BytesText(learned->bytes).c_str(), static_cast<unsigned long long>(learned->tokens),
                current  ? "; the model is stored with it from now on"
                : stored ? "; stored, not in use"
                         : "; not stored");
  }
  return 0;
}

}  // namespace

void AddProfileLearn(CLI::App& verb, VerbContext& context) {
  CLI::App* learn = verb.add_subcommand(
      "learn",
      "Learns a profile from chunks that are stored under names, stores it, and has the model's "
      "clients use it for what they store from then on. What was stored before stays as it is");
  auto arguments = std::make_shared<LearnArguments>();
  arguments->transform = codec::TransformChoices().front().name;
  std::vector<std::string> names;
  for (const auto& choice : codec::TransformChoices()) names.emplace_back(choice.name);
  learn->add_option("MODEL", arguments->model,
                    "its name, or six or more digits of its fingerprint; default: that of the "
                    "contexts");
  learn->add_option("--context", arguments->contexts,
                    "contexts to learn from; default: all of the model");
  learn->add_option("--tokens", arguments->tokens, "learn from so many tokens at most")
      ->capture_default_str();
  learn
      ->add_option("--transform", arguments->transform,
                   "identity decodes fastest; klt takes about half a bit a value less")
      ->check(CLI::IsMember(names))
      ->capture_default_str();
  learn
      ->add_option(
          "--block", arguments->block,
          "channels that klt combines, or the largest multiple of 16 below that divides the "
          "model's heads; default: " +
              std::to_string(codec::TransformChoices().front().block))
      ->check(CLI::IsMember({16, 32, 64, 128}));
  learn
      ->add_option("--target", arguments->bits,
                   "bits a value at draft; standard and fine take about one more each. Default: " +
                       DefaultTargets())
      ->check(CLI::Range(0.5, 4.0));
  learn->add_option("--spec", arguments->spec_file,
                    "file with the model spec's canonical encoding; default: the stored one");
  learn->add_option("--weights", arguments->weights_file,
                    "file that says how much attention feels each channel: bins are narrow where "
                    "it matters, which saves about a tenth of the bytes. Default: all alike");
  learn->add_flag("--no-use", arguments->no_use, "stores it without making it the current one");
  learn->add_flag("--dry-run", arguments->dry_run, "learns and tells, and stores nothing");
  learn->callback([&context, arguments] { context.exit_code = Run(context, *arguments); });
}

}  // namespace kdn::admin

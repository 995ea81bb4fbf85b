#include "client/core/model.h"

#include <algorithm>
#include <utility>

#include "base/limits.h"

namespace kdn::client {

Result<std::unique_ptr<const Model>> Model::Make(const ModelSpec& spec,
                                                 const ModelOptions& options) {
  if (options.layers_per_group == 0 || options.heads_per_group == 0) {
    return Error(Code::kInvalidArgument, "layers_per_group and heads_per_group must be over 0");
  }
  if (options.extras.size() > limits::kExtrasBytesMax) {
    return Error(Code::kInvalidArgument, "a model's extras are longer than the limit");
  }
  KDN_ASSIGN_OR_RETURN(codec::ObjectCodec codec, codec::ObjectCodec::Make(spec));
  return std::unique_ptr<const Model>(new Model(std::move(codec), options));
}

Result<std::unique_ptr<const Model>> Model::MakeOfKind(const ModelSpec& spec, ObjectKind kind,
                                                       std::uint32_t chunk_tokens) {
  KDN_ASSIGN_OR_RETURN(codec::ObjectCodec codec, codec::ObjectCodec::Make(spec));
  std::unique_ptr<Model> model(new Model(std::move(codec), {}));
  model->kind_ = kind;
  model->chunk_tokens_ = chunk_tokens;
  return model;
}

Model::Model(codec::ObjectCodec codec, ModelOptions options)
    : codec_(std::move(codec)),
      options_(std::move(options)),
      fingerprint_(FingerprintOf(codec_.spec())),
      layer_count_(LayerCount(codec_.spec())) {
  for (const KvGroup& group : codec_.spec().groups) {
    kv_heads_max_ = std::max(kv_heads_max_, group.kv_heads);
  }
}

ChunkHasher Model::Hasher(const ChunkSecret& secret, ConstBytes request_extras) const {
  ChainIdentity identity;
  identity.kind = ChainKind::kPrefix;
  identity.model = fingerprint_;
  if (!options_.extras.empty() || !request_extras.empty()) {
    ByteWriter writer(identity.extras);
    writer.Sized(options_.extras);
    writer.Sized(request_extras);
  }
  return ChunkHasher(secret.bytes, std::move(identity));
}

}  // namespace kdn::client

#include "client/core/stored_profiles.h"

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "base/crypto.h"
#include "client/core/blob.h"
#include "client/core/lookup_result.h"
#include "client/core/profile_names.h"

namespace kdn::client {
namespace {

template <class Id>
Id DigestOf(ConstBytes bytes) {
  const Digest digest = Sha256(bytes);
  Id id;
  std::copy(digest.begin(), digest.end(), id.bytes.begin());
  return id;
}

}  // namespace

ProfileId ProfileIdOf(ConstBytes bytes) {
  return DigestOf<ProfileId>(bytes);
}

Result<std::shared_ptr<const LoadedProfile>> ReadProfile(const Model& model, ConstBytes bytes,
                                                         const ChunkKey& root) {
  KDN_ASSIGN_OR_RETURN(codec::Profile profile, codec::Profile::Decode(model.spec(), bytes));
  if (profile.model() != model.fingerprint()) {
    return Error(Code::kDataLoss, "the profile is of another model");
  }
  if (Status status = profile.FinishForEncoding(); !status.ok()) {
    return Error(Code::kDataLoss, status.message());
  }
  const ProfileId id = ProfileIdOf(bytes);
  profile.Name(id);
  return std::make_shared<const LoadedProfile>(id, root, std::move(profile));
}

Result<StoredProfiles> StoredProfiles::Make(Client& client) {
  KDN_ASSIGN_OR_RETURN(
      auto profiles,
      Model::MakeOfKind(BlobSpec("kdn/profile"), ObjectKind::kProfile, kStoredBlobChunkTokens));
  KDN_ASSIGN_OR_RETURN(auto specs, Model::MakeOfKind(BlobSpec("kdn/model"), ObjectKind::kModelSpec,
                                                     kStoredBlobChunkTokens));
  return StoredProfiles(client, std::move(profiles), std::move(specs));
}

Result<std::shared_ptr<const LoadedProfile>> StoredProfiles::Fetch(
    const Model& model, const std::optional<ProfileId>& id,
    const std::shared_ptr<const LoadedProfile>& known, Interrupt& interrupt) const {
  const std::string name =
      id ? ProfileContext(model.fingerprint(), *id) : ProfileContext(model.fingerprint());
  const LookupResult found = FindBlob(client_, *profiles_, name, interrupt);
  if (found.tokens_matched() == 0) return Error(Code::kNotFound);
  if (known && known->root == found.state().chunks.front().key) return known;
  KDN_ASSIGN_OR_RETURN(const std::string content, LoadBlob(client_, *profiles_, found, interrupt));
  const ConstBytes bytes = AsBytes(content);
  if (id && ProfileIdOf(bytes) != *id) {
    return Error(Code::kDataLoss, "the stored profile is not the one that its name says");
  }
  return ReadProfile(model, bytes, found.state().chunks.front().key);
}

Status StoredProfiles::Store(const ModelFingerprint& model, ConstBytes profile, bool as_current,
                             Interrupt& interrupt) const {
  const ProfileId id = ProfileIdOf(profile);
  std::vector<std::string> contexts = {ProfileContext(model, id)};
  if (as_current) contexts.push_back(ProfileContext(model));
  return StoreBlob(client_, *profiles_, AsText(profile), BlobExtras(model, id), contexts,
                   interrupt);
}

Status StoredProfiles::StoreSpec(const ModelSpec& spec, Interrupt& interrupt) const {
  const ModelFingerprint model = FingerprintOf(spec);
  const std::array contexts = {SpecContext(model)};
  return StoreBlob(client_, *specs_, AsText(EncodeModelSpec(spec)), BlobExtras(model, {}), contexts,
                   interrupt);
}

Result<ModelSpec> StoredProfiles::FetchSpec(const ModelFingerprint& model,
                                            Interrupt& interrupt) const {
  const LookupResult found = FindBlob(client_, *specs_, SpecContext(model), interrupt);
  if (found.tokens_matched() == 0) return Error(Code::kNotFound);
  KDN_ASSIGN_OR_RETURN(const std::string content, LoadBlob(client_, *specs_, found, interrupt));
  if (DigestOf<ModelFingerprint>(AsBytes(content)) != model) {
    return Error(Code::kDataLoss, "the stored model spec is not the one that its name says");
  }
  return DecodeModelSpec(AsBytes(content));
}

}  // namespace kdn::client

// Profiles and model specs as a cluster stores them (client/core/profile_names.h), for the client
// itself and for kdnctl. What is fetched is checked against the digest that names it: damage that
// every checksum missed is still no wrong value.
//
// Thread-safety: safe; calls block, but for what the Interrupt cuts short.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/result.h"
#include "client/core/interrupt.h"
#include "client/core/model.h"
#include "codec/profile.h"
#include "kdn/client.h"

namespace kdn::client {

// A profile that objects can be coded and decoded with, and its id.
struct LoadedProfile {
  ProfileId id;
  ChunkKey root;  // of the chunks that it was read from: its id, as a lookup sees it
  codec::Profile profile;
};

[[nodiscard]] ProfileId ProfileIdOf(ConstBytes bytes);
// kDataLoss for bytes that are no profile of this model; kUnimplemented for a newer version.
[[nodiscard]] Result<std::shared_ptr<const LoadedProfile>> ReadProfile(const Model& model,
                                                                       ConstBytes bytes,
                                                                       const ChunkKey& root);

class StoredProfiles {
 public:
  // `client` outlives this object.
  static Result<StoredProfiles> Make(Client& client);

  // The profile of this id, or without one the model's current one. kNotFound: there is none, or
  // nobody answers; kUnavailable: not all of it can be read; kDataLoss: it is not what its name
  // says. `known`, if it is the current one, is returned without being fetched again.
  [[nodiscard]] Result<std::shared_ptr<const LoadedProfile>> Fetch(
      const Model& model, const std::optional<ProfileId>& id,
      const std::shared_ptr<const LoadedProfile>& known, Interrupt& interrupt) const;

  // Stores it and, with `as_current`, makes it the model's current one if that has none.
  // kAlreadyExists: it has another.
  [[nodiscard]] Status Store(const ModelFingerprint& model, ConstBytes profile, bool as_current,
                             Interrupt& interrupt) const;

  [[nodiscard]] Status StoreSpec(const ModelSpec& spec, Interrupt& interrupt) const;
  // As Fetch().
  [[nodiscard]] Result<ModelSpec> FetchSpec(const ModelFingerprint& model,
                                            Interrupt& interrupt) const;

 private:
  StoredProfiles(Client& client, std::unique_ptr<const Model> profiles,
                 std::unique_ptr<const Model> specs)
      : client_(client), profiles_(std::move(profiles)), specs_(std::move(specs)) {}

  Client& client_;
  std::unique_ptr<const Model> profiles_;
  std::unique_ptr<const Model> specs_;
};

}  // namespace kdn::client

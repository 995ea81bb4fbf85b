// What the verbs of `kdnctl profile` share: a client of the tenant beside the coordinator's
// services, and how models and profiles are named on a command line.
//
// Thread-safety: not safe; used by one thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "client/admin/coordinator_rpc.h"
#include "client/admin/settings.h"
#include "client/admin/verbs/verbs.h"
#include "client/core/interrupt.h"
#include "client/core/model.h"
#include "client/core/stored_profiles.h"

namespace kdn::admin {

// One stored profile of a model.
struct ProfileVersion {
  ModelFingerprint model;
  ProfileId id;
  v1::Context context;  // without its keys
};

class ProfileCluster {
 public:
  // kInvalidArgument for settings that are wrong.
  static Result<std::unique_ptr<ProfileCluster>> Open(const VerbContext& context,
                                                      std::uint32_t chunk_tokens);

  [[nodiscard]] const CoordinatorRpc& rpc() const { return rpc_; }
  [[nodiscard]] client::Client& client() { return *client_; }
  [[nodiscard]] const client::StoredProfiles& stored() const { return stored_; }
  [[nodiscard]] std::uint64_t tenant_id() const { return tenant_id_; }
  [[nodiscard]] client::Interrupt& interrupt() { return interrupt_; }

  [[nodiscard]] Result<std::vector<v1::Context>> Contexts(std::string_view prefix) const;
  // The model that `text` stands for: six or more digits of its fingerprint, or its spec's name.
  // kNotFound, and kInvalidArgument if there are several.
  [[nodiscard]] Result<ModelFingerprint> FindModel(const std::string& text);
  // All profiles of a model; of all models if that is zeros.
  [[nodiscard]] Result<std::vector<ProfileVersion>> Versions(const ModelFingerprint& model) const;
  // The profile that `text`, six or more digits of its id, stands for.
  [[nodiscard]] Result<ProfileVersion> FindVersion(const ModelFingerprint& model,
                                                   const std::string& text) const;
  // The profile that the model is stored with now. kNotFound if none is.
  [[nodiscard]] Result<ProfileVersion> CurrentOf(const ModelFingerprint& model) const;
  // Makes it that.
  [[nodiscard]] Status Use(const ModelFingerprint& model, const ProfileId& id) const;
  // The model as the client knows it, from the spec that was stored. kNotFound says what to do.
  [[nodiscard]] Result<const client::Model*> ModelOf(const ModelFingerprint& model);

 private:
  ProfileCluster(CoordinatorRpc rpc, std::unique_ptr<client::Client> client,
                 client::StoredProfiles stored, std::uint64_t tenant_id);

  CoordinatorRpc rpc_;
  std::unique_ptr<client::Client> client_;
  client::StoredProfiles stored_;
  std::uint64_t tenant_id_;
  client::Interrupt interrupt_;  // never raised: a tool that is ended ends
};

// The verb's part of profile_learn.cc.
void AddProfileLearn(CLI::App& verb, VerbContext& context);

}  // namespace kdn::admin

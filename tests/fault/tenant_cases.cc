// Peers with a proper Hello who may not do what they try: wrong secrets, foreign tenants, puts
// without a ticket.
#include <algorithm>
#include <csignal>
#include <fstream>
#include <optional>
#include <utility>
#include <vector>

#include "base/crypto.h"
#include "base/random.h"
#include "base/secret_file.h"
#include "client/core/store_plan.h"
#include "proto/wire/put.h"
#include "proto/wire/ticket.h"
#include "tests/fault/cases.h"
#include "tests/fault/forger.h"

namespace kdn::fault {
namespace {

constexpr TenantId kOther{2};

// Makes a second tenant known to the cluster, with a secret of its own.
Result<std::vector<std::byte>> AddTenant(Rig& rig) {
  SystemRandom system;
  std::vector<std::byte> secret(32);
  system.Fill(secret);
  std::ofstream(rig.folder() + "/tenants.toml", std::ios::app)
      << "[[tenant]]\nname = \"other\"\nid = 2\naccess_secret = \"" << SecretText(secret) << "\"\n";
  Status status = rig.cluster().Signal(0, SIGTERM);
  if (status.ok()) status = rig.cluster().Restart(0);
  if (status.ok()) status = rig.cluster().WaitAlive(1, std::chrono::seconds(30));
  if (status.ok()) status = rig.Reconnect();
  if (!status.ok()) return std::unexpected(status);
  return secret;
}

// One put that somebody might try.
struct Forgery {
  const char* what = "";
  wire::PutPieceRequest piece;
  TenantId tenant{1};
};

constexpr int kForgeries = 8;

// `piece` is the right one for `grant`.
Forgery ForgeryOf(int kind, wire::PutPieceRequest piece, const wire::PutGrant& grant,
                  SeededRandom& random) {
  switch (kind) {
    case 0:
      piece.ticket.clear();
      return {"no ticket", piece};
    case 1:
      random.Fill(piece.ticket);
      return {"a random ticket", piece};
    case 2:
      piece.ticket[random.Next() % piece.ticket.size()] ^= std::byte{16};
      return {"a ticket with one bit changed", piece};
    case 3: {
      // All that a ticket says, sealed with a secret that is not the cluster's.
      wire::Ticket ticket;
      ticket.epoch = Epoch{1};
      ticket.tenant = TenantId{1};
      ticket.put_id = grant.put_id;
      ticket.object_bytes_max = piece.object_bytes;
      ticket.expires_ms = std::uint64_t{1} << 62;
      ticket.nodes = grant.nodes;
      ticket.keys = {piece.key};
      std::vector<std::byte> secret(32);
      random.Fill(secret);
      piece.ticket = wire::SealTicket(ticket, HmacKey(secret));
      return {"a ticket under another secret", piece};
    }
    case 4:
      random.Fill(piece.key.bytes);
      return {"a ticket for another key", piece};
    case 5:
      piece.hop = 1;
      return {"a ticket for another node", piece};
    case 6:
      piece.object_bytes = limits::kObjectBytesMax;
      return {"a ticket for a smaller object", piece};
    default:
      return {"another tenant's ticket", piece, kOther};
  }
}

}  // namespace

CaseOutcome WrongSecrets(const CaseOptions& options) {
  auto rig = Rig::Make(RigOf(options, {.nodes = 1, .timeout = std::chrono::milliseconds(300)}));
  if (!rig) return Broken(0, rig.error().ToString());
  const auto other_secret = AddTenant(**rig);
  if (!other_secret) return Broken(0, other_secret.error().ToString());
  if (!(*rig)->Put(1).ok()) return Broken(0, "the tenant's own put failed");
  const client::LookupResult right = (*rig)->Lookup(1);
  if (right.tokens_matched() == 0) return Broken(0, "the tenant's own lookup missed");

  for (int trial = 0; trial < options.trials; ++trial) {
    client::ClientOptions options_of_stranger = (*rig)->client_options();
    const bool foreign_tenant = trial % 2 == 0;
    if (foreign_tenant) {
      // Authenticated, and with our chunk secret: it knows our keys, and still may not read them.
      options_of_stranger.tenant = kOther;
      options_of_stranger.access_secret = *other_secret;
    } else {
      options_of_stranger.access_secret[static_cast<std::size_t>(trial) % 32] ^= std::byte{1};
    }
    auto stranger = (*rig)->OpenClient(options_of_stranger);
    if (!stranger) return Broken(trial, stranger.error().ToString());
    const test::EngineShape shape;
    const auto model = (*stranger)->UseModel(test::SpecOf(shape), {2, 2, {}});
    const auto tokens = (*rig)->DocumentOf(1);
    const auto found = (*stranger)->Lookup(**model, tokens, {})->Take();
    if (found.tokens_matched() > 0) return Broken(trial, "a stranger's lookup hit");
    test::TestEngine engine(shape);
    engine.Poison();
    auto load = (*stranger)->Load(**model, right, engine.kv(), engine.blocks(), {});
    if (!load || (*load)->Wait().tokens_loaded > 0 || !engine.AllPoison()) {
      return Broken(trial, "a stranger read a tenant's chunk");
    }
    if (!foreign_tenant && (*stranger)->PlanStore(**model, tokens, {})) {
      return Broken(trial, "a stranger was granted a put");
    }
  }
  return {true, options.trials, "every lookup, read and put refused or missed", ""};
}

CaseOutcome PutWithoutTicket(const CaseOptions& options) {
  auto rig = Rig::Make(RigOf(options, {.nodes = 1}));
  if (!rig) return Broken(0, rig.error().ToString());
  const auto other_secret = AddTenant(**rig);
  if (!other_secret) return Broken(0, other_secret.error().ToString());
  const auto& daemons = (*rig)->cluster().daemons();
  const std::vector<std::byte> own_secret = (*rig)->client_options().access_secret;
  Forger forger;
  SeededRandom random(9);
  for (int trial = 0; trial < options.trials; ++trial) {
    const std::uint64_t document = FirstNewOf(trial);
    const auto tokens = (*rig)->DocumentOf(document);
    client::StorePlanOptions plan_options;
    plan_options.provenance = kExactProvenance;
    const auto plan = (*rig)->client().PlanStore((*rig)->model(), tokens, plan_options);
    if (!plan || plan->state().grants.empty()) return Broken(trial, "no put was granted");
    const wire::PutGrant& grant = plan->state().grants[0];
    wire::PutPieceRequest piece;
    piece.ticket = grant.ticket;
    piece.key = plan->state().chunks[0].key;
    piece.object_bytes = std::uint64_t{2} * Forger::kBulkBytes;
    piece.size_bytes = Forger::kBulkBytes;

    for (int kind = 0; kind < kForgeries; ++kind) {
      const Forgery forgery = ForgeryOf(kind, piece, grant, random);
      wire::Buffer request;
      forgery.piece.Encode(request);
      const Code code =
          forger.Ask(daemons[1].endpoints[0], forgery.tenant,
                     forgery.tenant == kOther ? *other_secret : own_secret, request, true);
      if (code != Code::kPermissionDenied && code != Code::kInvalidArgument) {
        return Broken(trial, std::string(forgery.what) + " gave " + std::string(CodeName(code)));
      }
    }
    // The coordinator is told that it is stored, with a ticket that is not its own.
    wire::PutCommitRequest commit;
    commit.ticket = grant.ticket;
    commit.ticket[random.Next() % commit.ticket.size()] ^= std::byte{1};
    commit.objects.push_back({.key = piece.key, .acks = {{grant.nodes[0], {}}}});
    wire::Buffer request;
    commit.Encode(request);
    const Code committed =
        forger.Ask(daemons[0].endpoints[0], TenantId{1}, own_secret, request, false);
    if (committed == Code::kOk || committed == Code::kUnknown) {
      return Broken(trial,
                    "a commit with a forged ticket gave " + std::string(CodeName(committed)));
    }
    if ((*rig)->Lookup(document).tokens_matched() > 0) return Broken(trial, "a forged put is read");
    // The same piece with its ticket: it was for the ticket that the others were refused.
    request.clear();
    piece.Encode(request);
    const Code right = forger.Ask(daemons[1].endpoints[0], TenantId{1}, own_secret, request, true);
    if (right != Code::kOk) {
      return Broken(trial, "the right ticket gave " + std::string(CodeName(right)));
    }
  }
  return {true, options.trials,
          "all of " + std::to_string(options.trials * (kForgeries + 1)) + " refused", ""};
}

}  // namespace kdn::fault

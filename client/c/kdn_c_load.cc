// Lookups and loads of the C ABI.
#include "client/c/c_support.h"

using kdn::Code;
using namespace kdn::client::c;  // the C ABI's own support, used by every function below

namespace {

// Takes the result out of a lookup that is still under way.
void Settle(kdn_lookup& lookup) {
  if (lookup.handle == nullptr) return;
  lookup.result = lookup.handle->Take();
  lookup.handle.reset();
}

kdn_code ReadOptions(const kdn_lookup_options* options, kdn::client::LookupOptions& ask) {
  if (options == nullptr) return 0;
  const kdn_lookup_options given = ReadStruct(options);
  if (given.provenance_floor > 3 || given.level_min > 3) {
    return Fail(Code::kInvalidArgument, "provenance_floor and level_min end at 3");
  }
  ask.floor = static_cast<kdn::ProvenanceKind>(given.provenance_floor);
  ask.level_min = static_cast<kdn::Level>(given.level_min);
  ask.deadline = DeadlineAfter(given.timeout_ms);
  ask.extras = BytesOf(given.extras, given.extras_size);
  ask.trace = TraceOf(given.trace);
  return 0;
}

uint8_t TierNumber(std::string_view tier) {
  if (tier == "dram") return 1;
  if (tier == "disk") return 2;
  return tier.empty() ? 0 : 3;
}

}  // namespace

kdn_code kdn_lookup_start(kdn_client* client, const kdn_model* model, const uint32_t* tokens,
                          size_t token_count, const kdn_lookup_options* options,
                          kdn_lookup** lookup) {
  return Guarded([&] {
    if (client == nullptr || model == nullptr || lookup == nullptr ||
        (tokens == nullptr && token_count > 0)) {
      return Fail(Code::kInvalidArgument, "client, model, tokens and lookup must not be NULL");
    }
    kdn::client::LookupOptions ask;
    if (const kdn_code code = ReadOptions(options, ask); code != 0) return code;
    auto made = std::make_unique<kdn_lookup>();
    made->handle = client->client->Lookup(*ModelOf(model), {tokens, token_count}, ask);
    *lookup = made.release();
    return kdn_code{0};
  });
}

kdn_code kdn_lookup_context_start(kdn_client* client, const kdn_model* model, const char* context,
                                  const kdn_lookup_options* options, kdn_lookup** lookup) {
  return Guarded([&] {
    if (client == nullptr || model == nullptr || context == nullptr || lookup == nullptr) {
      return Fail(Code::kInvalidArgument, "client, model, context and lookup must not be NULL");
    }
    kdn::client::LookupOptions ask;
    if (const kdn_code code = ReadOptions(options, ask); code != 0) return code;
    auto made = std::make_unique<kdn_lookup>();
    made->handle = client->client->LookupContext(*ModelOf(model), context, ask);
    *lookup = made.release();
    return kdn_code{0};
  });
}

int kdn_lookup_done(kdn_lookup* lookup) {
  return lookup == nullptr || lookup->handle == nullptr || lookup->handle->Done() ? 1 : 0;
}

kdn_code kdn_lookup_wait(kdn_lookup* lookup, uint64_t* tokens_matched) {
  return Guarded([&] {
    if (lookup == nullptr || tokens_matched == nullptr) {
      return Fail(Code::kInvalidArgument, "lookup and tokens_matched must not be NULL");
    }
    Settle(*lookup);
    *tokens_matched = lookup->result.tokens_matched();
    return kdn_code{0};
  });
}

kdn_code kdn_lookup_describe(kdn_lookup* lookup, kdn_lookup_report* report) {
  return Guarded([&] {
    if (lookup == nullptr || report == nullptr) {
      return Fail(Code::kInvalidArgument, "lookup and report must not be NULL");
    }
    Settle(*lookup);
    kdn_lookup_report out{};
    out.tokens_matched = lookup->result.tokens_matched();
    out.chunks_matched = lookup->result.chunks_matched();
    out.bytes = lookup->result.bytes();
    out.provenance = static_cast<uint8_t>(lookup->result.provenance().kind);
    out.tier = TierNumber(lookup->result.tier());
    WriteStruct(out, report);
    return kdn_code{0};
  });
}

kdn_code kdn_lookup_truncate(kdn_lookup* lookup, uint64_t tokens) {
  return Guarded([&] {
    if (lookup == nullptr) return Fail(Code::kInvalidArgument, "lookup must not be NULL");
    Settle(*lookup);
    lookup->result.Truncate(tokens);
    return kdn_code{0};
  });
}

kdn_code kdn_lookup_serialize(kdn_lookup* lookup, uint8_t* bytes, size_t capacity, size_t* size) {
  return Guarded([&] {
    if (lookup == nullptr) return Fail(Code::kInvalidArgument, "lookup must not be NULL");
    Settle(*lookup);
    return CopyOut(lookup->result.Serialize(), bytes, capacity, size);
  });
}

kdn_code kdn_lookup_deserialize(const uint8_t* bytes, size_t size, kdn_lookup** lookup) {
  return Guarded([&] {
    if (bytes == nullptr || lookup == nullptr) {
      return Fail(Code::kInvalidArgument, "bytes and lookup must not be NULL");
    }
    auto result = kdn::client::LookupResult::Deserialize(std::as_bytes(std::span(bytes, size)));
    if (!result) return Fail(result.error());
    auto made = std::make_unique<kdn_lookup>();
    made->result = *std::move(result);
    *lookup = made.release();
    return kdn_code{0};
  });
}

void kdn_lookup_cancel(kdn_lookup* lookup) {
  if (lookup != nullptr && lookup->handle != nullptr) lookup->handle->Cancel();
}

void kdn_lookup_close(kdn_lookup* lookup) {
  delete lookup;
}

kdn_code kdn_load_start(kdn_client* client, const kdn_model* model, const kdn_lookup* lookup,
                        const kdn_kv* kv, const kdn_block_tables* blocks,
                        const kdn_load_options* options, kdn_load** load) {
  return Guarded([&] {
    if (client == nullptr || model == nullptr || lookup == nullptr || kv == nullptr ||
        blocks == nullptr || load == nullptr) {
      return Fail(Code::kInvalidArgument, "only options may be NULL");
    }
    if (lookup->handle != nullptr) {
      return Fail(Code::kFailedPrecondition, "the lookup has not been waited for");
    }
    const kdn_load_options given = ReadStruct(options);
    kdn::client::LoadOptions ask;
    ask.deadline = DeadlineAfter(given.timeout_ms);
    ask.skip_tokens = given.skip_tokens;
    if (given.level_skipped > 3) return Fail(Code::kInvalidArgument, "level_skipped ends at 3");
    ask.level_max = static_cast<kdn::Level>(3 - given.level_skipped);
    if (given.layer_by_layer != 0) ask.order = kdn::client::LoadOrder::kLayerByLayer;
    if (given.prefetch != 0) ask.urgency = kdn::client::LoadUrgency::kPrefetch;
    ask.trace = TraceOf(given.trace);
    const BlockViews views(*blocks);
    auto started =
        client->client->Load(*ModelOf(model), lookup->result, {kv->pools}, views.tables(), ask);
    if (!started) return Fail(started.error());
    *load = new kdn_load{*std::move(started)};
    return kdn_code{0};
  });
}

int kdn_load_done(kdn_load* load) {
  return load == nullptr || load->handle->Done() ? 1 : 0;
}

int kdn_load_layer_ready(kdn_load* load, uint32_t layer) {
  return load != nullptr && load->handle->LayerReady(layer) ? 1 : 0;
}

kdn_code kdn_load_wait_layer(kdn_load* load, uint32_t layer) {
  return Guarded([&] {
    if (load == nullptr) return Fail(Code::kInvalidArgument, "load must not be NULL");
    if (load->handle->WaitLayer(layer)) return kdn_code{0};
    return static_cast<kdn_code>(Code::kNotFound);
  });
}

uint64_t kdn_load_tokens_ready(kdn_load* load) {
  return load == nullptr ? 0 : load->handle->TokensReady();
}

void kdn_load_cancel(kdn_load* load) {
  if (load != nullptr) load->handle->Cancel();
}

kdn_code kdn_load_wait(kdn_load* load, kdn_load_report* report) {
  return Guarded([&] {
    if (load == nullptr || report == nullptr) {
      return Fail(Code::kInvalidArgument, "load and report must not be NULL");
    }
    const kdn::client::LoadReport ended = load->handle->Wait();
    kdn_load_report out{};
    out.code = static_cast<kdn_code>(ended.code);
    out.tokens_loaded = ended.tokens_loaded;
    out.provenance = static_cast<uint8_t>(ended.provenance.kind);
    out.bytes_received = ended.bytes_received;
    out.pieces_corrupt = ended.pieces_corrupt;
    out.replicas_failed_over = ended.replicas_failed_over;
    out.reads_hedged = ended.reads_hedged;
    WriteStruct(out, report);
    return kdn_code{0};
  });
}

void kdn_load_close(kdn_load* load) {
  delete load;
}

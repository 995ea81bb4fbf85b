// Plans and stores of the C ABI.
#include "client/c/c_support.h"

using kdn::Code;
using namespace kdn::client::c;  // the C ABI's own support, used by every function below

kdn_code kdn_plan_open(kdn_client* client, const kdn_model* model, const uint32_t* tokens,
                       size_t token_count, const kdn_plan_options* options, kdn_plan** plan,
                       uint32_t* chunks_to_store) {
  return Guarded([&] {
    if (client == nullptr || model == nullptr || plan == nullptr ||
        (tokens == nullptr && token_count > 0)) {
      return Fail(Code::kInvalidArgument, "client, model, tokens and plan must not be NULL");
    }
    const kdn_plan_options given = ReadStruct(options);
    if (given.provenance > 3) return Fail(Code::kInvalidArgument, "provenance ends at 3");
    kdn::client::StorePlanOptions ask;
    if (given.context != nullptr) ask.context = given.context;
    ask.provenance.kind = static_cast<kdn::ProvenanceKind>(given.provenance);
    if (ask.provenance.kind == kdn::ProvenanceKind::kExact) ask.provenance = kdn::kExactProvenance;
    if (given.part_count != 0) ask.part_count = given.part_count;
    ask.replicas = given.replicas;
    ask.with_partial = given.with_partial != 0;
    if (given.levels > 15) return Fail(Code::kInvalidArgument, "levels has four bits");
    if (given.levels != 0) ask.levels = kdn::LevelSet(given.levels);
    ask.extras = BytesOf(given.extras, given.extras_size);
    ask.deadline = DeadlineAfter(given.timeout_ms);
    ask.trace = TraceOf(given.trace);
    auto made = client->client->PlanStore(*ModelOf(model), {tokens, token_count}, ask);
    if (!made) return Fail(made.error());
    if (chunks_to_store != nullptr) *chunks_to_store = made->chunks_to_store();
    *plan = new kdn_plan{*std::move(made)};
    return kdn_code{0};
  });
}

kdn_code kdn_plan_serialize(const kdn_plan* plan, uint8_t* bytes, size_t capacity, size_t* size) {
  return Guarded([&] {
    if (plan == nullptr) return Fail(Code::kInvalidArgument, "plan must not be NULL");
    return CopyOut(plan->plan.Serialize(), bytes, capacity, size);
  });
}

kdn_code kdn_plan_deserialize(const uint8_t* bytes, size_t size, kdn_plan** plan) {
  return Guarded([&] {
    if (bytes == nullptr || plan == nullptr) {
      return Fail(Code::kInvalidArgument, "bytes and plan must not be NULL");
    }
    auto read = kdn::client::StorePlan::Deserialize(std::as_bytes(std::span(bytes, size)));
    if (!read) return Fail(read.error());
    *plan = new kdn_plan{*std::move(read)};
    return kdn_code{0};
  });
}

void kdn_plan_close(kdn_plan* plan) {
  delete plan;
}

kdn_code kdn_store_start(kdn_client* client, const kdn_model* model, const kdn_plan* plan,
                         const kdn_part* part, const kdn_kv* kv, const kdn_block_tables* blocks,
                         kdn_store** store) {
  return Guarded([&] {
    if (client == nullptr || model == nullptr || plan == nullptr || kv == nullptr ||
        blocks == nullptr || store == nullptr) {
      return Fail(Code::kInvalidArgument, "only part may be NULL");
    }
    kdn::PartShape shape;
    if (part != nullptr) {
      const kdn_part given = ReadStruct(part);
      shape = {given.number,
               given.count,
               {given.first_layer, given.layer_count},
               {given.first_head, given.head_count}};
    }
    const BlockViews views(*blocks);
    auto started =
        client->client->Store(*ModelOf(model), plan->plan, shape, {kv->pools}, views.tables());
    if (!started) return Fail(started.error());
    *store = new kdn_store{*std::move(started)};
    return kdn_code{0};
  });
}

int kdn_store_done(kdn_store* store) {
  return store == nullptr || store->handle->Done() ? 1 : 0;
}

kdn_code kdn_store_wait_read(kdn_store* store) {
  return Guarded([&] {
    if (store == nullptr) return Fail(Code::kInvalidArgument, "store must not be NULL");
    const kdn::Status status = store->handle->WaitRead();
    return status.ok() ? kdn_code{0} : Fail(status);
  });
}

void kdn_store_cancel(kdn_store* store) {
  if (store != nullptr) store->handle->Cancel();
}

kdn_code kdn_store_wait(kdn_store* store, kdn_store_report* report) {
  return Guarded([&] {
    if (store == nullptr || report == nullptr) {
      return Fail(Code::kInvalidArgument, "store and report must not be NULL");
    }
    const kdn::client::StoreReport ended = store->handle->Wait();
    kdn_store_report out{};
    out.code = static_cast<kdn_code>(ended.code);
    out.chunks_stored = ended.chunks_stored;
    out.chunks_present = ended.chunks_present;
    out.chunks_pending = ended.chunks_pending;
    out.chunks_failed = ended.chunks_failed;
    out.chunks_on_disk = ended.chunks_on_disk;
    out.bytes_sent = ended.bytes_sent;
    out.bytes_raw = ended.bytes_raw;
    out.chunks_under_replicated = ended.chunks_under_replicated;
    WriteStruct(out, report);
    return kdn_code{0};
  });
}

void kdn_store_close(kdn_store* store) {
  delete store;
}

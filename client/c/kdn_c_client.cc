// Clients, models and paged memory of the C ABI.
#include <algorithm>
#include <chrono>

#include "client/c/c_support.h"
#include "client/c/open_c_embedded.h"
#include "client/core/model.h"

namespace kdn::client::c {
namespace {

std::string& LastErrorText() {
  thread_local std::string text;
  return text;
}

KvGroup GroupFrom(const kdn_kv_group& given) {
  const kdn_kv_group group = ReadStruct(&given);
  KvGroup out;
  out.attention = static_cast<AttentionKind>(group.attention);
  if (group.layers != nullptr) out.layers.assign(group.layers, group.layers + group.layer_count);
  out.kv_heads = group.kv_heads;
  out.k_head_size = group.k_head_size;
  out.v_head_size = group.v_head_size;
  out.window_tokens = group.window_tokens;
  return out;
}

ModelSpec SpecFrom(const kdn_model_spec& spec) {
  ModelSpec out;
  out.name = spec.name == nullptr ? "" : spec.name;
  out.revision = spec.revision == nullptr ? "" : spec.revision;
  out.dtype = static_cast<DType>(spec.dtype);
  out.k_scale = spec.k_scale == 0.0F ? 1.0F : spec.k_scale;
  out.v_scale = spec.v_scale == 0.0F ? 1.0F : spec.v_scale;
  out.rotary.pairing = static_cast<RotaryPairing>(spec.rotary_pairing);
  out.rotary.scaling = static_cast<RotaryScaling>(spec.rotary_scaling);
  out.rotary.dims = spec.rotary_dims;
  out.rotary.base = spec.rotary_base;
  out.rotary.factor = spec.rotary_factor;
  out.rotary.low_frequency_factor = spec.rotary_low_frequency_factor;
  out.rotary.high_frequency_factor = spec.rotary_high_frequency_factor;
  out.rotary.original_context = spec.rotary_original_context;
  // An array of structs: the caller's stride is its own struct_size.
  const auto* at = reinterpret_cast<const char*>(spec.groups);
  for (std::size_t g = 0; at != nullptr && g < spec.group_count; ++g) {
    const auto* group = reinterpret_cast<const kdn_kv_group*>(at);
    out.groups.push_back(GroupFrom(*group));
    at += group->struct_size;
  }
  return out;
}

ClientOptions OptionsFrom(const kdn_client_options& given) {
  ClientOptions options;
  if (given.coordinator != nullptr) options.coordinator = given.coordinator;
  if (given.cluster_id != nullptr) {
    std::memcpy(options.cluster.bytes.data(), given.cluster_id, ClusterId::kSize);
  }
  options.tenant = TenantId{given.tenant_id};
  options.access_secret = BytesOf(given.access_secret, given.access_secret_size);
  options.chunk_secrets.push_back(
      {SecretId{given.chunk_secret_id}, BytesOf(given.chunk_secret, given.chunk_secret_size)});
  if (given.chunk_tokens != 0) options.chunk_tokens = given.chunk_tokens;
  if (given.timeout_ms != 0) options.timeout = std::chrono::milliseconds(given.timeout_ms);
  if (given.decode_threads != 0) options.decode_threads = given.decode_threads;
  // An array of structs: the caller's stride is its own struct_size.
  const auto* at = reinterpret_cast<const char*>(given.other_chunk_secrets);
  for (std::size_t s = 0; at != nullptr && s < given.other_chunk_secret_count; ++s) {
    const auto* raw = reinterpret_cast<const kdn_chunk_secret*>(at);
    const kdn_chunk_secret secret = ReadStruct(raw);
    options.chunk_secrets.push_back({SecretId{secret.id}, BytesOf(secret.bytes, secret.size)});
    at += raw->struct_size;
  }
  if (given.slow_request_ms != 0) {
    options.slow_request = std::chrono::milliseconds(given.slow_request_ms);
  }
  // Who drops debug lines pays nothing for making them.
  options.log_requests = given.log != nullptr && given.log_level == KDN_LOG_DEBUG;
  if (given.staging_bytes != 0) options.staging_bytes = given.staging_bytes;
  options.connections = given.connections;
  options.io_threads = given.io_threads;
  options.insecure = given.insecure != 0;
  options.shared_memory = given.no_shared_memory == 0;
  if (given.congestion_control != nullptr) options.congestion_control = given.congestion_control;
  if (given.profile_refresh_ms != 0) {
    options.profile_refresh = std::chrono::milliseconds(given.profile_refresh_ms);
  }
  if (given.profile_learn_chunks == UINT32_MAX) {
    options.profile_learn_chunks = 0;
  } else if (given.profile_learn_chunks != 0) {
    options.profile_learn_chunks = given.profile_learn_chunks;
  }
  return options;
}

}  // namespace

kdn_code Fail(Code code, std::string_view message) {
  LastErrorText() = message.empty() ? CodeName(code) : message;
  return static_cast<kdn_code>(code);
}

const char* LastError() {
  return LastErrorText().c_str();
}

kdn_code CopyOut(ConstBytes bytes, void* out, std::size_t capacity, std::size_t* size) {
  if (size == nullptr) return Fail(Code::kInvalidArgument, "size must not be NULL");
  *size = bytes.size();
  if (capacity < bytes.size() || out == nullptr) {
    return Fail(Code::kResourceExhausted, "the buffer is too small");
  }
  std::memcpy(out, bytes.data(), bytes.size());
  return 0;
}

}  // namespace kdn::client::c

using kdn::Code;
using namespace kdn::client::c;  // the C ABI's own support, used by every function below

const char* kdn_last_error(void) {
  return LastError();
}

const char* kdn_version(void) {
  return KDN_VERSION;
}

kdn_code kdn_client_open(const kdn_client_options* options, kdn_client** client) {
  return Guarded([&] {
    if (options == nullptr || client == nullptr) {
      return Fail(Code::kInvalidArgument, "options and client must not be NULL");
    }
    *client = nullptr;
    const kdn_client_options given = ReadStruct(options);
    if (given.log_level < KDN_LOG_DEBUG || given.log_level > KDN_LOG_ERROR) {
      return Fail(Code::kInvalidArgument, "log_level ends at 3");
    }
    auto made = std::make_unique<kdn_client>();
    if (given.log != nullptr) {
      made->log = std::make_shared<CallbackLog>(given.log, given.log_context,
                                                static_cast<kdn::LogLevel>(given.log_level));
    }
    kdn::client::ClientOptions with = OptionsFrom(given);
    with.log = made->log;
    auto opened = given.embedded_dram_bytes > 0 ? OpenEmbeddedFromC(with, given.embedded_dram_bytes,
                                                                    given.embedded_disk_folder)
                                                : kdn::client::OpenClient(with);
    if (!opened) return Fail(opened.error());
    made->client = *std::move(opened);
    *client = made.release();
    return kdn_code{0};
  });
}

void kdn_client_close(kdn_client* client) {
  delete client;
}

int kdn_client_connected(const kdn_client* client) {
  return client != nullptr && client->client->Connected() ? 1 : 0;
}

kdn_code kdn_client_metrics(const kdn_client* client, char* text, size_t capacity, size_t* size) {
  return Guarded([&] {
    if (client == nullptr) return Fail(Code::kInvalidArgument, "client must not be NULL");
    const std::string metrics = client->client->Metrics();
    return CopyOut(std::as_bytes(std::span(metrics.c_str(), metrics.size() + 1)), text, capacity,
                   size);
  });
}

kdn_code kdn_model_open(kdn_client* client, const kdn_model_spec* spec, const kdn_model** model) {
  return Guarded([&] {
    if (client == nullptr || spec == nullptr || model == nullptr) {
      return Fail(Code::kInvalidArgument, "client, spec and model must not be NULL");
    }
    const kdn_model_spec given = ReadStruct(spec);
    kdn::client::ModelOptions options;
    if (given.layers_per_tile != 0) options.layers_per_group = given.layers_per_tile;
    if (given.heads_per_tile != 0) options.heads_per_group = given.heads_per_tile;
    options.extras = BytesOf(given.extras, given.extras_size);
    const auto made = client->client->UseModel(SpecFrom(given), options);
    if (!made) return Fail(made.error());
    *model = reinterpret_cast<const kdn_model*>(*made);
    return kdn_code{0};
  });
}

kdn_code kdn_model_await_profile(kdn_client* client, const kdn_model* model, uint32_t timeout_ms,
                                 uint8_t* id) {
  return Guarded([&] {
    if (client == nullptr || model == nullptr || id == nullptr) {
      return Fail(Code::kInvalidArgument, "client, model and id must not be NULL");
    }
    const auto profile = client->client->AwaitProfile(*ModelOf(model), DeadlineAfter(timeout_ms));
    if (!profile) return Fail(profile.error());
    std::memcpy(id, profile->bytes.data(), kdn::ProfileId::kSize);
    return kdn_code{0};
  });
}

kdn_code kdn_kv_open(const kdn_model* model, const kdn_kv_pool* pools, size_t pool_count,
                     kdn_kv** kv) {
  return Guarded([&] {
    if (model == nullptr || pools == nullptr || kv == nullptr) {
      return Fail(Code::kInvalidArgument, "model, pools and kv must not be NULL");
    }
    const kdn::ModelSpec& spec = ModelOf(model)->spec();
    if (pool_count != spec.groups.size()) {
      return Fail(Code::kInvalidArgument, "one pool per KV group is needed");
    }
    auto made = std::make_unique<kdn_kv>();
    made->bases.reserve(2 * pool_count);
    const auto* at = reinterpret_cast<const char*>(pools);
    for (std::size_t p = 0; p < pool_count; ++p) {
      const auto* raw = reinterpret_cast<const kdn_kv_pool*>(at);
      const kdn_kv_pool given = ReadStruct(raw);
      kdn::codec::KvPool pool;
      for (std::size_t plane = 0; plane < pool.planes.size(); ++plane) {
        const kdn_plane_map& map = given.planes[plane];
        if (map.base == nullptr) continue;
        auto& base = made->bases.emplace_back();
        for (std::size_t l = 0; l < spec.groups[p].layers.size(); ++l) {
          base.push_back(static_cast<std::byte*>(map.base[l]));
        }
        pool.planes[plane] = {base, map.block_stride, map.slot_stride, map.head_stride,
                              map.dim_stride};
      }
      pool.block_tokens = given.block_tokens;
      pool.block_count = given.block_count;
      pool.first_head = given.first_head;
      pool.head_count = given.head_count;
      made->pools.push_back(pool);
      at += raw->struct_size;
    }
    *kv = made.release();
    return kdn_code{0};
  });
}

void kdn_kv_close(kdn_kv* kv) {
  delete kv;
}

/* C ABI of the client library. Usable from C99; bindings are written against it.
 *
 * Rules that hold for every function:
 *   - A kdn_code of 0 is success. Values equal kdn::Code and the gRPC status codes. A miss is no
 *     error: it is a lookup of 0 tokens.
 *   - The last error's text is per thread: kdn_last_error(), valid until the next call.
 *   - The library never frees what it did not allocate, and hands out no memory the caller frees:
 *     objects have a _close function that accepts NULL, bytes are copied into the caller's buffer.
 *   - Structs passed in begin with struct_size, set to sizeof by the caller: fields may be appended
 *     in a later minor version, behind the padding of the last, never moved or removed.
 *   - Nothing throws, aborts or blocks past the deadline given (timeout_ms; 0: the client's). A
 *     store is given none: it ends within 60 s, and kdn_store_wait_read says what it waits for.
 *   - A client may be shared between threads; a handle belongs to one thread at a time, except
 *     kdn_load_layer_ready, kdn_load_wait_layer and kdn_load_tokens_ready.
 *   - A trace is 16 bytes of the caller's that stand in the logs of all daemons that the request
 *     reaches; NULL: the client makes one.
 */
#ifndef KDN_KDN_H_
#define KDN_KDN_H_

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define KDN_API __attribute__((visibility("default")))

typedef int32_t kdn_code;
typedef struct kdn_client kdn_client;
typedef struct kdn_model kdn_model;   /* lives as long as its client; not closed */
typedef struct kdn_kv kdn_kv;         /* an engine's paged memory, described once */
typedef struct kdn_lookup kdn_lookup; /* a lookup under way, or its result */
typedef struct kdn_load kdn_load;
typedef struct kdn_plan kdn_plan; /* what is to be stored, with its tickets */
typedef struct kdn_store kdn_store;

KDN_API const char* kdn_last_error(void);
KDN_API const char* kdn_version(void); /* "0.1.0" */

/* -- Client ---------------------------------------------------------------------------------- */

/* One line of the client's log, without a line break: event="..." name=value ... Called by any of
 * the library's threads, two at a time too, until kdn_client_close returns. It must not call this
 * library, nor wait: requests stand still meanwhile. */
typedef enum kdn_log_level {
  KDN_LOG_DEBUG = 0,
  KDN_LOG_INFO = 1,
  KDN_LOG_WARNING = 2,
  KDN_LOG_ERROR = 3
} kdn_log_level;
typedef void (*kdn_log_function)(void* context, int32_t level, const char* line);

/* A secret from which chunk keys are made. */
typedef struct kdn_chunk_secret {
  size_t struct_size;
  uint32_t id;
  const uint8_t* bytes;
  size_t size;
} kdn_chunk_secret;

typedef struct kdn_client_options {
  size_t struct_size;
  const char* coordinator;   /* "host:port"; NULL with embedded_dram_bytes > 0 */
  const uint8_t* cluster_id; /* 16 bytes; NULL: the cluster that answers */
  uint64_t tenant_id;
  const uint8_t* access_secret; /* NULL: the `none` scheme, loopback only */
  size_t access_secret_size;
  const uint8_t* chunk_secret; /* required */
  size_t chunk_secret_size;
  uint32_t chunk_secret_id;
  uint32_t chunk_tokens;            /* 0: 256 */
  uint32_t timeout_ms;              /* 0: 2000; also how long a store waits for a node */
  uint32_t decode_threads;          /* 0: 1 */
  uint64_t embedded_dram_bytes;     /* libkdn_embedded only; else 12 (unimplemented) */
  const char* embedded_disk_folder; /* NULL: DRAM only */
  /* Profiles, of models stored at lossy levels: how old the cluster's word on a model's current one
   * may be (0: 30000), and after how many stored chunks of a model without one this client learns
   * one in the background (0: 32; UINT32_MAX: never). */
  uint32_t profile_refresh_ms;
  uint32_t profile_learn_chunks;
  /* Earlier secrets, of chunks that lookups shall still find; new ones are stored under
   * chunk_secret. */
  const kdn_chunk_secret* other_chunk_secrets;
  size_t other_chunk_secret_count;
  kdn_log_function log; /* NULL: nothing is written */
  void* log_context;
  int32_t log_level;              /* kdn_log_level: lines below it are dropped */
  uint32_t slow_request_ms;       /* what took so long has a line at info level; 0: 1000 */
  uint64_t staging_bytes;         /* bounds the compressed bytes in flight; 0: 256 MiB */
  uint32_t connections;           /* per peer; 0: min(cores, 4) */
  uint32_t io_threads;            /* that move bytes to and from sockets, at most 16; 0: 1 */
  uint8_t insecure;               /* 1 allows plaintext off loopback */
  uint8_t no_shared_memory;       /* 1: nodes of this host are asked through sockets too */
  const char* congestion_control; /* of TCP; NULL: the system's */
} kdn_client_options;

/* Returns at once, whether a cluster answers or not. */
KDN_API kdn_code kdn_client_open(const kdn_client_options* options, kdn_client** client);
KDN_API void kdn_client_close(kdn_client* client);
KDN_API int kdn_client_connected(const kdn_client* client);
/* Copies the metrics' text. *size is set to the size needed, terminating zero counted in; 8 if
 * capacity is smaller. */
KDN_API kdn_code kdn_client_metrics(const kdn_client* client, char* text, size_t capacity,
                                    size_t* size);

/* -- Model ----------------------------------------------------------------------------------- */

typedef enum kdn_dtype {
  KDN_BF16 = 0,
  KDN_FP16 = 1,
  KDN_FP32 = 2,
  KDN_FP8_E4M3 = 3,
  KDN_FP8_E5M2 = 4
} kdn_dtype;
typedef enum kdn_attention { KDN_GROUPED = 0, KDN_LATENT = 1, KDN_STATE = 2 } kdn_attention;

typedef struct kdn_kv_group {
  size_t struct_size;
  uint8_t attention;      /* kdn_attention */
  const uint16_t* layers; /* ascending */
  size_t layer_count;
  uint16_t kv_heads;
  uint16_t k_head_size;   /* of k, latent or state */
  uint16_t v_head_size;   /* of v or rope; 0 for KDN_STATE */
  uint32_t window_tokens; /* 0: full attention */
} kdn_kv_group;

typedef struct kdn_model_spec {
  size_t struct_size;
  const char* name;
  const char* revision;
  uint8_t dtype;          /* kdn_dtype */
  float k_scale, v_scale; /* of fp8; 0 means 1 */
  uint8_t rotary_pairing; /* 0 none, 1 NeoX, 2 GPT-J */
  uint8_t rotary_scaling; /* 0 none, 1 linear, 2 llama3, 3 YaRN, 4 dynamic NTK */
  uint16_t rotary_dims;
  double rotary_base;
  double rotary_factor, rotary_low_frequency_factor, rotary_high_frequency_factor;
  double rotary_original_context;
  const kdn_kv_group* groups;
  size_t group_count;
  uint16_t layers_per_tile; /* 0: 1 */
  uint16_t heads_per_tile;  /* 0: 1 */
  const uint8_t* extras;    /* what else changes all values, a LoRA adapter's digest; NULL: none */
  size_t extras_size;
} kdn_model_spec;

KDN_API kdn_code kdn_model_open(kdn_client* client, const kdn_model_spec* spec,
                                const kdn_model** model);

/* Asks the cluster for the model's current profile and waits until this client has it, at the
 * latest timeout_ms (0: the client's). `id` has 32 bytes, zeros if the model has none. Stores and
 * loads do not need this: it is for who wants the first store to be as small as later ones. 5: it
 * has one that cannot be had. */
KDN_API kdn_code kdn_model_await_profile(kdn_client* client, const kdn_model* model,
                                         uint32_t timeout_ms, uint8_t* id);

/* -- Paged memory: address = base[layer] + block*s + slot*s + head*s + dim*s, per plane ---- */

typedef struct kdn_plane_map {
  void* const* base; /* one per layer of the group; NULL: this process lacks the layer */
  int64_t block_stride, slot_stride, head_stride, dim_stride; /* bytes */
} kdn_plane_map;

typedef struct kdn_kv_pool {
  size_t struct_size;
  kdn_plane_map planes[2]; /* k and v; latent and rope; state and nothing */
  uint32_t block_tokens;
  uint32_t block_count;
  uint16_t first_head, head_count; /* the heads this memory holds, in the model's numbers */
} kdn_kv_pool;

/* One pool per KV group. Copies the description; the memory stays the engine's. */
KDN_API kdn_code kdn_kv_open(const kdn_model* model, const kdn_kv_pool* pools, size_t pool_count,
                             kdn_kv** kv);
KDN_API void kdn_kv_close(kdn_kv* kv);

/* One table per KV group: ids of the blocks that hold the sequence's tokens, in order. */
typedef struct kdn_block_tables {
  size_t struct_size;
  const uint32_t* const* tables;
  const size_t* block_counts;
  size_t table_count;
} kdn_block_tables;

/* -- Lookup ------------------------------------------------------------------------------------ */

typedef struct kdn_lookup_options {
  size_t struct_size;
  uint32_t timeout_ms;
  uint8_t provenance_floor; /* 0 unknown, 1 blended, 2 lossy, 3 exact */
  uint8_t level_min;        /* 0 draft .. 3 exact */
  const uint8_t* extras;    /* of this request: cache salt, image hashes */
  size_t extras_size;
  const uint8_t* trace; /* 16 bytes or NULL */
} kdn_lookup_options;

/* Never waits. `options` may be NULL: exact values only. */
KDN_API kdn_code kdn_lookup_start(kdn_client* client, const kdn_model* model,
                                  const uint32_t* tokens, size_t token_count,
                                  const kdn_lookup_options* options, kdn_lookup** lookup);
/* What is stored of a named context: no tokens are needed. Else as kdn_lookup_start. */
KDN_API kdn_code kdn_lookup_context_start(kdn_client* client, const kdn_model* model,
                                          const char* context, const kdn_lookup_options* options,
                                          kdn_lookup** lookup);
KDN_API int kdn_lookup_done(kdn_lookup* lookup);
/* Waits, at the latest until the deadline, and sets how many tokens at the front can be loaded. */
KDN_API kdn_code kdn_lookup_wait(kdn_lookup* lookup, uint64_t* tokens_matched);

typedef struct kdn_lookup_report {
  size_t struct_size;
  uint64_t tokens_matched; /* at the front, that can be loaded */
  uint32_t chunks_matched;
  uint64_t bytes;     /* compressed, that loading all of it moves */
  uint8_t provenance; /* the worst of all chunks matched: 0 unknown .. 3 exact */
  uint8_t tier;       /* of the best replicas: 0 nothing matched, 1 DRAM, 2 disk, 3 both */
} kdn_lookup_report;

/* What a lookup found, to judge whether loading it is worth its while. Waits as kdn_lookup_wait. */
KDN_API kdn_code kdn_lookup_describe(kdn_lookup* lookup, kdn_lookup_report* report);
/* Keeps no more than the first `tokens` tokens: where ranks agree on less. Requires: done. */
KDN_API kdn_code kdn_lookup_truncate(kdn_lookup* lookup, uint64_t tokens);
/* For another process. Sets *size to the size needed; 8 if capacity is smaller. Requires: done. */
KDN_API kdn_code kdn_lookup_serialize(kdn_lookup* lookup, uint8_t* bytes, size_t capacity,
                                      size_t* size);
KDN_API kdn_code kdn_lookup_deserialize(const uint8_t* bytes, size_t size, kdn_lookup** lookup);
/* Unless it is done, it is a miss soon. */
KDN_API void kdn_lookup_cancel(kdn_lookup* lookup);
KDN_API void kdn_lookup_close(kdn_lookup* lookup);

/* -- Load -------------------------------------------------------------------------------------- */

typedef struct kdn_load_options {
  size_t struct_size;
  uint32_t timeout_ms;
  uint64_t skip_tokens;   /* at the front: the engine has them; a chunk multiple */
  uint8_t layer_by_layer; /* 0: chunk by chunk from the front */
  uint8_t level_skipped;  /* reads no finer level than 3 (exact) minus this, if there are coarser */
  const uint8_t* trace;   /* 16 bytes or NULL */
  uint8_t prefetch;       /* 1: wanted later, gives way to what an engine waits for */
} kdn_load_options;

typedef struct kdn_load_report {
  size_t struct_size;
  kdn_code code;
  uint64_t tokens_loaded; /* at the front, valid in all layers; recompute what lies above */
  uint8_t provenance;     /* kind: 0 unknown .. 3 exact */
  uint64_t bytes_received;
  uint32_t pieces_corrupt;
  uint32_t replicas_failed_over;
  uint32_t reads_hedged; /* read from a second replica as the first was late */
} kdn_load_report;

/* `kv` and its memory stay until the load is closed. `options` may be NULL. */
KDN_API kdn_code kdn_load_start(kdn_client* client, const kdn_model* model,
                                const kdn_lookup* lookup, const kdn_kv* kv,
                                const kdn_block_tables* blocks, const kdn_load_options* options,
                                kdn_load** load);
KDN_API int kdn_load_done(kdn_load* load);
KDN_API int kdn_load_layer_ready(kdn_load* load, uint32_t layer);
/* 0 once the layer is in the pages; 5 if it will not come: recompute. */
KDN_API kdn_code kdn_load_wait_layer(kdn_load* load, uint32_t layer);
/* Tokens at the front that are valid in all layers by now. */
KDN_API uint64_t kdn_load_tokens_ready(kdn_load* load);
KDN_API void kdn_load_cancel(kdn_load* load);
KDN_API kdn_code kdn_load_wait(kdn_load* load, kdn_load_report* report);
KDN_API void kdn_load_close(kdn_load* load); /* cancels if it is not done */

/* -- Store ------------------------------------------------------------------------------------- */

typedef struct kdn_plan_options {
  size_t struct_size;
  uint32_t timeout_ms;
  const char* context;  /* names or extends a context; NULL: none */
  uint8_t provenance;   /* kind of the past the values were computed over */
  uint16_t part_count;  /* 0: 1 */
  uint8_t replicas;     /* 0: the cluster's default */
  uint8_t with_partial; /* 1: also a last chunk that is not full */
  const uint8_t* extras;
  size_t extras_size;
  uint8_t levels; /* bits 0 draft .. 3 exact: 8, or 1, 3, 7, 15; 0: exact alone */
  /* 16 bytes or NULL. Stands in the logs of the store as well; who asks again with the same one
   * gets the same tickets. */
  const uint8_t* trace;
} kdn_plan_options;

KDN_API kdn_code kdn_plan_open(kdn_client* client, const kdn_model* model, const uint32_t* tokens,
                               size_t token_count, const kdn_plan_options* options, kdn_plan** plan,
                               uint32_t* chunks_to_store);
KDN_API kdn_code kdn_plan_serialize(const kdn_plan* plan, uint8_t* bytes, size_t capacity,
                                    size_t* size);
KDN_API kdn_code kdn_plan_deserialize(const uint8_t* bytes, size_t size, kdn_plan** plan);
KDN_API void kdn_plan_close(kdn_plan* plan);

/* Which share of the model this writer holds. NULL: all of it. */
typedef struct kdn_part {
  size_t struct_size;
  uint16_t number, count;
  uint16_t first_layer, layer_count;
  uint16_t first_head, head_count;
} kdn_part;

typedef struct kdn_store_report {
  size_t struct_size;
  kdn_code code;
  uint32_t chunks_stored, chunks_present, chunks_pending, chunks_failed, chunks_on_disk;
  uint64_t bytes_sent, bytes_raw;
  uint32_t chunks_under_replicated; /* stored on fewer nodes than were wanted */
} kdn_store_report;

KDN_API kdn_code kdn_store_start(kdn_client* client, const kdn_model* model, const kdn_plan* plan,
                                 const kdn_part* part, const kdn_kv* kv,
                                 const kdn_block_tables* blocks, kdn_store** store);
KDN_API int kdn_store_done(kdn_store* store);
/* Waits until the engine's memory has been read and its blocks may be reused. A node that does not
   answer holds it up once, for the client's timeout; staging memory that other stores hold
   meanwhile may hold it up once more. */
KDN_API kdn_code kdn_store_wait_read(kdn_store* store);
KDN_API void kdn_store_cancel(kdn_store* store);
KDN_API kdn_code kdn_store_wait(kdn_store* store, kdn_store_report* report);
KDN_API void kdn_store_close(kdn_store* store); /* cancels if it is not done */

#ifdef __cplusplus
}
#endif

#endif /* KDN_KDN_H_ */

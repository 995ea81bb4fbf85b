#include "paged_engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { kPoison = 0x7FB5 /* a NaN with a payload */ };

/* bf16 of a number between -2 and 2: they compress like real ones. */
static uint16_t value_of(unsigned plane, unsigned layer, unsigned head, unsigned token,
                         unsigned dim) {
  uint32_t x = ((((plane * 31U + layer) * 37U + head) * 1031U + token) * 67U + dim) * 2654435761U;
  x ^= x >> 15;
  x *= 2246822519U;
  x ^= x >> 13;
  const float number = (float)(x & 0xFFFF) / 16384.0F - 2.0F;
  uint32_t bits = 0;
  memcpy(&bits, &number, sizeof(bits));
  return (uint16_t)(bits >> 16);
}

static size_t row_of(unsigned token, unsigned head) {
  return ((size_t)(token % kBlockTokens) * kRankHeads + head) * kHeadSize;
}

void engine_poison(engine* e) {
  uint16_t* values = &e->values[0][0][0][0];
  for (size_t i = 0; i < sizeof(e->values) / sizeof(*values); ++i) values[i] = kPoison;
}

void compute_layer(engine* e, unsigned layer, unsigned first, unsigned end) {
  for (unsigned plane = 0; plane < kPlanes; ++plane) {
    for (unsigned token = first; token < end; ++token) {
      uint16_t* block = e->values[plane][layer][e->table[token / kBlockTokens]];
      for (unsigned head = 0; head < kRankHeads; ++head) {
        for (unsigned d = 0; d < kHeadSize; ++d) {
          block[row_of(token, head) + d] =
              value_of(plane, layer, e->rank * kRankHeads + head, token, d);
        }
      }
    }
  }
}

unsigned long wrong_values(const engine* e) {
  engine* right = malloc(sizeof(*right));
  if (right == NULL) return 1;
  memcpy(right, e, sizeof(*right));
  for (unsigned layer = 0; layer < kLayers; ++layer) {
    compute_layer(right, layer, 0, kPromptTokens);
  }
  unsigned long wrong = 0;
  const uint16_t* a = &e->values[0][0][0][0];
  const uint16_t* b = &right->values[0][0][0][0];
  for (size_t i = 0; i < sizeof(e->values) / sizeof(*a); ++i) wrong += a[i] != b[i];
  free(right);
  return wrong;
}

bool ok(kdn_code code, const char* what) {
  if (code != 0) fprintf(stderr, "%s: %d %s\n", what, (int)code, kdn_last_error());
  return code == 0;
}

static size_t from_hex(const char* text, uint8_t* bytes, size_t capacity) {
  size_t count = 0;
  for (; text[0] != '\0' && text[1] != '\0' && count < capacity; text += 2) {
    const char pair[3] = {text[0], text[1], '\0'};
    bytes[count++] = (uint8_t)strtoul(pair, NULL, 16);
  }
  return count;
}

/* arguments: COORDINATOR ACCESS_SECRET CHUNK_SECRET_ID CHUNK_SECRET TENANT, secrets in hex */
bool open_client(char** arguments, kdn_client** client, const kdn_model** model) {
  uint8_t access[128];
  uint8_t chunk[128];
  kdn_client_options options;
  memset(&options, 0, sizeof(options));
  options.struct_size = sizeof(options);
  options.coordinator = arguments[0];
  options.access_secret = access;
  options.access_secret_size = from_hex(arguments[1], access, sizeof(access));
  options.chunk_secret_id = (uint32_t)strtoul(arguments[2], NULL, 10);
  options.chunk_secret = chunk;
  options.chunk_secret_size = from_hex(arguments[3], chunk, sizeof(chunk));
  options.tenant_id = strtoull(arguments[4], NULL, 10);
  options.chunk_tokens = kChunkTokens;
  options.timeout_ms = 10000;
  if (!ok(kdn_client_open(&options, client), "kdn_client_open")) return false;

  const uint16_t layers[kLayers] = {0, 1, 2, 3};
  kdn_kv_group group;
  memset(&group, 0, sizeof(group));
  group.struct_size = sizeof(group);
  group.attention = KDN_GROUPED;
  group.layers = layers;
  group.layer_count = kLayers;
  group.kv_heads = kHeads;
  group.k_head_size = kHeadSize;
  group.v_head_size = kHeadSize;
  kdn_model_spec spec;
  memset(&spec, 0, sizeof(spec));
  spec.struct_size = sizeof(spec);
  spec.name = "test/paged";
  spec.revision = "1";
  spec.dtype = KDN_BF16;
  spec.rotary_pairing = 1;
  spec.rotary_dims = kHeadSize;
  spec.rotary_base = 10000;
  spec.groups = &group;
  spec.group_count = 1;
  spec.layers_per_tile = 2;
  spec.heads_per_tile = 2;
  return ok(kdn_model_open(*client, &spec, model), "kdn_model_open");
}

bool open_kv(engine* e, const kdn_model* model, kdn_kv** kv) {
  void* bases[kPlanes][kLayers];
  kdn_kv_pool pool;
  memset(&pool, 0, sizeof(pool));
  pool.struct_size = sizeof(pool);
  for (unsigned plane = 0; plane < kPlanes; ++plane) {
    for (unsigned layer = 0; layer < kLayers; ++layer)
      bases[plane][layer] = e->values[plane][layer];
    kdn_plane_map* map = &pool.planes[plane];
    map->base = bases[plane];
    map->dim_stride = sizeof(uint16_t);
    map->head_stride = map->dim_stride * kHeadSize;
    map->slot_stride = map->head_stride * kRankHeads;
    map->block_stride = map->slot_stride * kBlockTokens;
  }
  pool.block_tokens = kBlockTokens;
  pool.block_count = kBlocks;
  pool.first_head = (uint16_t)(e->rank * kRankHeads);
  pool.head_count = kRankHeads;
  return ok(kdn_kv_open(model, &pool, 1, kv), "kdn_kv_open");
}

/* A parallel rank's paged KV memory as vLLM lays it out, filled with values that a formula gives:
 * what was not loaded is "computed", and every bit can be checked. In C99, like all that drives
 * the C ABI here.
 *
 * Thread-safety: not safe; used by one thread.
 */
#pragma once

#include <kdn/kdn.h>
#include <stdbool.h>

enum {
  kLayers = 4,
  kHeads = 4, /* of the model */
  kRanks = 2,
  kRankHeads = kHeads / kRanks,
  kHeadSize = 32,
  kBlockTokens = 16,
  kBlocks = 40,
  kPromptTokens = 512,
  kPromptBlocks = kPromptTokens / kBlockTokens,
  kChunkTokens = 64,
  kPlanes = 2,
  kBlockValues = kBlockTokens * kRankHeads * kHeadSize,
};

typedef struct engine {
  unsigned rank;
  uint32_t table[kPromptBlocks]; /* the prompt's blocks, as the scheduler allocated them */
  uint16_t values[kPlanes][kLayers][kBlocks][kBlockValues]; /* bf16 */
} engine;

/* Everything a pattern that compute_layer() never writes. */
void engine_poison(engine* e);
/* The forward pass of one layer over tokens [first, end). */
void compute_layer(engine* e, unsigned layer, unsigned first, unsigned end);
/* How many of the prompt's values are not what computing all of it gives, in all layers. */
unsigned long wrong_values(const engine* e);

/* Fails with the library's own words on standard error. */
bool ok(kdn_code code, const char* what);
bool open_client(char** arguments, kdn_client** client, const kdn_model** model);
bool open_kv(engine* e, const kdn_model* model, kdn_kv** kv);

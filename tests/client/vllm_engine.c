/* An engine that calls the C ABI in the order in which vLLM calls a KV connector: one scheduler
 * process, and one worker process per tensor-parallel rank, which talk over pipes.
 *
 * usage: kdn-vllm-engine RANK1_TOKENS_MAX COORDINATOR ACCESS CHUNK_SECRET_ID CHUNK TENANT
 *
 * It serves one prompt. Once the scheduler knows what is stored it prints "matched N M" (as found,
 * and as the ranks agreed) and waits for a line, so that a test may do harm in between; then it
 * prints "done LOADED BAD_BLOCKS STORED PENDING WRONG_VALUES" for each rank. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "paged_engine.h"

enum { kBytesMax = 1 << 20 };

/* What the scheduler tells its workers for one step (KVConnectorMetadata); the serialised lookup
 * and plan follow it. */
typedef struct step {
  uint32_t table[kPromptBlocks];
  uint64_t tokens_matched;
  uint64_t lookup_size, plan_size;
} step;

/* What a worker answers after its pass (KVConnectorOutput). */
typedef struct outcome {
  uint64_t tokens_loaded;
  uint32_t bad_count;
  uint32_t bad_blocks[kPromptBlocks]; /* get_block_ids_with_load_errors */
} outcome;

typedef struct finished {
  kdn_store_report stored;
  uint64_t wrong;
} finished;

static bool read_all(int fd, void* to, size_t size) {
  char* at = to;
  while (size > 0) {
    const ssize_t got = read(fd, at, size);
    if (got <= 0) return false;
    at += got;
    size -= (size_t)got;
  }
  return true;
}

static bool write_all(int fd, const void* from, size_t size) {
  const char* at = from;
  while (size > 0) {
    const ssize_t put = write(fd, at, size);
    if (put <= 0) return false;
    at += put;
    size -= (size_t)put;
  }
  return true;
}

/* One turn of the engine's loop in which there is nothing to do. */
static void idle_step(void) {
  poll(NULL, 0, 1);
}

/* -- Worker ----------------------------------------------------------------------------------- */

typedef struct worker {
  engine e;
  int in, out;
  kdn_client* client;
  const kdn_model* model;
  kdn_kv* kv;
  const uint32_t* tables[1];
  size_t counts[1];
  kdn_block_tables blocks;
} worker;

/* start_load_kv, and in the forward pass wait_for_layer_load before each layer's attention. */
static bool forward(worker* w, const step* s, const uint8_t* lookup_bytes, outcome* o) {
  kdn_lookup* lookup = NULL;
  kdn_load* load = NULL;
  if (s->tokens_matched > 0) {
    kdn_load_options options = {
        .struct_size = sizeof(options), .timeout_ms = 5000, .layer_by_layer = 1};
    if (!ok(kdn_lookup_deserialize(lookup_bytes, s->lookup_size, &lookup), "deserialize") ||
        !ok(kdn_load_start(w->client, w->model, lookup, w->kv, &w->blocks, &options, &load),
            "kdn_load_start")) {
      return false;
    }
  }
  for (unsigned layer = 0; layer < kLayers; ++layer) {
    if (load != NULL) {
      const kdn_code code = kdn_load_wait_layer(load, layer);
      if (code != 0 && code != 5) return ok(code, "kdn_load_wait_layer");
      if (code == 0 && !kdn_load_layer_ready(load, layer)) return false;
    }
    compute_layer(&w->e, layer, (unsigned)s->tokens_matched, kPromptTokens);
  }
  if (load != NULL) {
    kdn_load_report report;
    report.struct_size = sizeof(report);
    if (!ok(kdn_load_wait(load, &report), "kdn_load_wait")) return false;
    o->tokens_loaded = report.tokens_loaded;
    for (uint64_t t = report.tokens_loaded; t < s->tokens_matched; t += kBlockTokens) {
      o->bad_blocks[o->bad_count++] = w->e.table[t / kBlockTokens];
    }
  }
  kdn_load_close(load);
  kdn_lookup_close(lookup);
  return true;
}

/* save_kv_layer and wait_for_save, then get_finished until the request is among them. */
static bool save(worker* w, const step* s, const uint8_t* plan_bytes, kdn_store_report* report) {
  const kdn_part part = {
      sizeof(part), (uint16_t)w->e.rank, kRanks, 0, kLayers, (uint16_t)(w->e.rank * kRankHeads),
      kRankHeads};
  kdn_plan* plan = NULL;
  kdn_store* store = NULL;
  if (!ok(kdn_plan_deserialize(plan_bytes, s->plan_size, &plan), "kdn_plan_deserialize") ||
      !ok(kdn_store_start(w->client, w->model, plan, &part, w->kv, &w->blocks, &store),
          "kdn_store_start") ||
      !ok(kdn_store_wait_read(store), "kdn_store_wait_read")) {
    return false;
  }
  while (!kdn_store_done(store)) idle_step();
  report->struct_size = sizeof(*report);
  const bool waited = ok(kdn_store_wait(store, report), "kdn_store_wait");
  kdn_store_close(store);
  kdn_plan_close(plan);
  return waited;
}

static bool serve(worker* w, uint8_t* bytes) {
  step s;
  outcome o;
  memset(&o, 0, sizeof(o));
  finished f;
  memset(&f, 0, sizeof(f));
  uint64_t recompute_from = 0;
  if (!read_all(w->in, &s, sizeof(s)) || s.lookup_size + s.plan_size > kBytesMax ||
      !read_all(w->in, bytes, s.lookup_size + s.plan_size)) {
    return false;
  }
  memcpy(w->e.table, s.table, sizeof(s.table));
  if (!forward(w, &s, bytes, &o) || !write_all(w->out, &o, sizeof(o)) ||
      !read_all(w->in, &recompute_from, sizeof(recompute_from))) {
    return false;
  }
  /* The scheduler's answer to load errors of any rank: all compute again from the first bad one. */
  for (unsigned layer = 0; layer < kLayers; ++layer) {
    compute_layer(&w->e, layer, (unsigned)recompute_from, (unsigned)s.tokens_matched);
  }
  if (s.plan_size > 0 && !save(w, &s, bytes + s.lookup_size, &f.stored)) return false;
  f.wrong = wrong_values(&w->e);
  return write_all(w->out, &f, sizeof(f));
}

static int run_worker(unsigned rank, int in, int out, char** arguments) {
  worker* w = calloc(1, sizeof(*w));
  uint8_t* bytes = malloc(kBytesMax);
  if (w == NULL || bytes == NULL) return 1;
  w->e.rank = rank;
  w->in = in;
  w->out = out;
  engine_poison(&w->e);
  w->tables[0] = w->e.table;
  w->counts[0] = kPromptBlocks;
  w->blocks.struct_size = sizeof(w->blocks);
  w->blocks.tables = w->tables;
  w->blocks.block_counts = w->counts;
  w->blocks.table_count = 1;
  const bool served = open_client(arguments, &w->client, &w->model) &&
                      open_kv(&w->e, w->model, &w->kv) /* register_kv_caches */ && serve(w, bytes);
  kdn_kv_close(w->kv);
  kdn_client_close(w->client);
  free(bytes);
  free(w);
  return served ? 0 : 1;
}

/* -- Scheduler --------------------------------------------------------------------------------- */

typedef struct rank_process {
  pid_t pid;
  int in, out; /* to it, from it */
} rank_process;

static bool spawn(unsigned rank, char** arguments, rank_process* process) {
  int to[2];
  int from[2];
  if (pipe(to) != 0 || pipe(from) != 0) return false;
  process->pid = fork();
  if (process->pid == 0) {
    close(to[1]);
    close(from[0]);
    _exit(run_worker(rank, to[0], from[1], arguments));
  }
  close(to[0]);
  close(from[1]);
  process->in = to[1];
  process->out = from[0];
  return process->pid > 0;
}

/* get_num_new_matched_tokens, asked again in each step while it answers None; then the least that
 * all ranks can take. */
static bool look_up(kdn_client* client, const kdn_model* model, const uint32_t* tokens,
                    uint64_t agreed_max, step* s, uint8_t* bytes) {
  kdn_lookup* lookup = NULL;
  uint64_t found = 0;
  if (!ok(kdn_lookup_start(client, model, tokens, kPromptTokens, NULL, &lookup), "lookup_start")) {
    return false;
  }
  while (!kdn_lookup_done(lookup)) idle_step();
  if (!ok(kdn_lookup_wait(lookup, &found), "kdn_lookup_wait") ||
      !ok(kdn_lookup_truncate(lookup, agreed_max), "kdn_lookup_truncate") ||
      !ok(kdn_lookup_wait(lookup, &s->tokens_matched), "kdn_lookup_wait") ||
      !ok(kdn_lookup_serialize(lookup, bytes, kBytesMax, &s->lookup_size), "lookup_serialize")) {
    return false;
  }
  kdn_lookup_close(lookup);
  printf("matched %llu %llu\n", (unsigned long long)found, (unsigned long long)s->tokens_matched);
  return fflush(stdout) == 0;
}

/* build_connector_meta: what is to be saved in this step. Nothing, if the cluster is out of reach:
 * a store that cannot be planned is dropped. */
static bool plan_save(kdn_client* client, const kdn_model* model, const uint32_t* tokens, step* s,
                      uint8_t* bytes) {
  kdn_plan_options options;
  memset(&options, 0, sizeof(options));
  options.struct_size = sizeof(options);
  options.provenance = 3;
  options.part_count = kRanks;
  kdn_plan* plan = NULL;
  uint32_t chunks = 0;
  const kdn_code code =
      kdn_plan_open(client, model, tokens, kPromptTokens, &options, &plan, &chunks);
  if (!ok(code, "kdn_plan_open")) return true;
  const bool done = chunks == 0 || ok(kdn_plan_serialize(plan, bytes + s->lookup_size,
                                                         kBytesMax - s->lookup_size, &s->plan_size),
                                      "kdn_plan_serialize");
  kdn_plan_close(plan);
  return done;
}

/* update_connector_output: from where all ranks compute again. */
static bool collect(const rank_process* ranks, const step* s, outcome* outcomes) {
  uint64_t recompute_from = s->tokens_matched;
  for (unsigned r = 0; r < kRanks; ++r) {
    if (!read_all(ranks[r].out, &outcomes[r], sizeof(outcomes[r]))) return false;
    if (outcomes[r].bad_count == 0) continue;
    for (unsigned b = 0; b < kPromptBlocks; ++b) {
      const uint64_t first_token = (uint64_t)b * kBlockTokens;
      if (s->table[b] == outcomes[r].bad_blocks[0] && first_token < recompute_from) {
        recompute_from = first_token;
      }
    }
  }
  for (unsigned r = 0; r < kRanks; ++r) {
    if (!write_all(ranks[r].in, &recompute_from, sizeof(recompute_from))) return false;
  }
  return true;
}

static bool schedule(kdn_client* client, const kdn_model* model, uint64_t rank1_max,
                     const rank_process* ranks, uint8_t* bytes) {
  uint32_t tokens[kPromptTokens];
  for (unsigned t = 0; t < kPromptTokens; ++t) tokens[t] = (t * 7919U + 11U) % 32000U;
  step s;
  memset(&s, 0, sizeof(s));
  for (unsigned b = 0; b < kPromptBlocks; ++b) s.table[b] = (b * 7U + 3U) % kBlocks;
  const uint64_t agreed = rank1_max < kPromptTokens ? rank1_max : kPromptTokens;
  if (!look_up(client, model, tokens, agreed, &s, bytes) ||
      !plan_save(client, model, tokens, &s, bytes) || getchar() == EOF) {
    return false;
  }
  for (unsigned r = 0; r < kRanks; ++r) {
    if (!write_all(ranks[r].in, &s, sizeof(s)) ||
        !write_all(ranks[r].in, bytes, s.lookup_size + s.plan_size)) {
      return false;
    }
  }
  outcome outcomes[kRanks];
  if (!collect(ranks, &s, outcomes)) return false;
  for (unsigned r = 0; r < kRanks; ++r) {
    finished f;
    if (!read_all(ranks[r].out, &f, sizeof(f))) return false;
    printf("done %llu %u %u %u %llu\n", (unsigned long long)outcomes[r].tokens_loaded,
           outcomes[r].bad_count, f.stored.chunks_stored, f.stored.chunks_pending,
           (unsigned long long)f.wrong);
  }
  return fflush(stdout) == 0;
}

int main(int argc, char** argv) {
  if (argc != 7) return 2;
  rank_process ranks[kRanks];
  for (unsigned r = 0; r < kRanks; ++r) {
    if (!spawn(r, argv + 2, &ranks[r])) return 1;
  }
  kdn_client* client = NULL;
  const kdn_model* model = NULL;
  uint8_t* bytes = malloc(kBytesMax);
  bool served = bytes != NULL && open_client(argv + 2, &client, &model) &&
                schedule(client, model, strtoull(argv[1], NULL, 10), ranks, bytes);
  kdn_client_close(client);
  free(bytes);
  for (unsigned r = 0; r < kRanks; ++r) {
    int status = 0;
    close(ranks[r].in);
    served &= waitpid(ranks[r].pid, &status, 0) == ranks[r].pid && status == 0;
  }
  return served ? 0 : 1;
}

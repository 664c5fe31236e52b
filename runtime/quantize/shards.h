/* runtime/quantize/shards.h: the tensors of the quantized checkpoint, and how they fall into files. Known from the
 * source's headers alone, so every run with the same settings makes the same files.
 */
#ifndef QUANTIZE_SHARDS_H
#define QUANTIZE_SHARDS_H

#include "quantize/pack.h"

#include "tenon/graph.h"

#include <jansson.h>

/* One tensor of the source and what becomes of it. */
typedef struct shard_item {
    tn_tensor_src tensor; /* borrowed from the checkpoint */
    uint32_t type;        /* TN_* of a weight to quantize; 0: copied as it is */
    bool embedding;       /* the table that tokens are looked up in */
    uint32_t part_count;
    pack_part parts[PACK_PARTS_MAX]; /* of a weight to quantize */
} shard_item;

typedef struct shard {
    uint32_t first, count; /* items */
    uint64_t data_bytes, header_bytes;
    char name[64];
    char *header; /* the file up to its data, owned; NULL until shard_plan_write_headers */
} shard;

typedef struct shard_plan {
    shard_item *items;    /* [item_count] in the source's order, owned */
    shard_item **by_name; /* [item_count] sorted, owned */
    shard *shards;        /* [shard_count], owned */
    uint32_t item_count, shard_count, quantized;
    uint32_t group_size; /* of 4 bits: the request's, or the one that was chosen */
    uint64_t data_bytes;
} shard_plan;

/* The weights of the graph's LINEAR nodes are quantized, and those of its experts if each has a tensor of its own.
 * Errors name the weight. */
tn_status shard_plan_init(shard_plan *plan, const quantize_request *request, const checkpoint *checkpoint,
                          const tn_graph *graph, tn_error *err);
void shard_plan_finish(shard_plan *plan);
/* Every shard says what it was made from and how: strings that go into its __metadata__. */
tn_status shard_plan_write_headers(shard_plan *plan, const json_t *strings, tn_error *err);
/* The item of this name; NULL: none. */
const shard_item *shard_plan_find(const shard_plan *plan, const char *name);
/* A MOE node's weight whose rows are a quantized tensor per expert; part e is expert e's. */
bool shard_plan_has_experts(const shard_plan *plan, const tn_graph *graph, uint32_t weight_id);
/* model.safetensors.index.json for more than one shard; malloc'ed text, NULL when there is one or memory is short. */
char *shard_plan_index(const shard_plan *plan);

#endif

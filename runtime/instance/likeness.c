/* likeness.c: see likeness.h. Whatever is long becomes a SHA-256. */
#include "instance/likeness.h"

#include "base/hex.h"
#include "version.h"

#include <nettle/sha2.h>
#include <stdlib.h>
#include <string.h>

enum { PIECE_BYTES = 64, HASH_TEXT = 2 * SHA256_DIGEST_SIZE + 1 };

static void add(struct sha256_ctx *hash, const void *bytes, size_t n)
{
    sha256_update(hash, n, bytes);
}

/* With its end, so that two texts are not one. */
static void add_text(struct sha256_ctx *hash, const char *text)
{
    add(hash, text, strlen(text) + 1);
}

static void finish(struct sha256_ctx *hash, char ret_text[HASH_TEXT])
{
    uint8_t digest[SHA256_DIGEST_SIZE];
    sha256_digest(hash, sizeof digest, digest);
    hex_of(digest, sizeof digest, ret_text);
}

/* ---- graph ---- */

static void add_value(struct sha256_ctx *hash, const tn_value *v)
{
    const uint32_t numbers[] = {v->kind, v->weight_id, v->shard, v->shard_unit};

    add(hash, numbers, sizeof numbers);
    add(hash, v->dim, sizeof v->dim);
    add_text(hash, v->name);
    if (v->constant)
        add(hash, v->constant, (size_t)(v->dim[0] * v->dim[1]) * sizeof *v->constant);
}

static void add_node(struct sha256_ctx *hash, const tn_node *n)
{
    const uint32_t numbers[] = {n->op, n->in_count, n->out_count, n->attr_count, n->fattr_count};

    add(hash, numbers, sizeof numbers);
    add(hash, n->in, n->in_count * sizeof *n->in);
    add(hash, n->out, n->out_count * sizeof *n->out);
    add(hash, n->attr, n->attr_count * sizeof *n->attr);
    add(hash, n->fattr, n->fattr_count * sizeof *n->fattr);
}

static tn_status hash_graph(const tn_graph *graph, const tn_graph_api *api, char ret_text[HASH_TEXT])
{
    struct sha256_ctx hash;
    tn_status status = TN_OK;

    sha256_init(&hash);
    for (uint32_t i = 0; i < api->value_count && status == TN_OK; i++) {
        tn_value value = {.struct_size = sizeof value};
        status = api->value(graph, i, &value);
        if (status == TN_OK)
            add_value(&hash, &value);
    }
    for (uint32_t i = 0; i < api->node_count && status == TN_OK; i++) {
        tn_node node = {.struct_size = sizeof node};
        status = api->node(graph, i, &node);
        if (status == TN_OK)
            add_node(&hash, &node);
    }
    finish(&hash, ret_text);
    return status;
}

/* ---- checkpoint ---- */

static void add_tensor(struct sha256_ctx *hash, const tn_tensor_src *t)
{
    const uint64_t piece = t->bytes < PIECE_BYTES ? t->bytes : PIECE_BYTES;
    const uint64_t at[] = {0, (t->bytes - piece) / 2, t->bytes - piece};

    add_text(hash, t->name);
    add(hash, &t->dtype, sizeof t->dtype);
    add(hash, t->dim, sizeof t->dim);
    add(hash, &t->bytes, sizeof t->bytes);
    for (size_t i = 0; i < sizeof at / sizeof *at; i++)
        add(hash, (const uint8_t *)t->data + at[i], (size_t)piece);
}

static tn_status hash_checkpoint(const tn_source *source, char ret_text[HASH_TEXT])
{
    struct sha256_ctx hash;
    tn_status status = TN_OK;

    sha256_init(&hash);
    for (uint32_t i = 0; i < source->tensor_count && status == TN_OK; i++) {
        tn_tensor_src tensor = {.struct_size = sizeof tensor};
        status = source->tensor_at(source, i, &tensor);
        if (status == TN_OK)
            add_tensor(&hash, &tensor);
    }
    finish(&hash, ret_text);
    return status;
}

static void hash_encodings(const instance *in, char ret_text[HASH_TEXT])
{
    struct sha256_ctx hash;

    sha256_init(&hash);
    add(&hash, in->weight_enc, model_graph_api(in->graph)->weight_count * sizeof *in->weight_enc);
    finish(&hash, ret_text);
}

/* ---- all of it ---- */

/* Pages and budgets are not among them: each device has its own, and the group takes the least. */
static void print_plan(FILE *out, const memory_plan *plan)
{
    fprintf(out, "backend.tensor_parallel_size: %u\n", plan->world);
    fprintf(out, "model.max_model_len: %u\n", plan->max_model_len);
    fprintf(out, "engine.max_num_seqs: %u\n", plan->max_num_seqs);
    fprintf(out, "engine.max_num_batched_tokens: %u\n", plan->max_num_batched_tokens);
    fprintf(out, "output rows: %u\n", plan->max_outputs);
    fprintf(out, "engine.kv_cache_dtype: %u\n", plan->kv_dtype);
    fprintf(out, "engine.batch_invariant: %d\n", plan->batch_invariant);
    fprintf(out, "bytes of a rank: %llu weights, %llu activations, %llu logits\n", (unsigned long long)plan->weights,
            (unsigned long long)plan->activations, (unsigned long long)plan->logits);
    for (uint32_t g = 0; g < plan->kv_group_count; g++)
        fprintf(out, "pages of KV group %u: %u tokens, %llu bytes\n", g, plan->page_tokens[g],
                (unsigned long long)plan->page_bytes[g]);
}

static void print_all(FILE *out, const instance *in, const char *graph, const char *checkpoint)
{
    char encodings[HASH_TEXT];

    hash_encodings(in, encodings);
    fprintf(out, "tenon: %s, tables %s\n", TENON_VERSION, TN_DRAFT_HASH);
    for (uint32_t i = 0; plugin_at(in->plugins, i); i++) {
        const tn_plugin *plugin = plugin_descriptor(plugin_at(in->plugins, i));
        fprintf(out, "plugin: %s %s\n", plugin->id, plugin->version);
    }
    fprintf(out, "architecture: %s\n", in->config.architecture);
    print_plan(out, &in->plan);
    fprintf(out, "model graph: %s\n", graph);
    fprintf(out, "weights' encodings: %s\n", encodings);
    fprintf(out, "checkpoint: %s\n", checkpoint);
}

tn_status likeness_text(const instance *in, char **ret_text, tn_error *err)
{
    char graph[HASH_TEXT], checkpoint[HASH_TEXT];
    size_t n;

    tn_status status = hash_graph(in->graph, model_graph_api(in->graph), graph);
    if (status == TN_OK)
        status = hash_checkpoint(checkpoint_source(in->checkpoint), checkpoint);
    if (status != TN_OK)
        return tn_fail(err, status, "the model cannot be described to the other processes of the group");
    FILE *out = open_memstream(ret_text, &n);
    if (!out)
        return tn_fail(err, TN_E_MEMORY, "the model's description for the other processes of the group");
    print_all(out, in, graph, checkpoint);
    if (fclose(out) == 0)
        return TN_OK;
    free(*ret_text);
    *ret_text = NULL;
    return tn_fail(err, TN_E_MEMORY, "the model's description for the other processes of the group");
}

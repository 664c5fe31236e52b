/* runtime/quantize/provenance.c: see provenance.h. The digest is nettle's, which the plugin loader has already.
 *
 * Tensors fall to threads; each has a digest of its own, and the source's is that of all names, types, shapes and
 * digests in the order of the names.
 */
#include "quantize/provenance.h"

#include "base/hex.h"
#include "quantize/parallel.h"

#include <inttypes.h>
#include <nettle/sha2.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { RELEASE_BYTES = 16 << 20, HEX_BYTES = 2 * SHA256_DIGEST_SIZE + 1 };

enum { FACT_METHOD, FACT_GROUP, FACT_SHARD, FACT_CONFIG, FACT_WEIGHTS, FACT_TEXT, FACT_SAMPLES, FACT_LENGTH };
static const struct {
    const char *key, *option; /* option NULL: what cannot be typed */
    const char *what;         /* the thing that has changed */
} facts[PROVENANCE_FACTS] = {
    [FACT_METHOD] = {"tenon.method", "--method", NULL},
    [FACT_GROUP] = {"tenon.group_size", "--group-size", NULL},
    [FACT_SHARD] = {"tenon.shard_mib", "--shard-size", NULL},
    [FACT_CONFIG] = {"tenon.config_sha256", NULL, "the source's config.json"},
    [FACT_WEIGHTS] = {"tenon.weights_sha256", NULL, "the weights of the source"},
    [FACT_TEXT] = {"tenon.calibration_sha256", NULL, "the calibration text, as the model's tokenizer reads it,"},
    [FACT_SAMPLES] = {"tenon.samples", "--samples", NULL},
    [FACT_LENGTH] = {"tenon.sequence_length", "--sequence-length", NULL},
};

static void write_hex(struct sha256_ctx *context, char *ret_hex)
{
    uint8_t digest[SHA256_DIGEST_SIZE];

    sha256_digest(context, sizeof digest, digest);
    hex_of(digest, sizeof digest, ret_hex);
}

/* ---- the source ---- */

typedef struct hashing {
    const shard_plan *plan;
    const checkpoint *checkpoint;
    char (*hex)[HEX_BYTES]; /* [item_count] */
    uint64_t total;
    weights_progress progress;
    pthread_mutex_t lock;
    uint64_t done; /* under lock */
} hashing;

static void report(hashing *h, uint64_t bytes)
{
    pthread_mutex_lock(&h->lock);
    h->done += bytes;
    if (h->progress.report && bytes)
        h->progress.report(h->progress.ctx, h->done, h->total);
    pthread_mutex_unlock(&h->lock);
}

static void hash_tensor(hashing *h, const tn_tensor_src *tensor, char *ret_hex)
{
    struct sha256_ctx context;

    sha256_init(&context);
    for (uint64_t at = 0; at < tensor->bytes; at += RELEASE_BYTES) {
        const uint8_t *data = (const uint8_t *)tensor->data + at;
        uint64_t bytes = tensor->bytes - at < RELEASE_BYTES ? tensor->bytes - at : RELEASE_BYTES;
        sha256_update(&context, bytes, data);
        checkpoint_release(h->checkpoint, data, bytes);
        report(h, bytes);
    }
    write_hex(&context, ret_hex);
}

static void hash_tensors(void *ctx, uint64_t begin, uint64_t end)
{
    hashing *h = ctx;
    for (uint64_t i = begin; i < end; i++)
        hash_tensor(h, &h->plan->by_name[i]->tensor, h->hex[i]);
}

static void hash_lines(const hashing *h, char *ret_hex)
{
    struct sha256_ctx context;

    sha256_init(&context);
    for (uint32_t i = 0; i < h->plan->item_count; i++) {
        const tn_tensor_src *tensor = &h->plan->by_name[i]->tensor;
        char line[160];
        int bytes = snprintf(line, sizeof line, " %" PRIu32 " %" PRIu32, tensor->dtype, tensor->rank);
        sha256_update(&context, strlen(tensor->name), (const uint8_t *)tensor->name);
        for (uint32_t d = 0; d < tensor->rank; d++)
            bytes += snprintf(line + bytes, sizeof line - (size_t)bytes, " %" PRId64, tensor->dim[d]);
        sha256_update(&context, (size_t)bytes, (const uint8_t *)line);
        sha256_update(&context, HEX_BYTES, (const uint8_t *)h->hex[i]);
    }
    write_hex(&context, ret_hex);
}

static tn_status hash_weights(const shard_plan *plan, const checkpoint *checkpoint, weights_progress progress,
                              char *ret_hex, tn_error *err)
{
    hashing h = {.plan = plan,
                 .checkpoint = checkpoint,
                 .hex = calloc(plan->item_count ? plan->item_count : 1, HEX_BYTES),
                 .total = checkpoint_tensor_bytes(checkpoint),
                 .progress = progress,
                 .lock = PTHREAD_MUTEX_INITIALIZER};

    if (!h.hex)
        return tn_fail(err, TN_E_MEMORY, "digests of %u tensors", plan->item_count);
    parallel_run(plan->item_count, 1, hash_tensors, &h);
    hash_lines(&h, ret_hex);
    free(h.hex);
    return TN_OK;
}

static tn_status hash_config(const tn_source *source, char *ret_hex, tn_error *err)
{
    struct sha256_ctx context;
    tn_meta text = {.struct_size = sizeof text};

    if (source->meta(source, "config.json", &text) != TN_OK || text.kind != TN_META_STRING)
        return tn_fail(err, TN_E_ARGUMENT, "%s: there is no config.json; give a model directory", source->path);
    sha256_init(&context);
    sha256_update(&context, text.count, (const uint8_t *)text.string);
    write_hex(&context, ret_hex);
    return TN_OK;
}

/* ---- the text ---- */

static void hash_text(const quantize_text *text, char *ret_hex)
{
    struct sha256_ctx context;

    sha256_init(&context);
    for (uint32_t i = 0; i < text->sequences; i++)
        sha256_update(&context, text->tokens * sizeof *text->ids,
                      (const uint8_t *)(text->ids + text->count / text->sequences * i));
    write_hex(&context, ret_hex);
}

tn_status provenance_take(provenance *p, const quantize_request *request, const shard_plan *plan,
                          const checkpoint *checkpoint, weights_progress progress, tn_error *err)
{
    *p = (provenance){0};
    snprintf(p->value[FACT_METHOD], PROVENANCE_VALUE_BYTES, "%s", quantize_method_name(request->method));
    if (plan->group_size)
        snprintf(p->value[FACT_GROUP], PROVENANCE_VALUE_BYTES, "%u", plan->group_size);
    snprintf(p->value[FACT_SHARD], PROVENANCE_VALUE_BYTES, "%g", (double)request->shard_bytes / (1 << 20));
    if (request->method == QUANTIZE_AWQ) {
        hash_text(request->text, p->value[FACT_TEXT]);
        snprintf(p->value[FACT_SAMPLES], PROVENANCE_VALUE_BYTES, "%u", request->text->sequences);
        snprintf(p->value[FACT_LENGTH], PROVENANCE_VALUE_BYTES, "%u", request->text->tokens);
    }
    tn_status status = hash_config(checkpoint_source(checkpoint), p->value[FACT_CONFIG], err);
    return status == TN_OK ? hash_weights(plan, checkpoint, progress, p->value[FACT_WEIGHTS], err) : status;
}

/* ---- words ---- */

json_t *provenance_json(const provenance *p)
{
    json_t *object = json_object();
    bool whole = object != NULL;

    for (uint32_t i = 0; i < PROVENANCE_FACTS && whole; i++)
        if (p->value[i][0])
            whole = json_object_set_new(object, facts[i].key, json_string(p->value[i])) == 0;
    if (whole)
        return object;
    json_decref(object);
    return NULL;
}

char *provenance_text(const provenance *p)
{
    json_t *object = provenance_json(p);
    char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;
    json_decref(object);
    return text;
}

tn_status provenance_refuse_stranger(const char *path, tn_error *err)
{
    return tn_fail(err, TN_E_ARGUMENT, "%.400s does not say what it was made from: give an empty directory", path);
}

tn_status provenance_check_json(const provenance *p, const json_t *object, const char *path, tn_error *err)
{
    if (!json_is_string(json_object_get(object, facts[FACT_WEIGHTS].key)))
        return provenance_refuse_stranger(path, err);
    for (uint32_t i = 0; i < PROVENANCE_FACTS; i++) {
        const char *found = json_string_value(json_object_get(object, facts[i].key));
        found = found ? found : "";
        if (strcmp(found, p->value[i]) == 0)
            continue;
        if (!facts[i].option)
            return tn_fail(err, TN_E_ARGUMENT,
                           "%.400s was begun before %s changed: give what it was begun with, or an empty directory",
                           path, facts[i].what);
        return tn_fail(err, TN_E_ARGUMENT,
                       "%.400s was made with %s %.40s, this run has %s: give the same, or an empty directory", path,
                       facts[i].option, found, p->value[i]);
    }
    return TN_OK;
}

tn_status provenance_check(const provenance *p, const char *text, uint64_t bytes, const char *path, tn_error *err)
{
    json_t *object = json_loadb(text, bytes, JSON_REJECT_DUPLICATES, NULL);
    tn_status status = provenance_check_json(p, object, path, err);
    json_decref(object);
    return status;
}

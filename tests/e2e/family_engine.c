/* family_engine.c: what the engine makes of a tiny checkpoint is what transformers makes of it.
 *
 *   family_engine DIRECTORY PLUGINS FAMILIES.JSON NAME KV_CACHE_DTYPE MAX_NUM_SEQS
 *
 * Several requests with the golden prompt, its beginnings and its ends share an engine that has too few pages for all
 * of them and takes 48 tokens a step: prompts are cut, sequences preempted and computed anew, windows slide and give
 * pages back. The log-probs of the golden prompt's tokens must still be those of the golden logits.
 *
 * Tolerance of a log-prob: 1e-3 (2e-5 measured) where keys and values are float32, as the golden figures have 6
 * digits; 2e-2 of the largest logit where they are bfloat16.
 */
#include "engine_counter.h"

#include <jansson.h>
#include <math.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { PROMPT_MAX = 512, REQUESTS = 24, NEW = 96 };

static int32_t prompt[PROMPT_MAX];
static uint32_t prompt_count;

static void fail(const char *what, const char *why)
{
    fprintf(stderr, "family_engine: %s: %s\n", what, why);
    exit(1);
}

/* ---- the golden file ---- */

static json_t *load_case(const char *path, const char *name, json_t **ret_root)
{
    json_t *root = json_load_file(path, 0, NULL), *ids = json_object_get(root, "prompt_ids"), *found;
    size_t i;

    prompt_count = (uint32_t)json_array_size(ids);
    if (prompt_count == 0 || prompt_count > PROMPT_MAX)
        fail(path, "no prompt");
    for (i = 0; i < prompt_count; i++)
        prompt[i] = (int32_t)json_integer_value(json_array_get(ids, i));
    *ret_root = root;
    json_array_foreach(json_object_get(root, "cases"), i, found)
    {
        if (strcmp(json_string_value(json_object_get(found, "name")), name) == 0)
            return found;
    }
    fail(name, "not in the golden file");
    return NULL;
}

static double tolerance(json_t *found, const char *kv_cache_dtype)
{
    double largest = 0;
    size_t r, i;
    json_t *row, *value;

    if (strcmp(kv_cache_dtype, "float32") == 0)
        return 1e-3;
    json_array_foreach(json_object_get(found, "logits"), r, row)
    {
        json_array_foreach(row, i, value)
        {
            largest = fmax(largest, fabs(json_number_value(value)));
        }
    }
    return 2e-2 * largest;
}

/* Golden log-prob of `token` after `position`; NAN if the file does not have that position. */
static double golden_logprob(json_t *root, json_t *found, uint32_t position, int32_t token)
{
    json_t *positions = json_object_get(root, "positions");

    for (size_t r = 0; r < json_array_size(positions); r++) {
        json_t *row = json_array_get(json_object_get(found, "logits"), r);
        double sum = 0;
        if (json_integer_value(json_array_get(positions, r)) != position)
            continue;
        for (size_t i = 0; i < json_array_size(row); i++)
            sum += exp(json_number_value(json_array_get(row, i)));
        return json_number_value(json_array_get(row, (size_t)token)) - log(sum);
    }
    return NAN;
}

/* ---- requests ---- */

/* Even ones are the whole prompt, scored; odd ones begin somewhere within it. */
static void submit(const tn_engine_table *api, tn_client *client, uint32_t index)
{
    uint32_t skip = index % 2 ? 10 * index : 0;
    tn_error err = TN_ERROR_INIT;
    uint64_t id;
    tn_request request = {.struct_size = sizeof request,
                          .flags = TN_REQ_IGNORE_EOS | TN_REQ_LOGPROBS | (skip ? 0 : TN_REQ_PROMPT_LOGPROBS),
                          .token = prompt + skip,
                          .token_count = prompt_count - skip,
                          .max_new = NEW,
                          .n_choices = 1,
                          .top_p = 1,
                          .repetition = 1,
                          .user = index};
    if (api->submit(client, &request, &id, &err) != TN_OK)
        fail("submit", err.msg);
}

typedef struct findings {
    json_t *root, *found;
    uint32_t compared, done;
    double worst;
} findings;

static void note(findings *f, const tn_event *event)
{
    if (event->kind == TN_EVENT_DONE) {
        f->done++;
        if (event->status != TN_OK)
            fail("request", event->text);
    }
    bool scored = event->kind == TN_EVENT_PROMPT && event->index > 0;
    bool first = event->kind == TN_EVENT_TOKEN && event->index == 0 && event->user % 2 == 0;
    if (!scored && !first)
        return;
    uint32_t position = scored ? event->index - 1 : prompt_count - 1;
    double wanted = golden_logprob(f->root, f->found, position, event->token);
    if (isnan(wanted))
        return;
    double error = fabs((double)event->logprob - wanted);
    f->worst = error > f->worst || isnan(error) ? error : f->worst;
    f->compared++;
}

static void run(const tn_engine_table *api, tn_client *client, findings *f)
{
    tn_event events[64];
    struct pollfd wait = {.fd = api->event_fd(client), .events = POLLIN};

    for (uint32_t i = 0; i < REQUESTS; i++)
        submit(api, client, i);
    while (f->done < REQUESTS) {
        poll(&wait, 1, -1);
        events[0].struct_size = sizeof *events;
        uint32_t count = api->poll(client, events, sizeof *events, 64);
        for (uint32_t i = 0; i < count; i++)
            note(f, &events[i]);
    }
}

/* The runtime with a pool of `kv_bytes`; NULL if that is too little for one sequence. */
static tn_runtime *open_runtime(char **argv, uint32_t kv_bytes)
{
    char model[4096], plugins[4096], kv[64], dtype[64], seqs[64];
    const char *sets[] = {model,
                          plugins,
                          kv,
                          dtype,
                          "engine.max_num_batched_tokens=48",
                          seqs,
                          "engine.enable_prefix_caching=false",
                          "model.max_model_len=400",
                          NULL};
    tn_error err = TN_ERROR_INIT;
    tn_runtime *runtime = NULL;

    snprintf(model, sizeof model, "model.path=%s", argv[1]);
    snprintf(plugins, sizeof plugins, "plugins.path=%s", argv[2]);
    snprintf(kv, sizeof kv, "engine.kv_cache_memory_bytes=%u", kv_bytes);
    snprintf(dtype, sizeof dtype, "engine.kv_cache_dtype=%s", argv[5]);
    snprintf(seqs, sizeof seqs, "engine.max_num_seqs=%s", argv[6]);
    tn_status status = tn_runtime_open(NULL, sets, &runtime, &err);
    if (status == TN_E_MEMORY)
        return NULL;
    if (status != TN_OK)
        fail("open", err.msg);
    return runtime;
}

int main(int argc, char **argv)
{
    findings f = {0};
    tn_runtime *runtime = NULL;
    tn_client *client;
    tn_error err = TN_ERROR_INIT;

    if (argc != 7) {
        fprintf(stderr, "usage: family_engine DIRECTORY PLUGINS FAMILIES.JSON NAME KV_CACHE_DTYPE MAX_NUM_SEQS\n");
        return 2;
    }
    f.found = load_case(argv[3], argv[4], &f.root);
    /* The smallest pool that holds one sequence, or a little more: all at once cannot stay. */
    for (uint32_t kv_bytes = 64 << 10; !runtime; kv_bytes += kv_bytes / 4)
        runtime = open_runtime(argv, kv_bytes);
    tn_engine *engine = tn_runtime_engine(runtime);
    const tn_engine_table *api = tn_runtime_interface(runtime, TN_ENGINE_ID);
    const tn_stats_table *stats = tn_runtime_interface(runtime, TN_STATS_ID);
    if (api->client_open(engine, 4096, &client, &err) != TN_OK)
        fail("client", err.msg);
    run(api, client, &f);
    double preempted = engine_counter(stats, engine, "num_preemptions_total");
    api->client_close(client);
    tn_runtime_close(runtime);
    double allowed = tolerance(f.found, argv[5]);
    json_decref(f.root);
    printf("%s: %u log-probs, worst error %.2g of %.2g, %.0f preemptions\n", argv[4], f.compared, f.worst, allowed,
           preempted);
    return !(f.compared >= REQUESTS && f.worst <= allowed && preempted > 0);
}

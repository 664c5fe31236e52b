/* test_interp.c: the interpreter keeps every promise of tenon/backend.h, over a device that is awkward on purpose.
 *
 * The device hands out small integers as handles, cannot be mapped, counts what it allocates, and runs ADD itself (and
 * nothing else), so both sides of the boundary are exercised. The oracle is the same graph on host memory.
 */
#include "base/sampler.h"
#include "cmocka_test.h"
#include "model/graph.h"
#include "tenon/interp.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { VOCAB = 96, WIDTH = 32, BUFFERS_MAX = 256, TOKENS = 24 };

/* ---- the awkward device ---- */

struct tn_dev {
    unsigned char *memory[BUFFERS_MAX];
    uint64_t bytes[BUFFERS_MAX], used[4]; /* used: by TN_USAGE_* */
    uint32_t adds;
};
static struct tn_dev awkward_state;

static tn_status awkward_device(uint32_t index, tn_devinfo *ret_info, tn_error *err)
{
    if (index > 0)
        return tn_fail(err, TN_E_NOT_FOUND, "no more");
    *ret_info = (tn_devinfo){.struct_size = sizeof *ret_info, .score = 1};
    return TN_OK;
}

static tn_status awkward_open(const tn_open *request, tn_dev **ret_dev, tn_error *err)
{
    (void)request, (void)err;
    memset(&awkward_state, 0, sizeof awkward_state);
    *ret_dev = &awkward_state;
    return TN_OK;
}

static void awkward_close(tn_dev *dev)
{
    for (int i = 0; i < BUFFERS_MAX; i++)
        assert_null(dev->memory[i]); /* everything has been freed */
}

static tn_status awkward_alloc(tn_dev *dev, uint64_t bytes, uint32_t usage, uint64_t *ret_handle, tn_error *err)
{
    for (uint64_t handle = 1; handle < BUFFERS_MAX; handle++) {
        if (dev->memory[handle])
            continue;
        dev->memory[handle] = malloc(bytes);
        dev->bytes[handle] = bytes;
        dev->used[usage] += bytes;
        *ret_handle = handle;
        return TN_OK;
    }
    return tn_fail(err, TN_E_MEMORY, "no handles");
}

static void awkward_free(tn_dev *dev, uint64_t handle)
{
    assert_non_null(dev->memory[handle]);
    free(dev->memory[handle]);
    dev->memory[handle] = NULL;
}

static unsigned char *at(tn_dev *dev, tn_buf buf, uint64_t bytes)
{
    assert_non_null(dev->memory[buf.handle]);
    assert_true(buf.offset + bytes <= dev->bytes[buf.handle]);
    return dev->memory[buf.handle] + buf.offset;
}

static tn_status awkward_put(tn_dev *dev, tn_buf dst, const void *src, uint64_t bytes, tn_error *err)
{
    (void)err;
    memcpy(at(dev, dst, bytes), src, bytes);
    return TN_OK;
}

static tn_status awkward_get(tn_dev *dev, void *dst, tn_buf src, uint64_t bytes, tn_error *err)
{
    (void)err;
    memcpy(dst, at(dev, src, bytes), bytes);
    return TN_OK;
}

static tn_status awkward_sync(tn_dev *dev, tn_error *err)
{
    (void)dev, (void)err;
    return TN_OK;
}

static tn_status awkward_run(tn_dev *dev, const tn_ops_args *args, tn_error *err)
{
    if (args->node->op != TN_OP_ADD)
        return tn_fail(err, TN_E_UNSUPPORTED, "only ADD");
    uint64_t count = args->rows * (uint64_t)args->value_out[0].dim[1];
    const float *a = (const float *)(void *)at(dev, args->in[0], count * 4);
    const float *b = (const float *)(void *)at(dev, args->in[1], count * 4);
    float *y = (float *)(void *)at(dev, args->out[0], count * 4);
    for (uint64_t i = 0; i < count; i++)
        y[i] = a[i] + b[i];
    dev->adds++;
    return TN_OK;
}

static const tn_ops_table awkward_ops = {.struct_size = sizeof(tn_ops_table),
                                         .device = awkward_device,
                                         .open = awkward_open,
                                         .close = awkward_close,
                                         .alloc = awkward_alloc,
                                         .free = awkward_free,
                                         .put = awkward_put,
                                         .get = awkward_get,
                                         .sync = awkward_sync,
                                         .run = awkward_run};

/* ---- a loaded model ---- */

typedef struct rig {
    const tn_backend *backend;
    tn_graph *graph;
    const tn_graph_api *api;
    tn_enc enc[64];
    tn_compile compile;
    tn_memplan plan;
    uint32_t page_tokens[1];
    uint64_t page_bytes[1];
    tn_dev *dev;
    tn_model *model;
    tn_error err;
} rig;

static int32_t prompt[TOKENS];

#define ASSERT_STATUS(rig, call, status)                        \
    do {                                                        \
        tn_status got = (call);                                 \
        if (got != (status))                                    \
            fail_msg("%s: %d, %s", #call, got, (rig)->err.msg); \
    } while (0)

static float noise(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (float)((double)(*seed >> 40) / (1 << 24) - 0.5);
}

static void build(rig *r, const tn_ops_table *ops)
{
    model_config config = {.architecture = "llama",
                           .layers = 2,
                           .model_width = WIDTH,
                           .ff_width = 48,
                           .heads = 4,
                           .kv_heads = 2,
                           .head_dim = 8,
                           .vocab = VOCAB,
                           .norm_eps = 1e-5f,
                           .rope_theta = 10000.0f,
                           .rope_dim = 8,
                           .rope_factor = 1.0f,
                           .attention_bias = true};
    *r = (rig){.err = TN_ERROR_INIT};
    ASSERT_STATUS(r, model_graph_build(&config, &r->graph, &r->err), TN_OK);
    ASSERT_STATUS(r, tn_interp_backend(ops, &r->backend, &r->err), TN_OK);
    r->api = model_graph_api(r->graph);
    for (uint32_t w = 0; w < r->api->weight_count; w++)
        r->enc[w] = (tn_enc){.struct_size = sizeof(tn_enc), .family = TN_ENC_FLOAT, .qtype = TN_F32, .bits = 32};
    r->compile = (tn_compile){.struct_size = sizeof r->compile,
                              .graph = r->graph,
                              .api = r->api,
                              .weight_enc = r->enc,
                              .weight_enc_stride = sizeof *r->enc,
                              .max_tokens = TOKENS,
                              .max_seqs = 3,
                              .max_outputs = 8,
                              .max_model_len = 40};
    r->plan = (tn_memplan){
        .struct_size = sizeof r->plan, .group_count = 1, .page_tokens = r->page_tokens, .page_bytes = r->page_bytes};
    ASSERT_STATUS(r, r->backend->plan(NULL, 1, &r->compile, &r->plan, &r->err), TN_OK);
}

static tn_status send_weight(rig *r, uint32_t id, uint64_t row0, uint64_t rows)
{
    float values[(VOCAB + 1) * 48];
    uint64_t n, k, seed = id * 977 + 5;
    const void *plane[TN_PLANE_LIMIT] = {NULL};
    uint64_t bytes[TN_PLANE_LIMIT] = {0};

    model_graph_weight_shape(r->graph, id, &n, &k);
    for (uint64_t i = 0; i < n * k; i++)
        values[i] = noise(&seed);
    plane[0] = values + row0 * k;
    bytes[0] = rows * k * sizeof(float);
    tn_planes planes = {.struct_size = sizeof planes,
                        .plane_count = TN_PLANE_LIMIT,
                        .row0 = row0,
                        .n_rows = rows,
                        .n_k = k,
                        .plane = plane,
                        .plane_bytes = bytes};
    return r->backend->weight(r->model, id, &planes, &r->err);
}

static void load_built(rig *r)
{
    const uint32_t ordinal = 0;
    tn_open request = {.struct_size = sizeof request, .device_count = 1, .world = 1, .ordinal = &ordinal};

    ASSERT_STATUS(r, r->backend->open(&request, &r->dev, &r->err), TN_OK);
    ASSERT_STATUS(r, r->backend->compile(r->dev, &r->compile, &r->model, &r->err), TN_OK);
    for (uint32_t id = 0; id < r->api->weight_count; id++) {
        uint64_t n, k;
        model_graph_weight_shape(r->graph, id, &n, &k);
        ASSERT_STATUS(r, send_weight(r, id, 0, n / 2), TN_OK);
        ASSERT_STATUS(r, send_weight(r, id, n / 2, n - n / 2), TN_OK);
    }
    ASSERT_STATUS(r, r->backend->seal(r->model, &r->err), TN_OK);
    ASSERT_STATUS(r, r->backend->kv_reserve(r->model, 0, 9, &r->err), TN_OK);
}

static void load(rig *r, const tn_ops_table *ops)
{
    build(r, ops);
    load_built(r);
}

static void unload(rig *r)
{
    r->backend->model_free(r->model);
    r->backend->close(r->dev);
    model_graph_free(r->graph);
}

/* ---- one sequence in slot 1, pages 8, 5 and 2 ---- */

typedef struct one {
    tn_batch batch;
    int32_t position[TOKENS];
    uint32_t seq_start[2], slot, cached_len;
    uint32_t delta_group[3], delta_slot[3], delta_index[3], delta_page[3];
    uint32_t out_row[8], out_want[8];
} one;

/* Rows cached..cached+count of the prompt; the last row is an output that wants `want`. */
static void prepare(one *o, uint32_t cached, uint32_t count, uint32_t want)
{
    *o = (one){.seq_start = {0, count}, .slot = 1, .cached_len = cached};
    for (uint32_t i = 0; i < count; i++)
        o->position[i] = (int32_t)(cached + i);
    for (uint32_t i = 0; i < 3; i++) {
        o->delta_slot[i] = 1;
        o->delta_index[i] = i;
        o->delta_page[i] = 8 - 3 * i;
    }
    o->out_row[0] = count - 1;
    o->out_want[0] = want;
    o->batch =
        (tn_batch){.struct_size = sizeof o->batch,
                   .need = (want & TN_WANT_LOGITS ? TN_NEED_LOGITS : 0u) |
                           (want & TN_WANT_HIDDEN ? TN_NEED_HIDDEN : 0u) | (want & TN_WANT_TARGET ? TN_NEED_SCORE : 0u),
                   .token_count = count,
                   .seq_count = 1,
                   .out_count = 1,
                   .delta_count = 3,
                   .axis_count = 1,
                   .token = prompt + cached,
                   .position = o->position,
                   .seq_start = o->seq_start,
                   .slot = &o->slot,
                   .cached_len = &o->cached_len,
                   .delta_group = o->delta_group,
                   .delta_slot = o->delta_slot,
                   .delta_index = o->delta_index,
                   .delta_page = o->delta_page,
                   .out_row = o->out_row,
                   .out_want = o->out_want};
}

static int32_t step(rig *r, const one *o, float *ret_logits)
{
    int32_t id[8];
    uint64_t ticket;
    tn_result result = {.struct_size = sizeof result, .out_count = 8, .id = id, .logits = ret_logits};
    ASSERT_STATUS(r, r->backend->submit(r->model, &o->batch, &ticket, &r->err), TN_OK);
    ASSERT_STATUS(r, r->backend->wait(r->model, ticket, &result, &r->err), TN_OK);
    return id[0];
}

static int32_t largest(const float *logits)
{
    int32_t best = 0;
    for (int32_t i = 1; i < VOCAB; i++)
        best = logits[i] > logits[best] ? i : best;
    return best;
}

static int fill_prompt(void **state)
{
    (void)state;
    for (int i = 0; i < TOKENS; i++)
        prompt[i] = (i * 37 + 11) % VOCAB;
    return 0;
}

/* ---- tests ---- */

static void test_device_and_host_give_the_same_bits(void **state)
{
    (void)state;
    rig device, host;
    one o;
    float from_device[VOCAB], from_host[VOCAB];

    load(&device, &awkward_ops);
    load(&host, tn_interp_host_ops());
    assert_ptr_not_equal(device.backend, host.backend);
    prepare(&o, 0, TOKENS, TN_WANT_LOGITS);
    int32_t id = step(&device, &o, from_device);
    assert_int_equal(step(&host, &o, from_host), id);
    assert_memory_equal(from_device, from_host, sizeof from_host);
    assert_int_equal(id, largest(from_host));
    assert_int_equal(awkward_state.adds, 4);
    unload(&device);
    unload(&host);
}

static void test_plan_equals_what_the_device_is_asked_for(void **state)
{
    (void)state;
    rig r;

    load(&r, &awkward_ops);
    assert_int_equal(awkward_state.used[TN_USAGE_WEIGHT], r.plan.weights);
    assert_int_equal(r.page_tokens[0], 16);
    assert_int_equal(r.page_bytes[0], 16 * 2 * 2 * (8 + 8) * 4); /* tokens, layers, heads, k and v, float32 */
    assert_int_equal(awkward_state.used[TN_USAGE_KV], 9 * r.page_bytes[0]);
    assert_true(awkward_state.used[TN_USAGE_ACTIVATION] < r.plan.activations);
    unload(&r);
}

static void test_weights_must_come_whole_and_in_order(void **state)
{
    (void)state;
    rig r;
    const uint32_t ordinal = 0;
    tn_open request = {.struct_size = sizeof request, .device_count = 1, .world = 1, .ordinal = &ordinal};

    build(&r, &awkward_ops);
    ASSERT_STATUS(&r, r.backend->open(&request, &r.dev, &r.err), TN_OK);
    ASSERT_STATUS(&r, r.backend->compile(r.dev, &r.compile, &r.model, &r.err), TN_OK);
    ASSERT_STATUS(&r, send_weight(&r, 0, 1, 1), TN_E_ARGUMENT);
    ASSERT_STATUS(&r, send_weight(&r, 0, 0, VOCAB + 1), TN_E_ARGUMENT);
    ASSERT_STATUS(&r, r.backend->weight(r.model, 999, &(tn_planes){.struct_size = sizeof(tn_planes)}, &r.err),
                  TN_E_ARGUMENT);
    ASSERT_STATUS(&r, send_weight(&r, 0, 0, 2), TN_OK);
    ASSERT_STATUS(&r, r.backend->seal(r.model, &r.err), TN_E_ARGUMENT);
    assert_non_null(strstr(r.err.msg, "token_embd.weight"));
    unload(&r);
}

static void test_pipelined_tokens_equal_stepwise_tokens(void **state)
{
    (void)state;
    rig r;
    one o;
    int32_t stepwise[6], id[1], placeholder = -1;
    uint64_t ticket[2];
    float temperature = 5.0f;
    tn_sample sample = {.struct_size = sizeof sample, .temperature = &temperature};
    tn_result result = {.struct_size = sizeof result, .out_count = 1, .id = id};

    load(&r, tn_interp_host_ops());
    prepare(&o, 0, 5, 0);
    o.batch.sample = &sample;
    stepwise[0] = step(&r, &o, NULL);
    for (uint32_t i = 1; i < 6; i++) {
        prepare(&o, 4 + i, 1, 0);
        o.batch.sample = &sample;
        o.batch.token = &stepwise[i - 1];
        stepwise[i] = step(&r, &o, NULL);
    }

    assert_true(stepwise[0] != stepwise[1] && stepwise[1] != stepwise[2]); /* else any ticket would do */

    prepare(&o, 0, 5, 0);
    o.batch.sample = &sample;
    ASSERT_STATUS(&r, r.backend->submit(r.model, &o.batch, &ticket[0], &r.err), TN_OK);
    for (uint32_t i = 1; i < 6; i++) {
        prepare(&o, 4 + i, 1, 0);
        o.batch.sample = &sample;
        o.batch.token = &placeholder;
        o.batch.need |= TN_NEED_PREV;
        o.batch.prev = ticket[(i - 1) % 2];
        ASSERT_STATUS(&r, r.backend->submit(r.model, &o.batch, &ticket[i % 2], &r.err), TN_OK);
        if (i == 1) {
            uint64_t third;
            ASSERT_STATUS(&r, r.backend->submit(r.model, &o.batch, &third, &r.err), TN_E_AGAIN);
            ASSERT_STATUS(&r, r.backend->wait(r.model, ticket[1], &result, &r.err), TN_E_ARGUMENT);
        }
        ASSERT_STATUS(&r, r.backend->wait(r.model, ticket[(i - 1) % 2], &result, &r.err), TN_OK);
        assert_int_equal(id[0], stepwise[i - 1]);
    }
    unload(&r);
}

static void test_wants_are_filled_and_the_rest_is_untouched(void **state)
{
    (void)state;
    rig r;
    one o;
    float logits[2 * VOCAB], hidden[2 * WIDTH], logprob[2] = {7, 7}, target_logprob[2] = {7, 7}, top_logprob[6];
    int32_t id[2], top_id[6] = {-5, -5, -5, -5, -5, -5}, target[2] = {3, 3};
    uint64_t ticket;
    tn_sample sample = {.struct_size = sizeof sample, .top_logprobs = 3, .score_target = target};
    tn_result result = {.struct_size = sizeof result,
                        .out_count = 2,
                        .id = id,
                        .logprob = logprob,
                        .target_logprob = target_logprob,
                        .top_id = top_id,
                        .top_logprob = top_logprob,
                        .hidden = hidden,
                        .logits = logits};
    double sum = 0;

    load(&r, &awkward_ops);
    memset(logits, 0, sizeof logits);
    hidden[0] = 7;
    prepare(&o, 0, 6, TN_WANT_LOGITS | TN_WANT_HIDDEN | TN_WANT_TARGET);
    o.out_row[0] = 2;
    o.out_row[1] = 5;
    o.out_want[1] = o.out_want[0] | TN_WANT_LOGPROB | TN_WANT_TOP;
    o.out_want[0] = 0;
    o.batch.out_count = 2;
    o.batch.sample = &sample;
    ASSERT_STATUS(&r, r.backend->submit(r.model, &o.batch, &ticket, &r.err), TN_OK);
    ASSERT_STATUS(&r, r.backend->wait(r.model, ticket, &result, &r.err), TN_OK);
    assert_true(logits[0] == 0 && hidden[0] == 7 && logprob[0] == 7 && target_logprob[0] == 7 && top_id[0] == -5);

    const float *row = logits + VOCAB;
    for (int i = 0; i < VOCAB; i++)
        sum += exp((double)row[i]);
    assert_int_equal(id[1], largest(row));
    assert_int_equal(top_id[3], id[1]);
    assert_true(fabs((double)logprob[1] - ((double)row[id[1]] - log(sum))) < 1e-5);
    assert_true(fabs((double)target_logprob[1] - ((double)row[3] - log(sum))) < 1e-5);
    assert_true(top_logprob[3] == logprob[1] && top_logprob[4] <= top_logprob[3]);
    result.logits = NULL;
    ASSERT_STATUS(&r, r.backend->submit(r.model, &o.batch, &ticket, &r.err), TN_OK);
    ASSERT_STATUS(&r, r.backend->wait(r.model, ticket, &result, &r.err), TN_E_ARGUMENT);
    unload(&r);
}

static void test_mask_and_bias_steer_the_sampled_token(void **state)
{
    (void)state;
    rig r;
    one o;
    uint32_t mask[(VOCAB + 31) / 32] = {0, 1u << 9, 0}, bias_row[2] = {0, 1};
    int32_t bias_token[1] = {77};
    float bias_value[1] = {1000.0f};
    tn_sample sample = {.struct_size = sizeof sample, .mask = mask};

    load(&r, tn_interp_host_ops());
    prepare(&o, 0, 6, 0);
    o.batch.sample = &sample;
    o.batch.need = TN_NEED_MASK;
    assert_int_equal(step(&r, &o, NULL), 41);
    sample = (tn_sample){
        .struct_size = sizeof sample, .bias_row = bias_row, .bias_token = bias_token, .bias_value = bias_value};
    o.batch.need = TN_NEED_BIAS;
    assert_int_equal(step(&r, &o, NULL), 77);
    unload(&r);
}

static void test_sampling_is_keyed_by_the_position_of_the_new_token(void **state)
{
    (void)state;
    rig r;
    one o;
    float logits[VOCAB], temperature = 5.0f;
    uint64_t seed = 42;
    int32_t expected;
    tn_sample sample = {.struct_size = sizeof sample, .temperature = &temperature, .seed = &seed};
    tn_result result = {.struct_size = sizeof result, .out_count = 1, .id = &expected};
    void *scratch = malloc(sampler_scratch_bytes(VOCAB));

    load(&r, tn_interp_host_ops());
    for (uint32_t count = 1; count < 9; count++) {
        prepare(&o, 0, count, TN_WANT_LOGITS);
        o.batch.sample = &sample;
        int32_t got = step(&r, &o, logits);
        sampler_row(&sample, 0, count, 0, logits, VOCAB, scratch, &result);
        assert_int_equal(got, expected);
    }
    free(scratch);
    unload(&r);
}

static void test_embeddings_given_by_the_batch_replace_the_table(void **state)
{
    (void)state;
    rig r;
    one o;
    float by_token[VOCAB], by_row[VOCAB], embed[6 * WIDTH] = {0}, table[VOCAB * WIDTH];
    int32_t tokens[6];
    uint64_t seed = 0 * 977 + 5; /* as send_weight makes weight 0 */

    load(&r, &awkward_ops);
    for (int i = 0; i < VOCAB * WIDTH; i++)
        table[i] = noise(&seed);
    prepare(&o, 0, 6, TN_WANT_LOGITS);
    step(&r, &o, by_token);
    memcpy(tokens, prompt, sizeof tokens);
    tokens[3] = TN_TOKEN_EMBED;
    memcpy(embed + 3 * WIDTH, table + prompt[3] * WIDTH, WIDTH * sizeof *embed);
    o.batch.token = tokens;
    o.batch.embed = embed;
    o.batch.need |= TN_NEED_EMBED;
    step(&r, &o, by_row);
    assert_memory_equal(by_token, by_row, sizeof by_row);
    unload(&r);
}

static void test_copied_pages_hold_the_same_keys_and_values(void **state)
{
    (void)state;
    rig r;
    one o;
    float expected[VOCAB], copied[VOCAB];
    const tn_kvmove moves[2] = {{8, 0}, {5, 1}};

    load(&r, &awkward_ops);
    prepare(&o, 0, 20, 0);
    step(&r, &o, NULL);
    ASSERT_STATUS(&r, r.backend->kv_copy(r.model, 0, moves, 2, &r.err), TN_OK);
    prepare(&o, 20, 1, TN_WANT_LOGITS);
    step(&r, &o, expected);
    o.slot = 2; /* another sequence whose first pages are the copies */
    for (uint32_t i = 0; i < 3; i++) {
        o.delta_slot[i] = 2;
        o.delta_page[i] = i;
    }
    step(&r, &o, copied);
    assert_memory_equal(expected, copied, sizeof copied);
    ASSERT_STATUS(&r, r.backend->kv_copy(r.model, 0, &(tn_kvmove){9, 0}, 1, &r.err), TN_E_ARGUMENT);
    unload(&r);
}

typedef void (*spoil)(one *o);

static void spoil_position(one *o)
{
    o->position[2] = 9;
}
static void spoil_token(one *o)
{
    static const int32_t tokens[6] = {1, 2, VOCAB, 4, 5, 6};
    o->batch.token = tokens;
}
static void spoil_prev(one *o)
{
    static const int32_t tokens[6] = {1, 2, -1, 4, 5, 6};
    o->batch.token = tokens;
    o->batch.need |= TN_NEED_PREV;
}
static void spoil_slot(one *o)
{
    o->slot = 3;
}
static void spoil_length(one *o)
{
    o->cached_len = 38;
}
static void spoil_seq_start(one *o)
{
    o->seq_start[1] = 5;
}
static void spoil_delta(one *o)
{
    o->delta_page[1] = 9;
}
static void spoil_missing_page(one *o)
{
    o->batch.delta_count = 0;
    o->slot = 0;
}
static void spoil_out_row(one *o)
{
    o->out_row[0] = 6;
}
static void spoil_need(one *o)
{
    o->batch.need = 0;
}
static void spoil_count(one *o)
{
    o->batch.token_count = TOKENS + 1;
}

static void test_batches_that_break_a_promise_are_refused(void **state)
{
    (void)state;
    const spoil spoils[] = {spoil_position, spoil_token,     spoil_prev,  spoil_slot,
                            spoil_length,   spoil_seq_start, spoil_delta, spoil_missing_page,
                            spoil_out_row,  spoil_need,      spoil_count};
    rig r;
    one o;
    uint64_t ticket;
    float logits[VOCAB];

    load(&r, tn_interp_host_ops());
    for (size_t i = 0; i < sizeof spoils / sizeof *spoils; i++) {
        prepare(&o, 0, 6, TN_WANT_LOGITS);
        spoils[i](&o);
        tn_status status = r.backend->submit(r.model, &o.batch, &ticket, &r.err);
        if (status != TN_E_ARGUMENT)
            fail_msg("spoil %zu: status %d", i, status);
    }
    prepare(&o, 0, 6, TN_WANT_LOGITS);
    o.batch.need |= TN_NEED_ADAPTER;
    ASSERT_STATUS(&r, r.backend->submit(r.model, &o.batch, &ticket, &r.err), TN_E_UNSUPPORTED);
    prepare(&o, 0, 6, TN_WANT_LOGITS);
    step(&r, &o, logits);
    unload(&r);
}

static void test_a_table_without_a_mandatory_member_is_refused(void **state)
{
    (void)state;
    static tn_ops_table broken;
    const tn_backend *backend = NULL;
    tn_error err = TN_ERROR_INIT;

    broken = awkward_ops;
    broken.sync = NULL;
    assert_int_equal(tn_interp_backend(&broken, &backend, &err), TN_E_UNSUPPORTED);
    assert_non_null(strstr(err.msg, "`sync`"));
    assert_null(backend);
}

static void *nowhere_map(tn_dev *dev, tn_buf buf)
{
    (void)dev, (void)buf;
    return NULL;
}

static void test_a_map_that_answers_null_is_an_error(void **state)
{
    (void)state;
    static tn_ops_table broken;
    rig r;

    broken = awkward_ops;
    broken.map = nowhere_map;
    build(&r, &broken);
    ASSERT_STATUS(&r, r.backend->open(&(tn_open){.struct_size = sizeof(tn_open), .world = 1}, &r.dev, &r.err), TN_OK);
    ASSERT_STATUS(&r, r.backend->compile(r.dev, &r.compile, &r.model, &r.err), TN_OK);
    ASSERT_STATUS(&r, send_weight(&r, 0, 0, 1), TN_E_INTERNAL);
    assert_non_null(strstr(r.err.msg, "map answers NULL"));
    unload(&r);
}

/* What a quantization plugin hands over is no reason to stop the process. */
static void test_columns_that_multiply_no_input_are_refused(void **state)
{
    (void)state;
    enum { VECTOR = 1 };
    uint8_t codes[WIDTH] = {0};
    uint32_t perm[WIDTH];
    const float scale = 1;
    const void *plane[TN_PLANE_LIMIT] = {codes, &scale, [TN_PLANE_PERM] = perm};
    const uint64_t bytes[TN_PLANE_LIMIT] = {sizeof codes, sizeof scale, [TN_PLANE_PERM] = sizeof perm};
    rig r;

    build(&r, &awkward_ops);
    uint64_t n, k;
    model_graph_weight_shape(r.graph, VECTOR, &n, &k);
    assert_true(n == 1 && k == WIDTH);
    r.enc[VECTOR] = (tn_enc){.struct_size = sizeof(tn_enc),
                             .family = TN_ENC_AFFINE,
                             .qtype = TN_Q_UNSIGNED,
                             .bits = 8,
                             .group_k = WIDTH,
                             .scale_type = TN_F32,
                             .flags = TN_ENC_PERM_K};
    ASSERT_STATUS(&r, r.backend->open(&(tn_open){.struct_size = sizeof(tn_open), .world = 1}, &r.dev, &r.err), TN_OK);
    ASSERT_STATUS(&r, r.backend->compile(r.dev, &r.compile, &r.model, &r.err), TN_OK);
    for (uint32_t i = 0; i < WIDTH; i++)
        perm[i] = WIDTH - 1 - i;
    perm[3] = WIDTH;
    const tn_planes planes = {.struct_size = sizeof planes,
                              .plane_count = TN_PLANE_LIMIT,
                              .n_rows = n,
                              .n_k = k,
                              .plane = plane,
                              .plane_bytes = bytes};
    ASSERT_STATUS(&r, r.backend->weight(r.model, VECTOR, &planes, &r.err), TN_E_ARGUMENT);
    assert_non_null(strstr(r.err.msg, "column 3"));
    perm[3] = WIDTH - 1 - 3;
    ASSERT_STATUS(&r, r.backend->weight(r.model, VECTOR, &planes, &r.err), TN_OK);
    unload(&r);
}

static tn_status nowhere_alloc(tn_dev *dev, uint64_t bytes, uint32_t usage, uint64_t *ret_handle, tn_error *err)
{
    (void)dev, (void)bytes, (void)usage, (void)err;
    *ret_handle = 0;
    return TN_OK;
}

static void test_a_buffer_with_handle_0_is_refused(void **state)
{
    (void)state;
    static tn_ops_table broken;
    rig r;

    broken = awkward_ops;
    broken.alloc = nowhere_alloc;
    build(&r, &broken);
    ASSERT_STATUS(&r, r.backend->open(&(tn_open){.struct_size = sizeof(tn_open), .world = 1}, &r.dev, &r.err), TN_OK);
    ASSERT_STATUS(&r, r.backend->compile(r.dev, &r.compile, &r.model, &r.err), TN_E_INTERNAL);
    assert_non_null(strstr(r.err.msg, "handle 0"));
    unload(&r);
}

/* ---- windows: the llama graph with another attribute ---- */

enum { WINDOW = 4 };
static const tn_graph_api *inner_api;

static tn_status windowed_node(const tn_graph *graph, uint32_t index, tn_node *ret_node)
{
    static int64_t attr[2][7];
    tn_status status = inner_api->node(graph, index, ret_node);
    if (status == TN_OK && ret_node->op == TN_OP_ATTENTION) {
        int64_t *own = attr[ret_node->attr[TN_ATTENTION_A_LAYER]];
        memcpy(own, ret_node->attr, sizeof attr[0]);
        own[TN_ATTENTION_A_WINDOW] = WINDOW;
        ret_node->attr = own;
    }
    return status;
}

/* Two layers that each look back WINDOW - 1 positions see 2 * (WINDOW - 1) together. */
static void test_a_window_hides_what_lies_before_it(void **state)
{
    (void)state;
    static tn_graph_api windowed;
    rig r;
    one o;
    float plain[VOCAB], far[VOCAB], near[VOCAB];
    int32_t tokens[TOKENS];
    const uint32_t last = 20, reach = 2 * (WINDOW - 1);

    build(&r, &awkward_ops);
    inner_api = r.api;
    windowed = *r.api;
    windowed.node = windowed_node;
    r.compile.api = &windowed;
    load_built(&r);
    for (int i = 0; i < 3; i++) {
        memcpy(tokens, prompt, sizeof tokens);
        tokens[last - reach - 1] += i == 1;
        tokens[last - reach] += i == 2;
        prepare(&o, 0, last + 1, TN_WANT_LOGITS);
        o.batch.token = tokens;
        step(&r, &o, i == 0 ? plain : i == 1 ? far : near);
    }
    assert_memory_equal(plain, far, sizeof far);
    assert_memory_not_equal(plain, near, sizeof near);
    unload(&r);
}

static void test_pages_that_left_the_window_may_serve_others(void **state)
{
    (void)state;
    static tn_graph_api windowed;
    rig r;
    one o;
    float before[VOCAB], after[VOCAB];

    build(&r, &awkward_ops);
    inner_api = r.api;
    windowed = *r.api;
    windowed.node = windowed_node;
    r.compile.api = &windowed;
    load_built(&r);
    prepare(&o, 0, 22, TN_WANT_LOGITS);
    step(&r, &o, before);
    prepare(&o, 22, 1, TN_WANT_LOGITS);
    step(&r, &o, before);
    prepare(&o, 0, 10, 0); /* another sequence overwrites page 8, which held positions 0 to 15 */
    o.slot = 2;
    for (uint32_t i = 0; i < 3; i++)
        o.delta_slot[i] = 2;
    o.batch.delta_count = 1;
    o.batch.token = prompt + 9;
    step(&r, &o, NULL);
    prepare(&o, 22, 1, TN_WANT_LOGITS);
    step(&r, &o, after);
    assert_memory_equal(before, after, sizeof after);
    unload(&r);
}

/* ---- tn_interp_check_ops ---- */

static void count_ops(void *ctx, const tn_interp_finding *finding)
{
    uint32_t *ran = ctx;
    if (finding->ran) {
        assert_string_equal(finding->op, "ADD");
        assert_true(finding->error < 1e-6);
        assert_int_equal(finding->declined, 0);
    }
    ran[0] += finding->ran;
    ran[1]++;
}

static void test_check_passes_a_right_kernel(void **state)
{
    (void)state;
    tn_error err = TN_ERROR_INIT;
    uint32_t ran[2] = {0, 0};
    assert_int_equal(tn_interp_check_ops(&awkward_ops, 1e-5, count_ops, ran, &err), TN_OK);
    assert_int_equal(ran[0], 2 * 2 * 3); /* nodes, models, batches */
    assert_int_equal(ran[1], 11);
}

static void ignore_finding(void *ctx, const tn_interp_finding *finding)
{
    (void)ctx, (void)finding;
}

/* Adds, but forgets the last element. */
static tn_status careless_run(tn_dev *dev, const tn_ops_args *args, tn_error *err)
{
    tn_status status = awkward_run(dev, args, err);
    if (status == TN_OK) {
        uint64_t count = args->rows * (uint64_t)args->value_out[0].dim[1];
        ((float *)(void *)at(dev, args->out[0], count * 4))[count - 1] = 0;
    }
    return status;
}

static void test_check_names_a_wrong_kernel(void **state)
{
    (void)state;
    static tn_ops_table careless;
    tn_error err = TN_ERROR_INIT;
    uint32_t ran[2];
    careless = awkward_ops;
    careless.run = careless_run;
    assert_int_equal(tn_interp_check_ops(&careless, 1e-5, ignore_finding, ran, &err), TN_E_INTERNAL);
    assert_non_null(strstr(err.msg, "ADD differs"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_device_and_host_give_the_same_bits),
        cmocka_unit_test(test_plan_equals_what_the_device_is_asked_for),
        cmocka_unit_test(test_weights_must_come_whole_and_in_order),
        cmocka_unit_test(test_pipelined_tokens_equal_stepwise_tokens),
        cmocka_unit_test(test_wants_are_filled_and_the_rest_is_untouched),
        cmocka_unit_test(test_mask_and_bias_steer_the_sampled_token),
        cmocka_unit_test(test_sampling_is_keyed_by_the_position_of_the_new_token),
        cmocka_unit_test(test_embeddings_given_by_the_batch_replace_the_table),
        cmocka_unit_test(test_copied_pages_hold_the_same_keys_and_values),
        cmocka_unit_test(test_batches_that_break_a_promise_are_refused),
        cmocka_unit_test(test_a_table_without_a_mandatory_member_is_refused),
        cmocka_unit_test(test_columns_that_multiply_no_input_are_refused),
        cmocka_unit_test(test_a_buffer_with_handle_0_is_refused),
        cmocka_unit_test(test_a_map_that_answers_null_is_an_error),
        cmocka_unit_test(test_a_window_hides_what_lies_before_it),
        cmocka_unit_test(test_pages_that_left_the_window_may_serve_others),
        cmocka_unit_test(test_check_passes_a_right_kernel),
        cmocka_unit_test(test_check_names_a_wrong_kernel),
    };
    return cmocka_run_group_tests(tests, fill_prompt, NULL);
}

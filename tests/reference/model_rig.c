/* model_rig.c: see model_rig.h. */
#include "model_rig.h"

#include "model/dummy_weights.h"

#include "unit/cmocka_test.h"

#include <math.h>
#include <stdlib.h>

#define ASSERT_OK(call)                         \
    do {                                        \
        tn_error err = TN_ERROR_INIT;           \
        if ((call) != TN_OK)                    \
            fail_msg("%s: %s", #call, err.msg); \
    } while (0)

static tn_compile compile_request(const model_rig *rig)
{
    return (tn_compile){.struct_size = sizeof(tn_compile),
                        .graph = rig->graph,
                        .api = rig->api,
                        .weight_enc = rig->enc,
                        .weight_enc_stride = sizeof *rig->enc,
                        .batch_invariant = !rig->limits.batch_varies,
                        .max_tokens = rig->limits.max_tokens,
                        .max_seqs = rig->limits.max_seqs,
                        .max_outputs = rig->limits.max_outputs,
                        .max_model_len = rig->limits.max_model_len,
                        .kv_dtype = rig->limits.kv_dtype,
                        .bucket_count = rig->limits.bucket_count,
                        .bucket = rig->limits.bucket};
}

static void open_files(model_rig *rig, const char *path, const tn_quant_table *quant)
{
    ASSERT_OK((rig->limits.dummy ? checkpoint_open_without_weights : checkpoint_open)(path, &rig->checkpoint, &err));
    const tn_source *source = checkpoint_source(rig->checkpoint);
    const tn_quant_table *dummy = rig->limits.over_dummy ? rig->limits.over_dummy : &dummy_weights_table;
    rig->weights = (weight_source){.quant = rig->limits.dummy ? dummy : quant, .float_type = rig->limits.float_type};
    if (!rig->limits.dummy)
        ASSERT_OK(quant->open(source, &rig->weights.qmodel, &err));
    ASSERT_OK(model_config_read(source, &rig->config, &err));
    if (rig->config.sequence_max > rig->limits.max_model_len)
        rig->config.sequence_max = rig->limits.max_model_len;
    if (rig->limits.edit)
        rig->limits.edit(&rig->config);
    ASSERT_OK(model_graph_build(&rig->config, &rig->graph, &err));
    rig->api = model_graph_api(rig->graph);
    if (rig->limits.dummy)
        ASSERT_OK(dummy_weights_open(source, rig->graph, NULL, &rig->weights.qmodel, &err));
}

/* Enough pages for every slot at full length, and a count that 7 does not divide, so that page i * 7 % pages is a
 * permutation. */
static void reserve_pages(model_rig *rig)
{
    uint64_t each = (rig->limits.max_model_len + rig->page_tokens[0] - 1) / rig->page_tokens[0];

    rig->pages = each * rig->limits.max_seqs + 1;
    if (rig->pages % 7 == 0)
        rig->pages++;
    for (uint32_t g = 0; g < rig->api->kv_group_count; g++)
        ASSERT_OK(rig->backend->kv_reserve(rig->model, g, rig->pages, &err));
}

void rig_open(model_rig *rig, const char *path, const tn_quant_table *quant, const tn_backend *backend,
              rig_limits limits)
{
    *rig = (model_rig){.backend = backend, .limits = limits};
    tn_devinfo device = {.struct_size = sizeof device};
    const uint32_t world = limits.world ? limits.world : 1, each[RIG_RANKS_MAX] = {0, 1, 2, 3, 4, 5, 6, 7};
    const uint32_t one[RIG_RANKS_MAX] = {0};
    tn_open request = {.struct_size = sizeof request,
                       .device_count = world,
                       .world = world,
                       .ordinal = limits.one_device ? one : each};

    open_files(rig, path, quant);
    TN_ASSERT(rig->api->kv_group_count <= RIG_GROUPS_MAX && limits.max_seqs <= RIG_SLOTS_MAX && world <= RIG_RANKS_MAX);
    ASSERT_OK(backend->device(0, &device, &err));
    rig->enc = calloc(rig->api->weight_count, sizeof *rig->enc);
    ASSERT_OK(weights_choose(&rig->weights, rig->graph, backend, &device, rig->enc, &err));

    tn_compile compile = compile_request(rig);
    rig->plan = (tn_memplan){.struct_size = sizeof rig->plan,
                             .group_count = RIG_GROUPS_MAX,
                             .page_tokens = rig->page_tokens,
                             .page_bytes = rig->page_bytes};
    ASSERT_OK(backend->plan(&device, world, &compile, &rig->plan, &err));
    ASSERT_OK(backend->open(&request, &rig->dev, &err));
    ASSERT_OK(backend->compile(rig->dev, &compile, &rig->model, &err));
    ASSERT_OK(weights_load(&rig->weights, rig->checkpoint, rig->graph, rig->enc, backend, rig->model, 2, NULL, &err));
    ASSERT_OK(backend->seal(rig->model, &err));
    reserve_pages(rig);
}

void rig_warm_up(model_rig *rig)
{
    for (uint32_t i = 0; i < rig->limits.bucket_count; i++)
        ASSERT_OK(rig->backend->warmup(rig->model, rig->limits.bucket[i], &err));
}

void rig_close(model_rig *rig)
{
    rig->backend->model_free(rig->model);
    rig->backend->close(rig->dev);
    model_graph_free(rig->graph);
    if (rig->weights.quant)
        rig->weights.quant->close(rig->weights.qmodel);
    checkpoint_close(rig->checkpoint);
    free(rig->enc);
}

/* ---- steps ---- */

typedef struct batch_arrays {
    int32_t *token, *position;
    uint32_t *out_row, *out_want;
    uint32_t seq_start[RIG_SLOTS_MAX + 1], slot[RIG_SLOTS_MAX], cached_len[RIG_SLOTS_MAX];
    uint32_t *delta_group, *delta_slot, *delta_index, *delta_page, delta_count;
} batch_arrays;

static void add_deltas(model_rig *rig, const rig_run *run, batch_arrays *a)
{
    uint32_t each = (rig->limits.max_model_len + rig->page_tokens[0] - 1) / rig->page_tokens[0];
    uint32_t needed = (run->cached_len + run->count + rig->page_tokens[0] - 1) / rig->page_tokens[0];

    for (uint32_t index = rig->pages_set[run->slot]; index < needed; index++) {
        uint32_t place = rig->turned[run->slot] ? each - 1 - index : index;
        for (uint32_t g = 0; g < rig->api->kv_group_count; g++) {
            a->delta_group[a->delta_count] = g;
            a->delta_slot[a->delta_count] = run->slot;
            a->delta_index[a->delta_count] = index;
            a->delta_page[a->delta_count] = (uint32_t)((uint64_t)(run->slot * each + place) * 7 % rig->pages);
            a->delta_count++;
        }
    }
    if (needed > rig->pages_set[run->slot])
        rig->pages_set[run->slot] = needed;
}

static void fill(model_rig *rig, const rig_run *runs, uint32_t run_count, batch_arrays *a)
{
    uint32_t row = 0;

    for (uint32_t r = 0; r < run_count; r++) {
        a->seq_start[r] = row;
        a->slot[r] = runs[r].slot;
        a->cached_len[r] = runs[r].cached_len;
        add_deltas(rig, &runs[r], a);
        for (uint32_t i = 0; i < runs[r].count; i++, row++) {
            a->token[row] = runs[r].token[i];
            a->position[row] = (int32_t)(runs[r].cached_len + i);
            a->out_row[row] = row;
            a->out_want[row] = TN_WANT_LOGITS;
        }
    }
    a->seq_start[run_count] = row;
}

void rig_step(model_rig *rig, const rig_run *runs, uint32_t run_count, float *ret_logits)
{
    uint64_t rows = rig->limits.max_tokens, deltas = rig->pages * RIG_GROUPS_MAX;
    uint32_t *memory = calloc(rows * 5 + deltas * 4, sizeof *memory);
    batch_arrays a = {.token = (int32_t *)memory,
                      .position = (int32_t *)memory + rows,
                      .out_row = memory + rows * 2,
                      .out_want = memory + rows * 3,
                      .delta_group = memory + rows * 5,
                      .delta_slot = memory + rows * 5 + deltas,
                      .delta_index = memory + rows * 5 + deltas * 2,
                      .delta_page = memory + rows * 5 + deltas * 3};
    uint64_t ticket;

    fill(rig, runs, run_count, &a);
    uint32_t row_count = a.seq_start[run_count];
    tn_batch batch = {.struct_size = sizeof batch,
                      .need = TN_NEED_LOGITS,
                      .token_count = row_count,
                      .seq_count = run_count,
                      .out_count = row_count,
                      .delta_count = a.delta_count,
                      .axis_count = 1,
                      .token = a.token,
                      .position = a.position,
                      .seq_start = a.seq_start,
                      .slot = a.slot,
                      .cached_len = a.cached_len,
                      .delta_group = a.delta_group,
                      .delta_slot = a.delta_slot,
                      .delta_index = a.delta_index,
                      .delta_page = a.delta_page,
                      .out_row = a.out_row,
                      .out_want = a.out_want};
    tn_result result = {
        .struct_size = sizeof result, .out_count = row_count, .id = (int32_t *)memory + rows * 4, .logits = ret_logits};
    ASSERT_OK(rig->backend->submit(rig->model, &batch, &ticket, &err));
    ASSERT_OK(rig->backend->wait(rig->model, ticket, &result, &err));
    free(memory);
}

/* ---- memory ---- */

static uint64_t bytes_max(const tn_enc *enc, uint64_t n, uint64_t k, uint32_t parts)
{
    uint64_t rows = (n + 15) / 16 * 16, columns = (k + 31) / 32 * 32;

    if (n == 1)
        return (k * 4 + 63) / 64 * 64;
    if (enc->family == TN_ENC_FLOAT)
        return rows * columns * tn_scalar_bytes(enc->qtype);
    uint64_t scales = rows * tn_group_count(columns, enc->group_k) * 4;
    uint64_t zeros = enc->zero_type ? scales : 0, perms = enc->flags & TN_ENC_PERM_K ? parts * k * 4 + 64 : 0;
    return rows * columns * enc->bits / 8 + scales + zeros + rows / 16 * 128 + perms;
}

uint64_t rig_weight_bytes_max(const model_rig *rig, uint32_t *ret_packed)
{
    uint64_t bytes = 0;

    *ret_packed = 0;
    for (uint32_t id = 0; id < rig->api->weight_count; id++) {
        tn_enc stored = {.struct_size = sizeof stored};
        weight_part first;
        uint64_t n, k;
        model_graph_weight_shape(rig->graph, id, &n, &k);
        model_graph_part(rig->graph, id, 0, &first);
        ASSERT_OK(rig->weights.quant->produces(rig->weights.qmodel, first.tensor, 0, &stored, &err));
        bytes += bytes_max(stored.family == TN_ENC_FLOAT ? &rig->enc[id] : &stored, n, k,
                           model_graph_part_count(rig->graph, id));
        if (stored.family == TN_ENC_FLOAT)
            continue;
        if (rig->enc[id].family != stored.family || rig->enc[id].bits != stored.bits)
            fail_msg("%s: %u-bit codes became family %u of %u bits", model_graph_weight_name(rig->graph, id),
                     stored.bits, rig->enc[id].family, rig->enc[id].bits);
        ++*ret_packed;
    }
    return bytes;
}

void rig_forget(model_rig *rig, uint32_t slot)
{
    rig->pages_set[slot] = 0;
    rig->turned[slot] = !rig->turned[slot];
}

double rig_logprob(const float *row, uint32_t vocab, int32_t id)
{
    double max = -INFINITY, sum = 0;
    for (uint32_t i = 0; i < vocab; i++)
        max = fmax(max, (double)row[i]);
    for (uint32_t i = 0; i < vocab; i++)
        sum += exp((double)row[i] - max);
    return (double)row[id] - max - log(sum);
}

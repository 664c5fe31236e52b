/* runtime/quantize/layer_model.c: see layer_model.h. A sequence is one batch in slot 0; its pages are entered once and
 * overwritten by the next sequence.
 */
#include "quantize/layer_model.h"

#include "base/processors.h"
#include "quantize/input_tap.h"
#include "tenon/interp.h"

#include <stdlib.h>

enum { KV_GROUPS_MAX = 2, LOADER_THREADS_MAX = 8 };

static tn_status make_batch_arrays(layer_model *m, tn_error *err)
{
    m->token = calloc(m->tokens, sizeof *m->token);
    m->position = calloc(m->tokens, sizeof *m->position);
    m->sampled = calloc(m->tokens, sizeof *m->sampled);
    m->row = calloc(m->tokens, sizeof *m->row);
    m->want = calloc(m->tokens, sizeof *m->want);
    if (!m->token || !m->position || !m->sampled || !m->row || !m->want)
        return tn_fail(err, TN_E_MEMORY, "a batch of %u rows", m->tokens);
    for (uint32_t i = 0; i < m->tokens; i++) {
        m->token[i] = TN_TOKEN_EMBED;
        m->position[i] = (int32_t)i;
        m->row[i] = i;
        m->want[i] = TN_WANT_HIDDEN;
    }
    return TN_OK;
}

/* Page i of the sequence is page i of the pool, in every group. */
static tn_status reserve_pages(layer_model *m, const uint32_t *page_tokens, tn_error *err)
{
    uint32_t groups = model_graph_api(m->graph)->kv_group_count, most = 0, count = 0;
    tn_status status = TN_OK;

    for (uint32_t g = 0; g < groups; g++)
        most += (m->tokens + page_tokens[g] - 1) / page_tokens[g];
    m->delta = calloc(4ull * (most ? most : 1), sizeof *m->delta);
    if (!m->delta)
        return tn_fail(err, TN_E_MEMORY, "%u pages", most);
    m->delta_count = most;
    for (uint32_t g = 0; g < groups && status == TN_OK; g++) {
        uint32_t pages = (m->tokens + page_tokens[g] - 1) / page_tokens[g];
        for (uint32_t page = 0; page < pages; page++, count++) {
            m->delta[count] = g;
            m->delta[2 * most + count] = page;
            m->delta[3 * most + count] = page;
        }
        status = m->backend->kv_reserve(m->model, g, pages, err);
    }
    return status;
}

static tn_status compile(layer_model *m, const quantize_text *text, tn_error *err)
{
    const tn_graph_api *api = model_graph_api(m->graph);
    weight_source weights = text->weights;
    uint32_t threads = processors_usable(), page_tokens[KV_GROUPS_MAX];
    uint64_t page_bytes[KV_GROUPS_MAX];
    tn_devinfo device = {.struct_size = sizeof device};
    tn_open open = {.struct_size = sizeof open, .world = 1};
    tn_memplan plan = {
        .struct_size = sizeof plan, .group_count = KV_GROUPS_MAX, .page_tokens = page_tokens, .page_bytes = page_bytes};

    weights.float_type = 0; /* as they are stored */
    m->enc = calloc(api->weight_count, sizeof *m->enc);
    if (!m->enc)
        return tn_fail(err, TN_E_MEMORY, "encodings of %u weights", api->weight_count);
    tn_status status = m->backend->device(0, &device, err);
    if (status == TN_OK)
        status = weights_choose(&weights, m->graph, m->backend, &device, m->enc, err);
    tn_compile request = {.struct_size = sizeof request,
                          .graph = m->graph,
                          .api = api,
                          .weight_enc = m->enc,
                          .weight_enc_stride = sizeof *m->enc,
                          .max_tokens = m->tokens,
                          .max_seqs = 1,
                          .max_outputs = m->tokens,
                          .max_model_len = m->tokens};
    if (status == TN_OK)
        status = m->backend->plan(&device, 1, &request, &plan, err);
    if (status == TN_OK)
        status = m->backend->open(&open, &m->dev, err);
    if (status == TN_OK)
        status = m->backend->compile(m->dev, &request, &m->model, err);
    if (status == TN_OK)
        status = weights_load(&weights, text->checkpoint, m->graph, m->enc, m->backend, m->model,
                              threads < LOADER_THREADS_MAX ? threads : LOADER_THREADS_MAX, NULL, err);
    if (status == TN_OK)
        status = m->backend->seal(m->model, err);
    return status == TN_OK ? reserve_pages(m, page_tokens, err) : status;
}

tn_status layer_model_open(layer_model *m, const quantize_text *text, uint32_t layer, tn_error *err)
{
    *m = (layer_model){.tokens = text->tokens};
    tn_status status = tn_interp_backend(input_tap_ops(), &m->backend, err);
    if (status == TN_OK)
        status = model_graph_build_layer(text->config, layer, &m->graph, err);
    if (status == TN_OK)
        status = make_batch_arrays(m, err);
    return status == TN_OK ? compile(m, text, err) : status;
}

void layer_model_close(layer_model *m)
{
    if (m->model)
        m->backend->model_free(m->model);
    if (m->dev)
        m->backend->close(m->dev);
    model_graph_free(m->graph);
    free(m->enc);
    free(m->token);
    free(m->position);
    free(m->sampled);
    free(m->row);
    free(m->want);
    free(m->delta);
    *m = (layer_model){0};
}

tn_status layer_model_run(layer_model *m, float *rows, tn_error *err)
{
    const uint32_t starts[2] = {0, m->tokens}, zero = 0;
    const uint64_t pages = m->delta_count;
    uint64_t ticket;
    const tn_batch batch = {.struct_size = sizeof batch,
                            .need = TN_NEED_EMBED | TN_NEED_HIDDEN,
                            .token_count = m->tokens,
                            .seq_count = 1,
                            .out_count = m->tokens,
                            .delta_count = m->started ? 0 : m->delta_count,
                            .axis_count = 1,
                            .token = m->token,
                            .position = m->position,
                            .seq_start = starts,
                            .slot = &zero,
                            .cached_len = &zero,
                            .embed = rows,
                            .delta_group = m->delta,
                            .delta_slot = m->delta + pages,
                            .delta_index = m->delta + 2 * pages,
                            .delta_page = m->delta + 3 * pages,
                            .out_row = m->row,
                            .out_want = m->want};
    tn_result result = {.struct_size = sizeof result, .out_count = m->tokens, .id = m->sampled, .hidden = rows};

    tn_status status = m->backend->submit(m->model, &batch, &ticket, err);
    m->started = true;
    return status == TN_OK ? m->backend->wait(m->model, ticket, &result, err) : status;
}

/* load.c: a model's memory, from compile to free. */
#include "load.h"

#include "host_log.h"
#include "plan.h"

#include "base/size.h"

#include <stdlib.h>
#include <string.h>

/* ---- host side ---- */

static tn_status allocate_ticket(tn_model *m, ticket *t, tn_error *err)
{
    const tn_compile *r = &m->p->request;
    const uint64_t block = align_up(m->sizes.block_bytes), results = align_up(m->sizes.output_bytes);
    void *memory;

    tn_status status =
        m->dev->api->alloc_host(block + results + (uint64_t)r->max_tokens * m->p->width * sizeof(float), &memory, err);
    if (status != TN_OK)
        return status;
    t->block = memory;
    t->results = t->block + block;
    t->embed = (float *)(void *)(t->results + results);
    t->hidden = calloc(r->max_outputs, m->p->width * sizeof *t->hidden);
    t->logits = calloc(r->max_outputs, m->p->vocab * sizeof *t->logits);
    return t->hidden && t->logits ? TN_OK : tn_fail(err, TN_E_MEMORY, "a step's results");
}

static tn_status allocate_host(tn_model *m, tn_error *err)
{
    const tn_compile *r = &m->p->request;
    tn_status status = TN_OK;

    m->ranks = calloc(m->dev->count, sizeof *m->ranks);
    m->rows_loaded = calloc(m->p->view.api->weight_count + 1, sizeof *m->rows_loaded);
    m->slot_mark = calloc(r->max_seqs, sizeof *m->slot_mark);
    m->change_mark = calloc((size_t)m->p->view.api->kv_group_count + 1, r->max_seqs * sizeof *m->change_mark);
    if (!m->ranks || !m->rows_loaded || !m->slot_mark || !m->change_mark)
        return tn_fail(err, TN_E_MEMORY, "the model");
    for (uint32_t i = 0; i < IN_FLIGHT && status == TN_OK; i++)
        status = allocate_ticket(m, &m->tickets[i], err);
    return status;
}

/* ---- ranks ---- */

static tn_status fill_constants(rank *r, tn_error *err)
{
    const program *p = r->model->p;
    tn_status status = TN_OK;

    for (uint32_t i = 0; i < p->constant_count && status == TN_OK; i++) {
        const tn_value *v = &p->view.value[p->constant[i].value];
        status = r->model->dev->api->copy(r->memory.weights + p->constant[i].offset, v->constant,
                                          (uint64_t)v->dim[1] * sizeof(float), r->load_stream, err);
    }
    return status;
}

/* One allocation, zeroed: what pads a matrix must read as zero. */
static tn_status allocate_rank(rank *r, tn_error *err)
{
    tn_model *m = r->model;
    const device_api *api = m->dev->api;
    void *base = NULL, *staging = NULL, *host_staging = NULL;

    tn_status status = api->use(r->ordinal, err);
    if (status == TN_OK)
        status = api->stream_create(&r->stream, err);
    if (status == TN_OK)
        status = api->stream_create(&r->load_stream, err);
    for (uint32_t i = 0; i < IN_FLIGHT && status == TN_OK; i++)
        status = api->event_create(&r->done[i], err);
    rank_memory_carve(m->p, &m->sizes, NULL, &r->memory);
    if (status == TN_OK)
        status = api->alloc(r->memory.bytes, &base, err);
    if (status == TN_OK)
        status = api->alloc(m->staging_bytes, &staging, err);
    if (status == TN_OK)
        status = api->alloc_host(m->staging_bytes, &host_staging, err);
    r->base = base;
    r->staging = staging;
    r->host_staging = host_staging;
    if (status == TN_OK)
        status = api->clear(r->base, r->memory.bytes, r->load_stream, err);
    if (status != TN_OK)
        return status;
    rank_memory_carve(m->p, &m->sizes, r->base, &r->memory);
    status = fill_constants(r, err);
    return status == TN_OK ? api->stream_wait(r->load_stream, err) : status;
}

static tn_status create_ranks(tn_model *m, tn_error *err)
{
    tn_status status = TN_OK;

    for (uint32_t i = 0; i < m->dev->count; i++) {
        m->ranks[i] = (rank){.model = m, .index = m->dev->first + i, .ordinal = m->dev->ordinal[i]};
        pthread_mutex_init(&m->ranks[i].load_lock, NULL);
    }
    for (uint32_t i = 0; i < m->dev->count && status == TN_OK; i++)
        status = allocate_rank(&m->ranks[i], err);
    return status;
}

/* Ranks of other processes have memory that is not mapped here. */
static tn_status connect_ranks(tn_model *m, tn_error *err)
{
    const rank *first = &m->ranks[0];
    uint8_t *base[RANKS_MAX];

    if (m->dev->count != m->dev->world)
        return TN_OK;
    for (uint32_t i = 0; i < m->dev->count; i++)
        base[i] = m->ranks[i].base;
    return one_shot_open(&m->one_shot, m->dev->api, m->dev->count, m->dev->ordinal, base,
                         (uint64_t)(first->memory.comms - first->base), err);
}

/* Runs products on memory that nobody has written yet; what they give is overwritten before it is read. */
static tn_status choose_products(rank *r, const cublaslt_library *library, tn_error *err)
{
    const program *p = r->model->p;
    const device_api *api = r->model->dev->api;
    matmul_shape *shapes = calloc(p->shape_count, sizeof *shapes);
    matmul_place *places = calloc(p->shape_count, sizeof *places);

    tn_status status =
        shapes && places ? api->use(r->ordinal, err) : tn_fail(err, TN_E_MEMORY, "the choice of products");
    for (uint32_t i = 0; i < p->shape_count && status == TN_OK; i++) {
        shapes[i] = p->shapes[i].shape;
        places[i] = run_product_place(r, &p->steps[p->shapes[i].step]);
    }
    if (status == TN_OK)
        status = matmul_create(library, shapes, places, p->shape_count, r->memory.matmul, r->stream, &r->matmul, err);
    if (status == TN_OK)
        status = api->stream_wait(r->stream, err);
    free(shapes);
    free(places);
    return status;
}

/* cuBLASLt may be missing: our kernels do all that it does. */
static tn_status choose_all_products(tn_model *m, tn_error *err)
{
    const cublaslt_library *library;
    tn_error missing = TN_ERROR_INIT;
    tn_status status = TN_OK;

    if (!m->p->shape_count)
        return TN_OK;
    if (m->dev->api->cublaslt(&library, &missing) != TN_OK) {
        host_log(TN_LOG_WARNING, "products of many rows use our own kernels, since there is no cuBLASLt: %s",
                 missing.msg);
        return TN_OK;
    }
    for (uint32_t i = 0; i < m->dev->count && status == TN_OK; i++)
        status = choose_products(&m->ranks[i], library, err);
    return status;
}

/* On the rank's device, which is in use. */
static void free_staging(rank *r)
{
    const device_api *api = r->model->dev->api;

    api->release(r->staging);
    api->release_host(r->host_staging);
    r->staging = r->host_staging = NULL;
}

/* Until no kernel of the rank reads memory of its own, or of another rank. */
static void drain_rank(const rank *r)
{
    const device_api *api = r->model->dev->api;

    if (r->stream && api->use(r->ordinal, NULL) == TN_OK)
        api->stream_wait(r->stream, NULL);
}

static void free_rank(rank *r)
{
    const device_api *api = r->model->dev->api;

    if (api->use(r->ordinal, NULL) == TN_OK) {
        free_staging(r);
        for (uint32_t i = 0; i < GRAPHS_MAX; i++)
            api->graph_destroy(r->graph[i]);
        matmul_destroy(r->matmul);
        for (uint32_t g = 0; g < GROUPS_MAX; g++)
            api->release(r->kv[g]);
        api->release(r->base);
        for (uint32_t i = 0; i < IN_FLIGHT; i++)
            api->event_destroy(r->done[i]);
        if (r->load_stream)
            api->stream_destroy(r->load_stream);
        if (r->stream)
            api->stream_destroy(r->stream);
    }
    pthread_mutex_destroy(&r->load_lock);
}

/* ---- the table's ---- */

tn_status load_compile(tn_dev *dev, const tn_compile *compile, tn_model **ret_model, tn_error *err)
{
    tn_model *m = calloc(1, sizeof *m);
    if (!m)
        return tn_fail(err, TN_E_MEMORY, "the model");
    *m = (tn_model){.dev = dev,
                    .next_ticket = 1,
                    .next_wait = 1,
                    .lock = PTHREAD_MUTEX_INITIALIZER,
                    .changed = PTHREAD_COND_INITIALIZER,
                    .failure_err = TN_ERROR_INIT};
    tn_status status = program_build(compile, dev->world, NULL, NULL, &m->p, err);
    if (status == TN_OK) {
        m->sizes = step_sizes_of(m->p);
        m->staging_bytes = plan_staging_bytes(m->p);
        status = dev->api->use(dev->ordinal[0], err); /* pinned memory belongs to one of our devices, not to device 0 */
    }
    if (status == TN_OK)
        status = allocate_host(m, err);
    if (status == TN_OK)
        status = create_ranks(m, err);
    if (status == TN_OK)
        status = connect_ranks(m, err);
    if (status == TN_OK)
        status = choose_all_products(m, err);
    if (status == TN_OK)
        status = ranks_start(m, err);
    if (status != TN_OK) {
        load_free(m);
        return status;
    }
    pthread_mutex_lock(&dev->lock);
    dev->model = m;
    pthread_mutex_unlock(&dev->lock);
    *ret_model = m;
    return TN_OK;
}

tn_status load_seal(tn_model *m, tn_error *err)
{
    for (uint32_t id = 0; id < m->p->view.api->weight_count; id++)
        if (m->rows_loaded[id] < m->p->weights[id].rows)
            return tn_fail(err, TN_E_ARGUMENT, "%s has not arrived (%llu of %llu rows)", m->p->weights[id].name,
                           (unsigned long long)m->rows_loaded[id], (unsigned long long)m->p->weights[id].rows);
    tn_status status = TN_OK;
    for (uint32_t i = 0; i < m->dev->count && status == TN_OK; i++) {
        status = m->dev->api->use(m->dev->ordinal[i], err);
        if (status == TN_OK)
            free_staging(&m->ranks[i]);
    }
    if (status == TN_OK)
        status = warmup_load(m, err);
    m->sealed = status == TN_OK;
    return status;
}

static tn_status allocate_pages(tn_model *m, uint32_t group, uint64_t bytes, tn_error *err)
{
    const device_api *api = m->dev->api;
    tn_status status = TN_OK;

    for (uint32_t i = 0; i < m->dev->count && status == TN_OK; i++) {
        void *kv = NULL;
        status = api->use(m->dev->ordinal[i], err);
        if (status == TN_OK)
            status = api->alloc(bytes, &kv, err);
        m->ranks[i].kv[group] = kv;
    }
    return status;
}

static void release_pages(tn_model *m, uint32_t group)
{
    const device_api *api = m->dev->api;

    for (uint32_t i = 0; i < m->dev->count; i++) {
        if (api->use(m->dev->ordinal[i], NULL) == TN_OK)
            api->release(m->ranks[i].kv[group]);
        m->ranks[i].kv[group] = NULL;
    }
}

tn_status load_kv_reserve(tn_model *m, uint32_t group, uint64_t pages, tn_error *err)
{
    uint64_t bytes;

    if (group >= m->p->view.api->kv_group_count)
        return tn_fail(err, TN_E_ARGUMENT, "KV group %u of %u", group, m->p->view.api->kv_group_count);
    if (m->kv[group].pages)
        return tn_fail(err, TN_E_ARGUMENT, "KV group %u is reserved already", group);
    if (pages == 0 || pages >= UINT32_MAX || !size_mul(pages, m->p->kv[group].page_bytes, &bytes))
        return tn_fail(err, TN_E_ARGUMENT, "KV group %u: %llu pages", group, (unsigned long long)pages);
    tn_status status = allocate_pages(m, group, bytes, err);
    if (status == TN_OK)
        m->kv[group].pages = pages;
    else
        release_pages(m, group);
    return status;
}

void load_free(tn_model *m)
{
    if (!m)
        return;
    pthread_mutex_lock(&m->dev->lock);
    m->dev->model = NULL;
    pthread_mutex_unlock(&m->dev->lock);
    if (m->ranks) {
        if (m->posted && !ranks_settle(m)) /* a step that nobody waits for may never end */
            ranks_fail(m, TN_E_CANCELLED, "the model was freed");
        ranks_stop(m);
        for (uint32_t i = 0; i < m->dev->count; i++)
            if (m->ranks[i].model)
                drain_rank(&m->ranks[i]);
        for (uint32_t i = 0; i < m->dev->count; i++)
            if (m->ranks[i].model)
                free_rank(&m->ranks[i]);
    }
    for (uint32_t i = 0; i < IN_FLIGHT; i++) {
        m->dev->api->release_host(m->tickets[i].block);
        free(m->tickets[i].hidden);
        free(m->tickets[i].logits);
    }
    one_shot_close(&m->one_shot);
    free(m->ranks);
    free(m->rows_loaded);
    free(m->slot_mark);
    free(m->change_mark);
    program_free(m->p);
    pthread_mutex_destroy(&m->lock);
    pthread_cond_destroy(&m->changed);
    free(m);
}

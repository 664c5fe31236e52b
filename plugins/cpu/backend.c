/* plugins/cpu/backend.c: the tn.backend table. Life of a model: program_build, one arena each for weights, activations
 * and logits, weight_store, KV arenas, then steps. plan() and compile() get their sizes from the same functions.
 */
#include "backend.h"

#include "batch.h"
#include "family_choice.h"
#include "host_memory.h"
#include "model.h"
#include "options.h"

#include "base/size.h"

#include <stdlib.h>
#include <string.h>

/* ---- the arena: everything a step touches besides weights, KV and logits ---- */

typedef struct carver {
    uint8_t *base; /* NULL: only count */
    uint64_t used;
} carver;

static void *carve(carver *c, uint64_t bytes)
{
    void *at = c->base ? c->base + c->used : NULL;
    c->used += (bytes + 63) & ~UINT64_C(63);
    return at;
}

/* Sets the pointers of m into c->base and counts the bytes. The plan runs it without a base. */
static void model_carve(tn_model *m, const program *p, carver *c)
{
    const limits *l = &p->limits;
    thread_layout layout;

    program_thread_layout(p, &layout);
    carve(c, p->activation_bytes); /* first: buffers have offsets from the arena's start */
    c->used = (c->used + 4095) & ~UINT64_C(4095);
    m->layout = layout;
    m->threads = carve(c, layout.bytes * l->threads);
    m->partial = carve(c, program_partial_floats(p) * sizeof(float));
    m->task = carve(c, l->max_tokens * sizeof *m->task);
    m->row_slot = carve(c, l->max_tokens * sizeof *m->row_slot);
    m->row_position = carve(c, l->max_tokens * sizeof *m->row_position);
    m->slot_mark = carve(c, l->max_seqs * sizeof *m->slot_mark);
    m->moe_expert = carve(c, p->choices_max * sizeof *m->moe_expert);
    m->moe_weight = carve(c, p->choices_max * sizeof *m->moe_weight);
    m->moe_place = carve(c, p->choices_max * sizeof *m->moe_place);
    m->moe_choice = carve(c, p->choices_max * sizeof *m->moe_choice);
    m->moe_start = carve(c, (p->experts_max + 1) * sizeof *m->moe_start);
    m->moe_task = carve(c, ((uint64_t)p->experts_max + p->choices_max / ROW_CHUNK) * sizeof *m->moe_task);
    m->want = carve(c, l->max_outputs * sizeof *m->want);
    m->id = carve(c, l->max_outputs * sizeof *m->id);
    m->logprob = carve(c, l->max_outputs * sizeof *m->logprob);
    m->target_logprob = carve(c, l->max_outputs * sizeof *m->target_logprob);
    m->top_id = carve(c, (uint64_t)l->max_outputs * TOP_MAX * sizeof *m->top_id);
    m->top_logprob = carve(c, (uint64_t)l->max_outputs * TOP_MAX * sizeof *m->top_logprob);
    for (uint32_t g = 0; g < p->group_count; g++) {
        uint32_t *table = carve(c, (uint64_t)l->max_seqs * p->kv[g].table_stride * sizeof *table);
        if (m->kv)
            m->kv[g].table = table;
    }
}

static uint64_t arena_bytes(const program *p)
{
    tn_model counted = {0};
    carver c = {0};

    model_carve(&counted, p, &c);
    return c.used;
}

/* ---- [probe] ---- */

static tn_status cpu_device(uint32_t index, tn_devinfo *ret_info, tn_error *err)
{
    const kernels *k;
    tn_devinfo info = {.struct_size = sizeof info, .score = 1};

    if (index > 0)
        return tn_fail(err, TN_E_NOT_FOUND, "there is one CPU device, number 0");
    tn_status status = family_choose(options_isa(), &k, err);
    if (status != TN_OK)
        return status;
    memory_limits(&info.mem_total, &info.mem_free);
    snprintf(info.name, sizeof info.name, "cpu");
    snprintf(info.mem_domain, sizeof info.mem_domain, "host");
    snprintf(info.features, sizeof info.features, "%s, %u threads", k->name, options_threads());
    uint32_t size = ret_info->struct_size < sizeof info ? ret_info->struct_size : (uint32_t)sizeof info;
    info.struct_size = ret_info->struct_size;
    memcpy(ret_info, &info, size);
    return TN_OK;
}

static tn_status cpu_accepts(const tn_devinfo *info, const tn_graph *graph, const tn_graph_api *api, uint32_t value,
                             const tn_enc *enc, uint32_t *ret_cost, tn_error *err)
{
    tn_value v = {.struct_size = sizeof v};
    weight w;

    (void)info;
    tn_status status = api->value(graph, value, &v);
    if (status != TN_OK)
        return tn_fail(err, status, "value %u cannot be read", value);
    if (v.kind != TN_VALUE_WEIGHT)
        return tn_fail(err, TN_E_ARGUMENT, "%s is not a weight", v.name);
    /* Vectors (gains, biases, sinks) are kept as float32 whatever float they come as. */
    status = weight_init(&w, enc, (uint64_t)v.dim[0], (uint64_t)v.dim[1], v.dim[0] == 1, v.name, err);
    if (status == TN_OK) {
        uint64_t per_mille = w.bytes * 1000 / ((uint64_t)w.n * w.k);
        *ret_cost = per_mille < UINT32_MAX ? (uint32_t)per_mille : UINT32_MAX;
    }
    return status;
}

/* The program that compile() would build, for the questions that come before a device is open. */
static tn_status program_foresee(const tn_compile *compile, uint32_t *bad, uint32_t *bad_count, program **ret_program,
                                 tn_error *err)
{
    const kernels *k;

    tn_status status = family_choose(options_isa(), &k, err);
    if (status != TN_OK)
        return status;
    return program_build(compile, options_threads(), k->tiles, bad, bad_count, ret_program, err);
}

static tn_status cpu_plan(const tn_devinfo *info, uint32_t world, const tn_compile *compile, tn_memplan *plan,
                          tn_error *err)
{
    program *p;

    (void)info;
    if (world > 1)
        return tn_fail(err, TN_E_UNSUPPORTED, "tensor parallelism over %u CPUs; the CPU backend runs as one rank",
                       world);
    tn_status status = program_foresee(compile, NULL, NULL, &p, err);
    if (status != TN_OK)
        return status;
    if (plan->group_count < p->group_count) {
        program_free(p);
        return tn_fail(err, TN_E_ARGUMENT, "plan: room for %u KV groups, the model has %u", plan->group_count,
                       p->group_count);
    }
    plan->weights = p->weight_bytes;
    plan->load_peak = 0;
    plan->activations = arena_bytes(p);
    plan->logits = p->logits_bytes;
    plan->comms = 0;
    plan->reserve = (uint64_t)options_threads() * (64 << 10) + (1 << 20); /* touched stacks, the plan itself */
    for (uint32_t g = 0; g < p->group_count; g++) {
        plan->page_tokens[g] = LANES;
        plan->page_bytes[g] = p->kv[g].page_bytes;
    }
    program_free(p);
    return TN_OK;
}

static tn_status cpu_check(const tn_devinfo *info, const tn_compile *compile, uint32_t *bad, uint32_t *bad_count,
                           tn_error *err)
{
    program *p;

    (void)info;
    tn_status status = program_foresee(compile, bad, bad_count, &p, err);
    if (status == TN_OK)
        program_free(p);
    return status;
}

/* ---- [ctl] ---- */

static void cpu_close(tn_dev *dev)
{
    if (!dev)
        return;
    pool_destroy(dev->pool);
    free(dev);
}

static tn_status cpu_open(const tn_open *open, tn_dev **ret_dev, tn_error *err)
{
    if (open->world > 1 || open->device_count > 1)
        return tn_fail(err, TN_E_UNSUPPORTED, "the CPU backend runs as one rank on one device");
    tn_dev *dev = calloc(1, sizeof *dev);
    if (!dev)
        return tn_fail(err, TN_E_MEMORY, "the CPU device");
    tn_status status = family_choose(options_isa(), &dev->k, err);
    if (status == TN_OK)
        status = pool_create(options_threads(), &dev->pool, err);
    if (status != TN_OK) {
        cpu_close(dev);
        return status;
    }
    *ret_dev = dev;
    return TN_OK;
}

static void cpu_model_free(tn_model *m)
{
    if (!m)
        return;
    for (uint32_t g = 0; m->p && m->kv && g < m->p->group_count; g++)
        memory_unmap(m->kv[g].base, m->kv[g].pages * m->p->kv[g].page_bytes);
    if (m->p) {
        memory_unmap(m->weights, m->p->weight_bytes);
        memory_unmap(m->logits, m->p->logits_bytes);
    }
    memory_unmap(m->arena, m->arena_bytes);
    free(m->kv);
    program_free(m->p);
    free(m);
}

static tn_status model_allocate(tn_model *m, tn_error *err)
{
    program *p = m->p;

    m->kv = calloc(p->group_count + 1, sizeof *m->kv);
    if (!m->kv)
        return tn_fail(err, TN_E_MEMORY, "the model");
    m->arena_bytes = arena_bytes(p);
    tn_status status = memory_map(p->weight_bytes, "weights", &m->weights, err);
    if (status == TN_OK)
        status = memory_map(m->arena_bytes, "activations", &m->arena, err);
    if (status == TN_OK)
        status = memory_map(p->logits_bytes, "logits", &m->logits, err);
    if (status != TN_OK)
        return status;
    carver c = {.base = m->arena};
    model_carve(m, p, &c);
    TN_ASSERT(c.used == m->arena_bytes);
    for (uint32_t i = 0; i < p->weight_count; i++)
        weight_place(&p->weights[i], m->weights + p->weight_at[i]);
    return TN_OK;
}

static tn_status cpu_compile(tn_dev *dev, const tn_compile *compile, tn_model **ret_model, tn_error *err)
{
    tn_model *m = calloc(1, sizeof *m);
    if (!m)
        return tn_fail(err, TN_E_MEMORY, "the model");
    m->dev = dev;
    m->k = dev->k;
    tn_status status = program_build(compile, pool_threads(dev->pool), m->k->tiles, NULL, NULL, &m->p, err);
    if (status == TN_OK)
        status = model_allocate(m, err);
    if (status != TN_OK) {
        cpu_model_free(m);
        return status;
    }
    *ret_model = m;
    return TN_OK;
}

static tn_status cpu_weight(tn_model *m, uint32_t weight_id, const tn_planes *planes, tn_error *err)
{
    if (weight_id >= m->p->weight_count)
        return tn_fail(err, TN_E_ARGUMENT, "weight %u of %u", weight_id, m->p->weight_count);
    if (m->sealed)
        return tn_fail(err, TN_E_ARGUMENT, "%s arrives after seal", m->p->names[weight_id]);
    return weight_store(&m->p->weights[weight_id], planes, m->p->names[weight_id], err);
}

static tn_status cpu_seal(tn_model *m, tn_error *err)
{
    for (uint32_t i = 0; i < m->p->weight_count; i++) {
        const weight *w = &m->p->weights[i];
        if (w->rows_loaded < w->n)
            return tn_fail(err, TN_E_ARGUMENT, "%s has not arrived (%llu of %u rows)", m->p->names[i],
                           (unsigned long long)w->rows_loaded, w->n);
    }
    m->sealed = true;
    return TN_OK;
}

static tn_status cpu_kv_reserve(tn_model *m, uint32_t group, uint64_t pages, tn_error *err)
{
    uint64_t bytes;

    if (group >= m->p->group_count)
        return tn_fail(err, TN_E_ARGUMENT, "KV group %u of %u", group, m->p->group_count);
    if (m->kv[group].pages)
        return tn_fail(err, TN_E_ARGUMENT, "KV group %u is reserved already", group);
    if (pages == 0 || pages > UINT32_MAX || !size_mul(pages, m->p->kv[group].page_bytes, &bytes))
        return tn_fail(err, TN_E_ARGUMENT, "KV group %u: %llu pages", group, (unsigned long long)pages);
    tn_status status = memory_map(bytes, "the KV cache", &m->kv[group].base, err);
    if (status == TN_OK)
        m->kv[group].pages = pages;
    return status;
}

/* ---- [step] ---- */

static tn_status cpu_submit(tn_model *m, const tn_batch *batch, uint64_t *ret_ticket, tn_error *err)
{
    if (m->waiting)
        return tn_fail(err, TN_E_AGAIN, "the CPU backend has one step in flight");
    if (!m->sealed)
        return tn_fail(err, TN_E_ARGUMENT, "submit before seal");
    for (uint32_t g = 0; g < m->p->group_count; g++)
        if (!m->kv[g].pages)
            return tn_fail(err, TN_E_ARGUMENT, "submit before kv_reserve of group %u", g);
    tn_status status = batch_check(m, batch, err);
    if (status != TN_OK)
        return status;
    model_run(m, batch);
    m->waiting = true;
    *ret_ticket = ++m->ticket;
    return TN_OK;
}

static void copy_row(const tn_model *m, uint32_t row, tn_result *r)
{
    uint32_t want = m->want[row], top = m->top_count;

    if (r->id)
        r->id[row] = m->id[row];
    if (r->logprob && (want & TN_WANT_LOGPROB))
        r->logprob[row] = m->logprob[row];
    if (r->target_logprob && (want & TN_WANT_TARGET))
        r->target_logprob[row] = m->target_logprob[row];
    if (r->top_id && (want & TN_WANT_TOP))
        memcpy(r->top_id + (uint64_t)row * top, m->top_id + (uint64_t)row * top, top * sizeof *r->top_id);
    if (r->top_logprob && (want & TN_WANT_TOP))
        memcpy(r->top_logprob + (uint64_t)row * top, m->top_logprob + (uint64_t)row * top,
               top * sizeof *r->top_logprob);
    if (r->hidden && (want & TN_WANT_HIDDEN))
        memcpy(r->hidden + (uint64_t)row * m->p->width, model_row(m, m->p->hidden, row), m->p->width * sizeof(float));
    if (r->logits && (want & TN_WANT_LOGITS))
        memcpy(r->logits + (uint64_t)row * m->p->vocab, model_row(m, m->p->logits, row), m->p->vocab * sizeof(float));
}

static tn_status cpu_wait(tn_model *m, uint64_t ticket, tn_result *result, tn_error *err)
{
    if (!m->waiting || ticket != m->ticket)
        return tn_fail(err, TN_E_ARGUMENT, "ticket %llu is not in flight", (unsigned long long)ticket);
    if (result->out_count < m->out_count)
        return tn_fail(err, TN_E_ARGUMENT, "room for %u results, the step has %u", result->out_count, m->out_count);
    for (uint32_t row = 0; row < m->out_count; row++)
        copy_row(m, row, result);
    m->waiting = false;
    return TN_OK;
}

static tn_status cpu_kv_copy(tn_model *m, uint32_t group, const tn_kvmove *moves, uint32_t count, tn_error *err)
{
    if (group >= m->p->group_count)
        return tn_fail(err, TN_E_ARGUMENT, "KV group %u of %u", group, m->p->group_count);
    const kv_layout *kv = &m->p->kv[group];
    const kv_store *store = &m->kv[group];
    for (uint32_t i = 0; i < count; i++)
        if (moves[i].src >= store->pages || moves[i].dst >= store->pages)
            return tn_fail(err, TN_E_ARGUMENT, "KV copy of page %u to %u of %llu", moves[i].src, moves[i].dst,
                           (unsigned long long)store->pages);
    for (uint32_t i = 0; i < count; i++) {
        for (uint32_t layer = 0; layer < kv->shape.layer_count; layer++) {
            uint8_t *pages = store->base + layer * store->pages * kv->layer_page_bytes;
            memmove(pages + moves[i].dst * kv->layer_page_bytes, pages + moves[i].src * kv->layer_page_bytes,
                    kv->layer_page_bytes);
        }
    }
    return TN_OK;
}

const tn_backend *cpu_backend(void)
{
    static const tn_backend table = {
        .struct_size = sizeof table,
        .can = CPU_CAN,
        .max_in_flight = 1,
        .device = cpu_device,
        .accepts = cpu_accepts,
        .plan = cpu_plan,
        .check = cpu_check,
        .open = cpu_open,
        .close = cpu_close,
        .compile = cpu_compile,
        .weight = cpu_weight,
        .seal = cpu_seal,
        .kv_reserve = cpu_kv_reserve,
        .submit = cpu_submit,
        .wait = cpu_wait,
        .kv_copy = cpu_kv_copy,
        .model_free = cpu_model_free,
    };
    return &table;
}

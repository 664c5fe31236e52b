/* backend.c: the tn.backend table over a tn.ops table: opening, compiling, weights, KV, freeing.
 *
 * tn.backend's probes carry no context, so each wrapped table gets one of a few sets of trampolines, made by macro,
 * that know which table they stand for. Everything after `open` finds it in the device or the model.
 */
#include "interp/decode.h"
#include "interp/model.h"

#include <string.h>

typedef struct interp_device {
    const tn_ops_table *ops;
    tn_dev *inner;
} interp_device;

/* ---- probes ---- */

static tn_status interp_accepts(const tn_devinfo *info, const tn_graph *graph, const tn_graph_api *api, uint32_t value,
                                const tn_enc *enc, uint32_t *ret_cost, tn_error *err)
{
    (void)info, (void)graph, (void)api, (void)value;
    tn_status status = interp_decode_check(enc, err);
    if (status == TN_OK)
        *ret_cost = enc->bits;
    return status;
}

static tn_status plan_with(const tn_ops_table *ops, uint32_t world, const tn_compile *compile, tn_memplan *plan,
                           tn_error *err)
{
    tn_model model = {.ops = ops, .mapped = ops->map != NULL};
    interp_bytes bytes;

    if (world != 1)
        return tn_fail(err, TN_E_UNSUPPORTED, "interpreter: %u ranks; it runs on one", world);
    tn_status status = interp_layout(&model, compile, &bytes, err);
    if (status == TN_OK && plan->group_count < compile->api->kv_group_count)
        status = tn_fail(err, TN_E_ARGUMENT, "interpreter: plan has room for %u KV groups, the model has %u",
                         plan->group_count, compile->api->kv_group_count);
    for (uint32_t g = 0; status == TN_OK && g < compile->api->kv_group_count; g++) {
        tn_kv_group group = {.struct_size = sizeof group};
        TN_ASSERT(compile->api->kv_group(compile->graph, g, &group) == TN_OK);
        plan->page_tokens[g] = INTERP_PAGE_TOKENS;
        plan->page_bytes[g] = interp_page_bytes(&group) * group.layer_count;
    }
    if (status == TN_OK) {
        plan->weights = bytes.weights;
        plan->load_peak = 0;
        plan->activations = bytes.slots + bytes.host - bytes.logits;
        plan->logits = bytes.logits;
        plan->comms = 0;
        plan->reserve = 0;
    }
    interp_layout_finish(&model);
    return status;
}

static tn_status interp_check(const tn_devinfo *info, const tn_compile *compile, uint32_t *bad, uint32_t *bad_count,
                              tn_error *err)
{
    uint32_t room = *bad_count, found = 0;

    (void)info;
    for (uint32_t i = 0; i < compile->api->node_count; i++) {
        if (interp_node_check(compile->graph, compile->api, i, err) == TN_OK)
            continue;
        if (found < room)
            bad[found] = i;
        found++;
    }
    *bad_count = found;
    return found ? TN_E_UNSUPPORTED : TN_OK;
}

/* ---- device ---- */

static tn_status open_with(const tn_ops_table *ops, const tn_open *request, tn_dev **ret_dev, tn_error *err)
{
    if (request->world > 1)
        return tn_fail(err, TN_E_UNSUPPORTED, "interpreter: %u ranks; it runs on one", request->world);
    interp_device *device = calloc(1, sizeof *device);
    if (!device)
        return tn_fail(err, TN_E_MEMORY, "interpreter: no memory for a device");
    device->ops = ops;
    tn_status status = ops->open(request, &device->inner, err);
    if (status != TN_OK) {
        free(device);
        return status;
    }
    *ret_dev = (tn_dev *)(void *)device;
    return TN_OK;
}

/* A wait never blocks: submit has done the work. */
static void interp_abort(tn_dev *dev)
{
    (void)dev;
}

static void interp_close(tn_dev *dev)
{
    interp_device *device = (interp_device *)(void *)dev;

    if (!device)
        return;
    device->ops->close(device->inner);
    free(device);
}

/* ---- compile ---- */

/* Handle 0 stands for no buffer here, as tenon/ops.h says: one that had it could be neither used nor freed. */
static tn_status allocate(tn_model *model, uint64_t bytes, uint32_t usage, uint64_t *ret_handle, tn_error *err)
{
    tn_status status = model->ops->alloc(model->dev, bytes, usage, ret_handle, err);
    if (status == TN_OK && *ret_handle == 0)
        return tn_fail(err, TN_E_INTERNAL,
                       "tn.ops: alloc of %llu bytes answers TN_OK with handle 0; no buffer may be 0",
                       (unsigned long long)bytes);
    return status;
}

static tn_status allocate_weight(tn_model *model, uint32_t value_id, const tn_value *value, tn_error *err)
{
    interp_weight *weight = &model->weight[value->weight_id];

    if (weight->buf.handle == 0) {
        weight->n = (uint64_t)value->dim[0];
        weight->k = (uint64_t)value->dim[1];
        tn_status status =
            allocate(model, interp_weight_bytes(weight->n, weight->k), TN_USAGE_WEIGHT, &weight->buf.handle, err);
        if (status != TN_OK)
            return status;
    }
    model->value_buf[value_id] = weight->buf;
    return TN_OK;
}

static tn_status allocate_constant(tn_model *model, uint32_t value_id, const tn_value *value, tn_error *err)
{
    uint64_t count = (uint64_t)value->dim[0] * (uint64_t)value->dim[1];
    tn_buf *buf = &model->value_buf[value_id];

    tn_status status = allocate(model, interp_weight_bytes(1, count), TN_USAGE_WEIGHT, &buf->handle, err);
    if (status == TN_OK)
        status = model->ops->put(model->dev, *buf, value->constant, count * sizeof(float), err);
    return status;
}

static tn_status allocate_device(tn_model *model, tn_error *err)
{
    tn_status status = TN_OK;

    for (uint32_t s = 0; s < model->slot_count && status == TN_OK; s++)
        status = allocate(model, model->slot_bytes[s], TN_USAGE_ACTIVATION, &model->slot_handle[s], err);
    for (uint32_t i = 0; i < model->api->value_count && status == TN_OK; i++) {
        tn_value value = interp_value(model, i);
        if (value.kind == TN_VALUE_WEIGHT)
            status = allocate_weight(model, i, &value, err);
        else if (value.kind == TN_VALUE_CONSTANT)
            status = allocate_constant(model, i, &value, err);
        else if (model->value_slot[i] < model->slot_count)
            model->value_buf[i] = (tn_buf){model->slot_handle[model->value_slot[i]], 0};
    }
    return status;
}

static tn_status allocate_host(tn_model *model, tn_error *err)
{
    interp_carver sizes = {0}, real = {0};
    uint64_t logits;

    interp_model_carve(model, &sizes, &logits);
    model->arena = aligned_alloc(64, sizes.used);
    if (!model->arena)
        return tn_fail(err, TN_E_MEMORY, "interpreter: no memory for %llu bytes of step buffers",
                       (unsigned long long)sizes.used);
    memset(model->arena, 0, sizes.used);
    real.base = model->arena;
    interp_model_carve(model, &real, &logits);
    for (uint32_t g = 0; g < model->api->kv_group_count; g++) {
        interp_kv *kv = &model->kv[g];
        kv->shape.struct_size = sizeof kv->shape;
        TN_ASSERT(model->api->kv_group(model->graph, g, &kv->shape) == TN_OK);
        kv->layer_page_bytes = interp_page_bytes(&kv->shape);
        memset(kv->table, 0xff, (uint64_t)model->limits.max_seqs * model->table_stride * sizeof *kv->table);
    }
    return TN_OK;
}

static void interp_model_free(tn_model *model)
{
    if (!model)
        return;
    if (model->arena) {
        for (uint32_t g = 0; g < model->api->kv_group_count; g++)
            if (model->kv[g].handle)
                model->ops->free(model->dev, model->kv[g].handle);
        for (uint32_t s = 0; s < model->slot_count; s++)
            if (model->slot_handle[s])
                model->ops->free(model->dev, model->slot_handle[s]);
        for (uint32_t w = 0; w < model->api->weight_count; w++)
            if (model->weight[w].buf.handle)
                model->ops->free(model->dev, model->weight[w].buf.handle);
        for (uint32_t i = 0; i < model->api->value_count; i++)
            if (model->value_buf[i].handle && interp_value(model, i).kind == TN_VALUE_CONSTANT)
                model->ops->free(model->dev, model->value_buf[i].handle);
    }
    free(model->arena);
    interp_layout_finish(model);
    pthread_mutex_destroy(&model->load_lock);
    free(model);
}

static tn_status check_encodings(tn_model *model, const tn_compile *compile, tn_error *err)
{
    for (uint32_t w = 0; w < model->api->weight_count; w++) {
        const unsigned char *at = (const unsigned char *)compile->weight_enc + (uint64_t)w * compile->weight_enc_stride;
        tn_enc enc = {0};
        uint32_t size;
        memcpy(&size, at, sizeof size);
        memcpy(&enc, at, size < sizeof enc ? size : sizeof enc);
        tn_status status = interp_decode_check(&enc, err);
        if (status != TN_OK)
            return status;
        model->weight[w].enc = enc;
    }
    return TN_OK;
}

static tn_status interp_compile(tn_dev *dev, const tn_compile *compile, tn_model **ret_model, tn_error *err)
{
    const interp_device *device = (const interp_device *)(const void *)dev;
    tn_model *model = calloc(1, sizeof *model);

    if (!model)
        return tn_fail(err, TN_E_MEMORY, "interpreter: no memory for a model");
    model->ops = device->ops;
    model->dev = device->inner;
    model->mapped = device->ops->map != NULL;
    model->next_ticket = model->next_wait = 1;
    pthread_mutex_init(&model->load_lock, NULL);

    tn_status status = interp_layout(model, compile, NULL, err);
    if (status == TN_OK)
        status = allocate_host(model, err);
    if (status == TN_OK)
        status = check_encodings(model, compile, err);
    if (status == TN_OK)
        status = allocate_device(model, err);
    if (status != TN_OK) {
        interp_model_free(model);
        return status;
    }
    *ret_model = model;
    return TN_OK;
}

/* ---- weights ---- */

/* Decodes rows [row, row + count) of a block and puts them at their place; count rows fit weight_block. */
static tn_status store_rows(tn_model *model, const interp_weight *weight, const tn_planes *planes, uint64_t row,
                            uint64_t count, tn_error *err)
{
    tn_buf at = {weight->buf.handle, (planes->row0 + row) * weight->k * sizeof(float)};
    void *memory = model->weight_block;

    tn_status status = model->mapped ? interp_map(model, at, &memory, err) : TN_OK;
    if (status != TN_OK)
        return status;
    float *out = memory;
    for (uint64_t i = 0; i < count; i++)
        interp_decode_row(&weight->enc, planes, row + i, out + i * weight->k);
    return model->mapped ? TN_OK : model->ops->put(model->dev, at, out, count * weight->k * sizeof(float), err);
}

static tn_status check_planes(const tn_model *model, const interp_weight *weight, uint32_t id, const tn_planes *planes,
                              tn_error *err)
{
    if (model->sealed)
        return tn_fail(err, TN_E_ARGUMENT, "interpreter: weight %u after seal", id);
    if (planes->k0 != 0 || planes->n_k != weight->k)
        return tn_fail(err, TN_E_ARGUMENT, "interpreter: weight %u comes in columns; whole rows are expected", id);
    if (planes->row0 != weight->rows_arrived || planes->n_rows > weight->n - weight->rows_arrived)
        return tn_fail(err, TN_E_ARGUMENT, "interpreter: weight %u: rows %llu + %llu after %llu of %llu", id,
                       (unsigned long long)planes->row0, (unsigned long long)planes->n_rows,
                       (unsigned long long)weight->rows_arrived, (unsigned long long)weight->n);
    if (weight->enc.group_n > 1 && planes->row0 % weight->enc.group_n)
        return tn_fail(err, TN_E_ARGUMENT, "interpreter: weight %u: a block from row %llu cuts a group of %u rows", id,
                       (unsigned long long)planes->row0, weight->enc.group_n);
    if (weight->enc.part_n && planes->row0 % weight->enc.part_n + planes->n_rows > weight->enc.part_n)
        return tn_fail(err, TN_E_ARGUMENT, "interpreter: weight %u: a block from row %llu leaves its part of %u rows",
                       id, (unsigned long long)planes->row0, weight->enc.part_n);
    for (uint32_t p = 0; p < TN_PLANE_LIMIT; p++) {
        uint64_t bytes = tn_plane_bytes(&weight->enc, p, planes->n_rows, planes->n_k);
        if (bytes && (p >= planes->plane_count || planes->plane_bytes[p] != bytes || !planes->plane[p]))
            return tn_fail(err, TN_E_ARGUMENT, "interpreter: weight %u: plane %u must hold %llu bytes", id, p,
                           (unsigned long long)bytes);
    }
    return TN_OK;
}

static tn_status check_order(const interp_weight *weight, uint32_t id, const tn_planes *planes, tn_error *err)
{
    const unsigned char *perm = planes->plane[TN_PLANE_PERM];

    for (uint64_t k = 0; weight->enc.flags & TN_ENC_PERM_K && k < weight->k; k++) {
        uint32_t input;
        memcpy(&input, perm + k * sizeof input, sizeof input);
        if (input >= weight->k)
            return tn_fail(err, TN_E_ARGUMENT, "interpreter: weight %u: column %llu multiplies input %u of %llu", id,
                           (unsigned long long)k, input, (unsigned long long)weight->k);
    }
    return TN_OK;
}

/* A device that the host cannot address takes one block at a time through weight_block. */
static tn_status interp_weight_arrives(tn_model *model, uint32_t id, const tn_planes *planes, tn_error *err)
{
    if (id >= model->api->weight_count)
        return tn_fail(err, TN_E_ARGUMENT, "interpreter: there is no weight %u", id);
    interp_weight *weight = &model->weight[id];
    uint64_t step = INTERP_BLOCK_BYTES / (weight->k * sizeof(float));
    step = model->mapped ? planes->n_rows : step ? step : 1;

    tn_status status = check_planes(model, weight, id, planes, err);
    if (status == TN_OK)
        status = check_order(weight, id, planes, err);
    for (uint64_t row = 0; row < planes->n_rows && status == TN_OK; row += step) {
        uint64_t count = planes->n_rows - row < step ? planes->n_rows - row : step;
        if (!model->mapped)
            pthread_mutex_lock(&model->load_lock);
        status = store_rows(model, weight, planes, row, count, err);
        if (!model->mapped)
            pthread_mutex_unlock(&model->load_lock);
    }
    if (status == TN_OK)
        weight->rows_arrived += planes->n_rows;
    return status;
}

static tn_status interp_seal(tn_model *model, tn_error *err)
{
    for (uint32_t i = 0; i < model->api->value_count; i++) {
        tn_value value = interp_value(model, i);
        if (value.kind == TN_VALUE_WEIGHT && model->weight[value.weight_id].rows_arrived != (uint64_t)value.dim[0])
            return tn_fail(err, TN_E_ARGUMENT, "interpreter: weight %u (%s) has %llu of %lld rows", value.weight_id,
                           value.name, (unsigned long long)model->weight[value.weight_id].rows_arrived,
                           (long long)value.dim[0]);
    }
    model->sealed = true;
    return model->ops->sync(model->dev, err);
}

/* ---- KV ---- */

static tn_status interp_kv_reserve(tn_model *model, uint32_t group, uint64_t pages, tn_error *err)
{
    if (group >= model->api->kv_group_count || pages == 0 || pages >= UINT32_MAX || model->kv[group].pages)
        return tn_fail(err, TN_E_ARGUMENT, "interpreter: kv_reserve of %llu pages for group %u",
                       (unsigned long long)pages, group);
    interp_kv *kv = &model->kv[group];
    tn_status status =
        allocate(model, pages * kv->layer_page_bytes * kv->shape.layer_count, TN_USAGE_KV, &kv->handle, err);
    if (status == TN_OK)
        kv->pages = pages;
    return status;
}

static tn_status copy_page(tn_model *model, const interp_kv *kv, uint64_t layer, const tn_kvmove *move, tn_error *err)
{
    tn_buf from = {kv->handle, (layer * kv->pages + move->src) * kv->layer_page_bytes};
    tn_buf to = {kv->handle, (layer * kv->pages + move->dst) * kv->layer_page_bytes};
    const void *page = NULL;

    tn_status status = interp_read(model, from, kv->layer_page_bytes, model->page, &page, err);
    if (status == TN_OK)
        status = model->ops->put(model->dev, to, page, kv->layer_page_bytes, err);
    return status;
}

static tn_status interp_kv_copy(tn_model *model, uint32_t group, const tn_kvmove *moves, uint32_t count, tn_error *err)
{
    tn_status status = TN_OK;

    if (group >= model->api->kv_group_count)
        return tn_fail(err, TN_E_ARGUMENT, "interpreter: there is no KV group %u", group);
    const interp_kv *kv = &model->kv[group];
    if (model->mapped && model->device_busy)
        status = model->ops->sync(model->dev, err);
    for (uint32_t i = 0; i < count && status == TN_OK; i++) {
        if (moves[i].src >= kv->pages || moves[i].dst >= kv->pages)
            return tn_fail(err, TN_E_ARGUMENT, "interpreter: kv_copy of page %u to %u of %llu", moves[i].src,
                           moves[i].dst, (unsigned long long)kv->pages);
        if (moves[i].src == moves[i].dst)
            continue;
        for (uint64_t layer = 0; layer < kv->shape.layer_count && status == TN_OK; layer++)
            status = copy_page(model, kv, layer, &moves[i], err);
    }
    return status;
}

/* Nothing to specialise, and memory was touched when it was cleared. */
static tn_status interp_warmup(tn_model *model, uint32_t tokens, tn_error *err)
{
    (void)model, (void)tokens, (void)err;
    return TN_OK;
}

/* ---- the tables ---- */

static pthread_mutex_t wrapped_lock = PTHREAD_MUTEX_INITIALIZER; /* guards the two arrays below */
static tn_ops_table wrapped[TN_INTERP_TABLES_MAX];
static const tn_ops_table *wrapped_from[TN_INTERP_TABLES_MAX];

#define TRAMPOLINES(i)                                                                                             \
    static tn_status device_##i(uint32_t index, tn_devinfo *ret_info, tn_error *err)                               \
    {                                                                                                              \
        return wrapped[i].device(index, ret_info, err);                                                            \
    }                                                                                                              \
    static tn_status open_##i(const tn_open *request, tn_dev **ret_dev, tn_error *err)                             \
    {                                                                                                              \
        return open_with(&wrapped[i], request, ret_dev, err);                                                      \
    }                                                                                                              \
    static tn_status plan_##i(const tn_devinfo *info, uint32_t world, const tn_compile *compile, tn_memplan *plan, \
                              tn_error *err)                                                                       \
    {                                                                                                              \
        (void)info;                                                                                                \
        return plan_with(&wrapped[i], world, compile, plan, err);                                                  \
    }
TRAMPOLINES(0)
TRAMPOLINES(1)
TRAMPOLINES(2)
TRAMPOLINES(3)
TRAMPOLINES(4)
TRAMPOLINES(5)
TRAMPOLINES(6)
TRAMPOLINES(7)

#define BACKEND(i)                                                                                                     \
    {                                                                                                                  \
        .struct_size = sizeof(tn_backend), .can = INTERP_CAN, .max_in_flight = INTERP_IN_FLIGHT, .device = device_##i, \
        .accepts = interp_accepts, .plan = plan_##i, .check = interp_check, .warmup = interp_warmup,                   \
        .abort = interp_abort, .open = open_##i, .close = interp_close, .compile = interp_compile,                     \
        .weight = interp_weight_arrives, .seal = interp_seal, .kv_reserve = interp_kv_reserve,                         \
        .submit = interp_submit, .wait = interp_wait, .kv_copy = interp_kv_copy, .model_free = interp_model_free       \
    }
static const tn_backend backends[TN_INTERP_TABLES_MAX] = {BACKEND(0), BACKEND(1), BACKEND(2), BACKEND(3),
                                                          BACKEND(4), BACKEND(5), BACKEND(6), BACKEND(7)};

static const char *missing_member(const tn_ops_table *ops)
{
    return !ops->device  ? "device"
           : !ops->open  ? "open"
           : !ops->close ? "close"
           : !ops->alloc ? "alloc"
           : !ops->free  ? "free"
           : !ops->put   ? "put"
           : !ops->get   ? "get"
           : !ops->sync  ? "sync"
                         : NULL;
}

static tn_status wrap(uint32_t i, const tn_ops_table *ops, tn_error *err)
{
    tn_ops_table adopted = {0};

    memcpy(&adopted, ops, ops->struct_size < sizeof adopted ? ops->struct_size : sizeof adopted);
    const char *missing = missing_member(&adopted);
    if (missing)
        return tn_fail(err, TN_E_UNSUPPORTED, "tn.ops: mandatory member `%s` is missing", missing);
    wrapped[i] = adopted;
    wrapped_from[i] = ops;
    return TN_OK;
}

tn_status tn_interp_backend(const tn_ops_table *ops, const tn_backend **ret_backend, tn_error *err)
{
    tn_status status = TN_OK;
    uint32_t i = 0;

    pthread_mutex_lock(&wrapped_lock);
    while (i < TN_INTERP_TABLES_MAX && wrapped_from[i] && wrapped_from[i] != ops)
        i++;
    if (i == TN_INTERP_TABLES_MAX)
        status = tn_fail(err, TN_E_MEMORY, "interpreter: %d tn.ops tables are wrapped already", TN_INTERP_TABLES_MAX);
    else if (!wrapped_from[i])
        status = wrap(i, ops, err);
    pthread_mutex_unlock(&wrapped_lock);
    if (status == TN_OK)
        *ret_backend = &backends[i];
    return status;
}

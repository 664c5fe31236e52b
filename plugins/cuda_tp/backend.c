/* backend.c: the tn.backend table: answers before a device is open, the device group, and steps. plan() and compile()
 * get their sizes from the same functions (plan.c, program.c, memory.c).
 */
#include "backend.h"

#include "accepts.h"
#include "host_log.h"
#include "links.h"
#include "load.h"
#include "meeting.h"
#include "plan.h"
#include "planes.h"

#include <stdlib.h>
#include <string.h>

/* ---- [probe] ---- */

static tn_status cuda_tp_device(uint32_t index, tn_devinfo *ret_info, tn_error *err)
{
    tn_devinfo info = {.struct_size = sizeof info};
    uint32_t count;

    tn_status status = device_api_get()->count(&count, err);
    if (status == TN_OK && index < count)
        status = device_api_get()->describe(index, &info, err);
    if (status == TN_OK && index >= count)
        status = tn_fail(err, TN_E_NOT_FOUND, "there are %u CUDA devices", count);
    if (status != TN_OK)
        return status;
    uint32_t size = ret_info->struct_size < sizeof info ? ret_info->struct_size : (uint32_t)sizeof info;
    info.struct_size = ret_info->struct_size;
    memcpy(ret_info, &info, size);
    return TN_OK;
}

/* ---- [ctl] ---- */

static void cuda_tp_close(tn_dev *dev)
{
    if (!dev)
        return;
    if (dev->ranks)
        dev->ranks->api->destroy(dev->ranks);
    pthread_mutex_destroy(&dev->lock);
    free(dev);
}

static void log_links(const tn_dev *dev)
{
    char line[448];
    uint32_t level;

    if (links_describe(dev->api, dev->count, dev->ordinal, line, sizeof line, &level))
        host_log(level, "%s", line);
}

static tn_status check_open(const tn_open *open, tn_error *err)
{
    if (open->world == 0 || open->world > RANKS_MAX)
        return tn_fail(err, TN_E_ARGUMENT, "a group of %u ranks; 1 to %d", open->world, RANKS_MAX);
    if (open->device_count == 0 || open->rank >= open->world || open->device_count > open->world - open->rank)
        return tn_fail(err, TN_E_ARGUMENT, "%u devices from rank %u on, in a group of %u ranks", open->device_count,
                       open->rank, open->world);
    if (open->device_count != open->world && !open->group_id)
        return tn_fail(err, TN_E_ARGUMENT, "%u devices for %u ranks, and no group of processes has the others",
                       open->device_count, open->world);
    return TN_OK;
}

/* Ranks of several processes meet under an id that the first of them makes. */
static tn_status join_ranks(tn_dev *dev, const char *group_id, tn_error *err)
{
    uint8_t id[COLLECTIVE_ID_BYTES];
    const bool alone = dev->count == dev->world;
    const collective_place place = {.world = dev->world,
                                    .first = dev->first,
                                    .count = dev->count,
                                    .ordinal = dev->ordinal,
                                    .id = alone ? NULL : id};

    tn_status status = alone ? TN_OK : meeting_share_id(dev->api, group_id, dev->first, id, err);
    return status == TN_OK ? dev->api->collective_create(&place, &dev->ranks, err) : status;
}

static tn_status cuda_tp_open(const tn_open *open, tn_dev **ret_dev, tn_error *err)
{
    uint32_t present;
    tn_status status = check_open(open, err);
    if (status == TN_OK)
        status = device_api_get()->count(&present, err);
    if (status != TN_OK)
        return status;
    tn_dev *dev = calloc(1, sizeof *dev);
    if (!dev)
        return tn_fail(err, TN_E_MEMORY, "the device group");
    *dev = (tn_dev){.api = device_api_get(),
                    .world = open->world,
                    .first = open->rank,
                    .count = open->device_count,
                    .lock = PTHREAD_MUTEX_INITIALIZER};
    for (uint32_t i = 0; i < dev->count && status == TN_OK; i++) {
        dev->ordinal[i] = open->ordinal[i];
        if (dev->ordinal[i] >= present)
            status = tn_fail(err, TN_E_NOT_FOUND, "there is no CUDA device %u; %u are here", dev->ordinal[i], present);
    }
    if (status == TN_OK && dev->world > 1)
        status = join_ranks(dev, open->group_id, err);
    if (status != TN_OK) {
        cuda_tp_close(dev);
        return status;
    }
    log_links(dev);
    *ret_dev = dev;
    return TN_OK;
}

static tn_status cuda_tp_weight(tn_model *m, uint32_t weight_id, const tn_planes *planes, tn_error *err)
{
    if (weight_id >= m->p->view.api->weight_count)
        return tn_fail(err, TN_E_ARGUMENT, "weight %u of %u", weight_id, m->p->view.api->weight_count);
    if (m->sealed)
        return tn_fail(err, TN_E_ARGUMENT, "%s arrives after seal", m->p->weights[weight_id].name);
    return weights_store(m, weight_id, planes, err);
}

static tn_status check_ready(const tn_model *m, const char *what, tn_error *err)
{
    if (!m->sealed)
        return tn_fail(err, TN_E_ARGUMENT, "%s before seal", what);
    for (uint32_t g = 0; g < m->p->view.api->kv_group_count; g++)
        if (!m->kv[g].pages)
            return tn_fail(err, TN_E_ARGUMENT, "%s before kv_reserve of group %u", what, g);
    return TN_OK;
}

static tn_status cuda_tp_warmup(tn_model *m, uint32_t tokens, tn_error *err)
{
    tn_status status = check_ready(m, "warmup", err);
    return status == TN_OK ? warmup_run(m, tokens, err) : status;
}

/* ---- [step] ---- */

static tn_status cuda_tp_submit(tn_model *m, const tn_batch *batch, uint64_t *ret_ticket, tn_error *err)
{
    ticket *t = &m->tickets[m->next_ticket % IN_FLIGHT];

    if (t->pending)
        return tn_fail(err, TN_E_AGAIN, "%d steps are in flight", IN_FLIGHT);
    tn_status status = check_ready(m, "submit", err);
    if (status == TN_OK)
        status = ranks_check(m, err);
    if (status == TN_OK)
        status = batch_check(m, batch, err);
    if (status != TN_OK)
        return status;
    batch_pack(m, batch, t);
    t->id = m->next_ticket++;
    t->pending = true;
    ranks_post(m);
    *ret_ticket = t->id;
    return TN_OK;
}

static void copy_result(const tn_model *m, const ticket *t, uint32_t row, tn_result *r)
{
    const uint32_t want = t->want[row];
    const uint64_t top = t->top_count, width = m->p->width, vocab = m->p->vocab;

    if (r->id)
        r->id[row] = t->out.id[row];
    if (r->logprob && (want & TN_WANT_LOGPROB))
        r->logprob[row] = t->out.logprob[row];
    if (r->target_logprob && (want & TN_WANT_TARGET))
        r->target_logprob[row] = t->out.target_logprob[row];
    if (r->top_id && (want & TN_WANT_TOP))
        memcpy(r->top_id + row * top, t->out.top_id + row * top, top * sizeof *r->top_id);
    if (r->top_logprob && (want & TN_WANT_TOP))
        memcpy(r->top_logprob + row * top, t->out.top_logprob + row * top, top * sizeof *r->top_logprob);
    if (r->hidden && (want & TN_WANT_HIDDEN))
        memcpy(r->hidden + row * width, t->hidden + row * width, width * sizeof *r->hidden);
    if (r->logits && (want & TN_WANT_LOGITS))
        memcpy(r->logits + row * vocab, t->logits + row * vocab, vocab * sizeof *r->logits);
}

static tn_status cuda_tp_wait(tn_model *m, uint64_t id, tn_result *result, tn_error *err)
{
    ticket *t = &m->tickets[id % IN_FLIGHT];

    if (id != m->next_wait || !t->pending || t->id != id)
        return tn_fail(err, TN_E_ARGUMENT, "ticket %llu is not the next in flight", (unsigned long long)id);
    if (result->out_count < t->out_count)
        return tn_fail(err, TN_E_ARGUMENT, "room for %u results, the step has %u", result->out_count, t->out_count);
    tn_status status = ranks_wait(m, t, err);
    for (uint32_t row = 0; status == TN_OK && row < t->out_count; row++)
        copy_result(m, t, row, result);
    t->pending = false;
    m->next_wait++;
    return status;
}

static void cuda_tp_abort(tn_dev *dev)
{
    pthread_mutex_lock(&dev->lock);
    tn_model *m = dev->model;
    if (m)
        ranks_fail(m, TN_E_CANCELLED, "the device group was aborted");
    else if (dev->ranks)
        dev->ranks->api->abort(dev->ranks);
    pthread_mutex_unlock(&dev->lock);
}

const tn_backend *cuda_tp_backend(void)
{
    static const tn_backend table = {
        .struct_size = sizeof table,
        .can = CUDA_TP_CAN,
        .max_in_flight = IN_FLIGHT,
        .device = cuda_tp_device,
        .accepts = accepts_weight,
        .plan = plan_backend,
        .check = plan_check,
        .open = cuda_tp_open,
        .close = cuda_tp_close,
        .compile = load_compile,
        .weight = cuda_tp_weight,
        .seal = load_seal,
        .kv_reserve = load_kv_reserve,
        .warmup = cuda_tp_warmup,
        .submit = cuda_tp_submit,
        .wait = cuda_tp_wait,
        .abort = cuda_tp_abort,
        .model_free = load_free,
    };
    return &table;
}

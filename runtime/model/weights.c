/* weights.c: picks an encoding for each weight, then streams all of them into a backend on a few threads.
 *
 * Loader threads take whole weights, largest first, from one atomic counter; each weight goes block by block through
 * its thread's staging buffer. A block is about 256 KiB, so that what quant writes the backend still finds in the
 * second-level cache, and at least 16 rows, so that a backend can repack row tiles without carrying rows over. File
 * pages are dropped behind the reader in spans of 4 MiB. Cost: one read and one write of every byte.
 */
#include "model/weight_parts.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/half.h"

enum { BLOCK_BYTES = 256 << 10, BLOCK_ROWS_MIN = 16, RELEASE_BYTES = 4 << 20, THREADS_MAX = 64 };

/* ---- choosing ---- */

/* A weight with several uses (tied embeddings) must be acceptable to each. */
static tn_status accepted(const tn_graph *graph, uint32_t id, const tn_backend *backend, const tn_devinfo *device,
                          const tn_enc *enc, tn_error *err)
{
    const tn_graph_api *api = model_graph_api(graph);
    tn_value value = {.struct_size = sizeof value};
    uint32_t cost;

    for (uint32_t i = model_graph_weight_value(graph, id); i < api->value_count; i++) {
        api->value(graph, i, &value);
        if (value.kind != TN_VALUE_WEIGHT || value.weight_id != id)
            continue;
        tn_status status = backend->accepts(device, graph, api, i, enc, &cost, err);
        if (status != TN_OK)
            return status;
    }
    return TN_OK;
}

/* True for an unquantized matrix in another type than the one asked for; bf16 is always among what quant produces. */
static bool is_unwanted_float(const weight_source *source, const tn_graph *graph, uint32_t id, const tn_enc *enc)
{
    uint64_t n, k;
    model_graph_weight_shape(graph, id, &n, &k);
    return source->float_type && enc->family == TN_ENC_FLOAT && n > 1 && enc->qtype != source->float_type;
}

static tn_status choose_one(const weight_source *source, const tn_graph *graph, uint32_t id, const tn_backend *backend,
                            const tn_devinfo *device, tn_enc *ret_enc, tn_error *err)
{
    const char *name = model_graph_weight_name(graph, id);
    tn_error refusal = TN_ERROR_INIT;

    for (uint32_t index = 0;; index++) {
        tn_enc enc = {.struct_size = sizeof enc};
        tn_status status = weight_parts_produces(source, graph, id, index, &enc, err);
        if (status == TN_E_NOT_FOUND)
            return tn_fail(err, TN_E_UNSUPPORTED, "tensor %s: the backend accepts none of its %u encodings (%s)", name,
                           index, refusal.msg);
        if (status != TN_OK)
            return status;
        if (is_unwanted_float(source, graph, id, &enc))
            continue;
        status = accepted(graph, id, backend, device, &enc, &refusal);
        if (status == TN_OK) {
            *ret_enc = enc;
            return TN_OK;
        }
        if (status != TN_E_UNSUPPORTED)
            return tn_fail(err, status, "tensor %s: %s", name, refusal.msg);
    }
}

tn_status weights_choose(const weight_source *source, const tn_graph *graph, const tn_backend *backend,
                         const tn_devinfo *device, tn_enc *enc, tn_error *err)
{
    for (uint32_t id = 0; id < model_graph_api(graph)->weight_count; id++) {
        tn_status status = weight_parts_check(source, graph, id, err);
        if (status == TN_OK)
            status = choose_one(source, graph, id, backend, device, &enc[id], err);
        if (status != TN_OK)
            return status;
    }
    return TN_OK;
}

/* ---- sizes ---- */

/* Bytes of the planes that come in rows. */
static uint64_t encoded_bytes(const tn_enc *enc, uint64_t rows, uint64_t k)
{
    uint64_t bytes = 0;
    for (uint32_t plane = 0; plane < TN_PLANE_COUNT; plane++)
        bytes += tn_plane_bytes(enc, plane, rows, k);
    return bytes;
}

/* Rows are cut on multiples of this, so that neither a backend's tile nor a scale shared by rows is torn. */
static uint64_t row_unit(const tn_enc *enc)
{
    uint64_t unit = enc->group_n > 1 ? enc->group_n : BLOCK_ROWS_MIN;
    while (unit % BLOCK_ROWS_MIN)
        unit += enc->group_n;
    return unit;
}

/* Rows from `row` on that one block may hold. */
static uint64_t rows_left(const tn_enc *enc, uint64_t row, uint64_t n)
{
    return enc->part_n ? enc->part_n - row % enc->part_n : n - row;
}

static uint64_t block_rows(const tn_enc *enc, uint64_t n, uint64_t k)
{
    uint64_t unit = row_unit(enc), unit_bytes = encoded_bytes(enc, unit, k);

    TN_ASSERT(unit_bytes > 0);
    uint64_t rows = BLOCK_BYTES / unit_bytes * unit;
    if (rows < unit)
        rows = unit;
    return rows < rows_left(enc, 0, n) ? rows : rows_left(enc, 0, n);
}

/* Each plane of a block starts on a cache line; what its parts are picked from lies behind. */
static uint64_t block_bytes(const tn_graph *graph, uint32_t id, const tn_enc *enc)
{
    uint64_t n, k;
    model_graph_weight_shape(graph, id, &n, &k);
    uint64_t bytes = weight_parts_scratch_bytes(graph, id, enc, block_rows(enc, n, k));
    for (uint32_t plane = 0; plane < TN_PLANE_LIMIT; plane++)
        bytes += (tn_plane_bytes(enc, plane, block_rows(enc, n, k), k) + 63) / 64 * 64;
    return bytes;
}

static uint64_t staging_bytes(const tn_graph *graph, const tn_enc *enc)
{
    uint64_t most = 64;
    for (uint32_t id = 0; id < model_graph_api(graph)->weight_count; id++) {
        uint64_t bytes = block_bytes(graph, id, &enc[id]);
        most = bytes > most ? bytes : most;
    }
    return most;
}

static uint32_t thread_count(const tn_graph *graph, uint32_t threads)
{
    uint32_t useful = model_graph_api(graph)->weight_count;
    if (threads > THREADS_MAX)
        threads = THREADS_MAX;
    return threads < useful ? threads : useful;
}

uint64_t weights_staging_bytes(const tn_graph *graph, const tn_enc *enc, uint32_t threads)
{
    return staging_bytes(graph, enc) * thread_count(graph, threads);
}

/* ---- loading ---- */

typedef struct weight_job {
    uint32_t id;
    uint64_t bytes;
} weight_job;

typedef struct loader {
    const weight_source *source;
    const checkpoint *checkpoint;
    const tn_graph *graph;
    const tn_enc *enc;
    const tn_backend *backend;
    tn_model *model;
    const weights_progress *progress;
    weight_job *jobs; /* [job_count], largest first */
    uint32_t job_count;
    uint64_t bytes_total, staging;
    atomic_uint next;
    atomic_bool stop; /* set with status */
    pthread_mutex_t lock;
    /* under lock: */
    uint64_t bytes_done;
    tn_status status; /* of the first failure */
    tn_error *err;
} loader;

typedef struct loader_thread {
    loader *loader;
    pthread_t thread;
    unsigned char *staging; /* loader.staging bytes, owned */
} loader_thread;

static bool finite_plane(const void *plane, uint64_t bytes, uint32_t type)
{
    uint32_t bad = 0;

    if (type == TN_E8M0)
        return !memchr(plane, 0xff, bytes);
    if (type == TN_F16 || type == TN_BF16) {
        const uint16_t *bits = plane;
        uint16_t exponent = type == TN_F16 ? 0x7c00 : 0x7f80;
        for (uint64_t i = 0; i < bytes / 2; i++)
            bad |= (bits[i] & exponent) == exponent;
    } else if (type == TN_F32) {
        const float *values = plane;
        for (uint64_t i = 0; i < bytes / 4; i++)
            bad |= (bits_from_float(values[i]) & 0x7f800000u) == 0x7f800000u;
    }
    return bad == 0;
}

/* One NaN or infinite scale would poison every answer; the file is refused instead. Scales are a small share of the
 * bytes. */
static tn_status check_scales(const char *name, const tn_enc *enc, const tn_planes *planes, tn_error *err)
{
    uint32_t min_type = enc->zero_type == TN_ZERO_FLOAT ? enc->scale_type : 0;
    const uint32_t type[TN_PLANE_COUNT] = {0, enc->scale_type, min_type, enc->scale2_type};

    for (uint32_t p = 0; p < TN_PLANE_COUNT; p++) {
        if (!finite_plane(planes->plane[p], planes->plane_bytes[p], type[p]))
            return tn_fail(err, TN_E_CORRUPT, "tensor %s: a scale in rows %llu to %llu is not a finite number", name,
                           (unsigned long long)planes->row0, (unsigned long long)(planes->row0 + planes->n_rows - 1));
    }
    return TN_OK;
}

static tn_status load_block(const loader *l, uint32_t id, uint64_t row0, uint64_t rows, uint64_t k,
                            unsigned char *staging, tn_error *err)
{
    const tn_enc *enc = &l->enc[id];
    const char *name = model_graph_weight_name(l->graph, id);
    void *plane[TN_PLANE_LIMIT];
    const void *read_plane[TN_PLANE_LIMIT];
    uint64_t bytes[TN_PLANE_LIMIT];

    for (uint32_t p = 0; p < TN_PLANE_LIMIT; p++) {
        bytes[p] = tn_plane_bytes(enc, p, rows, k);
        read_plane[p] = plane[p] = bytes[p] ? staging : NULL;
        staging += (bytes[p] + 63) / 64 * 64;
    }
    tn_planes planes = {.struct_size = sizeof planes,
                        .plane_count = TN_PLANE_LIMIT,
                        .row0 = row0,
                        .n_rows = rows,
                        .n_k = k,
                        .plane = read_plane,
                        .plane_bytes = bytes};
    tn_status status = weight_parts_read(l->source, l->graph, id, enc, row0, rows, plane, staging, err);
    if (status == TN_OK)
        status = check_scales(name, enc, &planes, err);
    if (status == TN_OK)
        status = l->backend->weight(l->model, id, &planes, err);
    return status;
}

/* Drops the pages of rows [from, to) of a tensor of n rows. */
static void release_rows(const loader *l, const tn_tensor_src *tensor, uint64_t from, uint64_t to, uint64_t n)
{
    if (!tensor->data || from == to)
        return;
    uint64_t row_bytes = tensor->bytes / n;
    uint64_t end = to == n ? tensor->bytes : to * row_bytes;
    checkpoint_release(l->checkpoint, (const unsigned char *)tensor->data + from * row_bytes, end - from * row_bytes);
}

/* The tensor whose rows are the weight's, for dropping pages on the way. Weights that a quantization plugin assembles
 * have no tensor of their own name, and those of several parts drop theirs at the end: data stays NULL. */
static tn_tensor_src find_tensor(const loader *l, uint32_t id, uint64_t n)
{
    tn_tensor_src tensor = {.struct_size = sizeof tensor};
    weight_part part;

    model_graph_part(l->graph, id, 0, &part);
    if (!l->checkpoint || part.rows != n || part.tensor_rows != n || part.transposed ||
        checkpoint_source(l->checkpoint)->tensor(checkpoint_source(l->checkpoint), part.tensor, &tensor) != TN_OK)
        return (tn_tensor_src){0};
    return tensor;
}

/* Drops what a weight of several parts was read from. A tensor that another weight still reads comes back from disk. */
static void release_parts(const loader *l, uint32_t id)
{
    uint32_t count = model_graph_part_count(l->graph, id);

    for (uint32_t i = 0; l->checkpoint && count > 1 && i < count; i++) {
        tn_tensor_src tensor = {.struct_size = sizeof tensor};
        weight_part part;
        model_graph_part(l->graph, id, i, &part);
        if (checkpoint_source(l->checkpoint)->tensor(checkpoint_source(l->checkpoint), part.tensor, &tensor) == TN_OK &&
            part.rows == part.tensor_rows)
            release_rows(l, &tensor, 0, part.rows, part.rows);
    }
}

static void report(loader *l, uint64_t bytes)
{
    pthread_mutex_lock(&l->lock);
    l->bytes_done += bytes;
    if (l->progress && l->progress->report)
        l->progress->report(l->progress->ctx, l->bytes_done, l->bytes_total);
    pthread_mutex_unlock(&l->lock);
}

static tn_status load_weight(loader *l, uint32_t id, unsigned char *staging, tn_error *err)
{
    uint64_t n, k, released = 0;
    tn_status status = TN_OK;

    model_graph_weight_shape(l->graph, id, &n, &k);
    tn_tensor_src tensor = find_tensor(l, id, n);
    uint64_t step = block_rows(&l->enc[id], n, k), rows = 0;
    for (uint64_t row = 0; row < n && status == TN_OK && !atomic_load(&l->stop); row += rows) {
        uint64_t left = rows_left(&l->enc[id], row, n);
        rows = step < left ? step : left;
        status = load_block(l, id, row, rows, k, staging, err);
        if (status != TN_OK)
            break;
        report(l, encoded_bytes(&l->enc[id], rows, k));
        if (row + rows == n || (row + rows - released) * (tensor.bytes / n) >= RELEASE_BYTES) {
            release_rows(l, &tensor, released, row + rows, n);
            released = row + rows;
        }
    }
    release_parts(l, id);
    return status;
}

static void *load_jobs(void *arg)
{
    const loader_thread *t = arg;
    loader *l = t->loader;

    while (!atomic_load(&l->stop)) {
        uint32_t job = atomic_fetch_add(&l->next, 1);
        if (job >= l->job_count)
            break;
        tn_error err = TN_ERROR_INIT;
        tn_status status = load_weight(l, l->jobs[job].id, t->staging, &err);
        if (status == TN_OK)
            continue;
        pthread_mutex_lock(&l->lock);
        if (l->status == TN_OK) {
            l->status = status;
            tn_fail(l->err, status, "%s", err.msg);
        }
        pthread_mutex_unlock(&l->lock);
        atomic_store(&l->stop, true);
    }
    return NULL;
}

static int larger_first(const void *left, const void *right)
{
    const weight_job *a = left, *b = right;
    if (a->bytes != b->bytes)
        return a->bytes < b->bytes ? 1 : -1;
    return a->id < b->id ? -1 : 1;
}

static tn_status list_jobs(loader *l, tn_error *err)
{
    l->job_count = model_graph_api(l->graph)->weight_count;
    l->jobs = calloc(l->job_count, sizeof *l->jobs);
    if (!l->jobs)
        return tn_fail(err, TN_E_MEMORY, "no memory to list %u weights", l->job_count);
    for (uint32_t id = 0; id < l->job_count; id++) {
        uint64_t n, k;
        model_graph_weight_shape(l->graph, id, &n, &k);
        l->jobs[id] = (weight_job){id, encoded_bytes(&l->enc[id], n, k)};
        l->bytes_total += l->jobs[id].bytes;
    }
    qsort(l->jobs, l->job_count, sizeof *l->jobs, larger_first);
    return TN_OK;
}

/* The calling thread is the first loader; a thread that cannot start leaves its share to the others. */
static tn_status run_threads(loader *l, uint32_t count, tn_error *err)
{
    loader_thread threads[THREADS_MAX] = {{0}};
    uint32_t started = 1;

    for (uint32_t i = 0; i < count; i++) {
        threads[i].loader = l;
        threads[i].staging = aligned_alloc(64, l->staging);
        if (!threads[i].staging) {
            while (i-- > 0)
                free(threads[i].staging);
            return tn_fail(err, TN_E_MEMORY, "no memory for %u loader threads of %llu staging bytes", count,
                           (unsigned long long)l->staging);
        }
    }
    while (started < count && pthread_create(&threads[started].thread, NULL, load_jobs, &threads[started]) == 0)
        started++;
    load_jobs(&threads[0]);
    for (uint32_t i = 1; i < started; i++)
        pthread_join(threads[i].thread, NULL);
    for (uint32_t i = 0; i < count; i++)
        free(threads[i].staging);
    return l->status;
}

tn_status weights_load(const weight_source *source, const checkpoint *checkpoint, const tn_graph *graph,
                       const tn_enc *enc, const tn_backend *backend, tn_model *model, uint32_t threads,
                       const weights_progress *progress, tn_error *err)
{
    loader l = {.source = source,
                .checkpoint = checkpoint,
                .graph = graph,
                .enc = enc,
                .backend = backend,
                .model = model,
                .progress = progress,
                .staging = staging_bytes(graph, enc),
                .lock = PTHREAD_MUTEX_INITIALIZER,
                .err = err};

    TN_ASSERT(threads > 0);
    tn_status status = list_jobs(&l, err);
    if (status == TN_OK)
        status = run_threads(&l, thread_count(graph, threads), err);
    free(l.jobs);
    pthread_mutex_destroy(&l.lock);
    return status;
}

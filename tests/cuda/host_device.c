/* host_device.c: see host_device.h. Everything is done at once, in the thread that asks; a graph, whenever it is
 * launched, from what it was given when it was captured.
 */
#include "host_device.h"

#include "nccl_collective.h"
#include "ring_sum.h"
#include "shared_collective.h"

#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* under lock: */
    uint64_t bytes[HOST_DEVICES];
    uint32_t allocations[HOST_DEVICES];
    uint32_t copies_left[HOST_DEVICES]; /* until one fails; 0: never, 1: from now on */
    int held[HOST_DEVICES], stalled[HOST_DEVICES], failing[HOST_DEVICES], full[HOST_DEVICES];
    int no_graphs[HOST_DEVICES], meet_on_host;
    uint32_t graphs[HOST_DEVICES], launches[HOST_DEVICES], copies[HOST_DEVICES], taken[HOST_DEVICES];
    int over_libraries, connected; /* set while there are no threads */
} host = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

/* In front of what alloc gives. */
typedef struct header {
    uint64_t bytes;
    uint32_t ordinal;
    uint32_t padding[61];
} header;
_Static_assert(sizeof(header) == 256, "what follows is aligned as the device's memory");

static _Thread_local uint32_t current;

uint64_t host_device_bytes(uint32_t ordinal, uint32_t *ret_allocations)
{
    pthread_mutex_lock(&host.lock);
    uint64_t bytes = host.bytes[ordinal];
    *ret_allocations = host.allocations[ordinal];
    pthread_mutex_unlock(&host.lock);
    return bytes;
}

void host_device_fill(uint32_t ordinal, int full)
{
    pthread_mutex_lock(&host.lock);
    host.full[ordinal] = full;
    pthread_mutex_unlock(&host.lock);
}

void host_device_fail_copy(uint32_t ordinal, uint32_t after)
{
    pthread_mutex_lock(&host.lock);
    host.copies_left[ordinal] = after;
    pthread_mutex_unlock(&host.lock);
}

void host_device_refuse_graphs(uint32_t ordinal, int refuse)
{
    pthread_mutex_lock(&host.lock);
    host.no_graphs[ordinal] = refuse;
    pthread_mutex_unlock(&host.lock);
}

void host_device_meet_on_host(int on)
{
    pthread_mutex_lock(&host.lock);
    host.meet_on_host = on;
    pthread_mutex_unlock(&host.lock);
}

host_device_counts host_device_counted(uint32_t ordinal)
{
    pthread_mutex_lock(&host.lock);
    host_device_counts counts = {.graphs = host.graphs[ordinal],
                                 .graph_launches = host.launches[ordinal],
                                 .copies = host.copies[ordinal],
                                 .allocations = host.taken[ordinal]};
    pthread_mutex_unlock(&host.lock);
    return counts;
}

/* One more of what is counted on the device in use. */
static void count_one(uint32_t counter[HOST_DEVICES])
{
    pthread_mutex_lock(&host.lock);
    counter[current]++;
    pthread_mutex_unlock(&host.lock);
}

void host_device_hold(uint32_t ordinal, int hold)
{
    pthread_mutex_lock(&host.lock);
    host.held[ordinal] = hold;
    pthread_cond_broadcast(&host.changed);
    pthread_mutex_unlock(&host.lock);
}

void host_device_stall(uint32_t ordinal, int stall)
{
    pthread_mutex_lock(&host.lock);
    host.stalled[ordinal] = stall;
    pthread_cond_broadcast(&host.changed);
    pthread_mutex_unlock(&host.lock);
}

void host_device_fail_work(uint32_t ordinal, int fail)
{
    pthread_mutex_lock(&host.lock);
    host.failing[ordinal] = fail;
    pthread_cond_broadcast(&host.changed);
    pthread_mutex_unlock(&host.lock);
}

void host_device_use_libraries(void)
{
    host.over_libraries = 1;
}

void host_device_connect(int connected)
{
    host.connected = connected;
}

static tn_status host_count(uint32_t *ret_count, tn_error *err)
{
    (void)err;
    *ret_count = HOST_DEVICES;
    return TN_OK;
}

static tn_status host_describe(uint32_t ordinal, tn_devinfo *info, tn_error *err)
{
    (void)err;
    info->ordinal = ordinal;
    info->score = 1;
    info->mem_total = info->mem_free = 4ull << 30;
    snprintf(info->name, sizeof info->name, "host memory %u", ordinal);
    snprintf(info->mem_domain, sizeof info->mem_domain, "test%u", ordinal);
    return TN_OK;
}

static tn_status host_use(uint32_t ordinal, tn_error *err)
{
    (void)err;
    current = ordinal;
    return TN_OK;
}

static const char *host_link(uint32_t ordinal, uint32_t peer)
{
    return ordinal == peer ? "" : "NVLink";
}

static tn_status host_peer_enable(uint32_t ordinal, uint32_t peer, bool *ret_reached, tn_error *err)
{
    (void)err;
    TN_ASSERT(ordinal == current && ordinal != peer);
    *ret_reached = host.connected;
    return TN_OK;
}

static tn_status host_cublaslt(const cublaslt_library **ret, tn_error *err)
{
    return host.over_libraries ? cublaslt_library_get(ret, err) : tn_fail(err, TN_E_NOT_FOUND, "this is a test");
}

static tn_status host_alloc(uint64_t bytes, void **ret, tn_error *err)
{
    pthread_mutex_lock(&host.lock);
    int full = host.full[current];
    pthread_mutex_unlock(&host.lock);
    header *h = full ? NULL : aligned_alloc(256, sizeof *h + (bytes + 255) / 256 * 256);
    if (!h)
        return tn_fail(err, TN_E_MEMORY, "host memory");
    memset(h, 0xff, sizeof *h + bytes); /* NaN: whoever reads what nobody wrote shows it */
    h->bytes = bytes;
    h->ordinal = current;
    pthread_mutex_lock(&host.lock);
    host.bytes[current] += bytes;
    host.allocations[current]++;
    host.taken[current]++;
    pthread_mutex_unlock(&host.lock);
    *ret = h + 1;
    return TN_OK;
}

static void host_release(void *memory)
{
    if (!memory)
        return;
    header *h = (header *)memory - 1;
    TN_ASSERT(h->ordinal == current);
    pthread_mutex_lock(&host.lock);
    host.bytes[h->ordinal] -= h->bytes;
    host.allocations[h->ordinal]--;
    pthread_mutex_unlock(&host.lock);
    free(h);
}

static tn_status host_alloc_host(uint64_t bytes, void **ret, tn_error *err)
{
    count_one(host.taken);
    *ret = aligned_alloc(256, (bytes + 255) / 256 * 256);
    return *ret ? TN_OK : tn_fail(err, TN_E_MEMORY, "host memory");
}

static void host_release_host(void *memory)
{
    free(memory);
}

/* Streams and events know where they are. */
static uint32_t *create_place(void)
{
    uint32_t *place = malloc(sizeof *place);
    if (place)
        *place = current;
    return place;
}

static tn_status host_stream_create(cuda_stream *ret, tn_error *err)
{
    *ret = (cuda_stream)create_place();
    return *ret ? TN_OK : tn_fail(err, TN_E_MEMORY, "a stream");
}

static void host_stream_destroy(cuda_stream stream)
{
    free(stream);
}

static tn_status host_stream_wait(cuda_stream stream, tn_error *err)
{
    const uint32_t ordinal = *(uint32_t *)stream;

    pthread_mutex_lock(&host.lock);
    while (host.stalled[ordinal] && !host.failing[ordinal])
        pthread_cond_wait(&host.changed, &host.lock);
    int failing = host.failing[ordinal];
    pthread_mutex_unlock(&host.lock);
    return failing ? tn_fail(err, TN_E_DEVICE_LOST, "device %u has failed", ordinal) : TN_OK;
}

/* TN_E_DEVICE_LOST where a failure was asked for. */
static tn_status enter(tn_error *err)
{
    pthread_mutex_lock(&host.lock);
    while (host.held[current])
        pthread_cond_wait(&host.changed, &host.lock);
    uint32_t left = host.copies_left[current];
    if (left > 1)
        host.copies_left[current]--;
    pthread_mutex_unlock(&host.lock);
    return left == 1 ? tn_fail(err, TN_E_DEVICE_LOST, "device %u is gone", current) : TN_OK;
}

static tn_status host_copy(void *to, const void *from, uint64_t bytes, cuda_stream stream, tn_error *err)
{
    (void)stream;
    tn_status status = enter(err);
    count_one(host.copies);
    if (status == TN_OK)
        memcpy(to, from, bytes);
    return status;
}

static tn_status host_clear(void *memory, uint64_t bytes, cuda_stream stream, tn_error *err)
{
    (void)stream, (void)err;
    memset(memory, 0, bytes);
    return TN_OK;
}

static tn_status host_event_create(device_event **ret, tn_error *err)
{
    *ret = (device_event *)create_place();
    return *ret ? TN_OK : tn_fail(err, TN_E_MEMORY, "an event");
}

static void host_event_destroy(device_event *event)
{
    free(event);
}

static tn_status host_event_record(device_event *event, cuda_stream stream, tn_error *err)
{
    (void)event, (void)stream, (void)err;
    return TN_OK;
}

static tn_status host_event_query(device_event *event, bool *ret_done, tn_error *err)
{
    const uint32_t ordinal = *(uint32_t *)event;

    TN_ASSERT(ordinal == current);
    pthread_mutex_lock(&host.lock);
    *ret_done = !host.stalled[ordinal] && !host.failing[ordinal];
    int failing = host.failing[ordinal];
    pthread_mutex_unlock(&host.lock);
    return failing ? tn_fail(err, TN_E_DEVICE_LOST, "device %u has failed", ordinal) : TN_OK;
}

/* ---- graphs ---- */

struct device_graph {
    device_record record;
    uint32_t ordinal;
    uint64_t bytes;
    max_align_t context[]; /* as it was */
};

static tn_status host_graph_capture(cuda_stream stream, device_record record, const void *context, uint64_t bytes,
                                    device_graph **ret, tn_error *err)
{
    (void)stream;
    pthread_mutex_lock(&host.lock);
    int refused = host.no_graphs[current];
    pthread_mutex_unlock(&host.lock);
    if (refused)
        return tn_fail(err, TN_E_MEMORY, "device %u has no room for a graph", current);
    device_graph *graph = malloc(sizeof *graph + bytes);
    if (!graph)
        return tn_fail(err, TN_E_MEMORY, "a graph");
    *graph = (device_graph){.record = record, .ordinal = current, .bytes = bytes};
    memcpy(graph->context, context, bytes);
    count_one(host.graphs);
    *ret = graph;
    return TN_OK;
}

static tn_status host_graph_launch(device_graph *graph, cuda_stream stream, tn_error *err)
{
    (void)stream;
    TN_ASSERT(graph->ordinal == current);
    count_one(host.launches);
    return graph->record(graph->context, err);
}

static void host_graph_destroy(device_graph *graph)
{
    if (!graph)
        return;
    TN_ASSERT(graph->ordinal == current);
    pthread_mutex_lock(&host.lock);
    host.graphs[current]--;
    pthread_mutex_unlock(&host.lock);
    free(graph);
}

static tn_status host_launch_failure(tn_status status, const char *what, tn_error *err)
{
    return tn_fail(err, status, "%s was refused: %s", what, tn_status_text(status));
}

/* ---- what ranks do together: on the host, but to who waits for a device as if it were done there ---- */

typedef struct host_collective {
    collective base;
    collective *inner; /* over NCCL, or local */
    uint32_t world;
} host_collective;

static collective *inner_of(collective *c)
{
    return ((host_collective *)c)->inner;
}

static tn_status host_all_reduce(collective *c, uint32_t rank, const void *in, void *out, uint64_t count, uint32_t type,
                                 cuda_stream stream, tn_error *err)
{
    const uint32_t world = ((host_collective *)c)->world;
    const uint64_t bytes = count * tn_scalar_bytes(type);
    const void *part[HOST_DEVICES];
    uint8_t *parts = malloc(world * bytes);

    if (!parts)
        return tn_fail(err, TN_E_MEMORY, "a sum over ranks");
    tn_status status = inner_of(c)->api->all_gather(inner_of(c), rank, in, parts, bytes, stream, err);
    for (uint32_t r = 0; r < world; r++)
        part[r] = parts + r * bytes;
    if (status == TN_OK)
        ring_sum(part, world, out, count, type);
    free(parts);
    return status;
}

static tn_status host_all_gather(collective *c, uint32_t rank, const void *in, void *out, uint64_t bytes,
                                 cuda_stream stream, tn_error *err)
{
    return inner_of(c)->api->all_gather(inner_of(c), rank, in, out, bytes, stream, err);
}

static void host_abort(collective *c)
{
    inner_of(c)->api->abort(inner_of(c));
    for (uint32_t i = 0; i < HOST_DEVICES; i++)
        host_device_stall(i, 0);
}

static void host_destroy(collective *c)
{
    inner_of(c)->api->destroy(inner_of(c));
    free(c);
}

/* All that may fail says so at once. */
static tn_status host_check(collective *c, uint32_t rank, tn_error *err)
{
    (void)c, (void)rank, (void)err;
    return TN_OK;
}

static tn_status nccl_check(collective *c, uint32_t rank, tn_error *err)
{
    return inner_of(c)->api->check(inner_of(c), rank, err);
}

static tn_status nccl_all_reduce(collective *c, uint32_t rank, const void *in, void *out, uint64_t count, uint32_t type,
                                 cuda_stream stream, tn_error *err)
{
    return inner_of(c)->api->all_reduce(inner_of(c), rank, in, out, count, type, stream, err);
}

static tn_status done_already(cuda_stream stream, tn_error *err)
{
    (void)stream, (void)err;
    return TN_OK;
}

static tn_status host_collective_id(uint8_t ret_id[COLLECTIVE_ID_BYTES], tn_error *err)
{
    if (host.over_libraries)
        return nccl_collective_id(ret_id, err);
    memset(ret_id, 0, COLLECTIVE_ID_BYTES);
    return getrandom(ret_id, 16, 0) == 16 ? TN_OK : tn_fail(err, TN_E_INTERNAL, "no random bytes");
}

static tn_status create_inner(const collective_place *place, collective **ret, tn_error *err)
{
    static const device_api device = {.stream_wait = done_already, .copy = host_copy};

    if (host.over_libraries)
        return nccl_collective_create(place, ret, err);
    return place->id ? shared_collective_create(place, ret, err)
                     : local_collective_create(&device, place->world, ret, err);
}

static tn_status host_collective_create(const collective_place *place, collective **ret, tn_error *err)
{
    static const collective_api over_local = {.captured = true,
                                              .all_reduce = host_all_reduce,
                                              .all_gather = host_all_gather,
                                              .check = host_check,
                                              .abort = host_abort,
                                              .destroy = host_destroy};
    static const collective_api on_host = {.all_reduce = host_all_reduce,
                                           .all_gather = host_all_gather,
                                           .check = host_check,
                                           .abort = host_abort,
                                           .destroy = host_destroy};
    static const collective_api over_nccl = {.captured = true,
                                             .all_reduce = nccl_all_reduce,
                                             .all_gather = host_all_gather,
                                             .check = nccl_check,
                                             .abort = host_abort,
                                             .destroy = host_destroy};
    host_collective *c = malloc(sizeof *c);

    if (!c)
        return tn_fail(err, TN_E_MEMORY, "a group of %u ranks", place->world);
    pthread_mutex_lock(&host.lock);
    c->base.api = host.over_libraries ? &over_nccl : host.meet_on_host ? &on_host : &over_local;
    pthread_mutex_unlock(&host.lock);
    c->world = place->world;
    tn_status status = create_inner(place, &c->inner, err);
    if (status != TN_OK) {
        free(c);
        return status;
    }
    *ret = &c->base;
    return TN_OK;
}

const device_api *device_api_get(void)
{
    static const device_api api = {
        .count = host_count,
        .describe = host_describe,
        .use = host_use,
        .link = host_link,
        .peer_enable = host_peer_enable,
        .cublaslt = host_cublaslt,
        .alloc = host_alloc,
        .release = host_release,
        .alloc_host = host_alloc_host,
        .release_host = host_release_host,
        .stream_create = host_stream_create,
        .stream_destroy = host_stream_destroy,
        .stream_wait = host_stream_wait,
        .copy = host_copy,
        .clear = host_clear,
        .event_create = host_event_create,
        .event_destroy = host_event_destroy,
        .event_record = host_event_record,
        .event_query = host_event_query,
        .collective_id = host_collective_id,
        .graph_capture = host_graph_capture,
        .graph_launch = host_graph_launch,
        .graph_destroy = host_graph_destroy,
        .launch_failure = host_launch_failure,
        .collective_create = host_collective_create,
    };
    return &api;
}

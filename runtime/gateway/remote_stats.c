/* remote_stats.c: tn.stats of a route: what its instances say, added up. A question for the first series asks all of
 * them and waits a moment; the others are answered from what came.
 *
 * The list of series only grows, so that an index means the same to every caller. Counters and histograms of an
 * instance that is gone stay in the sums, as nothing that Prometheus calls a counter may fall.
 */
#include "gateway/state.h"

#include <errno.h>
#include <string.h>

enum { ANSWER_MS = 250, NAME_BYTES = 128, HELP_BYTES = 256 };

struct remote_value {
    bool known;
    double value;
    uint64_t count;
    uint64_t bucket[FRAME_BUCKETS_MAX];
};

struct remote_series {
    uint32_t kind, bucket_count;
    bool has_label;
    char name[NAME_BYTES], help[HELP_BYTES], label[NAME_BYTES], label_value[NAME_BYTES];
    double bound[FRAME_BUCKETS_MAX];
    remote_value gone; /* of instances that have left */
};

/* ---- what instances say ---- */

static bool same(wire_blob blob, const char *text)
{
    return strlen(text) == blob.n && memcmp(text, blob.bytes, blob.n) == 0;
}

static void copy_text(char *to, size_t capacity, wire_blob blob)
{
    size_t n = blob.n < capacity ? blob.n : capacity - 1;
    memcpy(to, blob.bytes, n);
    to[n] = '\0';
}

static double load_double(const uint8_t *at)
{
    uint64_t bits = wire_load64(at);
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static remote_series *find_series(const gateway_route *route, const frame_series *read)
{
    for (uint32_t i = 0; i < route->series_count; i++) {
        remote_series *series = &route->series[i];
        if (series->kind == read->kind && same(read->name, series->name) && same(read->label, series->label) &&
            same(read->label_value, series->label_value))
            return series;
    }
    return NULL;
}

static tn_status add_series(gateway_route *route, const frame_series *read, remote_series **ret_series, tn_error *err)
{
    if (read->name.n >= NAME_BYTES || read->label.n >= NAME_BYTES || read->label_value.n >= NAME_BYTES ||
        route->series_count == FRAME_SERIES_MAX)
        return tn_fail(err, TN_E_CORRUPT, "the instance tells statistics that are too many, or too long a name");
    remote_series *series = realloc(route->series, (route->series_count + 1) * sizeof *series);
    if (!series)
        return tn_fail(err, TN_E_MEMORY, "there is no memory left for its statistics");
    route->series = series;
    series += route->series_count++;
    *series = (remote_series){.kind = read->kind, .bucket_count = read->bucket_count, .has_label = read->has_label};
    copy_text(series->name, sizeof series->name, read->name);
    copy_text(series->help, sizeof series->help, read->help);
    copy_text(series->label, sizeof series->label, read->label);
    copy_text(series->label_value, sizeof series->label_value, read->label_value);
    for (uint32_t i = 0; i < read->bucket_count; i++)
        series->bound[i] = load_double(read->bound + 8 * (size_t)i);
    *ret_series = series;
    return TN_OK;
}

/* Room for a value of every series. */
static tn_status grow_values(gateway_link *link, tn_error *err)
{
    uint32_t count = link->route->series_count;
    if (link->value_count >= count)
        return TN_OK;
    remote_value *values = realloc(link->values, count * sizeof *values);
    if (!values)
        return tn_fail(err, TN_E_MEMORY, "there is no memory left for its statistics");
    memset(values + link->value_count, 0, (count - link->value_count) * sizeof *values);
    link->values = values;
    link->value_count = count;
    return TN_OK;
}

static tn_status take_series(gateway_link *link, const frame_series *read, tn_error *err)
{
    gateway_route *route = link->route;
    remote_series *series = find_series(route, read);
    tn_status status = series ? TN_OK : add_series(route, read, &series, err);
    if (status == TN_OK)
        status = grow_values(link, err);
    if (status != TN_OK)
        return status;
    if (series->bucket_count != read->bucket_count)
        return tn_fail(err, TN_E_CORRUPT, "the instance tells %s in %u buckets, others in %u", series->name,
                       read->bucket_count, series->bucket_count);
    remote_value *value = &link->values[series - route->series];
    value->known = true;
    value->value = read->value;
    value->count = read->count;
    for (uint32_t i = 0; i < read->bucket_count; i++)
        value->bucket[i] = wire_load64(read->bucket + 8 * (size_t)i);
    return TN_OK;
}

tn_status stats_take_frame(gateway_link *link, const uint8_t *frame, size_t n, tn_error *err)
{
    wire_reader reader;
    uint32_t count;
    tn_status status = frame_stats_read(frame, n, &reader, &count, err);
    for (uint32_t i = 0; status == TN_OK && i < count; i++) {
        frame_series read;
        status = frame_series_read(&reader, &read, err);
        if (status == TN_OK)
            status = take_series(link, &read, err);
    }
    link->stats_asked = false;
    pthread_cond_broadcast(&link->route->gateway->heard);
    return status;
}

/* ---- sums ---- */

static void add_value(remote_value *sum, const remote_value *value, uint32_t bucket_count)
{
    sum->value += value->value;
    sum->count += value->count;
    for (uint32_t i = 0; i < bucket_count; i++)
        sum->bucket[i] += value->bucket[i];
}

void stats_keep_counters(gateway_link *link)
{
    for (uint32_t i = 0; i < link->value_count; i++) {
        remote_series *series = &link->route->series[i];
        if (link->values[i].known && series->kind != TN_STAT_GAUGE)
            add_value(&series->gone, &link->values[i], series->bucket_count);
    }
    free(link->values);
    link->values = NULL;
    link->value_count = 0;
}

void stats_free(gateway_route *route)
{
    free(route->series);
}

static bool ends_with(const char *text, const char *ending)
{
    size_t n = strlen(text), m = strlen(ending);
    return n >= m && strcmp(text + n - m, ending) == 0;
}

/* Shares are a mean over the instances, and what only carries labels stays 1; all else is a sum. */
static remote_value sum_of(const gateway_route *route, uint32_t index)
{
    const remote_series *series = &route->series[index];
    remote_value sum = series->gone;
    uint32_t instances = 0;

    for (const gateway_link *link = route->links; link; link = link->next) {
        if (index >= link->value_count || !link->values[index].known)
            continue;
        add_value(&sum, &link->values[index], series->bucket_count);
        instances++;
    }
    if (series->kind == TN_STAT_GAUGE && instances > 1 &&
        (ends_with(series->name, "_perc") || ends_with(series->name, "_info")))
        sum.value /= instances;
    return sum;
}

/* Asks every instance, and waits until all have answered or are gone, but not for long. */
static void refresh(gateway_route *route)
{
    gateway *g = route->gateway;
    struct timespec until = clock_after_ms(ANSWER_MS);
    int code = 0;

    for (gateway_link *link = route->links; link; link = link->next)
        if (link->fd >= 0 && !link->broken && !link->stats_asked)
            link_ask(link, FRAME_ASK_STATS);
    while (code == 0) {
        bool waits = false;
        for (const gateway_link *link = route->links; link; link = link->next)
            waits |= link->fd >= 0 && !link->broken && link->stats_asked;
        if (!waits)
            return;
        code = pthread_cond_timedwait(&g->heard, &g->lock, &until);
    }
}

static tn_status stat(tn_engine *engine, uint32_t index, tn_stat *ret_stat)
{
    static _Thread_local remote_series series;
    static _Thread_local remote_value sum;
    gateway_route *route = engine_route(engine);
    uint32_t size = ret_stat->struct_size < sizeof *ret_stat ? ret_stat->struct_size : (uint32_t)sizeof *ret_stat;

    gateway_lock(route->gateway);
    if (index == 0)
        refresh(route);
    bool found = index < route->series_count;
    if (found) {
        series = route->series[index];
        sum = sum_of(route, index);
    }
    gateway_unlock(route->gateway);
    if (!found)
        return TN_E_NOT_FOUND;
    tn_stat told = {.struct_size = size,
                    .kind = series.kind,
                    .name = series.name,
                    .help = series.help,
                    .label = series.has_label ? series.label : NULL,
                    .label_value = series.has_label ? series.label_value : NULL,
                    .value = sum.value,
                    .count = sum.count,
                    .bound = series.bound,
                    .bucket = sum.bucket,
                    .bucket_count = series.bucket_count};
    memcpy(ret_stat, &told, size);
    return TN_OK;
}

/* As well as the best of its instances. */
static tn_status health(tn_engine *engine, tn_health *ret_health)
{
    gateway_route *route = engine_route(engine);
    uint32_t size =
        ret_health->struct_size < sizeof *ret_health ? ret_health->struct_size : (uint32_t)sizeof *ret_health;
    tn_health best = {0};
    bool any = false;

    gateway_lock(route->gateway);
    for (const gateway_link *link = route->links; link; link = link->next) {
        tn_health one = link_health(link, (int64_t)clock_ms());
        if (any && (best.ready || !one.ready))
            continue;
        best = one;
        any = true;
    }
    if (!any) {
        best.failed = route->note_status != TN_OK && route->note_status != TN_E_AGAIN;
        snprintf(best.reason, sizeof best.reason, "%.250s", route->note[0] ? route->note : "no instance runs");
    }
    gateway_unlock(route->gateway);
    best.struct_size = size;
    memcpy(ret_health, &best, size);
    return TN_OK;
}

const tn_stats_table gateway_stats_table = {.struct_size = sizeof(tn_stats_table), .stat = stat, .health = health};

/* logs_route.c: lines of engines' logs as text, "TIME INSTANCE LINE", sent as they come. */
#include "admin/route.h"

#include <string.h>
#include <time.h>

/* Seconds since 1970, with decimals: until the year 2286. */
#define SINCE_SECONDS_MAX 9999999999.0

typedef struct log_reader {
    const request *request;
    bool begun, left;
} log_reader;

static bool begin(log_reader *reader)
{
    const tn_admin_sink *sink = reader->request->sink;

    if (!reader->begun)
        reader->left = sink->head(sink->ctx, 200, "text/plain; charset=utf-8") != TN_OK;
    reader->begun = true;
    return !reader->left;
}

static bool put(log_reader *reader, const char *bytes, size_t n)
{
    const tn_admin_sink *sink = reader->request->sink;

    reader->left = reader->left || sink->write(sink->ctx, bytes, n) != TN_OK;
    return !reader->left;
}

static bool put_head(log_reader *reader, const char *instance, uint64_t time_ms)
{
    time_t seconds = (time_t)(time_ms / 1000);
    struct tm utc;
    char date[32], head[160];

    if (!gmtime_r(&seconds, &utc) || strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &utc) == 0)
        return false;
    snprintf(head, sizeof head, "%s.%03uZ %.100s ", date, (unsigned)(time_ms % 1000), instance);
    return put(reader, head, strlen(head));
}

/* A quiet log sends an empty write once a second, which only asks whether the reader is still there. */
static bool take_line(void *ctx, const char *instance, uint64_t time_ms, const char *text, size_t bytes)
{
    log_reader *reader = ctx;

    if (atomic_load(&reader->request->admin->stopping) || !begin(reader))
        return false;
    if (!instance)
        return put(reader, "", 0);
    return put_head(reader, instance, time_ms) && put(reader, text, bytes) && put(reader, "\n", 1);
}

answer admin_show_logs(request *request)
{
    log_reader reader = {.request = request};
    const log_sink sink = {&reader, take_line};
    double since = 0;
    bool follow = false;
    tn_error err = TN_ERROR_INIT;

    tn_status status = query_number(&request->query, "since", SINCE_SECONDS_MAX, &since, &err);
    if (status != TN_OK)
        return answer_failure(status, "since", &err);
    status = query_switch(&request->query, "follow", &follow, &err);
    if (status != TN_OK)
        return answer_failure(status, "follow", &err);
    status = services_logs(request->admin->options.services, request->part[0], query_value(&request->query, "instance"),
                           (uint64_t)(since * 1000), follow, &sink, &err);
    if (status != TN_OK && !reader.begun)
        return answer_failure(status, NULL, &err);
    begin(&reader);
    return (answer){0};
}

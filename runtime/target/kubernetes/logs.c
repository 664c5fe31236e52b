/* logs.c: lines of pods' logs, asked for piece by piece: kubectl says from a second on what there is, and lines that
 * were told already are left out by their time stamps.
 */
#include "target/kubernetes/kubectl.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* PIECE_BYTES: less than target_run takes. */
enum { STAMP_BYTES = 40, PIECE_BYTES = 1000000, PODS_MAX = 2 * SERVICE_INSTANCES_MAX };

/* How far one pod's log has been told. */
typedef struct pod_log {
    char name[64];
    char told[STAMP_BYTES]; /* stamp of the last line that was; "" for none */
    bool seen;              /* it was there at the last look */
} pod_log;

typedef struct log_reader {
    const kubernetes_options *options;
    const log_sink *sink;
    uint64_t since_ms;
    pod_log pods[PODS_MAX];
    uint32_t count;
    bool enough;
} log_reader;

/* "2026-01-02T03:04:05.123456789Z" as ms since 1970; 0: it is none. */
static uint64_t stamp_ms(const char *stamp)
{
    struct tm when = {0};
    const char *end = strptime(stamp, "%Y-%m-%dT%H:%M:%S", &when);
    const time_t seconds = end ? timegm(&when) : 0;
    const double fraction = end && *end == '.' ? strtod(end, NULL) : 0;
    return seconds > 0 ? (uint64_t)seconds * 1000 + (uint64_t)(fraction * 1000) : 0;
}

/* Stamps of one clock sort as text as far as their digits go: 05Z is before 05.1Z. */
static bool is_told(const pod_log *log, const char *stamp)
{
    size_t told = strcspn(log->told, "Z"), bytes = strcspn(stamp, "Z");
    int order = strncmp(stamp, log->told, told < bytes ? told : bytes);
    return *log->told && (order < 0 || (order == 0 && bytes <= told));
}

static void tell_line(log_reader *reader, pod_log *log, char *line)
{
    char *text = strchr(line, ' ');
    if (!text || (size_t)(text - line) >= STAMP_BYTES)
        return;
    *text++ = '\0';
    if (stamp_ms(line) == 0 || is_told(log, line)) /* no stamp: not a line of a log */
        return;
    strcpy(log->told, line);
    reader->enough = !reader->sink->line(reader->sink->ctx, log->name, stamp_ms(line), text, strlen(text));
}

static void tell_lines(log_reader *reader, pod_log *log, char *text)
{
    char *rest = NULL;
    for (char *line = strtok_r(text, "\n", &rest); line && !reader->enough; line = strtok_r(NULL, "\n", &rest))
        tell_line(reader, log, line);
}

static void format_since(uint64_t ms, char out[STAMP_BYTES])
{
    const time_t seconds = (time_t)(ms / 1000);
    struct tm when;
    gmtime_r(&seconds, &when);
    strftime(out, STAMP_BYTES, "--since-time=%Y-%m-%dT%H:%M:%SZ", &when);
}

/* Its last line, where the limit may have cut it, is left for the next piece. */
static bool cut_piece(char *text)
{
    size_t bytes = strlen(text);
    char *end = bytes >= PIECE_BYTES ? strrchr(text, '\n') : NULL;
    if (end)
        end[1] = '\0';
    return end != NULL;
}

/* The next piece of it, and whether there is more. A pod that has gone, or has not begun, has no log now. */
static bool read_piece(log_reader *reader, pod_log *log)
{
    char since[STAMP_BYTES], limit[32], told[STAMP_BYTES], *text = NULL;
    const uint64_t from = *log->told ? stamp_ms(log->told) : reader->since_ms;
    tn_error ignored = TN_ERROR_INIT;
    bool more = false;

    memcpy(told, log->told, sizeof told);
    format_since(from, since);
    snprintf(limit, sizeof limit, "--limit-bytes=%d", PIECE_BYTES);
    const char *const words[] = {"logs", log->name, "--timestamps", limit, from ? since : NULL, NULL};
    if (kubectl_run(reader->options, words, &text, &ignored) == TN_OK) {
        more = cut_piece(text);
        tell_lines(reader, log, text);
    }
    free(text);
    return more && strcmp(told, log->told) != 0;
}

static void read_log(log_reader *reader, pod_log *log)
{
    while (read_piece(reader, log) && !reader->enough)
        ;
}

static void meet_pod(log_reader *reader, const char *name)
{
    for (uint32_t i = 0; i < reader->count; i++)
        if (strcmp(reader->pods[i].name, name) == 0) {
            reader->pods[i].seen = true;
            return;
        }
    if (reader->count == PODS_MAX || strlen(name) >= sizeof reader->pods->name)
        return;
    pod_log *log = &reader->pods[reader->count++];
    *log = (pod_log){.seen = true};
    strcpy(log->name, name);
}

/* Forgets pods that have gone; instance NULL: of all. */
static void meet_pods(log_reader *reader, const json_t *items, const char *instance)
{
    size_t i;
    json_t *item;
    uint32_t kept = 0;

    for (uint32_t at = 0; at < reader->count; at++)
        reader->pods[at].seen = false;
    json_array_foreach(items, i, item)
    {
        const char *kind = json_string_value(json_object_get(item, "kind")),
                   *name = json_string_value(json_object_get(json_object_get(item, "metadata"), "name"));
        if (kind && name && strcmp(kind, "Pod") == 0 && *name != '-' && (!instance || strcmp(name, instance) == 0))
            meet_pod(reader, name);
    }
    for (uint32_t at = 0; at < reader->count; at++)
        if (reader->pods[at].seen)
            reader->pods[kept++] = reader->pods[at];
    reader->count = kept;
}

/* Once through all pods that are there. */
static tn_status read_all(log_reader *reader, const char *name, const char *instance, tn_error *err)
{
    json_t *items = NULL;
    tn_status status = kubectl_workloads(reader->options, name, &items, err);

    if (status != TN_OK)
        return status;
    if (json_array_size(items) == 0)
        status = tn_fail(err, TN_E_NOT_FOUND, "kubernetes: there is no service \"%s\"", name);
    meet_pods(reader, items, instance);
    json_decref(items);
    if (status == TN_OK && instance && reader->count == 0)
        status = tn_fail(err, TN_E_NOT_FOUND, "kubernetes: %s has no pod \"%.80s\"", name, instance);
    for (uint32_t i = 0; status == TN_OK && i < reader->count && !reader->enough; i++)
        read_log(reader, &reader->pods[i]);
    return status;
}

tn_status kubernetes_logs(const settings *settings, const char *name, const char *instance, uint64_t since_ms,
                          bool follow, const log_sink *sink, tn_error *err)
{
    static const struct timespec second = {.tv_sec = 1};
    kubernetes_options options;
    tn_status status = kubernetes_options_read(settings, &options, err);

    if (status == TN_OK && !kubernetes_is_service_name(name))
        status = tn_fail(err, TN_E_NOT_FOUND, "kubernetes: there is no service \"%.80s\"", name);
    log_reader *reader = status == TN_OK ? calloc(1, sizeof *reader) : NULL;
    if (!reader)
        return status == TN_OK ? tn_fail(err, TN_E_MEMORY, "the logs of pods") : status;
    *reader = (log_reader){.options = &options, .sink = sink, .since_ms = since_ms};
    status = read_all(reader, name, instance, err);
    while (status == TN_OK && follow && !reader->enough) {
        reader->enough = !sink->line(sink->ctx, NULL, 0, NULL, 0);
        nanosleep(&second, NULL);
        if (!reader->enough)
            status = read_all(reader, name, instance, err);
        if (status == TN_E_NOT_FOUND) { /* what goes while somebody watches ends its log */
            status = TN_OK;
            break;
        }
    }
    free(reader);
    return status;
}

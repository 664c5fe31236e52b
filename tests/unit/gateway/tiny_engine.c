/* tiny_engine.c: see tiny_engine.h. */
#include "tiny_engine.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <time.h>

extern const tn_frontend_table socket_frontend_table;

enum { SETS_MAX = 16, WAIT_S = 30 };

const int32_t tiny_prompt[12] = {5, 17, 40, 9, 33, 21, 60, 8, 71, 14, 3, 28};

static settings *read_settings(const char *name, const char *const *sets)
{
    const char *all[SETS_MAX + 1] = {"plugins.path=" PLUGIN_FOLDER, "model.path=" TINY_MODEL,
                                     "engine.kv_cache_memory_bytes=2MiB", "cpu.threads=1", "model.max_model_len=512"};
    char named[160];
    uint32_t count = 5;
    tn_error err = TN_ERROR_INIT;
    settings *read;

    snprintf(named, sizeof named, "model.served_model_name=%s", name);
    all[count++] = named;
    for (; sets && *sets; sets++)
        all[count++] = *sets;
    all[count] = NULL;
    if (settings_read(NULL, all, &read, &err) != TN_OK)
        fail_msg("%s", err.msg);
    return read;
}

settings *tiny_settings(const char *name)
{
    return read_settings(name, NULL);
}

/* ---- engines ---- */

static const char *config(const tn_host *host, const char *key)
{
    const tiny_engine *tiny = host->ctx;
    return strcmp(key, "path") == 0 ? tiny->socket : NULL;
}

static void log_line(const tn_host *host, uint32_t level, const char *component, const char *text)
{
    (void)host, (void)level, (void)component, (void)text;
}

static void open_front(tiny_engine *tiny, const char *socket)
{
    static const uint32_t level = TN_LOG_INFO;
    tn_error err = TN_ERROR_INIT;
    snprintf(tiny->socket, sizeof tiny->socket, "%s", socket);
    tiny->host = (tn_host){
        .struct_size = sizeof tiny->host, .ctx = tiny, .log_level = &level, .log = log_line, .config = config};
    tn_frontend_args args = {.struct_size = sizeof args,
                             .host = &tiny->host,
                             .engine = tiny->instance.engine,
                             .engine_api = &engine_table,
                             .chat = &instance_chat_table,
                             .stats = &engine_stats_table};
    if (socket_frontend_table.start(&args, &tiny->front, &err) != TN_OK)
        fail_msg("%s", err.msg);
}

void tiny_engine_start(tiny_engine *tiny, const char *socket, const char *const *sets)
{
    tn_error err = TN_ERROR_INIT;
    instance *in = &tiny->instance;

    memset(tiny, 0, sizeof *tiny);
    tiny->settings = read_settings("tiny", sets);
    instance_init(in, tiny->settings);
    tn_status status = instance_load_plugins(in, false, &err);
    if (status == TN_OK)
        status = instance_open_tokenizer(in, &err);
    if (status == TN_OK)
        status = instance_open_model(in, &err);
    if (status == TN_OK)
        status = instance_make_plan(in, &err);
    if (status == TN_OK)
        status = instance_load(in, NULL, &err);
    if (status == TN_OK)
        status = instance_start(in, &err);
    if (status != TN_OK)
        fail_msg("%s", err.msg);
    if (socket)
        open_front(tiny, socket);
}

void tiny_engine_stop(tiny_engine *tiny)
{
    socket_frontend_table.stop(tiny->front);
    instance_close(&tiny->instance);
    settings_destroy(tiny->settings);
}

/* ---- events ---- */

static void add(event_log *log, const char *format, ...) TN_PRINTF(2, 3);
static void add(event_log *log, const char *format, ...)
{
    char line[512];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    assert_true(n >= 0 && (size_t)n < sizeof line);
    if (log->count + (size_t)n + 1 > log->capacity) {
        log->capacity = log->capacity * 2 + 4096;
        log->text = realloc(log->text, log->capacity);
        assert_non_null(log->text);
    }
    memcpy(log->text + log->count, line, (size_t)n + 1);
    log->count += (size_t)n;
}

/* Everything but the request's id, which is another in every engine. */
void event_log_take(event_log *log, const tn_event *event)
{
    add(log,
        "%u user %llu choice %u index %u token %d status %d finish %u stop %d '%s' text %llu+%llu '%.200s' %a seed "
        "%llu tokens %llu %llu %llu",
        event->kind, (unsigned long long)event->user, event->choice, event->index, event->token, event->status,
        event->finish, event->stop_token, event->stop ? event->stop : "", (unsigned long long)event->text_offset,
        (unsigned long long)event->text_bytes, event->text ? event->text : "", (double)event->logprob,
        (unsigned long long)event->seed, (unsigned long long)event->prompt_tokens,
        (unsigned long long)event->cached_tokens, (unsigned long long)event->generated_tokens);
    for (uint32_t i = 0; i < event->top_count; i++)
        add(log, " %d:%a", event->top_id[i], (double)event->top_logprob[i]);
    add(log, "\n");
    log->events++;
    log->tokens += event->kind == TN_EVENT_TOKEN;
    log->accepted += event->kind == TN_EVENT_ACCEPTED;
    if (event->kind == TN_EVENT_ACCEPTED)
        log->seed = event->seed;
    if (event->kind != TN_EVENT_DONE)
        return;
    log->done++;
    log->status = event->status;
    snprintf(log->words, sizeof log->words, "%s", event->text);
}

void event_log_finish(event_log *log)
{
    free(log->text);
    *log = (event_log){0};
}

void event_log_collect(event_log *log, const tn_engine_table *api, tn_client *client, uint32_t done, uint32_t cap)
{
    tn_event events[64];
    time_t end = time(NULL) + WAIT_S;
    struct pollfd ready = {.fd = api->event_fd(client), .events = POLLIN};

    while (log->done < done) {
        if (time(NULL) > end)
            fail_msg("%u of %u requests are over after %d s; events:\n%s", log->done, done, WAIT_S,
                     log->text ? log->text : "");
        if (poll(&ready, 1, 1000) < 0)
            assert_int_equal(errno, EINTR);
        events[0].struct_size = sizeof *events;
        uint32_t count = api->poll(client, events, sizeof *events, cap < 64 ? cap : 64);
        for (uint32_t i = 0; i < count; i++)
            event_log_take(log, &events[i]);
    }
}

event_log event_log_run(const tn_engine_table *api, tn_engine *engine, const tn_request *request, uint32_t queue_cap)
{
    event_log log = {0};
    tn_error err = TN_ERROR_INIT;
    tn_client *client;
    uint64_t id;

    if (api->client_open(engine, queue_cap, &client, &err) != TN_OK)
        fail_msg("%s", err.msg);
    tn_status status = api->submit(client, request, &id, &err);
    if (status == TN_OK) {
        event_log_collect(&log, api, client, 1, 64);
    } else { /* refused at once, or by an event: the words are the same */
        log.status = status;
        snprintf(log.words, sizeof log.words, "%s", err.msg);
    }
    api->client_close(client);
    return log;
}

tn_request tiny_request(const int32_t *prompt, uint32_t n, uint32_t max_new)
{
    return (tn_request){.struct_size = sizeof(tn_request),
                        .flags = TN_REQ_SEED | TN_REQ_IGNORE_EOS | TN_REQ_NO_CACHE,
                        .token = prompt,
                        .token_count = n,
                        .max_new = max_new,
                        .seed = 7,
                        .user = 4711};
}

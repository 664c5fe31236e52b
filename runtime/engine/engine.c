/* engine.c: the tables that front ends hold, and the start and end of an engine.
 *
 * Everything the loop uses is laid out here in one allocation sized by the config (see carve.h); engine_host_bytes runs
 * the same layout without memory.
 */
#include "engine/state.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

/* Assumed by the plan, before a tokenizer is there to ask; only text buffers depend on them. */
enum { PLANNED_PIECE_BYTES = 256, PLANNED_END_TOKENS = 16 };
/* Bytes of small fields and lists that a queued request is granted beyond its tokens. */
enum { REQUEST_GRANT_BYTES = 16384, TOKEN_GRANT_BYTES = 16 };

/* ---- layout ---- */

static uint32_t or_default(uint32_t value, uint32_t standard)
{
    return value > 0 ? value : standard;
}

/* The config with its defaults filled in. */
static engine_config complete_config(const engine_config *given)
{
    engine_config config = *given;
    config.max_choices = or_default(given->max_choices, 128);
    config.max_top_logprobs = or_default(given->max_top_logprobs, 20);
    config.max_stop = or_default(given->max_stop, 16);
    config.max_stop_bytes = or_default(given->max_stop_bytes, 256);
    config.max_bias = or_default(given->max_bias, 1024);
    config.max_stop_tokens = or_default(given->max_stop_tokens, 64);
    return config;
}

static void engine_layout(tn_engine *engine, carve *memory)
{
    const engine_config *config = &engine->config;
    uint32_t vocab = engine->limits.vocab;

    engine->cache.group_count = engine->pages.group_count = config->kv_group_count;
    engine->pages.slot_count = engine->scheduler.slot_count = config->max_num_seqs;
    engine->pages.cache = &engine->cache;
    prefix_cache_layout(&engine->cache, config->kv_pages, config->page_tokens, memory);
    page_table_layout(&engine->pages, config->max_model_len, config->page_tokens, memory);
    scheduler_layout(&engine->scheduler, config->kv_group_count, memory);
    batch_builder_layout(&engine->builder, config, vocab, engine->limits.end_token_count, engine->pages.delta_capacity,
                         memory);
    for (uint32_t i = 0; i < engine->depth; i++) {
        schedule_layout(&engine->step[i].schedule, config->max_num_seqs, memory);
        step_result_layout(&engine->step[i].result, config, memory);
    }
    engine->ends = carve_array(memory, (uint64_t)vocab / 8 + 1, 1);
    engine->limits.end_token = carve_array(memory, engine->limits.end_token_count, sizeof *engine->limits.end_token);
    engine->piece = carve_array(memory, engine->limits.piece_bytes, 1);
}

/* Memory that submitted requests may take together. */
static uint64_t request_bytes_limit(const engine_config *config, uint32_t vocab, uint32_t piece_bytes)
{
    uint64_t largest = request_bytes_max(config, vocab, piece_bytes), running, waiting, sum;
    if (!size_mul((uint64_t)config->max_num_seqs * TOKEN_GRANT_BYTES, config->max_model_len, &running) ||
        !size_mul((uint64_t)config->max_num_seqs + config->max_waiting, REQUEST_GRANT_BYTES, &waiting) ||
        !size_add(largest, running, &sum) || !size_add(sum, waiting, &sum))
        return UINT64_MAX;
    return sum;
}

uint64_t engine_host_bytes(const engine_config *config, uint32_t vocab, uint64_t *ret_requests)
{
    carve memory = {0};
    uint64_t sum;
    tn_engine *sketch = calloc(1, sizeof *sketch);

    if (!sketch)
        return UINT64_MAX;
    sketch->config = complete_config(config);
    sketch->limits.vocab = vocab;
    sketch->limits.piece_bytes = PLANNED_PIECE_BYTES;
    sketch->limits.end_token_count = PLANNED_END_TOKENS;
    sketch->depth = STEPS_IN_FLIGHT_MAX;
    engine_layout(sketch, &memory);
    uint64_t requests = request_bytes_limit(&sketch->config, vocab, PLANNED_PIECE_BYTES);
    if (!size_add(requests, grammar_desk_tools_bytes(vocab), ret_requests))
        *ret_requests = UINT64_MAX;
    free(sketch);
    if (memory.overflow || !size_add(memory.used, sizeof(tn_engine), &sum))
        return UINT64_MAX;
    return sum;
}

/* ---- start ---- */

static tn_status check_config(const engine_config *config, const tn_graph_api *api, tn_error *err)
{
    if (config->max_model_len < 2 || config->max_model_len > INT32_MAX)
        return tn_fail(err, TN_E_ARGUMENT, "max_model_len is %u; an engine needs at least 2 tokens",
                       config->max_model_len);
    if (config->max_num_seqs == 0 || config->max_num_batched_tokens < config->max_num_seqs)
        return tn_fail(err, TN_E_ARGUMENT,
                       "max_num_batched_tokens is %u; it must be at least max_num_seqs, which is %u",
                       config->max_num_batched_tokens, config->max_num_seqs);
    if (config->max_outputs < config->max_num_seqs)
        return tn_fail(err, TN_E_ARGUMENT, "max_outputs is %u; it must be at least max_num_seqs, which is %u",
                       config->max_outputs, config->max_num_seqs);
    if (config->max_waiting == 0)
        return tn_fail(err, TN_E_ARGUMENT, "max_waiting is 0; at least one request must be able to wait");
    if (config->kv_group_count == 0 || config->kv_group_count != api->kv_group_count)
        return tn_fail(err, TN_E_ARGUMENT, "kv_group_count is %u, but the graph has %u KV groups",
                       config->kv_group_count, api->kv_group_count);
    for (uint32_t g = 0; g < config->kv_group_count; g++)
        if (config->page_tokens[g] == 0 || config->kv_pages[g] == 0 || config->kv_pages[g] >= KV_PAGE_NONE)
            return tn_fail(err, TN_E_ARGUMENT, "KV group %u has %llu pages of %u tokens; both must be positive", g,
                           (unsigned long long)config->kv_pages[g], config->page_tokens[g]);
    return TN_OK;
}

/* Longest token and number of tokens that end generation. One call per token: a few milliseconds for a large
 * vocabulary. */
static void measure_tokens(tn_engine *engine)
{
    engine->limits.piece_bytes = 1;
    for (uint32_t id = 0; id < engine->tok_vocab; id++) {
        uint64_t bytes = 0;
        tn_status status = engine->tokenizer->piece(engine->tok, (int32_t)id, 0, 0, NULL, &bytes, NULL);
        if ((status == TN_E_MEMORY || status == TN_OK) && bytes > engine->limits.piece_bytes)
            engine->limits.piece_bytes = (uint32_t)bytes;
        if (engine->tokenizer->attributes(engine->tok, (int32_t)id) & TN_TOKEN_ENDS_GENERATION)
            engine->limits.end_token_count++;
    }
}

/* A row's own biases, and those that forbid it to end. */
static tn_status check_biases(const tn_engine *engine, tn_error *err)
{
    const engine_config *config = &engine->config;
    uint64_t most = (uint64_t)config->max_bias + config->max_stop_tokens + engine->limits.end_token_count;

    if (most > TN_BIAS_ROW_MAX)
        return tn_fail(err, TN_E_UNSUPPORTED,
                       "%u biases, %u stop tokens and %u tokens that end generation; %d together", config->max_bias,
                       config->max_stop_tokens, engine->limits.end_token_count, TN_BIAS_ROW_MAX);
    return TN_OK;
}

static void note_end_tokens(tn_engine *engine)
{
    int32_t *end_token = (int32_t *)(uintptr_t)engine->limits.end_token;
    uint32_t count = 0;
    for (uint32_t id = 0; id < engine->tok_vocab; id++) {
        if (!(engine->tokenizer->attributes(engine->tok, (int32_t)id) & TN_TOKEN_ENDS_GENERATION))
            continue;
        engine->ends[id / 8] |= (uint8_t)(1u << (id % 8));
        end_token[count++] = (int32_t)id;
    }
}

static tn_status set_windows(tn_engine *engine, tn_error *err)
{
    for (uint32_t g = 0; g < engine->cache.group_count; g++) {
        tn_kv_group group = {.struct_size = sizeof group};
        tn_status status = engine->graph_api->kv_group(engine->graph, g, &group);
        if (status != TN_OK)
            return tn_fail(err, status, "the graph does not describe its KV group %u", g);
        engine->cache.pool[g].window = group.kind == TN_KV_WINDOW ? group.window : 0;
    }
    return TN_OK;
}

static tn_status draw_secrets(tn_engine *engine, tn_error *err)
{
    uint64_t drawn[3];
    if (getrandom(drawn, sizeof drawn, 0) != (ssize_t)sizeof drawn)
        return tn_fail(err, TN_E_IO, "the system gives no random numbers: %s", strerror(errno));
    engine->cache.secret[0] = drawn[0];
    engine->cache.secret[1] = drawn[1];
    atomic_store(&engine->seed_counter, engine->config.seed != 0 ? engine->config.seed : drawn[2]);
    return TN_OK;
}

/* Takes the pages of zeroed memory now, so that serving never asks the system for more. */
static void touch_pages(void *memory, uint64_t bytes)
{
    for (uint64_t at = 0; at < bytes; at += 4096)
        ((volatile char *)memory)[at] = 0;
}

/* Arrays and everything in them. */
static tn_status build(tn_engine *engine, tn_error *err)
{
    const engine_config *config = &engine->config;
    carve memory = {0};

    measure_tokens(engine);
    tn_status status = check_biases(engine, err);
    if (status != TN_OK)
        return status;
    engine_layout(engine, &memory);
    memory.base = memory.overflow ? NULL : calloc(1, memory.used);
    if (!memory.base)
        return tn_fail(err, TN_E_MEMORY, "no memory for the engine's own %llu bytes", (unsigned long long)memory.used);
    touch_pages(memory.base, memory.used);
    engine->memory = memory.base;
    memory.used = 0;
    engine_layout(engine, &memory);

    engine->row_limit = config->max_num_batched_tokens;
    prefix_cache_init(&engine->cache);
    scheduler_init(&engine->scheduler);
    note_end_tokens(engine);
    engine->common_tokens = prefix_cache_block_tokens(config->page_tokens, config->kv_group_count);
    engine->cache.block_tokens = config->enable_prefix_caching ? engine->common_tokens : 0;
    engine->limits.config = config;
    engine->limits.cache = &engine->cache;
    engine->limits.can = engine->backend->can;
    engine->event_text_bytes = (uint32_t)detokenizer_capacity(engine->limits.piece_bytes, config->max_stop_bytes);
    engine->request_bytes_limit = request_bytes_limit(config, engine->limits.vocab, engine->limits.piece_bytes);
    atomic_store(&engine->next_id, 1);
    stats_init(&engine->stats, config->page_tokens[0], config->kv_pages[0], engine->cache.block_tokens > 0);
    status = set_windows(engine, err);
    return status == TN_OK ? draw_secrets(engine, err) : status;
}

static tn_status start_loop(tn_engine *engine, tn_error *err)
{
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&engine->mutex, NULL);
    pthread_cond_init(&engine->wake, &monotonic);
    pthread_cond_init(&engine->drained, &monotonic);
    pthread_condattr_destroy(&monotonic);

    int code = pthread_create(&engine->thread, NULL, step_loop, engine);
    if (code == 0) {
        pthread_setname_np(engine->thread, "tenon-engine"); /* what top and gdb show */
        return TN_OK;
    }
    pthread_cond_destroy(&engine->drained);
    pthread_cond_destroy(&engine->wake);
    pthread_mutex_destroy(&engine->mutex);
    return tn_fail(err, TN_E_INTERNAL, "cannot start the engine's thread: %s", strerror(code));
}

static void stop_loop(tn_engine *engine)
{
    pthread_mutex_lock(&engine->mutex);
    engine->stopping = true;
    pthread_cond_signal(&engine->wake);
    pthread_mutex_unlock(&engine->mutex);
    pthread_join(engine->thread, NULL);
    pthread_cond_destroy(&engine->drained);
    pthread_cond_destroy(&engine->wake);
    pthread_mutex_destroy(&engine->mutex);
}

tn_status engine_create(const engine_config *config, const tn_graph *graph, const tn_graph_api *graph_api,
                        const tn_backend *backend, tn_model *model, const tn_tokenizer_table *tokenizer,
                        const tn_tok *tok, tn_engine **ret_engine, tn_error *err)
{
    engine_config complete = complete_config(config);
    tn_status status = check_config(&complete, graph_api, err);
    if (status != TN_OK)
        return status;

    tn_engine *engine = calloc(1, sizeof *engine);
    if (!engine)
        return tn_fail(err, TN_E_MEMORY, "no memory for an engine");
    engine->config = complete;
    engine->graph = graph;
    engine->graph_api = graph_api;
    engine->backend = backend;
    engine->model = model;
    engine->tokenizer = tokenizer;
    engine->tok = tok;
    engine->limits.vocab = graph_api->vocab_size;
    engine->tok_vocab = tokenizer->vocab_size(tok);
    if (engine->tok_vocab > engine->limits.vocab)
        engine->tok_vocab = engine->limits.vocab;
    engine->depth = backend->max_in_flight > 1 && (backend->can & TN_NEED_PREV) ? STEPS_IN_FLIGHT_MAX : 1;
    engine->created = (int64_t)time(NULL);

    status = build(engine, err);
    if (status == TN_OK)
        status = start_loop(engine, err);
    if (status == TN_OK) {
        status = grammar_desk_open(&engine->desk, engine, err);
        if (status != TN_OK)
            stop_loop(engine);
    }
    if (status != TN_OK) {
        free(engine->memory);
        free(engine);
        return status;
    }
    *ret_engine = engine;
    return TN_OK;
}

void *engine_owner(const tn_engine *engine)
{
    return engine->config.owner;
}

/* ---- end ---- */

bool engine_drain(tn_engine *engine, uint32_t ms)
{
    int64_t deadline = stats_now_ns() + (int64_t)ms * 1000000;
    struct timespec until = {.tv_sec = deadline / 1000000000, .tv_nsec = deadline % 1000000000};

    pthread_mutex_lock(&engine->mutex);
    atomic_store(&engine->draining, true);
    while (engine->outstanding > 0)
        if (pthread_cond_timedwait(&engine->drained, &engine->mutex, &until) != 0)
            break;
    bool empty = engine->outstanding == 0;
    pthread_mutex_unlock(&engine->mutex);
    return empty;
}

void engine_destroy(tn_engine *engine)
{
    if (!engine)
        return;
    TN_ASSERT(engine->client_count == 0);
    grammar_desk_close(&engine->desk);
    stop_loop(engine);
    free(engine->memory);
    free(engine);
}

void engine_wake(tn_engine *engine)
{
    pthread_mutex_lock(&engine->mutex);
    engine->woken = true;
    pthread_cond_signal(&engine->wake);
    pthread_mutex_unlock(&engine->mutex);
}

/* ---- tn.engine ---- */

static tn_status table_info(tn_engine *engine, tn_engine_info *ret_info)
{
    const engine_config *config = &engine->config;
    tn_engine_info info = {
        .struct_size = ret_info->struct_size < sizeof info ? ret_info->struct_size : (uint32_t)sizeof info,
        .vocab_size = engine->limits.vocab,
        .max_model_len = config->max_model_len,
        .max_num_seqs = config->max_num_seqs,
        .max_choices = config->max_choices,
        .max_top_logprobs = config->max_top_logprobs,
        .max_stop = config->max_stop,
        .max_stop_bytes = config->max_stop_bytes,
        .max_bias = config->max_bias,
        .max_stop_tokens = config->max_stop_tokens,
        .served_names = config->served_names,
        .model_path = config->model_path,
        .architecture = config->architecture,
        .created = (uint64_t)engine->created,
        .defaults = config->defaults,
        .grammars = engine->limits.can & TN_NEED_MASK ? GRAMMAR_DESK_KINDS : 0,
        .max_grammar_bytes = GRAMMAR_TEXT_MAX,
    };
    if (info.struct_size < sizeof info.struct_size)
        return TN_E_ARGUMENT;
    memcpy(ret_info, &info, info.struct_size);
    return TN_OK;
}

static tn_status table_client_open(tn_engine *engine, uint32_t queue_cap, tn_client **ret_client, tn_error *err)
{
    tn_status status =
        client_create(engine, queue_cap, engine->event_text_bytes, engine->config.max_top_logprobs, ret_client, err);
    if (status != TN_OK)
        return status;
    pthread_mutex_lock(&engine->mutex);
    engine->client_count++;
    pthread_mutex_unlock(&engine->mutex);
    return TN_OK;
}

static void table_client_close(tn_client *client)
{
    if (!client)
        return;
    tn_engine *engine = client->engine;
    if (client_cancel(client, 0)) {
        atomic_store(&engine->cancel_pending, true);
        engine_wake(engine);
    }
    client_wait_empty(client);
    client_destroy(client);
    pthread_mutex_lock(&engine->mutex);
    engine->client_count--;
    pthread_mutex_unlock(&engine->mutex);
}

/* SplitMix64 (Steele, Lea, Flood 2014) over a shared counter: every caller draws another number. */
static uint64_t draw_seed(tn_engine *engine)
{
    uint64_t z = atomic_fetch_add(&engine->seed_counter, 0x9e3779b97f4a7c15u) + 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* Reasons to refuse work that have nothing to do with the request. Under the engine's mutex. */
static tn_status check_open(const tn_engine *engine, tn_error *err)
{
    if (engine->failure != TN_OK)
        return tn_fail(err, TN_E_DEVICE_LOST, "the engine has failed: %s", engine->reason);
    if (atomic_load(&engine->draining))
        return tn_fail(err, TN_E_AGAIN, "the engine is draining and takes no new requests");
    uint32_t waiting = atomic_load(&engine->waiting_count),
             free_slots = atomic_load(&engine->scheduler.free_slot_count);
    if (waiting >= engine->config.max_waiting && waiting - engine->config.max_waiting >= free_slots)
        return tn_fail(err, TN_E_AGAIN, "the queue is full: %u requests are waiting", waiting);
    return TN_OK;
}

void engine_pass_on(tn_engine *engine, request *request)
{
    request_queue_add(&engine->submitted, request);
    engine->woken = true;
    pthread_cond_signal(&engine->wake);
}

/* Hands a request to the loop, or first to the desk that compiles its grammar. */
static tn_status post(tn_engine *engine, request *request, tn_error *err)
{
    pthread_mutex_lock(&engine->mutex);
    tn_status status = check_open(engine, err);
    if (status == TN_OK) {
        engine->outstanding++;
        atomic_fetch_add(&engine->waiting_count, 1);
        if (request->grammar_kind != TN_GRAMMAR_NONE && !request->grammar)
            grammar_desk_add(&engine->desk, request);
        else
            engine_pass_on(engine, request);
    }
    pthread_mutex_unlock(&engine->mutex);
    return status;
}

static tn_status table_submit(tn_client *client, const tn_request *asked, uint64_t *ret_request, tn_error *err)
{
    tn_engine *engine = client->engine;
    request *request;

    pthread_mutex_lock(&engine->mutex);
    tn_status status = check_open(engine, err);
    pthread_mutex_unlock(&engine->mutex);
    if (status == TN_OK)
        status = request_create(&engine->limits, asked, &request, err);
    if (status != TN_OK)
        return status;

    if (!request_charge(request, &engine->request_bytes, engine->request_bytes_limit)) {
        status = tn_fail(err, TN_E_AGAIN, "requests already queued take all of the %llu bytes granted to them",
                         (unsigned long long)engine->request_bytes_limit);
        request_destroy(request);
        return status;
    }
    if (!(request->flags & TN_REQ_SEED))
        request->seed = draw_seed(engine);
    uint64_t id = request->id = atomic_fetch_add(&engine->next_id, 1);
    request->client = client;
    request->submitted_ns = stats_now_ns();
    if (request->grammar_kind != TN_GRAMMAR_NONE)
        grammar_desk_recall(&engine->desk, request);
    client_enter(client, request);
    status = post(engine, request, err);
    if (status == TN_OK) { /* the request is the loop's now */
        *ret_request = id;
        return TN_OK;
    }
    client_leave(client, request);
    request_destroy(request);
    return status;
}

static tn_status table_cancel(tn_client *client, uint64_t id)
{
    if (id == 0 || !client_cancel(client, id))
        return TN_E_NOT_FOUND;
    atomic_store(&client->engine->cancel_pending, true);
    engine_wake(client->engine);
    return TN_OK;
}

static int table_event_fd(tn_client *client)
{
    return client->fd;
}

static uint32_t table_poll(tn_client *client, tn_event *out, uint32_t stride, uint32_t cap)
{
    bool wake;
    uint32_t count = client_poll(client, out, stride, cap, &wake);
    if (wake)
        engine_wake(client->engine);
    return count;
}

static const tn_tokenizer_table *table_tokenizer(tn_engine *engine, const tn_tok **ret_tok)
{
    *ret_tok = engine->tok;
    return engine->tokenizer;
}

/* When the requests now waiting will have been taken up, if they take as long as the last ones did. */
static uint32_t table_retry_after(tn_engine *engine)
{
    uint64_t ms = atomic_load_explicit(&engine->stats.request_ms, memory_order_relaxed);
    uint64_t rounds = (uint64_t)atomic_load(&engine->waiting_count) / engine->config.max_num_seqs + 1;
    uint64_t seconds = (ms * rounds + 999) / 1000;
    return seconds < 1 ? 1 : seconds > 60 ? 60 : (uint32_t)seconds;
}

const tn_engine_table engine_table = {
    .struct_size = sizeof(tn_engine_table),
    .info = table_info,
    .client_open = table_client_open,
    .client_close = table_client_close,
    .submit = table_submit,
    .cancel = table_cancel,
    .event_fd = table_event_fd,
    .poll = table_poll,
    .tokenizer = table_tokenizer,
    .retry_after = table_retry_after,
};

/* ---- tn.stats ---- */

static tn_status table_stat(tn_engine *engine, uint32_t index, tn_stat *ret_stat)
{
    return stats_series(&engine->stats, index, ret_stat);
}

static tn_status table_health(tn_engine *engine, tn_health *ret_health)
{
    uint32_t size =
        ret_health->struct_size < sizeof *ret_health ? ret_health->struct_size : (uint32_t)sizeof *ret_health;
    tn_health health = {.struct_size = size};
    bool alive;

    health.heartbeat_age_ms = stats_beat_age_ms(&engine->stats, &alive);
    health.failed = atomic_load(&engine->failed);
    health.draining = atomic_load(&engine->draining);
    health.ready = alive && !health.failed && !health.draining;
    if (health.failed) {
        pthread_mutex_lock(&engine->mutex);
        snprintf(health.reason, sizeof health.reason, "%s", engine->reason);
        pthread_mutex_unlock(&engine->mutex);
    } else if (!alive) {
        snprintf(health.reason, sizeof health.reason, "the step loop has been silent for %llu ms",
                 (unsigned long long)health.heartbeat_age_ms);
    } else if (health.draining) {
        snprintf(health.reason, sizeof health.reason, "draining");
    }
    memcpy(ret_health, &health, size);
    return TN_OK;
}

const tn_stats_table engine_stats_table = {
    .struct_size = sizeof(tn_stats_table),
    .stat = table_stat,
    .health = table_health,
};

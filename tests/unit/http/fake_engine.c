/* fake_engine.c: a thread per request, a queue per client. */
#include "fake_engine.h"

#include "base/utf8.h"

#include <jansson.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { TOPS_MAX = 8, EVENTS_MAX = 65536 };

typedef struct queued_event {
    struct queued_event *next;
    tn_event event;
    char text[256], stop[64];
    int32_t top_id[TOPS_MAX];
    float top_value[TOPS_MAX];
} queued_event;

typedef struct fake_job {
    struct fake_job *next;
    tn_client *client;
    uint64_t id;
    uint32_t slot; /* in the engine's account */
    tn_request request;
    int32_t *tokens;
    char stop[64];
    bool cancelled, over;
    pthread_t thread;
} fake_job;

struct tn_client {
    tn_engine *engine;
    int fd;
    pthread_mutex_t lock;
    queued_event *head, *tail, *given; /* given: pointers handed out by the last poll */
    fake_job *jobs;
    uint64_t next_id;
};

static int32_t fake_encode_one(const char *text, uint64_t n, uint32_t flags, uint64_t *ret_bytes)
{
    static const char *const specials[] = {"<s>", "</s>", "<x>"};
    for (int i = 0; (flags & TN_ENCODE_PARSE_SPECIAL) && i < 3; i++) {
        size_t bytes = strlen(specials[i]);
        if (n >= bytes && memcmp(text, specials[i], bytes) == 0) {
            *ret_bytes = bytes;
            return FAKE_BOS + i;
        }
    }
    *ret_bytes = 1;
    return (unsigned char)*text;
}

static tn_status fake_encode(const tn_tok *tok, const char *text, uint64_t n, uint32_t flags, int32_t *ids,
                             uint64_t *n_ids, tn_error *err)
{
    uint64_t count = 0, capacity = *n_ids;
    (void)tok;
    if (flags & TN_ENCODE_ADD_SPECIAL) {
        if (count < capacity)
            ids[count] = FAKE_BOS;
        count++;
    }
    for (uint64_t at = 0, step; at < n; at += step) {
        int32_t id = fake_encode_one(text + at, n - at, flags, &step);
        if (count < capacity)
            ids[count] = id;
        count++;
    }
    *n_ids = count;
    return count > capacity ? tn_fail(err, TN_E_MEMORY, "too small") : TN_OK;
}

static tn_status fake_piece(const tn_tok *tok, int32_t id, uint32_t flags, uint32_t first, char *bytes,
                            uint64_t *n_bytes, tn_error *err)
{
    static const char *const specials[] = {"<s>", "</s>", "<x>", ""};
    (void)tok, (void)first;
    if (id < 0 || id >= FAKE_VOCAB)
        return tn_fail(err, TN_E_ARGUMENT, "id");
    char byte = (char)id;
    const char *text = id < 256 ? &byte : flags & TN_PIECE_SKIP_SPECIAL ? "" : specials[id - 256];
    uint64_t needed = id < 256 ? 1 : strlen(text);
    if (needed > *n_bytes) {
        *n_bytes = needed;
        return tn_fail(err, TN_E_MEMORY, "too small");
    }
    memcpy(bytes, text, needed);
    *n_bytes = needed;
    return TN_OK;
}

static tn_status fake_special(const tn_tok *tok, uint32_t role, int32_t *ret_id)
{
    (void)tok;
    if (role != TN_TOKEN_BOS && role != TN_TOKEN_EOS)
        return TN_E_NOT_FOUND;
    *ret_id = role == TN_TOKEN_BOS ? FAKE_BOS : FAKE_EOS;
    return TN_OK;
}

static uint32_t fake_attributes(const tn_tok *tok, int32_t id)
{
    (void)tok;
    if (id == FAKE_EOS)
        return TN_TOKEN_IS_SPECIAL | TN_TOKEN_ENDS_GENERATION;
    return id >= 256 && id < FAKE_VOCAB ? TN_TOKEN_IS_SPECIAL : 0;
}

static const tn_tokenizer_table fake_tokenizer = {.struct_size = sizeof fake_tokenizer,
                                                  .encode = fake_encode,
                                                  .piece = fake_piece,
                                                  .special = fake_special,
                                                  .attributes = fake_attributes};

static queued_event *new_event(const fake_job *job, uint32_t kind)
{
    queued_event *queued = calloc(1, sizeof *queued);
    queued->event = (tn_event){
        .struct_size = sizeof(tn_event), .kind = kind, .request = job->id, .user = job->request.user, .stop_token = -1};
    return queued;
}

static void push(tn_client *client, queued_event *queued)
{
    uint64_t one = 1;

    queued->event.text = queued->text;
    queued->event.text_bytes = strlen(queued->text);
    queued->event.top_id = queued->top_id;
    queued->event.top_logprob = queued->top_value;
    pthread_mutex_lock(&client->lock);
    if (client->tail)
        client->tail->next = queued;
    else
        client->head = queued;
    client->tail = queued;
    pthread_mutex_unlock(&client->lock);
    if (write(client->fd, &one, sizeof one) != (ssize_t)sizeof one)
        abort();
}

static void score(const fake_job *job, queued_event *queued, int32_t token, uint32_t index)
{
    queued->event.token = token;
    queued->event.index = index;
    queued->event.logprob = -0.5f * (float)(index + 1);
    queued->event.top_count = job->request.top_logprobs < TOPS_MAX ? job->request.top_logprobs : TOPS_MAX;
    for (uint32_t i = 0; i < queued->event.top_count; i++) {
        queued->top_id[i] = (token + (int32_t)i) % 256;
        queued->top_value[i] = queued->event.logprob - (float)i;
    }
}

static bool is_cancelled(fake_job *job)
{
    pthread_mutex_lock(&job->client->lock);
    bool cancelled = job->cancelled;
    pthread_mutex_unlock(&job->client->lock);
    return cancelled;
}

static void push_prompt(fake_job *job)
{
    for (uint32_t i = 1; (job->request.flags & TN_REQ_PROMPT_LOGPROBS) && i < job->request.token_count; i++) {
        queued_event *queued = new_event(job, TN_EVENT_PROMPT);
        score(job, queued, job->tokens[i], i);
        push(job->client, queued);
    }
}

/* One token of every choice per step; returns tokens per choice. */
static uint32_t push_tokens(fake_job *job, bool *ret_failed)
{
    const tn_engine *engine = job->client->engine;
    const char *reply = engine->reply;
    size_t length = strlen(reply), held = 0;
    uint32_t count = 0;

    for (; count < job->request.max_new && (engine->endless || count < length); count++) {
        if (engine->done_status != TN_OK && count >= engine->fail_after) {
            *ret_failed = true;
            return count;
        }
        if (engine->delay_us)
            usleep(engine->delay_us);
        if (is_cancelled(job))
            return count;
        size_t at = count % length;
        size_t whole = utf8_whole_prefix(reply + at - held, held + 1);
        for (uint32_t choice = 0; choice < job->request.n_choices; choice++) {
            queued_event *queued = new_event(job, TN_EVENT_TOKEN);
            queued->event.choice = choice;
            score(job, queued, (unsigned char)reply[at], count);
            memcpy(queued->text, reply + at - held, whole);
            push(job->client, queued);
        }
        held = held + 1 - whole;
    }
    return count;
}

static void push_ends(fake_job *job, uint32_t count, bool failed, bool cancelled)
{
    const tn_engine *engine = job->client->engine;
    tn_status status = failed ? engine->done_status : cancelled ? TN_E_CANCELLED : TN_OK;
    bool stopped = !engine->endless && count == strlen(engine->reply);

    for (uint32_t choice = 0; status == TN_OK && choice < job->request.n_choices && job->request.max_new; choice++) {
        queued_event *queued = new_event(job, TN_EVENT_CHOICE);
        queued->event.choice = choice;
        queued->event.finish = stopped ? TN_FINISH_STOP : TN_FINISH_LENGTH;
        if (stopped)
            queued->event.stop_token = FAKE_EOS;
        if (stopped && job->stop[0]) {
            memcpy(queued->stop, job->stop, sizeof queued->stop);
            queued->event.stop = queued->stop;
        }
        push(job->client, queued);
    }
    queued_event *queued = new_event(job, TN_EVENT_DONE);
    queued->event.status = status;
    queued->event.prompt_tokens = job->request.token_count;
    queued->event.cached_tokens = 2;
    queued->event.generated_tokens = (uint64_t)count * job->request.n_choices;
    if (failed)
        strcpy(queued->text, "the script says so");
    push(job->client, queued);
}

/* The job's thread may be joined. */
static void leave(fake_job *job)
{
    tn_engine *engine = job->client->engine;
    pthread_mutex_lock(&job->client->lock);
    job->over = true;
    pthread_mutex_unlock(&job->client->lock);
    pthread_mutex_lock(&engine->lock);
    engine->running--;
    pthread_mutex_unlock(&engine->lock);
}

static void refuse(fake_job *job)
{
    queued_event *queued = new_event(job, TN_EVENT_DONE);
    queued->event.status = job->client->engine->refuse_status;
    strcpy(queued->text, "the script refuses later");
    push(job->client, queued);
    leave(job);
}

static void *run_job(void *argument)
{
    fake_job *job = argument;
    tn_engine *engine = job->client->engine;
    bool failed = false;

    if (engine->refuse_status != TN_OK) {
        refuse(job);
        return NULL;
    }
    queued_event *queued = new_event(job, TN_EVENT_ACCEPTED);
    queued->event.seed = job->request.flags & TN_REQ_SEED ? job->request.seed : 4242;
    queued->event.prompt_tokens = job->request.token_count;
    queued->event.cached_tokens = 2;
    push(job->client, queued);
    push_prompt(job);
    uint32_t count = push_tokens(job, &failed);
    push_ends(job, count, failed, is_cancelled(job));
    leave(job);
    return NULL;
}

static tn_status fake_info(tn_engine *engine, tn_engine_info *ret_info)
{
    *ret_info = engine->info;
    return TN_OK;
}

static tn_status fake_client_open(tn_engine *engine, uint32_t cap, tn_client **ret_client, tn_error *err)
{
    (void)cap, (void)err;
    tn_client *client = calloc(1, sizeof *client);
    client->engine = engine;
    client->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    pthread_mutex_init(&client->lock, NULL);
    *ret_client = client;
    return TN_OK;
}

static void free_events(queued_event *queued)
{
    while (queued) {
        queued_event *next = queued->next;
        free(queued);
        queued = next;
    }
}

static void fake_client_close(tn_client *client)
{
    for (fake_job *job = client->jobs; job; job = job->next) {
        pthread_mutex_lock(&client->lock);
        job->cancelled = true;
        pthread_mutex_unlock(&client->lock);
    }
    for (fake_job *job = client->jobs, *next; job; job = next) {
        next = job->next;
        pthread_join(job->thread, NULL);
        free(job->tokens);
        free(job);
    }
    free_events(client->head);
    free_events(client->given);
    close(client->fd);
    pthread_mutex_destroy(&client->lock);
    free(client);
}

#define COPY(name, most)              \
    memcpy(last->name, request->name, \
           (request->name##_count < (most) ? request->name##_count : (most)) * sizeof *last->name)

static void remember(tn_engine *engine, const tn_request *request)
{
    fake_request *last = &engine->last;
    memset(last, 0, sizeof *last);
    last->request = *request;
    memcpy(last->tokens, request->token,
           (request->token_count < 4096 ? request->token_count : 4096) * sizeof *last->tokens);
    for (uint32_t i = 0; i < request->stop_count && i < 16; i++)
        snprintf(last->stop[i], sizeof last->stop[i], "%s", request->stop[i]);
    if (request->stop_token)
        COPY(stop_token, 16);
    if (request->allowed)
        COPY(allowed, 16);
    if (request->bias)
        COPY(bias, 16);
    if (request->cache_salt)
        snprintf(last->cache_salt, sizeof last->cache_salt, "%s", request->cache_salt);
}

/* Frees the jobs that are over, so that a long test does not run out of threads. */
static void reap(tn_client *client)
{
    fake_job *done = NULL;

    pthread_mutex_lock(&client->lock);
    for (fake_job **at = &client->jobs; *at;) {
        fake_job *job = *at;
        if (!job->over) {
            at = &job->next;
            continue;
        }
        *at = job->next;
        job->next = done;
        done = job;
    }
    pthread_mutex_unlock(&client->lock);
    for (fake_job *next; done; done = next) {
        next = done->next;
        pthread_join(done->thread, NULL);
        free(done->tokens);
        free(done);
    }
}

static tn_status fake_submit(tn_client *client, const tn_request *request, uint64_t *ret_request, tn_error *err)
{
    tn_engine *engine = client->engine;
    if (engine->submit_status != TN_OK)
        return tn_fail(err, engine->submit_status, "the script refuses");
    reap(client);

    fake_job *job = calloc(1, sizeof *job);
    job->client = client;
    job->request = *request;
    job->tokens = malloc(request->token_count * sizeof *job->tokens);
    memcpy(job->tokens, request->token, request->token_count * sizeof *job->tokens);
    if (request->stop_count)
        snprintf(job->stop, sizeof job->stop, "%s", request->stop[0]);
    pthread_mutex_lock(&engine->lock);
    remember(engine, request);
    engine->submitted++;
    engine->running++;
    pthread_mutex_unlock(&engine->lock);
    pthread_mutex_lock(&client->lock);
    job->id = ++client->next_id;
    job->next = client->jobs;
    client->jobs = job;
    *ret_request = job->id;
    if (pthread_create(&job->thread, NULL, run_job, job) != 0)
        abort();
    pthread_mutex_unlock(&client->lock);
    return TN_OK;
}

static tn_status fake_cancel(tn_client *client, uint64_t request)
{
    pthread_mutex_lock(&client->lock);
    fake_job *found = client->jobs;
    while (found && found->id != request)
        found = found->next;
    if (found)
        found->cancelled = true;
    pthread_mutex_unlock(&client->lock);
    if (!found)
        return TN_E_NOT_FOUND;
    pthread_mutex_lock(&client->engine->lock);
    client->engine->cancelled++;
    pthread_mutex_unlock(&client->engine->lock);
    return TN_OK;
}

static int fake_event_fd(tn_client *client)
{
    return client->fd;
}

static uint32_t fake_poll(tn_client *client, tn_event *out, uint32_t stride, uint32_t cap)
{
    uint32_t count = 0;
    uint64_t ignored;

    pthread_mutex_lock(&client->lock);
    free_events(client->given);
    client->given = client->head;
    queued_event *last = NULL;
    for (queued_event *queued = client->head; queued && count < cap; queued = queued->next) {
        memcpy((char *)out + (size_t)count * stride, &queued->event, sizeof queued->event);
        last = queued;
        count++;
    }
    client->head = last ? last->next : NULL;
    if (last)
        last->next = NULL;
    if (!client->head) {
        client->tail = NULL;
        if (read(client->fd, &ignored, sizeof ignored) < 0)
            ignored = 0;
    }
    pthread_mutex_unlock(&client->lock);
    return count;
}

static const tn_tokenizer_table *fake_get_tokenizer(tn_engine *engine, const tn_tok **ret_tok)
{
    *ret_tok = (const tn_tok *)engine;
    return &fake_tokenizer;
}

static uint32_t fake_retry_after(tn_engine *engine)
{
    (void)engine;
    return 7;
}

const tn_engine_table fake_engine_table = {.struct_size = sizeof fake_engine_table,
                                           .info = fake_info,
                                           .client_open = fake_client_open,
                                           .client_close = fake_client_close,
                                           .submit = fake_submit,
                                           .cancel = fake_cancel,
                                           .event_fd = fake_event_fd,
                                           .poll = fake_poll,
                                           .tokenizer = fake_get_tokenizer,
                                           .retry_after = fake_retry_after};

/* "role:content\n" for each message, then "assistant:"; content "REFUSE" is refused in the template's own words. */
static tn_status fake_render(tn_engine *engine, const char *json, uint64_t n_json, char *text, uint64_t *n_text,
                             tn_error *err)
{
    if (engine->no_template)
        return tn_fail(err, TN_E_NOT_FOUND, "no template");
    json_t *root = json_loadb(json, n_json, 0, NULL);
    if (!root)
        return tn_fail(err, TN_E_ARGUMENT, "bad JSON");
    pthread_mutex_lock(&engine->lock);
    snprintf(engine->rendered, sizeof engine->rendered, "%s", json);
    pthread_mutex_unlock(&engine->lock);

    uint64_t capacity = *n_text, used = 0;
    tn_status status = TN_OK;
    const json_t *messages = json_object_get(root, "messages");
    for (size_t i = 0; i < json_array_size(messages); i++) {
        const char *role = json_string_value(json_object_get(json_array_get(messages, i), "role"));
        const char *content = json_string_value(json_object_get(json_array_get(messages, i), "content"));
        if (content && strcmp(content, "REFUSE") == 0)
            status = tn_fail(err, TN_E_ARGUMENT, "the template says no");
        const char *const parts[] = {role, ":", content ? content : "", "\n"};
        for (int j = 0; j < 4; j++) {
            if (used + strlen(parts[j]) <= capacity)
                memcpy(text + used, parts[j], strlen(parts[j]));
            used += strlen(parts[j]);
        }
    }
    json_decref(root);
    if (status != TN_OK)
        return status;
    *n_text = used;
    return used > capacity ? tn_fail(err, TN_E_MEMORY, "too small") : TN_OK;
}

const tn_chat_table fake_chat_table = {.struct_size = sizeof fake_chat_table, .render = fake_render};

static tn_status fake_stat(tn_engine *engine, uint32_t index, tn_stat *ret_stat)
{
    static const double bounds[] = {0.1, 1};
    static const uint64_t buckets[] = {3, 4};
    static const tn_stat stats[] = {
        {.kind = TN_STAT_GAUGE, .name = "num_requests_running", .help = "Running.", .value = 2},
        {.kind = TN_STAT_COUNTER,
         .name = "request_success_total",
         .help = "Done.",
         .label = "finished_reason",
         .label_value = "stop",
         .value = 5},
        {.kind = TN_STAT_COUNTER,
         .name = "request_success_total",
         .help = "Done.",
         .label = "finished_reason",
         .label_value = "a\"b\\c\n",
         .value = 6},
        {.kind = TN_STAT_COUNTER, .name = "prefix_cache_hits", .help = "Hits.", .value = 7},
        {.kind = TN_STAT_HISTOGRAM,
         .name = "time_to_first_token_seconds",
         .help = "TTFT.",
         .value = 1.5,
         .count = 5,
         .bound = bounds,
         .bucket = buckets,
         .bucket_count = 2},
    };
    (void)engine;
    if (index >= sizeof stats / sizeof *stats)
        return TN_E_NOT_FOUND;
    *ret_stat = stats[index];
    ret_stat->struct_size = sizeof *ret_stat;
    return TN_OK;
}

static tn_status fake_health(tn_engine *engine, tn_health *ret_health)
{
    *ret_health = engine->health;
    return TN_OK;
}

const tn_stats_table fake_stats_table = {
    .struct_size = sizeof fake_stats_table, .stat = fake_stat, .health = fake_health};

const tn_sampling_defaults fake_author = {
    .temperature = 0.6f, .top_p = 0.95f, .min_p = 0.125f, .repetition = 1.1f, .top_k = 20, .max_new = 9};

void fake_engine_init(tn_engine *engine)
{
    static const char *const names[] = {"tiny", "org/tiny-alias", NULL};
    memset(engine, 0, sizeof *engine);
    engine->info = (tn_engine_info){.struct_size = sizeof engine->info,
                                    .vocab_size = FAKE_VOCAB,
                                    .max_model_len = FAKE_CONTEXT,
                                    .max_num_seqs = 8,
                                    .max_choices = 4,
                                    .max_top_logprobs = 5,
                                    .max_stop = 4,
                                    .max_stop_bytes = 32,
                                    .max_bias = 8,
                                    .max_stop_tokens = 8,
                                    .served_names = names,
                                    .model_path = "/nowhere/tiny.gguf",
                                    .architecture = "fake",
                                    .created = 1700000000,
                                    .defaults = {.temperature = 1.0f, .top_p = 1.0f, .repetition = 1.0f},
                                    .grammars = 1u << TN_GRAMMAR_JSON_SCHEMA | 1u << TN_GRAMMAR_JSON_SCHEMA_STRICT,
                                    .max_grammar_bytes = 256};
    engine->reply = "Hello";
    engine->health = (tn_health){.struct_size = sizeof engine->health, .ready = 1, .heartbeat_age_ms = 3};
    pthread_mutex_init(&engine->lock, NULL);
}

void fake_engine_finish(tn_engine *engine)
{
    pthread_mutex_destroy(&engine->lock);
}

bool fake_engine_settle(tn_engine *engine)
{
    for (int i = 0; i < FAKE_WAIT_STEPS; i++) {
        pthread_mutex_lock(&engine->lock);
        uint32_t running = engine->running;
        pthread_mutex_unlock(&engine->lock);
        if (running == 0)
            return true;
        usleep(FAKE_STEP_US);
    }
    return false;
}

uint32_t fake_engine_submitted(tn_engine *engine)
{
    pthread_mutex_lock(&engine->lock);
    uint32_t submitted = engine->submitted;
    pthread_mutex_unlock(&engine->lock);
    return submitted;
}

bool fake_engine_takes(tn_engine *engine, uint32_t count)
{
    for (int i = 0; i < FAKE_WAIT_STEPS && fake_engine_submitted(engine) < count; i++)
        usleep(FAKE_STEP_US);
    return fake_engine_submitted(engine) >= count;
}

uint32_t fake_engine_cancelled(tn_engine *engine)
{
    pthread_mutex_lock(&engine->lock);
    uint32_t cancelled = engine->cancelled;
    pthread_mutex_unlock(&engine->lock);
    return cancelled;
}

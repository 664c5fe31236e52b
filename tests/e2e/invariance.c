/* invariance.c: one request, one answer, to the bit, whatever else happens.
 *
 *   invariance MODEL PLUGINS ISA REQUESTS KV-BYTES-FOR-PREEMPTION
 *
 * Each of REQUESTS requests (greedy and sampled, one or two choices, with log-probs) is hashed: tokens, log-probs and
 * alternatives, bits and all. The hashes taken alone, one at a time, must come back at concurrency 64 among random
 * co-tenants, with prefill chunks of 16, 64 and 512, from the prefix cache and without it, and under forced preemption:
 * requests come in waves, each more urgent than those before, into a cache that holds one long sequence.
 */
#include "engine_counter.h"

#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { REQUESTS_MAX = 200, PROMPT_MAX = 160, SHORT_MAX = 40, NEW_MAX = 16, CHOICES_MAX = 2, TOP = 3, CO_TENANTS = 64 };
enum { SHARED = 32, WAVE = 10 };
enum { EXIT_SKIPPED = 77 };

typedef struct expected {
    int32_t prompt[PROMPT_MAX];
    uint32_t prompt_count, max_new, choices, top_k;
    float temperature, top_p, repetition;
    uint64_t seed;
} expected;

typedef struct hashes {
    uint64_t value[REQUESTS_MAX][CHOICES_MAX]; /* FNV-1a over events in order of index */
} hashes;

static expected requests[REQUESTS_MAX + CO_TENANTS];
static uint32_t request_count;
static uint64_t random_state = 20261123;

static uint32_t draw(uint32_t below)
{
    random_state = random_state * 6364136223846793005ull + 1442695040888963407ull;
    return (uint32_t)((random_state >> 33) % below);
}

static uint64_t mix(uint64_t hash, const void *data, size_t bytes)
{
    const unsigned char *p = data;
    for (size_t i = 0; i < bytes; i++)
        hash = (hash ^ p[i]) * 0x100000001b3ull;
    return hash;
}

/* Half of the prompts begin alike, with two pages that the prefix cache can find; every eighth is a long one, with
 * pages and chunks of its own. */
static uint32_t draw_length(uint32_t r)
{
    if (r % 8 == 1)
        return 1 + draw(PROMPT_MAX - 1);
    return r % 2 ? SHARED + draw(SHORT_MAX - SHARED) : 1 + draw(SHORT_MAX - 1);
}

static void make_requests(uint32_t vocab)
{
    int32_t shared[SHARED];
    for (uint32_t i = 0; i < SHARED; i++)
        shared[i] = (int32_t)draw(vocab);
    for (uint32_t r = 0; r < REQUESTS_MAX + CO_TENANTS; r++) {
        expected *e = &requests[r];
        e->prompt_count = draw_length(r);
        for (uint32_t i = 0; i < e->prompt_count; i++)
            e->prompt[i] = r % 2 && i < SHARED ? shared[i] : (int32_t)draw(vocab);
        e->max_new = 4 + draw(NEW_MAX - 4);
        e->choices = 1 + (r % 5 == 0);
        e->temperature = r % 3 ? 0.5f + 0.25f * (float)draw(4) : 0;
        e->top_k = r % 4 == 1 ? 40 : 0;
        e->top_p = r % 4 == 2 ? 0.9f : 1;
        e->repetition = r % 7 == 3 ? 1.2f : 1;
        e->seed = random_state;
    }
}

static void fail(const char *what, const tn_error *err)
{
    fprintf(stderr, "invariance: %s: %s\n", what, err->msg);
    exit(1);
}

static void submit(const tn_engine_table *api, tn_client *client, uint32_t index, int32_t priority)
{
    const expected *e = &requests[index];
    tn_error err = TN_ERROR_INIT;
    uint64_t id;
    tn_request request = {.struct_size = sizeof request,
                          .flags = TN_REQ_SEED | TN_REQ_IGNORE_EOS | TN_REQ_LOGPROBS,
                          .token = e->prompt,
                          .token_count = e->prompt_count,
                          .max_new = e->max_new,
                          .n_choices = e->choices,
                          .temperature = e->temperature,
                          .top_k = e->top_k,
                          .top_p = e->top_p,
                          .repetition = e->repetition,
                          .seed = e->seed,
                          .priority = priority,
                          .top_logprobs = TOP,
                          .user = index};
    if (api->submit(client, &request, &id, &err) != TN_OK)
        fail("submit", &err);
}

static void note(hashes *h, const tn_event *event)
{
    if (event->kind != TN_EVENT_TOKEN || event->user >= REQUESTS_MAX)
        return;
    uint64_t *hash = &h->value[event->user][event->choice];
    *hash = mix(*hash, &event->index, sizeof event->index);
    *hash = mix(*hash, &event->token, sizeof event->token);
    *hash = mix(*hash, &event->logprob, sizeof event->logprob);
    *hash = mix(*hash, event->top_id, event->top_count * sizeof *event->top_id);
    *hash = mix(*hash, event->top_logprob, event->top_count * sizeof *event->top_logprob);
}

/* What has happened since a schedule began. */
typedef struct progress {
    hashes *h;
    uint32_t done;
    uint32_t wave[REQUESTS_MAX + CO_TENANTS]; /* of each request that was submitted */
    uint32_t newest_started;                  /* highest wave of which a token has come */
} progress;

/* Waits for events and takes in those that are there. */
static void pull(const tn_engine_table *api, tn_client *client, progress *now)
{
    tn_event events[128];
    struct pollfd wait = {.fd = api->event_fd(client), .events = POLLIN};

    poll(&wait, 1, -1);
    events[0].struct_size = sizeof *events;
    uint32_t n = api->poll(client, events, sizeof *events, 128);
    for (uint32_t i = 0; i < n; i++) {
        note(now->h, &events[i]);
        if (now->wave[events[i].user] > now->newest_started && events[i].kind == TN_EVENT_TOKEN)
            now->newest_started = now->wave[events[i].user];
        if (events[i].kind != TN_EVENT_DONE)
            continue;
        now->done++;
        if (events[i].status != TN_OK) {
            fprintf(stderr, "invariance: request %llu: %s\n", (unsigned long long)events[i].user, events[i].text);
            exit(1);
        }
    }
}

typedef struct schedule {
    const char *name, *set[4];
    bool alone, co_tenants, twice, waves;
} schedule;

static void run_all(const tn_engine_table *api, tn_client *client, const schedule *s, hashes *h)
{
    uint32_t order[REQUESTS_MAX + CO_TENANTS], count = 0;
    progress now = {.h = h};

    memset(h, 0, sizeof *h);
    for (uint32_t r = 0; r < request_count; r++)
        order[count++] = r;
    for (uint32_t r = 0; s->co_tenants && r < CO_TENANTS; r++)
        order[count++] = REQUESTS_MAX + r;
    for (uint32_t i = count - 1; !s->alone && i > 0; i--) {
        uint32_t j = draw(i + 1), swapped = order[i];
        order[i] = order[j];
        order[j] = swapped;
    }
    for (uint32_t i = 0; i < count; i++) {
        uint32_t wave = s->waves ? i / WAVE : 0;
        now.wave[order[i]] = wave;
        submit(api, client, order[i], -(int32_t)wave);
        while (s->alone && now.done <= i)
            pull(api, client, &now);
        while (i % WAVE == WAVE - 1 && now.newest_started < wave) /* that the next wave finds this one running */
            pull(api, client, &now);
    }
    while (now.done < count)
        pull(api, client, &now);
}

static uint32_t differences(const hashes *a, const hashes *b)
{
    uint32_t count = 0;
    for (uint32_t r = 0; r < request_count; r++)
        for (uint32_t c = 0; c < requests[r].choices; c++)
            count += a->value[r][c] == 0 || a->value[r][c] != b->value[r][c];
    return count;
}

static const schedule schedules[] = {
    {.name = "alone",
     .set = {"engine.max_num_seqs=2", "engine.enable_prefix_caching=false", "engine.max_num_batched_tokens=512"},
     .alone = true},
    {.name = "64 at once, co-tenants",
     .set = {"engine.max_num_seqs=64", "engine.enable_prefix_caching=false"},
     .co_tenants = true},
    {.name = "chunks of 16", .set = {"engine.max_num_seqs=8", "engine.max_num_batched_tokens=16"}},
    {.name = "chunks of 64", .set = {"engine.max_num_seqs=16", "engine.max_num_batched_tokens=64"}},
    {.name = "chunks of 512", .set = {"engine.max_num_seqs=32", "engine.max_num_batched_tokens=512"}},
    {.name = "prefix cache hits",
     .set = {"engine.max_num_seqs=16", "engine.enable_prefix_caching=true"},
     .twice = true},
    {.name = "forced preemption",
     .set = {"engine.max_num_seqs=64", "engine.enable_prefix_caching=false", "model.max_model_len=256",
             "engine.kv_cache_memory_bytes="},
     .waves = true},
};
enum { SCHEDULES = sizeof schedules / sizeof *schedules };

/* Runs one schedule; false when the instruction set is not here. */
static bool run_schedule(const schedule *s, char **argv, const char *few_pages, hashes *h)
{
    char model[4096], plugins[4096], isa[64];
    const char *sets[16] = {model, plugins, isa, "engine.max_waiting=1000"};
    uint32_t count = 4;
    tn_error err = TN_ERROR_INIT;
    tn_runtime *runtime;
    tn_client *client;

    snprintf(model, sizeof model, "model.path=%s", argv[1]);
    snprintf(plugins, sizeof plugins, "plugins.path=%s", argv[2]);
    snprintf(isa, sizeof isa, "cpu.isa=%s", argv[3]);
    for (uint32_t i = 0; i < 4 && s->set[i]; i++)
        sets[count++] = s->set[i][strlen(s->set[i]) - 1] == '=' ? few_pages : s->set[i];
    if (tn_runtime_open(NULL, sets, &runtime, &err) != TN_OK) {
        if (strstr(err.msg, "isa"))
            return fprintf(stderr, "skipped: %s\n", err.msg), false;
        fail(s->name, &err);
    }
    tn_engine *engine = tn_runtime_engine(runtime);
    const tn_engine_table *api = tn_runtime_interface(runtime, TN_ENGINE_ID);
    const tn_stats_table *stats = tn_runtime_interface(runtime, TN_STATS_ID);
    tn_engine_info info = {.struct_size = sizeof info};
    api->info(engine, &info);
    if (requests[0].prompt_count == 0)
        make_requests(info.vocab_size);
    if (api->client_open(engine, 4096, &client, &err) != TN_OK)
        fail("client", &err);
    run_all(api, client, s, h);
    if (s->twice)
        run_all(api, client, s, h);
    double preempted = engine_counter(stats, engine, "num_preemptions_total");
    double hits = engine_counter(stats, engine, "prefix_cache_hits");
    printf("%-24s %4.0f preemptions, %6.0f cached tokens", s->name, preempted, hits);
    if ((s->waves && preempted < request_count / WAVE) || (s->twice && hits < 8 * request_count)) {
        printf(": the schedule did not do what it is for\n");
        exit(1);
    }
    api->client_close(client);
    tn_runtime_close(runtime);
    return true;
}

int main(int argc, char **argv)
{
    static hashes alone, other;
    bool failed = false;

    if (argc != 6) {
        fprintf(stderr, "usage: invariance MODEL PLUGINS ISA REQUESTS KV-BYTES-FOR-PREEMPTION\n");
        return 2;
    }
    char few_pages[64];
    snprintf(few_pages, sizeof few_pages, "engine.kv_cache_memory_bytes=%s", argv[5]);
    request_count = (uint32_t)atoi(argv[4]);
    if (request_count < 1 || request_count > REQUESTS_MAX)
        return 2;
    for (int i = 0; i < SCHEDULES; i++) {
        if (!run_schedule(&schedules[i], argv, few_pages, i ? &other : &alone))
            return EXIT_SKIPPED;
        uint32_t count = differences(&alone, i ? &other : &alone);
        printf(": %s\n", count ? "DIFFERS" : "equal");
        fflush(stdout);
        failed |= count > 0;
    }
    uint64_t all = mix(0xcbf29ce484222325ull, &alone, sizeof alone);
    printf("hash of all answers (%s): %016llx\n", argv[3], (unsigned long long)all);
    return failed;
}

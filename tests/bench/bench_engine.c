/* bench_engine.c: tokens per second through tn.engine, as a front end would see them.
 *
 *   bench_engine MODEL REPEATS [--only FIGURE] [SECTION.KEY=VALUE ...]
 *
 * Prompts are random ids, so nothing is cached except where depth is wanted: there a first request of 2,048 tokens
 * fills the prefix cache. Prints one JSON object: the median of each figure, then the machine's limits.
 */
#include "machine_limits.h"
#include "tenon/embed.h"

#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { DEPTH = 2048, PROMPT = 8, PREFILL = 512, STREAMS_MAX = 32, REPEATS_MAX = 32, IDS_MAX = 4096 };

static struct {
    tn_engine *engine;
    const tn_engine_table *api;
    tn_client *client;
    uint32_t vocab;
    uint64_t random;
} bench;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void random_ids(int32_t *ids, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        bench.random = bench.random * 6364136223846793005ull + 1442695040888963407ull;
        ids[i] = (int32_t)((bench.random >> 33) % bench.vocab);
    }
}

static void submit(const int32_t *ids, uint32_t count, uint32_t max_new)
{
    tn_error err = TN_ERROR_INIT;
    uint64_t id;
    tn_request request = {.struct_size = sizeof request,
                          .flags = TN_REQ_IGNORE_EOS,
                          .token = ids,
                          .token_count = count,
                          .max_new = max_new};
    if (bench.api->submit(bench.client, &request, &id, &err) != TN_OK) {
        fprintf(stderr, "bench: %s\n", err.msg);
        exit(1);
    }
}

/* Waits for `requests` DONE events. *ret_first: when every request had its first token, *ret_last: when all were done.
 */
static void drain(uint32_t requests, double *ret_first, double *ret_last)
{
    tn_event events[256];
    uint32_t done = 0, first = 0;
    struct pollfd wait = {.fd = bench.api->event_fd(bench.client), .events = POLLIN};

    while (done < requests) {
        poll(&wait, 1, -1);
        events[0].struct_size = sizeof *events;
        uint32_t count = bench.api->poll(bench.client, events, sizeof *events, 256);
        for (uint32_t i = 0; i < count; i++) {
            if (events[i].kind == TN_EVENT_TOKEN && events[i].index == 0 && ++first == requests)
                *ret_first = now();
            if (events[i].kind != TN_EVENT_DONE)
                continue;
            done++;
            if (events[i].status != TN_OK) {
                fprintf(stderr, "bench: %s\n", events[i].text);
                exit(1);
            }
        }
    }
    *ret_last = now();
}

/* Prompt tokens per second for `count` new tokens after `depth` cached ones. */
static double measure_prefill(uint32_t depth, uint32_t count)
{
    int32_t ids[IDS_MAX];
    double first, last;

    random_ids(ids, depth + count);
    if (depth) {
        submit(ids, depth, 1);
        drain(1, &first, &last);
    }
    double begin = now();
    submit(ids, depth + count, 1);
    drain(1, &first, &last);
    return count / (first - begin);
}

/* Generated tokens per second, all streams together, from the moment all have their first token. */
static double measure_decode(uint32_t depth, uint32_t streams, uint32_t count)
{
    int32_t ids[IDS_MAX];
    double first, last;

    for (uint32_t s = 0; s < streams; s++) {
        random_ids(ids, depth);
        submit(ids, depth, count + 1);
    }
    drain(streams, &first, &last);
    return (double)streams * count / (last - first);
}

static double median(double *values, uint32_t count)
{
    for (uint32_t i = 1; i < count; i++)
        for (uint32_t j = i; j > 0 && values[j] < values[j - 1]; j--) {
            double swapped = values[j];
            values[j] = values[j - 1];
            values[j - 1] = swapped;
        }
    return count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

typedef struct figure {
    const char *name;
    uint32_t prefill, depth, streams, decode;
} figure;

static const figure figures[] = {
    {"prefill_512", PREFILL, 0, 1, 0},
    {"decode_128", 0, PROMPT, 1, 128},
    {"prefill_512_at_2048", PREFILL, DEPTH, 1, 0},
    {"decode_64_at_2048", 0, DEPTH, 1, 64},
    {"streams_1", 0, PROMPT, 1, 64},
    {"streams_8", 0, PROMPT, 8, 64},
    {"streams_32", 0, PROMPT, 32, 64},
};

static double measure(const figure *f)
{
    return f->prefill ? measure_prefill(f->depth, f->prefill) : measure_decode(f->depth, f->streams, f->decode);
}

int main(int argc, char **argv)
{
    char path[4096];
    const char *overrides[32] = {path, "engine.max_num_seqs=32", "model.max_model_len=4096",
                                 "engine.max_num_batched_tokens=512"};
    const char *only = argc > 4 && strcmp(argv[3], "--only") == 0 ? argv[4] : NULL;
    uint32_t count = 4, repeats = argc > 2 ? (uint32_t)atoi(argv[2]) : 0;
    tn_error err = TN_ERROR_INIT;
    tn_runtime *runtime;
    tn_engine_info info = {.struct_size = sizeof info};
    cpu_set_t set;

    if (repeats < 1 || repeats > REPEATS_MAX || argc > 30) {
        fprintf(stderr, "usage: bench_engine MODEL REPEATS [--only FIGURE] [SECTION.KEY=VALUE ...]\n");
        return 2;
    }
    snprintf(path, sizeof path, "model.path=%s", argv[1]);
    for (int i = only ? 5 : 3; i < argc; i++)
        overrides[count++] = argv[i];
    if (tn_runtime_open(NULL, overrides, &runtime, &err) != TN_OK) {
        fprintf(stderr, "bench: %s\n", err.msg);
        return 1;
    }
    bench.engine = tn_runtime_engine(runtime);
    bench.api = tn_runtime_interface(runtime, TN_ENGINE_ID);
    bench.api->info(bench.engine, &info);
    bench.vocab = info.vocab_size;
    bench.random = 20261123;
    if (bench.api->client_open(bench.engine, 4096, &bench.client, &err) != TN_OK)
        return 1;

    printf("{");
    measure_decode(PROMPT, 1, 16); /* warm */
    for (size_t f = 0; f < sizeof figures / sizeof *figures; f++) {
        double values[REPEATS_MAX];
        if (only && strcmp(only, figures[f].name) != 0)
            continue;
        for (uint32_t r = 0; r < repeats; r++)
            values[r] = measure(&figures[f]);
        printf("\"%s\": %.2f, ", figures[f].name, median(values, repeats));
        fflush(stdout);
    }
    bench.api->client_close(bench.client);
    tn_runtime_close(runtime);
    uint32_t threads = sched_getaffinity(0, sizeof set, &set) == 0 ? (uint32_t)CPU_COUNT(&set) : 1;
    printf("\"limits\": {\"threads\": %u, \"read_bytes_per_s\": %.4g, \"f32_multiply_adds_per_s\": %.4g, "
           "\"i16_multiply_adds_per_s\": %.4g, \"tile_multiply_adds_per_s\": %.4g}}\n",
           threads, machine_read_bandwidth(threads), machine_multiply_adds(threads),
           machine_integer_multiply_adds(threads), machine_tile_multiply_adds(threads));
    return 0;
}

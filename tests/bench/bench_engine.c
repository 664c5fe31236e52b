/* bench_engine.c: tokens per second through tn.engine, as a front end would see them.
 *
 *   bench_engine MODEL REPEATS [--only FIGURE] [SECTION.KEY=VALUE ...]
 *
 * Prompts are random ids, so nothing is cached except where depth is wanted: there a first request of 2,048 tokens
 * fills the prefix cache. Prints one JSON object: the median of each figure, then the machine's limits.
 */
#include "engine_client.h"
#include "machine_limits.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>

enum { DEPTH = 2048, PROMPT = 8, PREFILL = 512, STREAMS_MAX = 32, REPEATS_MAX = 32, IDS_MAX = 4096 };

static engine_client bench;

/* Prompt tokens per second for `count` new tokens after `depth` cached ones. */
static double measure_prefill(uint32_t depth, uint32_t count)
{
    int32_t ids[IDS_MAX];

    engine_client_random(&bench, ids, depth + count);
    if (depth) {
        engine_client_submit(&bench, ids, depth, 1);
        engine_client_drain(&bench, 1);
    }
    double begin = clock_now();
    engine_client_submit(&bench, ids, depth + count, 1);
    return count / (engine_client_drain(&bench, 1).first - begin);
}

/* Generated tokens per second, all streams together, from the moment all have their first token. */
static double measure_decode(uint32_t depth, uint32_t streams, uint32_t count)
{
    int32_t ids[IDS_MAX];

    for (uint32_t s = 0; s < streams; s++) {
        engine_client_random(&bench, ids, depth);
        engine_client_submit(&bench, ids, depth, count + 1);
    }
    engine_progress p = engine_client_drain(&bench, streams);
    return (double)streams * count / (p.last - p.first);
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
    cpu_set_t set;

    if (repeats < 1 || repeats > REPEATS_MAX || argc > 30) {
        fprintf(stderr, "usage: bench_engine MODEL REPEATS [--only FIGURE] [SECTION.KEY=VALUE ...]\n");
        return 2;
    }
    snprintf(path, sizeof path, "model.path=%s", argv[1]);
    for (int i = only ? 5 : 3; i < argc; i++)
        overrides[count++] = argv[i];
    engine_client_open(&bench, overrides);

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
    engine_client_close(&bench);
    uint32_t threads = sched_getaffinity(0, sizeof set, &set) == 0 ? (uint32_t)CPU_COUNT(&set) : 1;
    printf("\"limits\": {\"threads\": %u, \"read_bytes_per_s\": %.4g, \"f32_multiply_adds_per_s\": %.4g, "
           "\"i16_multiply_adds_per_s\": %.4g, \"tile_multiply_adds_per_s\": %.4g}}\n",
           threads, machine_read_bandwidth(threads), machine_multiply_adds(threads),
           machine_integer_multiply_adds(threads), machine_tile_multiply_adds(threads));
    return 0;
}

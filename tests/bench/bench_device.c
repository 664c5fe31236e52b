/* bench_device.c: the shape of Llama 3 8B with made-up weights, through tn.engine on one device, against what the
 * device can read and compute: a Markdown table for each kind of weights and each mode of batch_invariant.
 *
 *   bench_device --plugins FOLDER [--backend cuda_tp] [--shape llama-3-8b|small] [--weights bf16|4-bit]
 *                [--batch-invariant on|off] [--device NAME --copy BYTES/S --matrix OPERATIONS/S] [SECTION.KEY=VALUE
 * ...]
 *
 * Without --copy and --matrix they are those of this machine's CPUs. A limit is bytes over the copy rate or operations
 * over the matrix rate, whichever is later. Decode counts the tokens between the moment at which all streams have their
 * first and that at which one has its last. Time of a step on the host: a step of the same rows of a model that has
 * next to nothing to compute, one layer of width 64.
 */
#include "device_shape.h"
#include "engine_client.h"
#include "machine_limits.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { STREAMS = 3, PREFILLS = 2, STEPS = 128, HOST_STEPS = 2000, PROMPT_MAX = 16384, OVERRIDES_MAX = 32 };

typedef struct workload {
    device_shape shape;
    uint32_t batch_tokens, depth; /* tokens of a step; cached, of each of several streams */
    uint32_t streams[STREAMS], prefill[PREFILLS];
    uint32_t requests, prompt_min, prompt_max, answer;
} workload;

static const workload workloads[] = {
    {{"llama-3-8b", 32, 4096, 32, 8, 128, 14336, 128256}, 8192, 1024, {1, 64, 256}, {4096, 8192}, 256, 128, 1024, 256},
    {{"small", 2, 256, 4, 2, 64, 512, 1024}, 128, 64, {1, 4, 8}, {128, 256}, 8, 16, 64, 16},
};
static const device_shape nothing = {"nothing", 1, 64, 1, 1, 64, 64, 64};

static struct {
    const workload *work;
    const char *plugins, *backend, *device;
    const char *extra[OVERRIDES_MAX];
    uint32_t extra_count;
    device_limits limits;
    engine_client client;
    int32_t ids[PROMPT_MAX];
} bench;

/* ---- measuring ---- */

/* Opens the shape with what follows from the workload. */
static void open_shape(const device_shape *shape, bool four_bits, bool invariant)
{
    const workload *w = bench.work;
    const uint32_t longest = w->prefill[PREFILLS - 1] + w->answer + 2 * HOST_STEPS;
    char text[8][320], path[64];
    const char *overrides[OVERRIDES_MAX + 10];
    uint32_t count = 0;

    if (!device_shape_write(shape, longest, path)) {
        fprintf(stderr, "bench: no config.json can be written in /tmp\n");
        exit(1);
    }
    snprintf(text[0], sizeof text[0], "model.path=%s", path);
    snprintf(text[1], sizeof text[1], "plugins.path=%s", bench.plugins);
    snprintf(text[2], sizeof text[2], "backend.plugin=%s", bench.backend);
    snprintf(text[3], sizeof text[3], "engine.max_num_seqs=%u", w->streams[STREAMS - 1]);
    snprintf(text[4], sizeof text[4], "engine.max_num_batched_tokens=%u", w->batch_tokens);
    snprintf(text[5], sizeof text[5], "engine.batch_invariant=%s", invariant ? "on" : "off");
    snprintf(text[6], sizeof text[6], "model.quantization=%s", four_bits ? "awq" : "auto");
    snprintf(text[7], sizeof text[7], "model.max_model_len=%u", longest);
    for (; count < 8; count++)
        overrides[count] = text[count];
    overrides[count++] = "model.load_format=dummy";
    for (uint32_t i = 0; i < bench.extra_count; i++)
        overrides[count++] = bench.extra[i];
    overrides[count] = NULL;
    engine_client_open(&bench.client, overrides);
    device_shape_remove(path);
}

static double prefill_seconds(uint32_t tokens)
{
    engine_client_random(&bench.client, bench.ids, tokens);
    double begin = clock_now();
    engine_client_submit(&bench.client, bench.ids, tokens, 1);
    return engine_client_drain(&bench.client, 1).first - begin;
}

/* Seconds of a step, over `steps` of them or more. Streams that come first answer until the last has come. */
static double decode_seconds(uint32_t streams, uint32_t depth, uint32_t steps)
{
    const uint32_t coming = (uint32_t)((uint64_t)streams * depth / bench.work->batch_tokens) + 2;

    for (uint32_t s = 0; s < streams; s++) {
        engine_client_random(&bench.client, bench.ids, depth);
        engine_client_submit(&bench.client, bench.ids, depth, steps + coming);
    }
    engine_progress p = engine_client_drain(&bench.client, streams);
    return (p.done_first - p.first) * streams / (double)p.steady_tokens;
}

/* Lengths spread evenly between the bounds, in an order without a trend. */
static uint32_t prompt_length(uint32_t i)
{
    const workload *w = bench.work;
    return w->prompt_min + i * 37 % w->requests * (w->prompt_max - w->prompt_min) / (w->requests - 1);
}

static double requests_seconds(void)
{
    const workload *w = bench.work;
    double begin = clock_now();

    for (uint32_t i = 0; i < w->requests; i++) {
        engine_client_random(&bench.client, bench.ids, prompt_length(i));
        engine_client_submit(&bench.client, bench.ids, prompt_length(i), w->answer);
    }
    return engine_client_drain(&bench.client, w->requests).last - begin;
}

/* All prompts, then all answers side by side. */
static double requests_limit(bool four_bits)
{
    const workload *w = bench.work;
    double tokens = 0, seconds = 0;

    for (uint32_t i = 0; i < w->requests; i++)
        tokens += prompt_length(i);
    seconds = tokens / w->prompt_max * device_shape_prefill_seconds(&w->shape, four_bits, w->prompt_max, bench.limits);
    return seconds + w->answer * device_shape_decode_seconds(&w->shape, four_bits, w->requests,
                                                             tokens / w->requests + w->answer / 2.0, bench.limits);
}

/* ---- the table ---- */

static void row(const char *figure, double seconds, double amount, const char *unit, double limit, const char *target)
{
    printf("| %s | %.1f %s | %.1f | %.1f %% | %s |\n", figure, amount / seconds, unit, amount / limit,
           100 * limit / seconds, target);
    fflush(stdout);
}

static void measure_shape(bool four_bits, double step[STREAMS])
{
    const workload *w = bench.work;
    char text[128];

    for (uint32_t i = 0; i < STREAMS; i++) {
        uint32_t streams = w->streams[i], depth = streams == 1 ? 8 : w->depth;
        double limit = device_shape_decode_seconds(&w->shape, four_bits, streams, depth + STEPS / 2.0, bench.limits);
        step[i] = decode_seconds(streams, depth, STEPS);
        snprintf(text, sizeof text, "decode, %u stream%s%s", streams, streams == 1 ? "" : "s",
                 streams == 1       ? ""
                 : w->depth == 1024 ? " at 1k"
                                    : " at depth");
        row(text, step[i], streams, "tok/s", limit, streams > 1 ? ">= 80 %" : four_bits ? ">= 75 %" : ">= 88 %");
    }
    for (uint32_t i = 0; i < PREFILLS; i++) {
        snprintf(text, sizeof text, "prefill of %u tokens", w->prefill[i]);
        row(text, prefill_seconds(w->prefill[i]), w->prefill[i], "tok/s",
            device_shape_prefill_seconds(&w->shape, four_bits, w->prefill[i], bench.limits),
            four_bits ? "" : ">= 60 %");
    }
    snprintf(text, sizeof text, "%u requests, prompts %u-%u, %u new each", w->requests, w->prompt_min, w->prompt_max,
             w->answer);
    row(text, requests_seconds(), (double)w->requests * w->answer, "output tok/s", requests_limit(four_bits),
        ">= 10x transformers generate");
}

static void measure_host(bool invariant, const double step[STREAMS])
{
    open_shape(&nothing, false, invariant);
    decode_seconds(1, 8, STEPS);
    for (uint32_t i = 0; i < STREAMS; i++) {
        uint32_t streams = bench.work->streams[i];
        double host = decode_seconds(streams, 8, HOST_STEPS);
        printf("| step on the host, %u row%s | %.0f us of %.0f | | %.1f %% | < 5 %% |\n", streams,
               streams == 1 ? "" : "s", host * 1e6, step[i] * 1e6, 100 * host / step[i]);
    }
    engine_client_close(&bench.client);
}

static void measure(bool four_bits, bool invariant)
{
    double step[STREAMS];
    char date[32];
    time_t now = time(NULL);

    strftime(date, sizeof date, "%Y-%m-%d", localtime(&now));
    printf("\n## %s, %s: %.1f GB/s copied, %.1f TFLOP/s bfloat16\n\n", date, bench.device, bench.limits.bytes / 1e9,
           bench.limits.operations / 1e12);
    printf("| %s, %s, batch_invariant %s | measured | limit | reached | target |\n|---|---|---|---|---|\n",
           bench.work->shape.name, four_bits ? "4-bit" : "bf16", invariant ? "on" : "off");
    open_shape(&bench.work->shape, four_bits, invariant);
    prefill_seconds(bench.work->prefill[0]); /* warm */
    measure_shape(four_bits, step);
    engine_client_close(&bench.client);
    measure_host(invariant, step);
}

/* ---- arguments ---- */

static void usage(void)
{
    fprintf(stderr,
            "usage: bench_device --plugins FOLDER [--backend NAME] [--shape llama-3-8b|small] "
            "[--weights bf16|4-bit] [--batch-invariant on|off]\n"
            "                    [--device NAME --copy BYTES/S --matrix OPERATIONS/S] [SECTION.KEY=VALUE ...]\n");
    exit(2);
}

static void limits_of_this_machine(void)
{
    cpu_set_t set;
    uint32_t threads = sched_getaffinity(0, sizeof set, &set) == 0 ? (uint32_t)CPU_COUNT(&set) : 1;
    double tiles = machine_tile_multiply_adds(threads), vectors = machine_multiply_adds(threads);

    bench.limits.bytes = machine_read_bandwidth(threads);
    bench.limits.operations = 2 * (tiles > vectors ? tiles : vectors);
}

static const workload *find_workload(const char *name)
{
    for (size_t i = 0; i < sizeof workloads / sizeof *workloads; i++)
        if (strcmp(workloads[i].shape.name, name) == 0)
            return &workloads[i];
    usage();
    return NULL;
}

/* Which of two words was given: 1 or 2; 0: neither. */
static uint32_t choose(const char *given, const char *one, const char *two)
{
    return strcmp(given, one) == 0 ? 1 : strcmp(given, two) == 0 ? 2 : 0;
}

int main(int argc, char **argv)
{
    uint32_t weights = 0, modes = 0; /* 0: both */

    bench.backend = "cuda_tp";
    bench.device = "this machine's CPUs";
    bench.work = &workloads[0];
    for (int i = 1; i < argc; i++) {
        const char *key = argv[i];
        if (key[0] != '-' && strchr(key, '=') && bench.extra_count < OVERRIDES_MAX) {
            bench.extra[bench.extra_count++] = key;
            continue;
        }
        if (++i == argc)
            usage();
        if (strcmp(key, "--plugins") == 0)
            bench.plugins = argv[i];
        else if (strcmp(key, "--backend") == 0)
            bench.backend = argv[i];
        else if (strcmp(key, "--device") == 0)
            bench.device = argv[i];
        else if (strcmp(key, "--shape") == 0)
            bench.work = find_workload(argv[i]);
        else if (strcmp(key, "--copy") == 0)
            bench.limits.bytes = strtod(argv[i], NULL);
        else if (strcmp(key, "--matrix") == 0)
            bench.limits.operations = strtod(argv[i], NULL);
        else if (strcmp(key, "--weights") == 0 && choose(argv[i], "bf16", "4-bit"))
            weights = choose(argv[i], "bf16", "4-bit");
        else if (strcmp(key, "--batch-invariant") == 0 && choose(argv[i], "on", "off"))
            modes = choose(argv[i], "on", "off");
        else
            usage();
    }
    if (!bench.plugins || (bench.limits.bytes > 0) != (bench.limits.operations > 0))
        usage();
    if (!(bench.limits.bytes > 0))
        limits_of_this_machine();
    for (uint32_t w = 1; w <= 2; w++)
        for (uint32_t m = 1; m <= 2; m++)
            if ((!weights || weights == w) && (!modes || modes == m))
                measure(w == 2, m == 1);
    return 0;
}

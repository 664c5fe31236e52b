/* bench_cpu.c: tokens per second of the CPU backend on a GGUF, the figures of peer_llama.py, through tn_backend alone.
 *
 * bench_cpu MODEL.gguf [repeats] [name...]: prefill_512, prefill_512_at_2048, decode_128, decode_64_at_2048, streams_1,
 * streams_8, streams_32. Medians; one line of JSON.
 */
#include "backend.h"
#include "model/weights.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { DEPTH = 2048, PROMPT = 8, SEQS = 32, REPEATS_MAX = 15, MODEL_LEN = DEPTH + 640, PAGE = 16 };

#define MUST(call)                                       \
    do {                                                 \
        tn_error err = TN_ERROR_INIT;                    \
        if ((call) != TN_OK) {                           \
            fprintf(stderr, "%s: %s\n", #call, err.msg); \
            exit(1);                                     \
        }                                                \
    } while (0)

static struct {
    checkpoint *checkpoint;
    weight_source source;
    model_config config;
    tn_graph *graph;
    const tn_graph_api *api;
    const tn_backend *backend;
    tn_dev *dev;
    tn_model *model;
    uint32_t pages_given[SEQS];
} bench;

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void open_model(const char *path)
{
    const uint32_t ordinal = 0;
    tn_open request = {.struct_size = sizeof request, .device_count = 1, .world = 1, .ordinal = &ordinal};
    tn_devinfo device = {.struct_size = sizeof device};

    bench.backend = cpu_backend();
    bench.source.quant = tn_plugin_entry()->get_interface(TN_QUANT_ID);
    MUST(checkpoint_open(path, &bench.checkpoint, &err));
    const tn_source *source = checkpoint_source(bench.checkpoint);
    MUST(bench.source.quant->open(source, &bench.source.qmodel, &err));
    MUST(model_config_read(source, &bench.config, &err));
    MUST(model_graph_build(&bench.config, &bench.graph, &err));
    bench.api = model_graph_api(bench.graph);
    MUST(bench.backend->device(0, &device, &err));
    tn_enc *enc = calloc(bench.api->weight_count, sizeof *enc);
    MUST(weights_choose(&bench.source, bench.graph, bench.backend, &device, enc, &err));
    tn_compile compile = {.struct_size = sizeof compile,
                          .graph = bench.graph,
                          .api = bench.api,
                          .weight_enc = enc,
                          .weight_enc_stride = sizeof *enc,
                          .batch_invariant = 1,
                          .max_tokens = 512,
                          .max_seqs = SEQS,
                          .max_outputs = SEQS,
                          .max_model_len = MODEL_LEN};
    double begin = seconds();
    MUST(bench.backend->open(&request, &bench.dev, &err));
    MUST(bench.backend->compile(bench.dev, &compile, &bench.model, &err));
    MUST(weights_load(&bench.source, bench.checkpoint, bench.graph, enc, bench.backend, bench.model, 2, NULL, &err));
    MUST(bench.backend->seal(bench.model, &err));
    MUST(bench.backend->kv_reserve(bench.model, 0, MODEL_LEN / PAGE + SEQS * 8, &err));
    fprintf(stderr, "%s, loaded in %.2f s\n", device.features, seconds() - begin);
    free(enc);
}

/* One batch: `count` tokens of each of `seqs` sequences at `cached`; the last row of each is sampled into token. */
static void run(uint32_t seqs, uint32_t cached, uint32_t count, int32_t *token, int32_t *ret_id)
{
    static int32_t position[512];
    static uint32_t start[SEQS + 1], slot[SEQS], length[SEQS], out_row[SEQS], want[SEQS];
    static uint32_t delta[4][MODEL_LEN];
    uint32_t deltas = 0, pages = (cached + count + PAGE - 1) / PAGE;
    uint64_t ticket;

    for (uint32_t s = 0; s < seqs; s++) {
        start[s] = s * count;
        slot[s] = s;
        length[s] = cached;
        out_row[s] = (s + 1) * count - 1;
        for (uint32_t i = 0; i < count; i++)
            position[s * count + i] = (int32_t)(cached + i);
        for (; bench.pages_given[s] < pages; bench.pages_given[s]++, deltas++) {
            delta[1][deltas] = s;
            delta[2][deltas] = bench.pages_given[s];
            delta[3][deltas] = s ? MODEL_LEN / PAGE + s * 8 + bench.pages_given[s] : bench.pages_given[s];
        }
    }
    start[seqs] = seqs * count;
    tn_batch batch = {.struct_size = sizeof batch,
                      .token_count = seqs * count,
                      .seq_count = seqs,
                      .out_count = seqs,
                      .delta_count = deltas,
                      .axis_count = 1,
                      .token = token,
                      .position = position,
                      .seq_start = start,
                      .slot = slot,
                      .cached_len = length,
                      .delta_group = delta[0],
                      .delta_slot = delta[1],
                      .delta_index = delta[2],
                      .delta_page = delta[3],
                      .out_row = out_row,
                      .out_want = want};
    tn_result result = {.struct_size = sizeof result, .out_count = seqs, .id = ret_id};
    MUST(bench.backend->submit(bench.model, &batch, &ticket, &err));
    MUST(bench.backend->wait(bench.model, ticket, &result, &err));
}

static void prefill(uint32_t cached, uint32_t count)
{
    int32_t token[512], id[1];

    for (uint32_t done = 0; done < count; done += 512) {
        uint32_t now = count - done < 512 ? count - done : 512;
        for (uint32_t i = 0; i < now; i++)
            token[i] = rand() % (int32_t)bench.api->vocab_size;
        run(1, cached + done, now, token, id);
    }
}

static double time_prefill(uint32_t depth)
{
    double begin = seconds();
    prefill(depth, 512);
    return 512 / (seconds() - begin);
}

static double time_decode(uint32_t seqs, uint32_t depth, uint32_t steps)
{
    int32_t token[SEQS];

    for (uint32_t s = 0; s < seqs; s++)
        token[s] = rand() % (int32_t)bench.api->vocab_size;
    double begin = seconds();
    for (uint32_t i = 0; i < steps; i++)
        run(seqs, depth + i, 1, token, token);
    return seqs * steps / (seconds() - begin);
}

static double time_streams(uint32_t seqs)
{
    int32_t token[SEQS * PROMPT], id[SEQS];
    for (uint32_t i = 0; i < seqs * PROMPT; i++)
        token[i] = rand() % (int32_t)bench.api->vocab_size;
    run(seqs, 0, PROMPT, token, id);
    return time_decode(seqs, PROMPT, 64);
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double measure(const char *name)
{
    if (strcmp(name, "prefill_512") == 0)
        return time_prefill(0);
    if (strcmp(name, "prefill_512_at_2048") == 0)
        return time_prefill(DEPTH);
    if (strcmp(name, "decode_128") == 0)
        return time_decode(1, PROMPT, 128);
    if (strcmp(name, "decode_64_at_2048") == 0)
        return time_decode(1, DEPTH, 64);
    return time_streams((uint32_t)atoi(name + strlen("streams_")));
}

int main(int argc, char **argv)
{
    static const char *const all[] = {"prefill_512", "decode_128", "prefill_512_at_2048", "decode_64_at_2048",
                                      "streams_1",   "streams_8",  "streams_32"};
    double rate[REPEATS_MAX];

    if (argc < 2) {
        fprintf(stderr, "usage: bench_cpu MODEL.gguf [repeats] [name...]\n");
        return 2;
    }
    open_model(argv[1]);
    int repeats = argc > 2 ? atoi(argv[2]) : 3;
    repeats = repeats < 1 ? 1 : repeats > REPEATS_MAX ? REPEATS_MAX : repeats;
    prefill(0, DEPTH + 512);
    printf("{");
    for (int i = 0; i < (argc > 3 ? argc - 3 : 7); i++) {
        const char *name = argc > 3 ? argv[3 + i] : all[i];
        for (int r = 0; r < repeats; r++)
            rate[r] = measure(name);
        qsort(rate, (size_t)repeats, sizeof *rate, compare);
        printf("%s\"%s\": %.1f", i ? ", " : "", name, rate[repeats / 2]);
        fflush(stdout);
    }
    printf("}\n");
    bench.backend->model_free(bench.model);
    bench.backend->close(bench.dev);
    return 0;
}

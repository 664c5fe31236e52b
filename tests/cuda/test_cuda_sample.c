/* test_cuda_sample.c: the device sampler against the vectors of the specification and against the host's sampler. */
#include "base/sampler.h"
#include "cuda_rig.h"

#include <jansson.h>

enum { VECTOR_VOCAB = 150 };

static float number(json_t *object, const char *key)
{
    return (float)json_number_value(json_object_get(object, key));
}

/* One row's parameters, all present. */
typedef struct rig_params {
    float temperature, top_p, min_p, repetition, presence, frequency;
    uint32_t top_k, choice, bias_row[2], seen_row[2];
    uint64_t seed;
    int32_t bias_token[VECTOR_VOCAB], seen_token[VECTOR_VOCAB], target;
    float bias_value[VECTOR_VOCAB];
    uint32_t seen_count[VECTOR_VOCAB];
    uint32_t *mask; /* or NULL */
    tn_sample sample;
} rig_params;

static void bind(rig_params *p)
{
    p->sample = (tn_sample){.struct_size = sizeof p->sample,
                            .top_logprobs = 5,
                            .temperature = &p->temperature,
                            .top_p = &p->top_p,
                            .min_p = &p->min_p,
                            .repetition = &p->repetition,
                            .presence = &p->presence,
                            .frequency = &p->frequency,
                            .top_k = &p->top_k,
                            .choice = &p->choice,
                            .seed = &p->seed,
                            .mask = p->mask,
                            .bias_row = p->bias_row,
                            .bias_token = p->bias_token,
                            .bias_value = p->bias_value,
                            .seen_row = p->seen_row,
                            .seen_token = p->seen_token,
                            .seen_count = p->seen_count,
                            .score_target = &p->target};
}

typedef struct rig_answer {
    int32_t id, top_id[5];
    float logprob, target_logprob, top_logprob[5];
} rig_answer;

static rig_answer on_device(const rig_params *p, const float *logits, uint32_t vocab, uint32_t position, uint32_t want)
{
    rig_answer *a = rig_alloc(sizeof *a);
    uint32_t *asked = rig_copy((uint32_t[]){position, want}, 2 * sizeof *asked);
    float *work = rig_alloc(vocab * sizeof *work), *copy = rig_copy(logits, vocab * sizeof *copy);
    a->id = -7;
    cuda_sample_args args = {.logits = copy,
                             .work = work,
                             .sample = p ? &p->sample : NULL,
                             .position = asked,
                             .want = asked + 1,
                             .id = &a->id,
                             .logprob = &a->logprob,
                             .target_logprob = &a->target_logprob,
                             .top_id = a->top_id,
                             .top_logprob = a->top_logprob,
                             .rows = 1,
                             .vocab = vocab,
                             .stride = vocab};
    assert_int_equal(cuda_sample(&args, NULL), TN_OK);
    assert_memory_equal(copy, logits, vocab * sizeof *copy);
    const rig_answer answer = *a;
    rig_free(work), rig_free(copy), rig_free(asked), rig_free(a);
    return answer;
}

static rig_answer on_host(const rig_params *p, const float *logits, uint32_t vocab, uint32_t position, uint32_t want)
{
    rig_answer a = {.id = -7};
    tn_result result = {.struct_size = sizeof result,
                        .out_count = 1,
                        .id = &a.id,
                        .logprob = &a.logprob,
                        .target_logprob = &a.target_logprob,
                        .top_id = a.top_id,
                        .top_logprob = a.top_logprob};
    float *copy = rig_alloc(vocab * sizeof *copy);
    void *scratch = rig_alloc(sampler_scratch_bytes(vocab));

    memcpy(copy, logits, vocab * sizeof *copy);
    sampler_row(p ? &p->sample : NULL, 0, position, want, copy, vocab, scratch, &result);
    rig_free(copy), rig_free(scratch);
    return a;
}

static void read_pairs(json_t *list, uint32_t start[2], int32_t *token, float *value, uint32_t *count)
{
    size_t i;
    json_t *pair;
    json_array_foreach(list, i, pair)
    {
        token[i] = (int32_t)json_integer_value(json_array_get(pair, 0));
        if (value)
            value[i] = (float)json_number_value(json_array_get(pair, 1));
        if (count)
            count[i] = (uint32_t)json_integer_value(json_array_get(pair, 1));
    }
    start[0] = 0, start[1] = (uint32_t)json_array_size(list);
}

static uint32_t read_case(json_t *c, rig_params *p, float *logits, uint32_t *mask)
{
    size_t i;
    json_t *value, *allowed = json_object_get(c, "allowed"), *seed = json_object_get(c, "seed");

    memset(mask, 0, (VECTOR_VOCAB + 31) / 32 * sizeof *mask);
    *p = (rig_params){.temperature = number(c, "temperature"),
                      .top_p = number(c, "top_p"),
                      .min_p = number(c, "min_p"),
                      .repetition = number(c, "repetition"),
                      .presence = number(c, "presence"),
                      .frequency = number(c, "frequency"),
                      .top_k = (uint32_t)number(c, "top_k"),
                      .choice = (uint32_t)number(c, "choice"),
                      .target = 0,
                      .mask = json_is_array(allowed) ? mask : NULL};
    p->seed = json_is_string(seed) ? strtoull(json_string_value(seed), NULL, 10) : (uint64_t)json_integer_value(seed);
    json_array_foreach(json_object_get(c, "logits"), i, value) logits[i] = (float)json_number_value(value);
    json_array_foreach(allowed, i, value) mask[json_integer_value(value) / 32] |= 1u << json_integer_value(value) % 32;
    read_pairs(json_object_get(c, "bias"), p->bias_row, p->bias_token, p->bias_value, NULL);
    read_pairs(json_object_get(c, "seen"), p->seen_row, p->seen_token, NULL, p->seen_count);
    bind(p);
    return (uint32_t)json_array_size(json_object_get(c, "logits"));
}

static void test_every_vector_gives_its_token(void **unused)
{
    (void)unused;
    json_error_t error;
    const char *elsewhere = getenv("TENON_SAMPLER_VECTORS");
    json_t *root = json_load_file(elsewhere ? elsewhere : SAMPLER_VECTORS, 0, &error), *c;
    size_t i;

    assert_non_null(root);
    json_array_foreach(json_object_get(root, "cases"), i, c)
    {
        rig_params *p = rig_alloc(sizeof *p);
        float logits[VECTOR_VOCAB];
        uint32_t *mask = rig_alloc((VECTOR_VOCAB + 31) / 32 * sizeof *mask), vocab = read_case(c, p, logits, mask);
        uint32_t position = (uint32_t)json_integer_value(json_object_get(c, "position"));
        shim_seed((uint32_t)i);
        rig_answer a = on_device(p, logits, vocab, position, 0);
        if (a.id != json_integer_value(json_object_get(c, "id")))
            print_message("case %zu\n", i);
        assert_int_equal(a.id, json_integer_value(json_object_get(c, "id")));
        rig_free(p), rig_free(mask);
    }
    assert_int_equal(i, 300);
    json_decref(root);
}

static void same_answers(const rig_answer *device, const rig_answer *host, uint32_t want)
{
    assert_int_equal(device->id, host->id);
    if (want & TN_WANT_LOGPROB && host->id >= 0)
        rig_near(device->logprob, (double)host->logprob, 1e-6, 1e-6);
    if (want & TN_WANT_TARGET)
        rig_near(device->target_logprob, (double)host->target_logprob, 1e-6, 1e-6);
    for (uint32_t i = 0; want & TN_WANT_TOP && i < 5; i++) {
        assert_int_equal(device->top_id[i], host->top_id[i]);
        if (host->top_id[i] >= 0)
            rig_near(device->top_logprob[i], (double)host->top_logprob[i], 1e-6, 1e-6);
    }
}

/* Vocabularies beyond one round of the block, many ties, every combination of cuts. */
static void test_large_rows_agree_with_the_host(void **unused)
{
    (void)unused;
    const uint32_t want = TN_WANT_LOGPROB | TN_WANT_TOP | TN_WANT_TARGET;
    const uint32_t vocabs[] = {3, 1000, 5003};
    uint32_t state = 77;

    for (uint32_t i = 0; i < 24; i++) {
        const uint32_t vocab = vocabs[i % 3];
        rig_params *p = rig_alloc(sizeof *p);
        *p = (rig_params){.temperature = i % 4 == 3 ? 0 : 0.7f,
                          .top_p = i & 4 ? 0.9f : 1,
                          .min_p = i & 8 ? 0.002f : 0,
                          .top_k = i & 16 ? 40 : 0,
                          .repetition = 1.3f,
                          .presence = 0.25f,
                          .frequency = 0.1f,
                          .seed = i * 977,
                          .choice = i % 3,
                          .target = 1,
                          .bias_row = {0, 3},
                          .seen_row = {0, 2},
                          .bias_token = {1, 2, 1},
                          .bias_value = {0.5f, -1, 2},
                          .seen_token = {0, 2},
                          .seen_count = {0, 3}};
        float *logits = rig_floats(vocab, 8, &state);
        p->mask = rig_alloc((vocab + 31) / 32 * 4);
        for (uint32_t t = 0; t < vocab; t++)
            logits[t] = i & 1 ? roundf(logits[t]) : logits[t]; /* ties */
        p->mask[0] &= ~2u;
        bind(p);
        if (i & 2)
            p->sample.mask = NULL;
        shim_seed(i);
        rig_answer device = on_device(p, logits, vocab, i, want), host = on_host(p, logits, vocab, i, want);
        same_answers(&device, &host, want);
        rig_free(logits), rig_free(p->mask), rig_free(p);
    }
}

static void test_greedy_takes_the_lowest_of_the_largest(void **unused)
{
    (void)unused;
    float logits[2000] = {0};
    logits[1500] = logits[1030] = 2;
    assert_int_equal(on_device(NULL, logits, 2000, 0, 0).id, 1030);
    logits[3] = NAN;
    assert_int_equal(on_device(NULL, logits, 2000, 0, 0).id, -1);
    assert_int_equal(on_device(NULL, logits, 2000, 0, TN_WANT_LOGPROB).id, -1);
    for (uint32_t i = 0; i < 2000; i++)
        logits[i] = -INFINITY;
    assert_int_equal(on_device(NULL, logits, 2000, 0, 0).id, -1);
}

static void test_rows_beyond_the_batch_stay_untouched(void **unused)
{
    (void)unused;
    float *logits = rig_copy((float[3 * 8]){0}, 3 * 8 * sizeof *logits), *work = rig_alloc(3 * 8 * sizeof *work);
    int32_t *id = rig_copy((int32_t[]){-9, -9, -9}, 3 * sizeof *id);
    uint32_t *row_count = rig_copy((uint32_t[]){2}, sizeof *row_count);
    logits[3] = logits[8 + 5] = logits[16 + 1] = 1;
    cuda_sample_args args = {
        .logits = logits, .work = work, .id = id, .row_count = row_count, .rows = 3, .vocab = 7, .stride = 8};
    assert_int_equal(cuda_sample(&args, NULL), TN_OK);
    assert_int_equal(id[0], 3);
    assert_int_equal(id[1], 5);
    assert_int_equal(id[2], -9);
    rig_free(logits), rig_free(work), rig_free(id), rig_free(row_count);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_vector_gives_its_token),
        cmocka_unit_test(test_large_rows_agree_with_the_host),
        cmocka_unit_test(test_greedy_takes_the_lowest_of_the_largest),
        cmocka_unit_test(test_rows_beyond_the_batch_stay_untouched),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

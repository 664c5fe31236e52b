/* test_sampler.c: the host sampler against sampler_vectors.json, an independent reading of the specification. */
#include "base/sampler.h"
#include "cmocka_test.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { VOCAB_MAX = 150 };

static json_t *vectors(void)
{
    json_error_t error;
    json_t *root = json_load_file(SAMPLER_VECTORS, 0, &error);
    assert_non_null(root);
    return root;
}

static uint64_t seed_of(json_t *object)
{
    const char *text = json_string_value(json_object_get(object, "seed"));
    return text ? strtoull(text, NULL, 10) : (uint64_t)json_integer_value(json_object_get(object, "seed"));
}

static float number(json_t *object, const char *key)
{
    return (float)json_number_value(json_object_get(object, key));
}

static uint32_t integer(json_t *object, const char *key)
{
    return (uint32_t)json_integer_value(json_object_get(object, key));
}

/* One case unpacked into a one-row tn_sample. */
typedef struct row {
    float logits[VOCAB_MAX], temperature, top_p, min_p, repetition, presence, frequency, bias_value[VOCAB_MAX];
    uint32_t vocab, top_k, choice, mask[(VOCAB_MAX + 31) / 32], bias_row[2], seen_row[2], seen_count[VOCAB_MAX];
    int32_t bias_token[VOCAB_MAX], seen_token[VOCAB_MAX];
    uint64_t seed;
    tn_sample sample;
} row;

static void unpack_pairs(json_t *list, uint32_t *ret_start, int32_t *ret_token, float *ret_value, uint32_t *ret_count)
{
    size_t i;
    json_t *pair;
    json_array_foreach(list, i, pair)
    {
        ret_token[i] = (int32_t)json_integer_value(json_array_get(pair, 0));
        if (ret_value)
            ret_value[i] = (float)json_number_value(json_array_get(pair, 1));
        if (ret_count)
            ret_count[i] = (uint32_t)json_integer_value(json_array_get(pair, 1));
    }
    ret_start[0] = 0;
    ret_start[1] = (uint32_t)json_array_size(list);
}

static void unpack(json_t *c, row *r)
{
    size_t i;
    json_t *value, *allowed = json_object_get(c, "allowed");

    *r = (row){.temperature = number(c, "temperature"),
               .top_p = number(c, "top_p"),
               .min_p = number(c, "min_p"),
               .repetition = number(c, "repetition"),
               .presence = number(c, "presence"),
               .frequency = number(c, "frequency"),
               .top_k = integer(c, "top_k"),
               .choice = integer(c, "choice"),
               .seed = seed_of(c)};
    json_array_foreach(json_object_get(c, "logits"), i, value) r->logits[i] = (float)json_number_value(value);
    r->vocab = (uint32_t)json_array_size(json_object_get(c, "logits"));
    unpack_pairs(json_object_get(c, "bias"), r->bias_row, r->bias_token, r->bias_value, NULL);
    unpack_pairs(json_object_get(c, "seen"), r->seen_row, r->seen_token, NULL, r->seen_count);
    json_array_foreach(allowed, i, value) r->mask[json_integer_value(value) / 32] |=
        1u << (json_integer_value(value) % 32);
    r->sample = (tn_sample){.struct_size = sizeof r->sample,
                            .top_logprobs = 3,
                            .temperature = &r->temperature,
                            .top_p = &r->top_p,
                            .min_p = &r->min_p,
                            .repetition = &r->repetition,
                            .presence = &r->presence,
                            .frequency = &r->frequency,
                            .top_k = &r->top_k,
                            .choice = &r->choice,
                            .seed = &r->seed,
                            .bias_row = r->bias_row,
                            .bias_token = r->bias_token,
                            .bias_value = r->bias_value,
                            .seen_row = r->seen_row,
                            .seen_token = r->seen_token,
                            .seen_count = r->seen_count,
                            .mask = json_is_array(allowed) ? r->mask : NULL};
}

static void test_uniform_equals_the_vectors(void **state)
{
    (void)state;
    json_t *root = vectors(), *c;
    size_t i;
    json_array_foreach(json_object_get(root, "uniform"), i, c)
    {
        double u = sampler_uniform(seed_of(c), integer(c, "choice"), integer(c, "position"));
        assert_true(u == json_number_value(json_object_get(c, "u")));
    }
    assert_int_equal(i, 5);
    json_decref(root);
}

static void test_every_vector_gives_its_token(void **state)
{
    (void)state;
    json_t *root = vectors(), *c;
    size_t i;
    void *scratch = malloc(sampler_scratch_bytes(VOCAB_MAX));
    json_array_foreach(json_object_get(root, "cases"), i, c)
    {
        row r;
        int32_t id = -7, expected = (int32_t)json_integer_value(json_object_get(c, "id"));
        tn_result result = {.struct_size = sizeof result, .out_count = 1, .id = &id};
        unpack(c, &r);
        sampler_row(&r.sample, 0, integer(c, "position"), 0, r.logits, r.vocab, scratch, &result);
        if (id != expected)
            print_message("case %zu: got %d, expected %d\n", i, id, expected);
        assert_int_equal(id, expected);
    }
    assert_int_equal(i, 300);
    free(scratch);
    json_decref(root);
}

static void test_logprobs_are_of_the_raw_logits(void **state)
{
    (void)state;
    json_t *root = vectors(), *c;
    size_t i;
    void *scratch = malloc(sampler_scratch_bytes(VOCAB_MAX));
    json_array_foreach(json_object_get(root, "cases"), i, c)
    {
        row r;
        int32_t id = -7, target = 0, top_id[3];
        float logprob, target_logprob, top[3];
        tn_result result = {.struct_size = sizeof result,
                            .out_count = 1,
                            .id = &id,
                            .logprob = &logprob,
                            .target_logprob = &target_logprob,
                            .top_id = top_id,
                            .top_logprob = top};
        json_t *expected = json_object_get(c, "logprobs");
        unpack(c, &r);
        r.sample.score_target = &target;
        sampler_row(&r.sample, 0, integer(c, "position"), TN_WANT_LOGPROB | TN_WANT_TARGET | TN_WANT_TOP, r.logits,
                    r.vocab, scratch, &result);
        if (id >= 0)
            assert_true(fabs((double)logprob - json_number_value(json_array_get(expected, (size_t)id))) < 3e-5);
        assert_true(fabs((double)target_logprob - json_number_value(json_array_get(expected, 0))) < 3e-5);
        for (uint32_t k = 0; k < 3 && k < r.vocab; k++) {
            assert_true(fabs((double)top[k] - json_number_value(json_array_get(expected, (size_t)top_id[k]))) < 3e-5);
            assert_true(k == 0 || top[k] < top[k - 1] || (top[k] == top[k - 1] && top_id[k] > top_id[k - 1]));
        }
    }
    free(scratch);
    json_decref(root);
}

static void test_nan_or_an_empty_mask_yields_no_token(void **state)
{
    (void)state;
    float logits[40] = {0}, temperature = 1;
    uint32_t mask[2] = {0, 0};
    int32_t id = 5;
    void *scratch = malloc(sampler_scratch_bytes(40));
    tn_result result = {.struct_size = sizeof result, .out_count = 1, .id = &id};
    tn_sample sample = {.struct_size = sizeof sample, .temperature = &temperature, .mask = mask};

    sampler_row(&sample, 0, 1, 0, logits, 40, scratch, &result);
    assert_int_equal(id, -1);
    for (int i = 0; i < 40; i++)
        logits[i] = i == 33 ? NAN : 0;
    sampler_row(NULL, 0, 1, 0, logits, 40, scratch, &result);
    assert_int_equal(id, -1);
    free(scratch);
}

/* 20,000 draws at temperature 1 follow softmax: chi-squared with 7 degrees of freedom stays under its 0.9999 quantile.
 */
static void test_draws_follow_the_distribution(void **state)
{
    (void)state;
    static const float logits[8] = {0, 1, 2, -1, 0.5f, 1.5f, -2, 0};
    double total = 0, chi2 = 0;
    uint32_t count[8] = {0};
    void *scratch = malloc(sampler_scratch_bytes(8));

    for (uint32_t n = 0; n < 20000; n++) {
        float copy[8], temperature = 1;
        uint64_t seed = n;
        int32_t id;
        tn_sample sample = {.struct_size = sizeof sample, .temperature = &temperature, .seed = &seed};
        tn_result result = {.struct_size = sizeof result, .out_count = 1, .id = &id};
        memcpy(copy, logits, sizeof copy);
        sampler_row(&sample, 0, 3, 0, copy, 8, scratch, &result);
        count[id]++;
    }
    for (int i = 0; i < 8; i++)
        total += exp((double)logits[i]);
    for (int i = 0; i < 8; i++) {
        double expected = 20000 * exp((double)logits[i]) / total;
        chi2 += (count[i] - expected) * (count[i] - expected) / expected;
    }
    assert_true(chi2 < 29.9);
    free(scratch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_uniform_equals_the_vectors),
        cmocka_unit_test(test_every_vector_gives_its_token),
        cmocka_unit_test(test_logprobs_are_of_the_raw_logits),
        cmocka_unit_test(test_nan_or_an_empty_mask_yields_no_token),
        cmocka_unit_test(test_draws_follow_the_distribution),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

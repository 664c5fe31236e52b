/* test_smollm2.c: a real quantized model through the interpreter, teacher-forced along llama.cpp's greedy tokens,
 * against the log-probs of a float32 reference (golden/smollm2_greedy.json). Needs TENON_TEST_MODEL.
 *
 * Tolerance 1e-4 (1.6e-5 measured): the reference sums in float32 over 30 layers and its figures are rounded to 5
 * decimals. llama.cpp itself is off by up to 0.3 here.
 */
#include "model_rig.h"
#ifdef TEST_CPU
#include "backend.h"
#else
#include "tenon/interp.h"
#endif
#include "unit/cmocka_test.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { TOKENS_MAX = 128 };
#ifdef TEST_CPU
static const double tolerance = 5e-3; /* keys and values are stored as float16 */
#else
static const double tolerance = 1e-4;
#endif

static json_t *golden;
static model_rig rig;
static float *logits; /* [TOKENS_MAX, V] */

static const tn_backend *test_backend(void)
{
#ifdef TEST_CPU
    return cpu_backend();
#else
    const tn_backend *backend = NULL;
    tn_interp_backend(tn_interp_host_ops(), &backend, NULL);
    return backend;
#endif
}

static int open_model(void **state)
{
    (void)state;
    const tn_backend *backend = test_backend();
    const tn_quant_table *quant = tn_plugin_entry()->get_interface(TN_QUANT_ID);

    golden = json_load_file(GOLDEN_DIR "/smollm2_greedy.json", 0, NULL);
    if (!golden || !backend)
        return -1;
    rig_limits limits = {
        .max_tokens = TOKENS_MAX, .max_seqs = 1, .max_outputs = TOKENS_MAX, .max_model_len = TOKENS_MAX};
    rig_open(&rig, getenv("TENON_TEST_MODEL"), quant, backend, limits);
    logits = malloc((size_t)TOKENS_MAX * rig.api->vocab_size * sizeof *logits);
    return logits ? 0 : -1;
}

static int close_model(void **state)
{
    (void)state;
    free(logits);
    rig_close(&rig);
    json_decref(golden);
    return 0;
}

static json_t *find_prompt(const char *name)
{
    json_t *prompt;
    size_t i;

    json_array_foreach(json_object_get(golden, "prompts"), i, prompt)
    {
        if (strcmp(json_string_value(json_object_get(prompt, "name")), name) == 0)
            return prompt;
    }
    fail_msg("no prompt %s", name);
    return NULL;
}

static uint32_t copy_ids(json_t *ids, int32_t *ret_ids)
{
    size_t count = json_array_size(ids);
    for (size_t i = 0; i < count; i++)
        ret_ids[i] = (int32_t)json_integer_value(json_array_get(ids, i));
    return (uint32_t)count;
}

static void assert_prompt_matches(const char *name)
{
    json_t *prompt = find_prompt(name), *expected = json_object_get(prompt, "reference_logprob");
    int32_t tokens[2 * TOKENS_MAX];
    double worst = 0;

    uint32_t prompt_count = copy_ids(json_object_get(prompt, "prompt_ids"), tokens);
    uint32_t steps = copy_ids(json_object_get(prompt, "greedy_ids"), tokens + prompt_count);
    assert_true(prompt_count + steps <= TOKENS_MAX && json_array_size(expected) == steps);
    rig_step(&rig, &(rig_run){.count = prompt_count + steps - 1, .token = tokens}, 1, logits);
    for (uint32_t i = 0; i < steps; i++) {
        const float *row = logits + (size_t)(prompt_count - 1 + i) * rig.api->vocab_size;
        double got = rig_logprob(row, rig.api->vocab_size, tokens[prompt_count + i]);
        double difference = fabs(got - json_number_value(json_array_get(expected, i)));
        worst = difference > worst || isnan(difference) ? difference : worst;
    }
    print_message("%s: %u steps, largest log-prob difference %.2g\n", name, steps, worst);
    assert_true(worst <= tolerance);
}

static void test_short_english_prompt_follows_the_reference(void **state)
{
    (void)state;
    assert_prompt_matches("english_short");
}

static void test_code_prompt_follows_the_reference(void **state)
{
    (void)state;
    assert_prompt_matches("code_c");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_short_english_prompt_follows_the_reference),
        cmocka_unit_test(test_code_prompt_follows_the_reference),
    };
    if (!getenv("TENON_TEST_MODEL"))
        return 77;
    return cmocka_run_group_tests(tests, open_model, close_model);
}

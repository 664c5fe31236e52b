/* test_llama_tiny.c: tiny random Llama checkpoints through the interpreter give the logits that transformers gives.
 *
 * Tolerance: 1e-5 of the largest logit. The golden logits are float32 sums rounded to 7 digits; ours are float64 sums,
 * so what is measured is mostly the reference's own rounding.
 */
#include "model_rig.h"
#include "tenon/interp.h"
#include "unit/cmocka_test.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PROMPT = 40, VOCAB = 320 };

static json_t *golden;
static int32_t prompt[PROMPT];

static int load_golden(void **state)
{
    (void)state;
    json_error_t error;
    golden = json_load_file(GOLDEN_DIR "/llama_tiny_logits.json", 0, &error);
    json_t *ids = json_object_get(golden, "prompt_ids");
    if (json_array_size(ids) != PROMPT)
        return -1;
    for (size_t i = 0; i < PROMPT; i++)
        prompt[i] = (int32_t)json_integer_value(json_array_get(ids, i));
    return 0;
}

static int drop_golden(void **state)
{
    (void)state;
    json_decref(golden);
    return 0;
}

static const tn_backend *interp(void)
{
    const tn_backend *backend = NULL;
    assert_int_equal(tn_interp_backend(tn_interp_host_ops(), &backend, NULL), TN_OK);
    return backend;
}

static void open_tiny(model_rig *rig, const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", GOLDEN_DIR, name);
    const tn_quant_table *quant = tn_plugin_entry()->get_interface(TN_QUANT_ID);
    rig_open(rig, path, quant, interp(),
             (rig_limits){.max_tokens = 64, .max_seqs = 4, .max_outputs = 64, .max_model_len = 100});
}

/* logits: [PROMPT, VOCAB] against the rows that the golden file has. */
static void assert_golden(const char *name, const float *logits)
{
    json_t *model = json_object_get(json_object_get(golden, "models"), name);
    json_t *rows = json_object_get(model, "logits");
    size_t first = (size_t)json_integer_value(json_object_get(model, "first_position"));
    double largest = 0, worst = 0;

    assert_true(json_array_size(rows) == PROMPT - first);
    for (size_t r = 0; r < PROMPT - first; r++)
        for (size_t i = 0; i < VOCAB; i++) {
            double want = json_number_value(json_array_get(json_array_get(rows, r), i));
            double difference = fabs((double)logits[(first + r) * VOCAB + i] - want);
            largest = fmax(largest, fabs(want));
            worst = difference > worst || isnan(difference) ? difference : worst;
        }
    print_message("%s: max |difference| / max |logit| = %.3g\n", name, worst / largest);
    assert_true(worst / largest <= 1e-5);
}

static void assert_model_matches(const char *files, const char *name)
{
    static float logits[PROMPT * VOCAB];
    model_rig rig;

    open_tiny(&rig, files);
    rig_step(&rig, &(rig_run){.slot = 0, .count = PROMPT, .token = prompt}, 1, logits);
    assert_golden(name, logits);
    rig_close(&rig);
}

static void test_float32_checkpoint_matches_transformers(void **state)
{
    (void)state;
    assert_model_matches("llama_tiny", "llama_tiny");
}

static void test_bfloat16_checkpoint_matches_transformers(void **state)
{
    (void)state;
    assert_model_matches("llama_tiny_bf16", "llama_tiny_bf16");
}

static void test_sharded_checkpoint_matches_transformers(void **state)
{
    (void)state;
    assert_model_matches("llama_tiny_sharded", "llama_tiny_bf16");
}

static void test_tied_float16_checkpoint_matches_transformers(void **state)
{
    (void)state;
    assert_model_matches("llama_tiny_tied", "llama_tiny_tied");
}

/* The prompt in pieces of `chunk` tokens. */
static void run_chunked(model_rig *rig, uint32_t slot, uint32_t chunk, float *logits)
{
    for (uint32_t at = 0; at < PROMPT; at += chunk) {
        uint32_t count = PROMPT - at < chunk ? PROMPT - at : chunk;
        rig_step(rig, &(rig_run){slot, at, count, prompt + at}, 1, logits + (size_t)at * VOCAB);
    }
}

static void test_chunks_and_single_tokens_give_the_same_bits(void **state)
{
    (void)state;
    static float whole[PROMPT * VOCAB], pieces[PROMPT * VOCAB];
    const uint32_t chunks[] = {1, 3, 16, 17};
    model_rig rig;

    open_tiny(&rig, "llama_tiny");
    rig_step(&rig, &(rig_run){.slot = 3, .count = PROMPT, .token = prompt}, 1, whole);
    for (size_t i = 0; i < sizeof chunks / sizeof *chunks; i++) {
        run_chunked(&rig, (uint32_t)i % 3, chunks[i], pieces);
        assert_memory_equal(whole, pieces, sizeof whole);
    }
    rig_close(&rig);
}

/* Three sequences at different places share each batch; each must come out as if alone. */
static void test_sequences_do_not_disturb_each_other(void **state)
{
    (void)state;
    static float alone[PROMPT * VOCAB], mixed[64 * VOCAB];
    model_rig rig;

    open_tiny(&rig, "llama_tiny");
    rig_step(&rig, &(rig_run){.slot = 0, .count = PROMPT, .token = prompt}, 1, alone);
    const rig_run first[] = {{1, 0, 20, prompt}, {2, 0, 5, prompt}, {3, 0, 18, prompt + 7}};
    rig_step(&rig, first, 3, mixed);
    assert_memory_equal(alone, mixed, 20 * VOCAB * sizeof *mixed);
    assert_memory_equal(alone, mixed + 20 * VOCAB, 5 * VOCAB * sizeof *mixed);
    const rig_run second[] = {{2, 5, 1, prompt + 5}, {3, 18, 3, prompt}, {1, 20, 20, prompt + 20}};
    rig_step(&rig, second, 3, mixed);
    assert_memory_equal(alone + 5 * VOCAB, mixed, VOCAB * sizeof *mixed);
    assert_memory_equal(alone + 20 * VOCAB, mixed + 4 * VOCAB, 20 * VOCAB * sizeof *mixed);
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_float32_checkpoint_matches_transformers),
        cmocka_unit_test(test_bfloat16_checkpoint_matches_transformers),
        cmocka_unit_test(test_sharded_checkpoint_matches_transformers),
        cmocka_unit_test(test_tied_float16_checkpoint_matches_transformers),
        cmocka_unit_test(test_chunks_and_single_tokens_give_the_same_bits),
        cmocka_unit_test(test_sequences_do_not_disturb_each_other),
    };
    return cmocka_run_group_tests(tests, load_golden, drop_golden);
}

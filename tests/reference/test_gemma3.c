/* test_gemma3.c: Gemma 3 270M, quantized, along a text longer than its window: the likeliest tokens and the perplexity
 * are llama.cpp's (golden/gemma3_270m.json). Needs TENON_TEST_GEMMA, the GGUF that gemma3.py names.
 *
 * llama.cpp ran on a float32 copy of the same weights. Tokens must agree where its two highest logits are further apart
 * than gap_min, the perplexity within 0.2 % (measured: all 719 tokens, 0.03 %).
 */
#include "backend.h"
#include "model_rig.h"
#include "unit/cmocka_test.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>

enum { TOKENS_MAX = 1024, CHUNK = 48 };
static const double gap_min = 0.05;

static int32_t argmax(const float *row, uint32_t vocab)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < vocab; i++)
        best = row[i] > row[best] ? i : best;
    return (int32_t)best;
}

typedef struct findings {
    uint32_t clear, wrong, near;
    double ours, theirs; /* sums of log-probs */
} findings;

static void compare(json_t *golden, size_t position, const float *row, uint32_t vocab, findings *f)
{
    json_t *ids = json_object_get(golden, "ids");
    int32_t next = (int32_t)json_integer_value(json_array_get(ids, position + 1));
    bool same = argmax(row, vocab) == json_integer_value(json_array_get(json_object_get(golden, "argmax"), position));
    bool is_clear = json_number_value(json_array_get(json_object_get(golden, "gap"), position)) > gap_min;

    f->clear += is_clear;
    f->wrong += is_clear && !same;
    f->near += !is_clear && !same;
    f->ours += rig_logprob(row, vocab, next);
    f->theirs += json_number_value(json_array_get(json_object_get(golden, "logprob"), position));
}

static void test_tokens_and_perplexity_are_those_of_llama_cpp(void **state)
{
    (void)state;
    const tn_quant_table *quant = tn_plugin_entry()->get_interface(TN_QUANT_ID);
    json_t *golden = json_load_file(GOLDEN_DIR "/gemma3_270m.json", 0, NULL), *ids = json_object_get(golden, "ids");
    size_t count = json_array_size(ids);
    int32_t token[TOKENS_MAX];
    findings f = {0};
    model_rig rig;

    assert_true(count > 600 && count <= TOKENS_MAX);
    for (size_t i = 0; i < count; i++)
        token[i] = (int32_t)json_integer_value(json_array_get(ids, i));
    rig_open(&rig, getenv("TENON_TEST_GEMMA"), quant, cpu_backend(),
             (rig_limits){.max_tokens = CHUNK, .max_seqs = 1, .max_outputs = CHUNK, .max_model_len = TOKENS_MAX});
    assert_int_equal(rig.api->kv_group_count, 2);
    float *logits = malloc((size_t)CHUNK * rig.api->vocab_size * sizeof *logits);
    assert_non_null(logits);
    for (size_t at = 0; at + 1 < count; at += CHUNK) {
        uint32_t rows = (uint32_t)(count - 1 - at < CHUNK ? count - 1 - at : CHUNK);
        rig_step(&rig, &(rig_run){0, (uint32_t)at, rows, token + at}, 1, logits);
        for (uint32_t r = 0; r < rows; r++)
            compare(golden, at + r, logits + (size_t)r * rig.api->vocab_size, rig.api->vocab_size, &f);
    }
    double rows = (double)(count - 1), ours = exp(-f.ours / rows), theirs = exp(-f.theirs / rows);
    print_message("%u of %u clear tokens differ, %u near-ties; perplexity %.4f, llama.cpp %.4f\n", f.wrong, f.clear,
                  f.near, ours, theirs);
    assert_int_equal(f.wrong, 0);
    assert_true(f.clear > rows / 2);
    assert_true(fabs(ours / theirs - 1) < 0.002);
    free(logits);
    rig_close(&rig);
    json_decref(golden);
}

int main(void)
{
    const char *path = getenv("TENON_TEST_GEMMA");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tokens_and_perplexity_are_those_of_llama_cpp),
    };
    if (!path || !*path) {
        print_message("skipped: TENON_TEST_GEMMA is not set\n");
        return 77;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}

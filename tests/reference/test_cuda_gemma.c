/* test_cuda_gemma.c: Gemma 3 270M, quantized, through plugins/cuda_tp over host memory with plain loops, on one rank,
 * two and four, which share its one key/value head; teacher-forced. One rank gives the tokens that llama.cpp gives
 * (golden/gemma3_270m.json), two and four those of one rank. Needs TENON_TEST_GEMMA.
 *
 * Tolerance: as in test_cuda_families.c, no logit of several ranks is further from one rank's than 4e-2 of the largest,
 * since ranks round the parts that they add up to bfloat16; most are off by far less, the likeliest ones too, so that
 * rows whose two highest logits are nearer than gap_min count as near-ties.
 */
#include "family_case.h"
#include "unit/cmocka_test.h"

#include "cuda_tp/backend.h"
#include "tenon/quant.h"

#include <math.h>
#include <stdlib.h>

enum { TOKENS = 16 };
static const double gap_min = 0.5, bound = 4e-2;

static uint32_t argmax(const float *row, uint32_t vocab, double *ret_gap)
{
    uint32_t best = 0;
    double second = -INFINITY;

    for (uint32_t i = 1; i < vocab; i++)
        best = row[i] > row[best] ? i : best;
    for (uint32_t i = 0; i < vocab; i++)
        second = i != best && (double)row[i] > second ? (double)row[i] : second;
    *ret_gap = (double)row[best] - second;
    return best;
}

/* Logits of the first tokens: [TOKENS, *ret_vocab], owned by the caller. */
static float *run(json_t *ids, uint32_t world, uint32_t *ret_vocab)
{
    const tn_quant_table *quant = tn_plugin_entry()->get_interface(TN_QUANT_ID);
    int32_t token[TOKENS];
    model_rig rig;

    for (size_t i = 0; i < TOKENS; i++)
        token[i] = (int32_t)json_integer_value(json_array_get(ids, i));
    rig_open(&rig, getenv("TENON_TEST_GEMMA"), quant, cuda_tp_backend(),
             (rig_limits){.max_tokens = TOKENS,
                          .max_seqs = 1,
                          .max_outputs = TOKENS,
                          .max_model_len = TOKENS,
                          .world = world,
                          .float_type = TN_BF16});
    *ret_vocab = rig.api->vocab_size;
    float *logits = malloc((size_t)TOKENS * *ret_vocab * sizeof *logits);
    assert_non_null(logits);
    rig_step(&rig, &(rig_run){0, 0, TOKENS, token}, 1, logits);
    rig_close(&rig);
    return logits;
}

static void compare(const float *one, const float *many, uint32_t vocab, uint32_t world)
{
    uint32_t clear = 0, differing = 0;
    double off = 0, largest = 0;

    for (size_t i = 0; i < (size_t)TOKENS * vocab; i++) {
        double difference = fabs((double)many[i] - (double)one[i]);
        off = isnan(difference) ? INFINITY : fmax(off, difference);
        largest = fmax(largest, fabs((double)one[i]));
    }
    for (size_t row = 0; row < TOKENS; row++) {
        double gap, other;
        uint32_t expected = argmax(one + row * vocab, vocab, &gap), got = argmax(many + row * vocab, vocab, &other);
        clear += gap > gap_min;
        differing += gap > gap_min && got != expected;
    }
    print_message("%u ranks: off by %.2g of the largest logit, %.3g; %u of %d rows clear, %u differ\n", world,
                  off / largest, largest, clear, TOKENS, differing);
    assert_true(off <= bound * largest);
    assert_true(clear >= TOKENS / 2);
    assert_int_equal(differing, 0);
}

static void test_ranks_give_the_tokens_of_llama_cpp(void **state)
{
    (void)state;
    char path[512];
    uint32_t vocab, wrong = 0;

    snprintf(path, sizeof path, "%s/gemma3_270m.json", golden_folder());
    json_t *golden = json_load_file(path, 0, NULL), *ids = json_object_get(golden, "ids");
    assert_true(json_array_size(ids) > TOKENS);
    float *one = run(ids, 1, &vocab);
    for (size_t row = 0; row < TOKENS; row++) {
        double gap;
        bool same = argmax(one + row * vocab, vocab, &gap) ==
                    json_integer_value(json_array_get(json_object_get(golden, "argmax"), row));
        wrong += !same && json_number_value(json_array_get(json_object_get(golden, "gap"), row)) > gap_min;
    }
    assert_int_equal(wrong, 0);
    for (uint32_t world = 2; world <= 4; world *= 2) {
        float *many = run(ids, world, &vocab);
        compare(one, many, vocab, world);
        free(many);
    }
    free(one);
    json_decref(golden);
}

int main(void)
{
    const char *path = getenv("TENON_TEST_GEMMA");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ranks_give_the_tokens_of_llama_cpp),
    };
    if (!path || !*path) {
        print_message("skipped: TENON_TEST_GEMMA is not set\n");
        return 77;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}

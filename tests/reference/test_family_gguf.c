/* test_family_gguf.c: tiny quantized GGUF files of the families give the logits that transformers gives for the tensors
 * they hold, experts in their packed form included.
 *
 * Tolerance: 1e-3 of the largest logit for the interpreter, whose weights are exact; 2e-2 for the CPU, which rounds the
 * rows that enter a quantized product to 16 bits.
 */
#include "family_case.h"
#include "unit/cmocka_test.h"

#ifdef TEST_CPU
static const double tolerance = 2e-2;
#else
static const double tolerance = 1e-3;
#endif

static void test_logits_match_transformers(void **state)
{
    (void)state;
    static float logits[FAMILY_PROMPT * FAMILY_VOCAB];
    uint32_t wrong = 0;

    assert_true(family_count() > 0);
    for (uint32_t i = 0; i < family_count(); i++) {
        char path[512];
        model_rig rig;

        snprintf(path, sizeof path, "%s/families_gguf/%s.gguf", GOLDEN_DIR, family_name(i));
        family_open(&rig, path, TN_F32, NULL);
        family_run(&rig, logits);
        rig_close(&rig);
        double error = family_error(family_name(i), logits);
        print_message("%-12s %.2g\n", family_name(i), error);
        wrong += !(error <= tolerance);
    }
    assert_int_equal(wrong, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_logits_match_transformers),
    };
    return cmocka_run_group_tests(tests, family_golden_load, family_golden_drop);
}

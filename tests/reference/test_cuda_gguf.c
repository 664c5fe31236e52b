/* test_cuda_gguf.c: plugins/cuda_tp with its kernels under the shim on quantized models: tiny GGUF files of the
 * families keep their encodings on their way to one rank, or two where there are blocks enough, and give the logits
 * that the interpreter gives, which test_family_gguf.c holds to transformers.
 *
 * Tolerance: weights are used exactly, so what is off is what test_cuda_families.c says about bfloat16: the median row
 * must be within 2e-2. A code or scale that is read wrong is in every row.
 */
#include "family_case.h"
#include "unit/cmocka_test.h"

#include "cuda_tp/backend.h"
#include "tenon/interp.h"
#include "tenon/quant.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { TOKENS = 45, VALUES = FAMILY_PROMPT * FAMILY_VOCAB };
static const double bound = 2e-2;
static float exact[VALUES], found[VALUES];

static void run(const char *path, const tn_backend *backend, uint32_t world, uint32_t kv_dtype, float *logits)
{
    model_rig rig;
    rig_limits limits = {.max_tokens = TOKENS,
                         .max_seqs = 4,
                         .max_outputs = TOKENS,
                         .max_model_len = FAMILY_PROMPT,
                         .kv_dtype = kv_dtype,
                         .world = world,
                         .float_type = TN_BF16};
    uint32_t quantized = 0;

    rig_open(&rig, path, tn_plugin_entry()->get_interface(TN_QUANT_ID), backend, limits);
    for (uint32_t id = 0; id < rig.api->weight_count; id++)
        quantized += rig.enc[id].family != TN_ENC_FLOAT;
    assert_true(quantized > 0);
    rig_step(&rig, &(rig_run){.slot = 0, .count = TOKENS, .token = family_prompt()}, 1, logits);
    rig_close(&rig);
}

static int by_size(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

static double median_error(void)
{
    double error[TOKENS] = {0}, largest = 0;

    for (int i = 0; i < TOKENS * FAMILY_VOCAB; i++) {
        double difference = fabs((double)found[i] - (double)exact[i]);
        largest = fmax(largest, fabs((double)exact[i]));
        error[i / FAMILY_VOCAB] = isnan(difference) ? INFINITY : fmax(error[i / FAMILY_VOCAB], difference);
    }
    qsort(error, TOKENS, sizeof *error, by_size);
    return error[TOKENS / 2] / largest;
}

/* A rank holds whole blocks of 32 columns and panels of 16 rows; only these models are large enough for two ranks. */
static uint32_t ranks_max(const char *name)
{
    return strncmp(name, "gemma", 5) == 0 ? 2 : 1;
}

static void test_quantized_weights_give_the_interpreters_logits(void **state)
{
    (void)state;
    const tn_backend *interp = NULL;
    uint32_t wrong = 0;

    assert_int_equal(tn_interp_backend(tn_interp_host_ops(), &interp, NULL), TN_OK);
    for (uint32_t i = 0; i < family_count(); i++) {
        const char *name = family_name(i);
        char path[512];

        snprintf(path, sizeof path, "%s/families_gguf/%s.gguf", GOLDEN_DIR, name);
        run(path, interp, 1, TN_F32, exact);
        for (uint32_t world = 1; world <= ranks_max(name); world++) {
            run(path, cuda_tp_backend(), world, 0, found);
            double error = median_error();
            print_message("%-18s %u ranks: median row %.2g\n", name, world, error);
            wrong += !(error <= bound);
        }
    }
    assert_int_equal(wrong, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_quantized_weights_give_the_interpreters_logits),
    };
    return cmocka_run_group_tests(tests, family_golden_load, family_golden_drop);
}

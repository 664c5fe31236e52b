/* test_cuda_checkpoints.c: plugins/cuda_tp on quantized checkpoints of the families (FAMILY_GOLDEN, read by plugin
 * QUANT), on devices, in host memory with plain loops, or with the kernels under the shim: weights keep their encodings
 * on their way to one rank, or two where there are blocks enough, and give the logits that the interpreter gives, which
 * test_family_gguf.c and test_families.c hold to transformers.
 *
 * Tolerance: weights are used exactly, so what is off is what test_cuda_families.c says about bfloat16: the median row
 * must be within 2e-2. A code or scale that is read wrong is in every row.
 */
#include "cuda/built_plugins.h"
#include "family_case.h"
#include "unit/cmocka_test.h"

#include "tenon/interp.h"

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
#ifdef ON_DEVICE
                         .one_device = true,
#endif
                         .float_type = TN_BF16};
    uint32_t quantized = 0;

    rig_open(&rig, path, built_quant(QUANT), backend, limits);
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

/* A rank holds whole panels of 16 rows and whole blocks of columns; only these models are large enough for two. */
static uint32_t ranks_max(const char *name)
{
    static const char *const large[] = {"gemma2", "gemma3", "phi3_fp8", "phi3_int8"};
    for (size_t i = 0; i < sizeof large / sizeof *large; i++)
        if (strcmp(name, large[i]) == 0)
            return 2;
    return 1;
}

static void open_case(const char *name, char path[512])
{
#ifdef GGUF
    snprintf(path, 512, "%s/families_gguf/%s.gguf", golden_folder(), name);
#else
    family_directory_make(name, NULL, path);
#endif
}

static void close_case(const char *path)
{
#ifdef GGUF
    (void)path;
#else
    family_directory_remove(path);
#endif
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

        open_case(name, path);
        run(path, interp, 1, TN_F32, exact);
        for (uint32_t world = 1; world <= ranks_max(name); world++) {
            run(path, cuda_tp_backend(), world, 0, found);
            double error = median_error();
            print_message("%-18s %u ranks: median row %.2g\n", name, world, error);
            wrong += !(error <= bound);
        }
        close_case(path);
    }
    assert_int_equal(wrong, 0);
}

int main(void)
{
#ifdef ON_DEVICE
    if (!built_device_count())
        return 77;
#endif
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_quantized_weights_give_the_interpreters_logits),
    };
    return cmocka_run_group_tests(tests, family_golden_load, family_golden_drop);
}

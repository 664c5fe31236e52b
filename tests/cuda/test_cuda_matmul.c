/* test_cuda_matmul.c: matmul.c over a library with cuBLASLt's names (fake_cublaslt.c) beside plain loops: every class
 * of row counts, shapes without an algorithm, failures, and nothing left behind.
 */
#include "cuda_rig.h"

#include "fake_cublaslt.h"
#include "matmul.h"
#include "plugin_options.h"

#include <dlfcn.h>

enum { ROWS = 100, N = 48, K = 80, W_STRIDE = 96, X_STRIDE = 88, Y_STRIDE = 56 };

static const fake_cublaslt_control *fake;
static const cublaslt_library *library;

typedef struct products {
    matmul_shape shapes[2]; /* of two types of y */
    matmul_place places[2];
    uint16_t *w, *x;
    void *y, *workspace;
    matmul *m;
} products;

/* cuBLASLt asks for 256 bytes. */
static uint16_t *weight_alloc(uint32_t *state)
{
    uint16_t *w = aligned_alloc(256, N * W_STRIDE * sizeof *w);

    assert_non_null(w);
    for (uint32_t i = 0; i < N * W_STRIDE; i++)
        w[i] = bf16_from_float(rig_uniform(state));
    return w;
}

static products open_products(void)
{
    uint32_t state = 9;
    products p = {.w = weight_alloc(&state),
                  .x = rig_bf16(ROWS * X_STRIDE, 1, &state),
                  .y = rig_alloc(ROWS * Y_STRIDE * 4),
                  .workspace = rig_alloc(MATMUL_WORKSPACE_BYTES)};

    for (uint32_t i = 0; i < 2; i++) {
        p.shapes[i] = (matmul_shape){.n = N,
                                     .k = K,
                                     .w_stride = W_STRIDE,
                                     .x_stride = X_STRIDE,
                                     .y_stride = Y_STRIDE,
                                     .y_type = i ? TN_F32 : TN_BF16,
                                     .rows_max = ROWS};
        p.places[i] = (matmul_place){.w = p.w, .x = p.x, .y = p.y};
    }
    return p;
}

static void close_products(products *p)
{
    matmul_destroy(p->m);
    free(p->w), free(p->x), free(p->y), free(p->workspace);
    assert_int_equal(fake->objects(), 0);
}

static tn_status create(products *p, tn_error *err)
{
    return matmul_create(library, p->shapes, p->places, 2, p->workspace, NULL, &p->m, err);
}

static void check_rows(products *p, uint32_t shape, uint32_t rows)
{
    tn_error err = TN_ERROR_INIT;
    const uint32_t type = p->shapes[shape].y_type;

    memset(p->y, 0xff, ROWS * Y_STRIDE * 4);
    assert_true(matmul_takes(p->m, shape, rows));
    assert_int_equal(matmul_run(p->m, shape, &p->places[shape], rows, NULL, &err), TN_OK);
    for (uint32_t row = 0; row < ROWS; row++)
        for (uint32_t n = 0; n < Y_STRIDE; n++) {
            double sum = 0;
            for (uint32_t k = 0; k < K; k++)
                sum += (double)float_from_bf16(p->w[n % N * W_STRIDE + k]) *
                       (double)float_from_bf16(p->x[row * X_STRIDE + k]);
            float got = rig_at(p->y, type, row * Y_STRIDE + n);
            if (row < rows && n < N)
                rig_near(got, sum, rig_rounding(type), 1e-5);
            else
                assert_true(isnan(got)); /* nobody wrote there */
        }
}

static void test_every_number_of_rows_is_multiplied(void **state)
{
    (void)state;
    products p = open_products();
    tn_error err = TN_ERROR_INIT;
    const uint32_t before = fake->products();

    assert_int_equal(create(&p, &err), TN_OK);
    assert_int_equal(fake->products(), before + 2 * 3); /* up to 32, 64 and 100 rows, each tried */
    for (uint32_t shape = 0; shape < 2; shape++) {
        const uint32_t rows[] = {17, 31, 32, 33, 64, 65, 99, ROWS};
        for (uint32_t i = 0; i < sizeof rows / sizeof *rows; i++)
            check_rows(&p, shape, rows[i]);
        assert_false(matmul_takes(p.m, shape, CUDA_FEW_ROWS));
        assert_false(matmul_takes(p.m, shape, ROWS + 1));
    }
    assert_false(matmul_takes(p.m, 2, ROWS));
    assert_false(matmul_takes(NULL, 0, ROWS));
    close_products(&p);
}

static void test_a_shape_without_an_algorithm_is_left_to_our_kernels(void **state)
{
    (void)state;
    products p = open_products();
    tn_error err = TN_ERROR_INIT;

    p.shapes[1].n = N / 2;
    fake->refuse(N / 2);
    assert_int_equal(create(&p, &err), TN_OK);
    fake->refuse(0);
    assert_true(matmul_takes(p.m, 0, ROWS));
    assert_false(matmul_takes(p.m, 1, ROWS));
    close_products(&p);
}

static void test_failures_are_said_with_the_librarys_words(void **state)
{
    (void)state;
    products p = open_products();
    tn_error err = TN_ERROR_INIT;

    fake->break_with(13);
    assert_int_equal(create(&p, &err), TN_E_DEVICE_LOST);
    assert_string_equal(err.msg, "cuBLASLt product: the execution failed");
    assert_int_equal(err.native_code, 13);
    assert_null(p.m);
    fake->break_with(0);
    close_products(&p);
}

static int open_fake(void **state)
{
    (void)state;
    tn_error err = TN_ERROR_INIT;

    assert_int_equal(plugin_option_set("cublaslt_library", "/nowhere/libcublasLt.so.13", &err), TN_OK);
    assert_int_equal(cublaslt_library_get(&library, &err), TN_E_NOT_FOUND);
    assert_non_null(strstr(err.msg, "/nowhere/libcublasLt.so.13"));
    assert_int_equal(plugin_option_set("cublaslt_library", NOT_CUBLASLT, &err), TN_OK);
    assert_int_equal(cublaslt_library_get(&library, &err), TN_E_NOT_FOUND);
    assert_non_null(strstr(err.msg, "has no cublasLtGetVersion"));
    assert_int_equal(plugin_option_set("cublaslt_library", FAKE_CUBLASLT, &err), TN_OK);
    assert_int_equal(cublaslt_library_get(&library, &err), TN_OK);
    void *opened = dlopen(FAKE_CUBLASLT, RTLD_NOW | RTLD_LOCAL);
    assert_non_null(opened);
    fake = dlsym(opened, "fake_cublaslt_controls");
    assert_non_null(fake);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_number_of_rows_is_multiplied),
        cmocka_unit_test(test_a_shape_without_an_algorithm_is_left_to_our_kernels),
        cmocka_unit_test(test_failures_are_said_with_the_librarys_words),
    };
    return cmocka_run_group_tests(tests, open_fake, NULL);
}

/* test_weights.c: encodings are chosen in order, every row arrives once and in order, and failures name the tensor.
 *
 * The fake quantization plugin offers 8-bit codes and bf16; element (n, k) of weight w has a code computed from all
 * three. The fake backend checks each block against that formula.
 */
#include "cmocka_test.h"
#include "model/weights.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct tn_qmodel {
    const tn_graph *graph;
    const char *missing, *misshapen, *nan_scale; /* names, NULL: none */
};

struct tn_model {
    const tn_graph *graph;
    pthread_mutex_t lock;
    uint64_t next_row[64];
    uint64_t bytes;
    bool fail_weight, wrong;
};

static const tn_enc codes8 = {.struct_size = sizeof(tn_enc),
                              .family = TN_ENC_AFFINE,
                              .qtype = TN_Q_SIGNED,
                              .bits = 8,
                              .group_k = 32,
                              .scale_type = TN_F16};
static const tn_enc bf16 = {.struct_size = sizeof(tn_enc), .family = TN_ENC_FLOAT, .qtype = TN_BF16, .bits = 16};

static bool refuse_codes; /* the backend's accepts has no state */

static uint32_t id_of(const tn_graph *graph, const char *name)
{
    for (uint32_t id = 0; id < model_graph_api(graph)->weight_count; id++)
        if (strcmp(model_graph_weight_name(graph, id), name) == 0)
            return id;
    return UINT32_MAX;
}

static tn_status fake_shape(const tn_qmodel *qmodel, const char *name, uint64_t *ret_n, uint64_t *ret_k, tn_error *err)
{
    uint32_t id = id_of(qmodel->graph, name);
    if (id == UINT32_MAX || (qmodel->missing && strcmp(name, qmodel->missing) == 0))
        return tn_fail(err, TN_E_NOT_FOUND, "no %s", name);
    model_graph_weight_shape(qmodel->graph, id, ret_n, ret_k);
    if (qmodel->misshapen && strcmp(name, qmodel->misshapen) == 0)
        *ret_n += 1;
    return TN_OK;
}

static tn_status fake_produces(const tn_qmodel *qmodel, const char *name, uint32_t index, tn_enc *ret_enc,
                               tn_error *err)
{
    uint64_t n, k;
    model_graph_weight_shape(qmodel->graph, id_of(qmodel->graph, name), &n, &k);
    uint32_t skipped = n == 1; /* vectors come as bf16 only */
    if (index + skipped > 1)
        return tn_fail(err, TN_E_NOT_FOUND, "no more");
    *ret_enc = index + skipped == 0 ? codes8 : bf16;
    return TN_OK;
}

static unsigned char code(uint32_t id, uint64_t n, uint64_t byte)
{
    return (unsigned char)(id * 31 + n * 7 + byte * 3 + 1);
}

static tn_status fake_transcode(const tn_qmodel *qmodel, const char *name, const tn_enc *enc, uint64_t row0,
                                uint64_t n_rows, uint64_t k0, uint64_t n_k, void *const *plane,
                                const uint64_t *plane_bytes, tn_error *err)
{
    (void)err;
    uint32_t id = id_of(qmodel->graph, name);
    uint64_t row_bytes = tn_plane_bytes(enc, TN_PLANE_CODES, 1, n_k);
    assert_int_equal(k0, 0);
    for (uint32_t p = 0; p < TN_PLANE_LIMIT; p++)
        assert_int_equal(plane_bytes[p], tn_plane_bytes(enc, p, n_rows, n_k));
    for (uint64_t i = 0; i < plane_bytes[TN_PLANE_CODES]; i++)
        ((unsigned char *)plane[TN_PLANE_CODES])[i] = code(id, row0 + i / row_bytes, i % row_bytes);
    uint16_t *scale = plane[TN_PLANE_SCALE];
    for (uint64_t i = 0; i < plane_bytes[TN_PLANE_SCALE] / 2; i++)
        scale[i] = 0x3c00;
    if (qmodel->nan_scale && strcmp(name, qmodel->nan_scale) == 0 && plane_bytes[TN_PLANE_SCALE])
        scale[plane_bytes[TN_PLANE_SCALE] / 2 - 1] = 0x7e01;
    return TN_OK;
}

static const tn_quant_table fake_quant = {
    .struct_size = sizeof(tn_quant_table), .shape = fake_shape, .produces = fake_produces, .transcode = fake_transcode};

static tn_status fake_accepts(const tn_devinfo *info, const tn_graph *graph, const tn_graph_api *api, uint32_t value,
                              const tn_enc *enc, uint32_t *ret_cost, tn_error *err)
{
    (void)info, (void)graph, (void)api, (void)value;
    if (refuse_codes && enc->family == TN_ENC_AFFINE)
        return tn_fail(err, TN_E_UNSUPPORTED, "no codes please");
    *ret_cost = 1;
    return TN_OK;
}

static tn_status fake_weight(tn_model *model, uint32_t id, const tn_planes *planes, tn_error *err)
{
    uint64_t row_bytes = planes->plane_bytes[0] / planes->n_rows, n, k;
    const unsigned char *codes = planes->plane[TN_PLANE_CODES];
    bool wrong = false;

    model_graph_weight_shape(model->graph, id, &n, &k);
    for (uint64_t i = 0; i < planes->plane_bytes[0]; i++)
        wrong |= codes[i] != code(id, planes->row0 + i / row_bytes, i % row_bytes);
    pthread_mutex_lock(&model->lock);
    wrong |= planes->row0 != model->next_row[id] || planes->n_k != k || planes->row0 % 16 != 0;
    model->next_row[id] += planes->n_rows;
    model->wrong |= wrong;
    for (uint32_t p = 0; p < TN_PLANE_LIMIT; p++)
        model->bytes += planes->plane_bytes[p];
    pthread_mutex_unlock(&model->lock);
    return model->fail_weight ? tn_fail(err, TN_E_MEMORY, "device is full") : TN_OK;
}

static const tn_backend fake_backend = {
    .struct_size = sizeof(tn_backend), .accepts = fake_accepts, .weight = fake_weight};

typedef struct fixture {
    tn_graph *graph;
    tn_qmodel qmodel;
    tn_model model;
    weight_source source;
    tn_enc enc[64];
} fixture;

static int setup(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    model_config config = {.architecture = "llama",
                           .layers = 3,
                           .model_width = 64,
                           .ff_width = 160,
                           .heads = 4,
                           .kv_heads = 2,
                           .head_dim = 16,
                           .vocab = 20011,
                           .norm_eps = 1e-5f,
                           .rope_theta = 10000.0f,
                           .rope_dim = 16,
                           .rope_factor = 1.0f};
    if (model_graph_build(&config, &f->graph, NULL) != TN_OK)
        return -1;
    f->qmodel.graph = f->model.graph = f->graph;
    pthread_mutex_init(&f->model.lock, NULL);
    f->source = (weight_source){.quant = &fake_quant, .qmodel = &f->qmodel};
    refuse_codes = false;
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;
    model_graph_free(f->graph);
    free(f);
    return 0;
}

static tn_status choose(fixture *f, tn_error *err)
{
    return weights_choose(&f->source, f->graph, &fake_backend, NULL, f->enc, err);
}

static void test_first_accepted_encoding_is_chosen(void **state)
{
    fixture *f = *state;
    tn_error err = TN_ERROR_INIT;

    assert_int_equal(choose(f, &err), TN_OK);
    assert_int_equal(f->enc[id_of(f->graph, "blk.1.ffn_up.weight")].bits, 8);
    assert_int_equal(f->enc[id_of(f->graph, "blk.1.ffn_norm.weight")].bits, 16);
    refuse_codes = true;
    assert_int_equal(choose(f, &err), TN_OK);
    assert_int_equal(f->enc[id_of(f->graph, "blk.1.ffn_up.weight")].bits, 16);
}

static void test_missing_and_misshapen_tensors_are_named(void **state)
{
    fixture *f = *state;
    tn_error err = TN_ERROR_INIT;

    f->qmodel.missing = "blk.2.attn_v.weight";
    assert_int_equal(choose(f, &err), TN_E_CORRUPT);
    assert_non_null(strstr(err.msg, "blk.2.attn_v.weight is missing"));
    f->qmodel.missing = NULL;
    f->qmodel.misshapen = "blk.0.ffn_down.weight";
    assert_int_equal(choose(f, &err), TN_E_CORRUPT);
    assert_non_null(strstr(err.msg, "blk.0.ffn_down.weight is 65 x 160, the model's configuration needs 64 x 160"));
}

static void progress_is_monotonic(void *ctx, uint64_t bytes_done, uint64_t bytes_total)
{
    uint64_t *last = ctx;
    if (bytes_done <= last[0] || bytes_done > bytes_total)
        last[1] = 1;
    last[0] = bytes_done;
}

static void test_every_row_arrives_once_and_in_order(void **state)
{
    fixture *f = *state;
    tn_error err = TN_ERROR_INIT;
    uint64_t seen[2] = {0, 0};
    weights_progress progress = {progress_is_monotonic, seen};

    assert_int_equal(choose(f, &err), TN_OK);
    assert_int_equal(weights_load(&f->source, NULL, f->graph, f->enc, &fake_backend, &f->model, 4, &progress, &err),
                     TN_OK);
    assert_false(f->model.wrong);
    for (uint32_t id = 0; id < model_graph_api(f->graph)->weight_count; id++) {
        uint64_t n, k;
        model_graph_weight_shape(f->graph, id, &n, &k);
        assert_int_equal(f->model.next_row[id], n);
    }
    assert_int_equal(seen[0], f->model.bytes);
    assert_int_equal(seen[1], 0);
}

static void test_staging_grows_with_threads_and_stays_small(void **state)
{
    fixture *f = *state;
    assert_int_equal(choose(f, NULL), TN_OK);
    uint64_t one = weights_staging_bytes(f->graph, f->enc, 1);
    assert_true(one > 0 && one <= (256 << 10) + 256);
    assert_int_equal(weights_staging_bytes(f->graph, f->enc, 3), 3 * one);
}

static void test_a_failing_backend_stops_the_load(void **state)
{
    fixture *f = *state;
    tn_error err = TN_ERROR_INIT;
    assert_int_equal(choose(f, &err), TN_OK);
    f->model.fail_weight = true;
    assert_int_equal(weights_load(&f->source, NULL, f->graph, f->enc, &fake_backend, &f->model, 2, NULL, &err),
                     TN_E_MEMORY);
    assert_string_equal(err.msg, "device is full");
}

static void test_scales_that_are_not_finite_are_refused(void **state)
{
    fixture *f = *state;
    tn_error err = TN_ERROR_INIT;
    assert_int_equal(choose(f, &err), TN_OK);
    f->qmodel.nan_scale = "blk.1.ffn_gate.weight";
    assert_int_equal(weights_load(&f->source, NULL, f->graph, f->enc, &fake_backend, &f->model, 2, NULL, &err),
                     TN_E_CORRUPT);
    assert_non_null(strstr(err.msg, "blk.1.ffn_gate.weight: a scale"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_first_accepted_encoding_is_chosen, setup, teardown),
        cmocka_unit_test_setup_teardown(test_missing_and_misshapen_tensors_are_named, setup, teardown),
        cmocka_unit_test_setup_teardown(test_every_row_arrives_once_and_in_order, setup, teardown),
        cmocka_unit_test_setup_teardown(test_staging_grows_with_threads_and_stays_small, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_failing_backend_stops_the_load, setup, teardown),
        cmocka_unit_test_setup_teardown(test_scales_that_are_not_finite_are_refused, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* test_weight_parts.c: weights that the graph cuts from a tensor or stacks from several keep their codes, and each part
 * its own order of columns and input scale.
 *
 * A fake quantization plugin offers 8-bit codes and bf16 for whatever tensor the graph asks for; everything in its
 * planes follows from the tensor's name. The fake backend checks each block against that.
 */
#include "cmocka_test.h"
#include "model/weight_parts.h"

#include <stdlib.h>
#include <string.h>

enum { WIDTH = 64, EXPERT_ROWS = 24, EXPERTS = 3, KV_ROWS = 32 };

struct tn_qmodel {
    const tn_graph *graph;
    tn_enc codes;                  /* of every matrix, but for: */
    const char *in_order, *narrow; /* tensors whose name contains this are not permuted, have 4 bits; NULL: none */
};

struct tn_model {
    const tn_qmodel *qmodel;
    const tn_enc *enc;
    uint64_t rows[64];
    uint32_t wrong;
};

static const tn_enc bf16 = {.struct_size = sizeof(tn_enc), .family = TN_ENC_FLOAT, .qtype = TN_BF16, .bits = 16};

static bool find_part(const tn_graph *graph, const char *tensor, weight_part *ret_part)
{
    for (uint32_t id = 0; id < model_graph_api(graph)->weight_count; id++) {
        for (uint32_t i = 0; i < model_graph_part_count(graph, id); i++) {
            model_graph_part(graph, id, i, ret_part);
            if (strcmp(ret_part->tensor, tensor) == 0)
                return true;
        }
    }
    return false;
}

static bool is_named(const char *tensor, const char *piece)
{
    return piece && strstr(tensor, piece);
}

/* ---- the plugin ---- */

static uint32_t mark(const char *tensor)
{
    uint32_t sum = 0;
    for (; *tensor; tensor++)
        sum = sum * 31 + (unsigned char)*tensor;
    return sum;
}

/* 5 is prime to every width here. */
static uint32_t input_of(const tn_qmodel *qmodel, const char *tensor, uint64_t columns, uint32_t column)
{
    bool permuted = qmodel->codes.flags & TN_ENC_PERM_K && !is_named(tensor, qmodel->in_order);
    return permuted ? (uint32_t)((column * 5 + mark(tensor) % columns) % columns) : column;
}

static unsigned char code_of(const char *tensor, uint64_t row, uint64_t byte)
{
    return (unsigned char)(mark(tensor) + row * 7 + byte * 3);
}

static tn_status fake_shape(const tn_qmodel *qmodel, const char *name, uint64_t *ret_n, uint64_t *ret_k, tn_error *err)
{
    weight_part part;
    if (!find_part(qmodel->graph, name, &part))
        return tn_fail(err, TN_E_NOT_FOUND, "no %s", name);
    *ret_n = part.tensor_rows;
    *ret_k = part.tensor_columns;
    return TN_OK;
}

/* Codes as they are, by rows if rows share scales, bf16. */
static tn_status fake_produces(const tn_qmodel *qmodel, const char *name, uint32_t index, tn_enc *ret_enc,
                               tn_error *err)
{
    uint64_t n, k;
    bool shared = qmodel->codes.group_n > 1;

    assert_int_equal(fake_shape(qmodel, name, &n, &k, err), TN_OK);
    index += n == 1 ? 2 : index > 0 && !shared;
    if (index > 2)
        return tn_fail(err, TN_E_NOT_FOUND, "no more");
    *ret_enc = index == 2 ? bf16 : qmodel->codes;
    if (index == 1)
        ret_enc->group_n = 1;
    if (index < 2 && is_named(name, qmodel->in_order))
        ret_enc->flags = 0;
    if (index < 2 && is_named(name, qmodel->narrow))
        ret_enc->bits = 4;
    return TN_OK;
}

static tn_status fake_transcode(const tn_qmodel *qmodel, const char *name, const tn_enc *enc, uint64_t row0,
                                uint64_t n_rows, uint64_t k0, uint64_t n_k, void *const *plane,
                                const uint64_t *plane_bytes, tn_error *err)
{
    uint64_t row_bytes = tn_plane_bytes(enc, TN_PLANE_CODES, 1, n_k);

    assert_int_equal(k0, 0);
    assert_false(enc->flags & TN_ENC_PARTS || enc->part_n);
    assert_int_equal(row0 % (enc->group_n > 1 ? enc->group_n : 1), 0);
    for (uint32_t p = 0; p < TN_PLANE_LIMIT; p++)
        assert_int_equal(plane_bytes[p], tn_plane_bytes(enc, p, n_rows, n_k));
    for (uint64_t i = 0; i < plane_bytes[TN_PLANE_CODES]; i++)
        ((unsigned char *)plane[TN_PLANE_CODES])[i] = code_of(name, row0 + i / row_bytes, i % row_bytes);
    for (uint64_t i = 0; i < plane_bytes[TN_PLANE_SCALE] / sizeof(float); i++)
        ((float *)plane[TN_PLANE_SCALE])[i] = 1.0f;
    for (uint32_t k = 0; k < plane_bytes[TN_PLANE_PERM] / sizeof(uint32_t); k++)
        ((uint32_t *)plane[TN_PLANE_PERM])[k] = input_of(qmodel, name, n_k, k);
    if (plane_bytes[TN_PLANE_INPUT_SCALE])
        *(float *)plane[TN_PLANE_INPUT_SCALE] = (float)(mark(name) % 1000);
    (void)err;
    return TN_OK;
}

static const tn_quant_table fake_quant = {
    .struct_size = sizeof(tn_quant_table), .shape = fake_shape, .produces = fake_produces, .transcode = fake_transcode};

/* ---- the backend ---- */

static tn_status fake_accepts(const tn_devinfo *info, const tn_graph *graph, const tn_graph_api *api, uint32_t value,
                              const tn_enc *enc, uint32_t *ret_cost, tn_error *err)
{
    (void)info, (void)graph, (void)api, (void)value, (void)enc, (void)err;
    *ret_cost = 1;
    return TN_OK;
}

/* The part that holds row `row` of a weight; *ret_row is the row of its tensor. */
static weight_part part_at(const tn_graph *graph, uint32_t id, uint64_t row, uint64_t *ret_row)
{
    weight_part part;
    for (uint32_t i = 0;; i++) {
        model_graph_part(graph, id, i, &part);
        if (row < part.rows)
            break;
        row -= part.rows;
    }
    *ret_row = part.row0 + row * part.row_step;
    return part;
}

static tn_status fake_weight(tn_model *model, uint32_t id, const tn_planes *planes, tn_error *err)
{
    const tn_qmodel *qmodel = model->qmodel;
    const uint32_t *perm = planes->plane[TN_PLANE_PERM];
    const float *input = planes->plane[TN_PLANE_INPUT_SCALE];
    uint64_t row_bytes = planes->plane_bytes[TN_PLANE_CODES] / planes->n_rows;

    for (uint64_t i = 0; i < planes->n_rows; i++) {
        uint64_t row;
        weight_part part = part_at(qmodel->graph, id, planes->row0 + i, &row);
        const unsigned char *codes = (const unsigned char *)planes->plane[TN_PLANE_CODES] + i * row_bytes;
        for (uint64_t byte = 0; byte < row_bytes; byte++)
            model->wrong += codes[byte] != code_of(part.tensor, row, byte);
        for (uint32_t k = 0; perm && k < planes->n_k; k++)
            model->wrong += perm[k] != input_of(qmodel, part.tensor, planes->n_k, k);
        model->wrong += input && *input != (float)(mark(part.tensor) % 1000);
    }
    model->wrong += !perm != !(model->enc[id].flags & TN_ENC_PERM_K);
    model->rows[id] += planes->n_rows;
    (void)err;
    return TN_OK;
}

static const tn_backend fake_backend = {
    .struct_size = sizeof(tn_backend), .accepts = fake_accepts, .weight = fake_weight};

/* ---- tests ---- */

typedef struct fixture {
    tn_graph *graph;
    tn_qmodel qmodel;
    tn_enc enc[64];
} fixture;

/* One layer: q, k and v in one tensor, a tensor for each expert. */
static int setup(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    model_config config = {.architecture = "llama",
                           .layers = 1,
                           .model_width = WIDTH,
                           .ff_width = EXPERT_ROWS,
                           .heads = 4,
                           .kv_heads = 2,
                           .head_dim = KV_ROWS / 2,
                           .vocab = 128,
                           .norm_eps = 1e-5f,
                           .rope_theta = 10000.0f,
                           .rope_dim = 16,
                           .rope_factor = 1.0f,
                           .fused_qkv = true,
                           .numbered_experts = true,
                           .experts = EXPERTS,
                           .experts_chosen = 2};
    if (model_graph_build(&config, &f->graph, NULL) != TN_OK)
        return -1;
    f->qmodel.graph = f->graph;
    f->qmodel.codes = (tn_enc){.struct_size = sizeof(tn_enc),
                               .family = TN_ENC_AFFINE,
                               .qtype = TN_Q_SIGNED,
                               .bits = 8,
                               .group_k = 8,
                               .scale_type = TN_F32};
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

static const tn_enc *enc_of(const fixture *f, const char *name)
{
    uint32_t id = 0;
    while (strcmp(model_graph_weight_name(f->graph, id), name) != 0)
        id++;
    return &f->enc[id];
}

/* Chooses and loads; every row must arrive, with what belongs to it. */
static void load(fixture *f)
{
    weight_source source = {.quant = &fake_quant, .qmodel = &f->qmodel};
    tn_model model = {.qmodel = &f->qmodel, .enc = f->enc};
    tn_error err = TN_ERROR_INIT;

    if (weights_choose(&source, f->graph, &fake_backend, NULL, f->enc, &err) != TN_OK ||
        weights_load(&source, NULL, f->graph, f->enc, &fake_backend, &model, 1, NULL, &err) != TN_OK)
        fail_msg("%s", err.msg);
    assert_int_equal(model.wrong, 0);
    for (uint32_t id = 0; id < model_graph_api(f->graph)->weight_count; id++) {
        uint64_t n, k;
        model_graph_weight_shape(f->graph, id, &n, &k);
        assert_int_equal(model.rows[id], n);
    }
}

static void assert_parts(const fixture *f, uint32_t flags)
{
    const tn_enc *gate = enc_of(f, "blk.0.ffn_gate.*.weight"), *down = enc_of(f, "blk.0.ffn_down.*.weight");

    assert_int_equal(gate->bits, 8);
    assert_int_equal(gate->flags, flags);
    assert_int_equal(gate->part_n, flags & TN_ENC_PARTS ? EXPERT_ROWS : 0);
    assert_int_equal(down->flags, flags);
    assert_int_equal(down->part_n, flags & TN_ENC_PARTS ? WIDTH : 0);
}

static void test_parts_keep_their_order_of_columns(void **state)
{
    fixture *f = *state;

    f->qmodel.codes.flags = TN_ENC_PERM_K;
    load(f);
    assert_parts(f, TN_ENC_PERM_K | TN_ENC_PARTS);
    assert_int_equal(enc_of(f, "blk.0.attn_k.weight")->flags, TN_ENC_PERM_K); /* rows of one tensor */
    assert_int_equal(enc_of(f, "blk.0.attn_output.weight")->flags, TN_ENC_PERM_K);
}

static void test_a_part_that_is_in_order_joins_those_that_are_not(void **state)
{
    fixture *f = *state;

    f->qmodel.codes.flags = TN_ENC_PERM_K;
    f->qmodel.in_order = ".0.weight"; /* the first */
    load(f);
    assert_parts(f, TN_ENC_PERM_K | TN_ENC_PARTS);
    f->qmodel.in_order = ".2.weight";
    load(f);
    assert_parts(f, TN_ENC_PERM_K | TN_ENC_PARTS);
    f->qmodel.in_order = "ffn"; /* all of them */
    load(f);
    assert_parts(f, 0);
}

static void test_parts_keep_their_input_scales(void **state)
{
    fixture *f = *state;

    f->qmodel.codes.act_scheme = TN_INPUT_STATIC;
    f->qmodel.codes.act_type = TN_S8;
    load(f);
    assert_parts(f, TN_ENC_PARTS);
    assert_int_equal(enc_of(f, "blk.0.ffn_up.*.weight")->act_scheme, TN_INPUT_STATIC);
    assert_int_equal(enc_of(f, "blk.0.attn_v.weight")->flags, 0);
}

static void test_rows_that_would_be_parted_take_their_scales_along(void **state)
{
    fixture *f = *state;

    f->qmodel.codes.group_n = 1024; /* one for a tensor */
    load(f);
    assert_parts(f, 0);
    assert_int_equal(enc_of(f, "blk.0.ffn_gate.*.weight")->group_n, 1);
    assert_int_equal(enc_of(f, "blk.0.attn_q.weight")->group_n, 1);
    assert_int_equal(enc_of(f, "blk.0.attn_v.weight")->bits, 8);
    assert_int_equal(enc_of(f, "blk.0.attn_output.weight")->group_n, 1024);
    f->qmodel.codes.group_n = 12;
    load(f);
    assert_int_equal(enc_of(f, "blk.0.ffn_gate.*.weight")->group_n, 12);
    assert_int_equal(enc_of(f, "blk.0.ffn_down.*.weight")->group_n, 1);
}

static void test_parts_that_have_nothing_in_common_become_bf16(void **state)
{
    fixture *f = *state;

    f->qmodel.codes.flags = TN_ENC_PERM_K;
    f->qmodel.narrow = "ffn_gate.1";
    load(f);
    assert_int_equal(enc_of(f, "blk.0.ffn_gate.*.weight")->family, TN_ENC_FLOAT);
    assert_int_equal(enc_of(f, "blk.0.ffn_up.*.weight")->bits, 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_parts_keep_their_order_of_columns, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_part_that_is_in_order_joins_those_that_are_not, setup, teardown),
        cmocka_unit_test_setup_teardown(test_parts_keep_their_input_scales, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rows_that_would_be_parted_take_their_scales_along, setup, teardown),
        cmocka_unit_test_setup_teardown(test_parts_that_have_nothing_in_common_become_bf16, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

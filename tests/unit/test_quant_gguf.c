/* test_quant_gguf.c: planes decoded by the letter of tenon/encoding.h give, bit for bit, what `reference` reads from
 * the same blocks; for random blocks of each type, whole and in parts. Values against other programs: tests/reference.
 */
#include "canonical.h"
#include "cmocka_test.h"
#include "gguf_writer.h"
#include "model/container.h"
#include "tenon/quant.h"

#include <math.h>

static const struct {
    uint32_t type, block_bytes, elements, factor_at[2];
    uint32_t growth; /* bytes per block: scales of four and six bits become bytes */
} types[] = {
    {0, 4, 1, {0, 0}, 0},          {1, 2, 1, {0, 0}, 0},          {30, 2, 1, {0, 0}, 0},     {2, 18, 32, {0, 0}, 0},
    {3, 20, 32, {0, 2}, 0},        {6, 22, 32, {0, 0}, 0},        {7, 24, 32, {0, 2}, 0},    {8, 34, 32, {0, 0}, 0},
    {10, 84, 256, {80, 82}, 16},   {11, 110, 256, {108, 108}, 4}, {12, 144, 256, {0, 2}, 4}, {13, 176, 256, {0, 2}, 4},
    {14, 210, 256, {208, 208}, 0}, {20, 18, 32, {0, 0}, 0},       {23, 136, 256, {0, 0}, 2}, {39, 17, 32, {0, 0}, 0},
};
enum { TYPE_COUNT = sizeof types / sizeof types[0], ROWS = 5, COLUMNS = 1024, MXFP4 = 39 };

typedef struct fixture {
    byte_writer file;
    checkpoint *checkpoint;
    const tn_quant_table *quant;
    tn_qmodel *qmodel;
} fixture;

static uint32_t random_state = 1;

static uint32_t random_u32(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 17;
    random_state ^= random_state << 5;
    return random_state;
}

/* Random bytes whose binary16 factors are finite; float tensors get finite halves, and so do the halves of floats. */
static void write_random_blocks(byte_writer *w, size_t type, uint64_t blocks)
{
    for (uint64_t i = 0; i < blocks; i++) {
        uint8_t block[256];
        for (uint32_t j = 0; j < types[type].block_bytes; j++)
            block[j] = (uint8_t)(random_u32() >> 11);
        for (uint32_t factor = 0; factor < 2; factor++)
            block[types[type].factor_at[factor] + 1] &= 0xbf; /* exponent below its all-ones value */
        if (types[type].type == MXFP4 && block[0] == 0xff)
            block[0] = 0xfe;
        if (types[type].elements == 1)
            block[types[type].block_bytes - 1] &= 0xbf;
        write_bytes(w, block, types[type].block_bytes);
    }
}

static void fixture_open(fixture *f, tn_status expected)
{
    tn_error err = TN_ERROR_INIT;
    assert_int_equal(gguf_open_memory("test.gguf", f->file.data, f->file.size, &f->checkpoint, &err), expected);
    f->quant = tn_plugin_entry()->get_interface(TN_QUANT_ID);
    assert_non_null(f->quant);
    assert_int_equal(f->quant->open(checkpoint_source(f->checkpoint), &f->qmodel, &err), TN_OK);
}

static void fixture_close(fixture *f)
{
    f->quant->close(f->qmodel);
    checkpoint_close(f->checkpoint);
    free(f->file.data);
}

static fixture random_model(size_t type)
{
    fixture f = {0};
    write_header(&f.file, 3, 1, 0);
    write_tensor(&f.file, "w", 2, (uint64_t[]){COLUMNS, ROWS}, types[type].type, 0);
    write_padding(&f.file, 32);
    write_random_blocks(&f.file, type, (uint64_t)ROWS * COLUMNS / types[type].elements);
    fixture_open(&f, TN_OK);
    return f;
}

/* Transcodes a block into exact-size planes; the caller frees them. */
static tn_status transcode(const fixture *f, const char *name, const tn_enc *enc, uint64_t row0, uint64_t n_rows,
                           uint64_t k0, uint64_t n_k, void *planes[TN_PLANE_LIMIT], tn_error *err)
{
    uint64_t bytes[TN_PLANE_LIMIT];
    for (uint32_t p = 0; p < TN_PLANE_LIMIT; p++) {
        bytes[p] = tn_plane_bytes(enc, p, n_rows, n_k);
        planes[p] = bytes[p] ? malloc(bytes[p]) : NULL;
    }
    return f->quant->transcode(f->qmodel, name, enc, row0, n_rows, k0, n_k, planes, bytes, err);
}

static void free_planes(void *planes[TN_PLANE_LIMIT])
{
    for (uint32_t p = 0; p < TN_PLANE_LIMIT; p++)
        free(planes[p]);
}

/* reference: rows of the whole weight from row0 on. exact: equal bits, else equal after rounding to enc's bf16. */
static void assert_block_equals(const fixture *f, const char *name, const tn_enc *enc, uint64_t row0, uint64_t n_rows,
                                uint64_t k0, uint64_t n_k, const float *reference, uint64_t columns)
{
    tn_error err = TN_ERROR_INIT;
    void *planes[TN_PLANE_LIMIT];

    assert_int_equal(transcode(f, name, enc, row0, n_rows, k0, n_k, planes, &err), TN_OK);
    for (uint64_t row = 0; row < n_rows; row++) {
        for (uint64_t k = 0; k < n_k; k++) {
            float expected = reference[row * columns + k0 + k];
            float value = canonical_value(enc, planes, n_k, row, k);
            if (enc->family == TN_ENC_FLOAT && enc->qtype == TN_BF16)
                expected = float_from_bf16(bf16_from_float(expected));
            if (bits_from_float(value) != bits_from_float(expected))
                fail_msg("%s [%llu, %llu]: %a, expected %a", name, (unsigned long long)(row0 + row),
                         (unsigned long long)(k0 + k), (double)value, (double)expected);
        }
    }
    free_planes(planes);
}

static void test_planes_of_every_type_decode_to_the_reference(void **state)
{
    (void)state;
    static float reference[ROWS * COLUMNS];
    for (size_t type = 0; type < TYPE_COUNT; type++) {
        fixture f = random_model(type);
        tn_enc enc = {.struct_size = sizeof enc};
        tn_error err = TN_ERROR_INIT;
        assert_int_equal(f.quant->reference(f.qmodel, "w", 0, ROWS, reference, &err), TN_OK);
        for (uint32_t i = 0; f.quant->produces(f.qmodel, "w", i, &enc, &err) == TN_OK; i++) {
            assert_block_equals(&f, "w", &enc, 0, ROWS, 0, COLUMNS, reference, COLUMNS);
            assert_block_equals(&f, "w", &enc, 1, 3, 256, 512, reference + COLUMNS, COLUMNS);
            assert_block_equals(&f, "w", &enc, 4, 1, 768, 256, reference + (size_t)4 * COLUMNS, COLUMNS);
            if (enc.family == TN_ENC_FLOAT)
                assert_block_equals(&f, "w", &enc, 2, 2, 8, 1000, reference + (size_t)2 * COLUMNS, COLUMNS);
        }
        fixture_close(&f);
    }
}

static void test_the_lossless_encoding_is_first_and_bf16_last(void **state)
{
    (void)state;
    for (size_t type = 0; type < TYPE_COUNT; type++) {
        fixture f = random_model(type);
        tn_enc first = {.struct_size = sizeof first}, last = first, next = first;
        tn_error err = TN_ERROR_INIT;
        uint32_t count = 0;
        assert_int_equal(f.quant->produces(f.qmodel, "w", 0, &first, &err), TN_OK);
        while (f.quant->produces(f.qmodel, "w", count, &next, &err) == TN_OK) {
            last = next;
            count++;
        }
        assert_int_equal(f.quant->produces(f.qmodel, "w", count, &next, &err), TN_E_NOT_FOUND);
        assert_int_equal(last.family, TN_ENC_FLOAT);
        assert_int_equal(last.qtype, TN_BF16);
        uint64_t bytes = 0, blocks = (uint64_t)ROWS * COLUMNS / types[type].elements;
        for (uint32_t p = 0; p < TN_PLANE_COUNT; p++)
            bytes += tn_plane_bytes(&first, p, ROWS, COLUMNS);
        assert_int_equal(bytes, blocks * (types[type].block_bytes + types[type].growth));
        fixture_close(&f);
    }
}

static void test_infinite_scales_are_refused(void **state)
{
    (void)state;
    static const uint16_t bad[] = {0x7c00, 0xfc00, 0x7e00, 0xffff};
    for (size_t type = 3; type < TYPE_COUNT; type++) {
        for (uint32_t factor = 0; factor < 2; factor++) {
            fixture f = random_model(type);
            tn_error err = TN_ERROR_INIT;
            void *planes[TN_PLANE_LIMIT];
            uint64_t row_bytes = (uint64_t)COLUMNS / types[type].elements * types[type].block_bytes;
            uint8_t *data = f.file.data + f.file.size - ROWS * row_bytes;
            uint8_t *block = data + 3 * row_bytes + types[type].block_bytes;
            if (types[type].type == MXFP4)
                block[0] = 0xff;
            else
                memcpy(block + types[type].factor_at[factor], &bad[type % 4], 2);
            for (uint32_t i = 0; i < 2; i++) {
                tn_enc enc = {.struct_size = sizeof enc};
                assert_int_equal(f.quant->produces(f.qmodel, "w", i, &enc, &err), TN_OK);
                assert_int_equal(transcode(&f, "w", &enc, 0, ROWS, 0, COLUMNS, planes, &err), TN_E_CORRUPT);
                assert_non_null(strstr(err.msg, "row 3"));
                free_planes(planes);
                assert_int_equal(transcode(&f, "w", &enc, 0, 3, 0, COLUMNS, planes, &err), TN_OK);
                free_planes(planes);
            }
            fixture_close(&f);
        }
    }
}

static void test_bad_requests_are_refused(void **state)
{
    (void)state;
    fixture f = random_model(8);
    tn_enc enc = {.struct_size = sizeof enc}, other;
    tn_error err = TN_ERROR_INIT;
    void *planes[TN_PLANE_LIMIT];
    static const uint64_t blocks[][4] = {
        {0, ROWS + 1, 0, COLUMNS}, {ROWS, 1, 0, COLUMNS}, {0, 0, 0, COLUMNS},     {0, 1, 0, COLUMNS + 256},
        {0, 1, COLUMNS, 256},      {0, 1, 32, 256},       {0, 1, 0, COLUMNS - 1}, {UINT64_MAX, 1, 0, 256},
    };

    assert_int_equal(f.quant->produces(f.qmodel, "w", 0, &enc, &err), TN_OK);
    for (size_t i = 0; i < sizeof blocks / sizeof blocks[0]; i++) {
        const uint64_t *b = blocks[i];
        assert_int_equal(transcode(&f, "w", &enc, b[0], b[1], b[2], b[3], planes, &err), TN_E_ARGUMENT);
        free_planes(planes);
    }
    other = enc;
    other.bits = 5;
    assert_int_equal(transcode(&f, "w", &other, 0, 1, 0, 256, planes, &err), TN_E_ARGUMENT);
    free_planes(planes);
    assert_int_equal(transcode(&f, "absent", &enc, 0, 1, 0, 256, planes, &err), TN_E_NOT_FOUND);
    assert_non_null(strstr(err.msg, "no tensor 'absent'"));
    free_planes(planes);
    void *no_planes[TN_PLANE_LIMIT] = {0};
    assert_int_equal(
        f.quant->transcode(f.qmodel, "w", &enc, 0, 1, 0, 256, no_planes, (uint64_t[TN_PLANE_LIMIT]){0}, &err),
        TN_E_ARGUMENT);
    float rows[COLUMNS];
    assert_int_equal(f.quant->reference(f.qmodel, "w", ROWS, 1, rows, &err), TN_E_ARGUMENT);
    fixture_close(&f);
}

static void test_shapes_stack_leading_dimensions_as_rows(void **state)
{
    (void)state;
    fixture f = {0};
    uint64_t n, k;
    tn_error err = TN_ERROR_INIT;
    write_header(&f.file, 3, 3, 0);
    write_tensor(&f.file, "vector", 1, (uint64_t[]){8}, 0, 0);
    write_tensor(&f.file, "experts", 3, (uint64_t[]){8, 2, 3}, 1, 32);
    write_tensor(&f.file, "unread", 1, (uint64_t[]){256}, 21, 128);
    write_padding(&f.file, 32);
    write_zeros(&f.file, 128 + 110);
    fixture_open(&f, TN_OK);

    assert_int_equal(f.quant->shape(f.qmodel, "vector", &n, &k, &err), TN_OK);
    assert_int_equal(n, 1);
    assert_int_equal(k, 8);
    assert_int_equal(f.quant->shape(f.qmodel, "experts", &n, &k, &err), TN_OK);
    assert_int_equal(n, 6);
    assert_int_equal(k, 8);
    assert_int_equal(f.quant->shape(f.qmodel, "absent", &n, &k, &err), TN_E_NOT_FOUND);
    tn_enc enc = {.struct_size = sizeof enc};
    assert_int_equal(f.quant->produces(f.qmodel, "unread", 0, &enc, &err), TN_E_UNSUPPORTED);
    assert_non_null(strstr(err.msg, "type IQ3_S"));
    fixture_close(&f);
}

static void test_other_containers_are_left_to_other_plugins(void **state)
{
    (void)state;
    const tn_source source = {.struct_size = sizeof source, .container = "safetensors", .path = "x"};
    const tn_quant_table *quant = tn_plugin_entry()->get_interface(TN_QUANT_ID);
    tn_qmodel *qmodel = NULL;
    assert_int_equal(quant->open(&source, &qmodel, NULL), TN_E_NOT_FOUND);
    assert_null(qmodel);
    assert_null(tn_plugin_entry()->get_interface("tn.other/1"));
    quant->close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_planes_of_every_type_decode_to_the_reference),
        cmocka_unit_test(test_the_lossless_encoding_is_first_and_bf16_last),
        cmocka_unit_test(test_infinite_scales_are_refused),
        cmocka_unit_test(test_bad_requests_are_refused),
        cmocka_unit_test(test_shapes_stack_leading_dimensions_as_rows),
        cmocka_unit_test(test_other_containers_are_left_to_other_plugins),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

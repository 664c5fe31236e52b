/* test_decode.c: each clause of tenon/encoding.h, on planes written out by hand. */
#include "cmocka_test.h"
#include "interp/decode.h"

#include "base/half.h"

static tn_planes block(uint64_t rows, uint64_t k, const void *const *plane)
{
    static const uint64_t unchecked[TN_PLANE_LIMIT];
    return (tn_planes){.struct_size = sizeof(tn_planes),
                       .plane_count = TN_PLANE_LIMIT,
                       .n_rows = rows,
                       .n_k = k,
                       .plane = plane,
                       .plane_bytes = unchecked};
}

static void test_half_types_are_widened(void **state)
{
    (void)state;
    const uint16_t halves[2][2] = {{0x3c00, 0xc000}, {0x3800, 0x7bff}};
    const uint16_t brains[2] = {0x3f80, 0xc000};
    tn_enc enc = {.struct_size = sizeof enc, .family = TN_ENC_FLOAT, .qtype = TN_F16, .bits = 16};
    const void *plane[TN_PLANE_LIMIT] = {halves};
    tn_planes planes = block(2, 2, plane);
    float out[2];

    assert_int_equal(interp_decode_check(&enc, NULL), TN_OK);
    interp_decode_row(&enc, &planes, 1, out);
    assert_true(out[0] == 0.5f && out[1] == 65504.0f);
    enc.qtype = TN_BF16;
    plane[0] = brains;
    interp_decode_row(&enc, &planes, 0, out);
    assert_true(out[0] == 1.0f && out[1] == -2.0f);
}

static void test_signed_nibbles_have_one_scale_per_group(void **state)
{
    (void)state;
    tn_enc enc = {.struct_size = sizeof enc,
                  .family = TN_ENC_AFFINE,
                  .qtype = TN_Q_SIGNED,
                  .bits = 4,
                  .group_k = 4,
                  .scale_type = TN_F32};
    const uint8_t codes[2][4] = {{0x80, 0xf7, 0x10, 0x32}, {0x98, 0x98, 0x98, 0x98}};
    const float scales[2][2] = {{2.0f, 0.5f}, {10.0f, 100.0f}};
    const void *plane[TN_PLANE_LIMIT] = {codes, scales};
    const float expected[2][8] = {{-16, 0, -2, 14, -4, -3.5f, -3, -2.5f}, {0, 10, 0, 10, 0, 100, 0, 100}};
    tn_planes planes = block(2, 8, plane);
    float out[8];

    assert_int_equal(interp_decode_check(&enc, NULL), TN_OK);
    for (uint64_t row = 0; row < 2; row++) {
        interp_decode_row(&enc, &planes, row, out);
        for (int i = 0; i < 8; i++)
            assert_true(out[i] == expected[row][i]);
    }
}

static void test_codes_of_three_bits_cross_bytes(void **state)
{
    (void)state;
    tn_enc enc = {.struct_size = sizeof enc,
                  .family = TN_ENC_AFFINE,
                  .qtype = TN_Q_UNSIGNED,
                  .bits = 3,
                  .group_k = 8,
                  .scale_type = TN_F32};
    const uint8_t codes[3] = {0x77, 0x39, 0x05}; /* 7 6 5 4 3 2 1 0, three bits each from the lowest */
    const float scale = 1.0f;
    const void *plane[TN_PLANE_LIMIT] = {codes, &scale};
    tn_planes planes = block(1, 8, plane);
    float out[8];

    interp_decode_row(&enc, &planes, 0, out);
    for (int i = 0; i < 8; i++)
        assert_true(out[i] == (float)(7 - i));
}

static void test_minimum_and_zero_point_are_added_after_the_product(void **state)
{
    (void)state;
    tn_enc enc = {.struct_size = sizeof enc,
                  .family = TN_ENC_AFFINE,
                  .qtype = TN_Q_UNSIGNED,
                  .bits = 8,
                  .group_k = 2,
                  .scale_type = TN_F16,
                  .zero_type = TN_ZERO_FLOAT};
    const uint8_t codes[4] = {0, 255, 1, 2}, zeros[2] = {3, 128};
    const uint16_t scales[2] = {0x3800, 0x4000}, mins[2] = {0xbc00, 0x4200}; /* 0.5, 2; -1, 3 */
    const void *plane[TN_PLANE_LIMIT] = {codes, scales, mins};
    tn_planes planes = block(1, 4, plane);
    float out[4];

    interp_decode_row(&enc, &planes, 0, out);
    assert_true(out[0] == -1.0f && out[1] == 126.5f && out[2] == 5.0f && out[3] == 7.0f);
    enc.zero_type = TN_ZERO_POINT;
    plane[TN_PLANE_MIN] = zeros;
    interp_decode_row(&enc, &planes, 0, out);
    assert_true(out[0] == -1.5f && out[1] == 126.0f && out[2] == -254.0f && out[3] == -252.0f);
}

static void test_second_level_multiplies_scale_and_minimum(void **state)
{
    (void)state;
    tn_enc enc = {.struct_size = sizeof enc,
                  .family = TN_ENC_AFFINE,
                  .qtype = TN_Q_UNSIGNED,
                  .bits = 4,
                  .group_k = 2,
                  .scale_type = TN_U8,
                  .zero_type = TN_ZERO_FLOAT,
                  .group2_k = 4,
                  .scale2_type = TN_F16};
    const uint8_t codes[4] = {0x10, 0x21, 0x10, 0x21}, scales[4] = {1, 2, 3, 200}, mins[4] = {0, 1, 2, 3};
    const uint16_t factors[4] = {0x3800, 0xbc00, 0x4000, 0xc000}; /* 0.5, -1 and 2, -2 */
    const void *plane[TN_PLANE_LIMIT] = {codes, scales, mins, factors};
    const float expected[8] = {0, 0.5f, 0, 1, -4, 2, 394, 794};
    tn_planes planes = block(1, 8, plane);
    float out[8];

    assert_int_equal(interp_decode_check(&enc, NULL), TN_OK);
    interp_decode_row(&enc, &planes, 0, out);
    for (int i = 0; i < 8; i++)
        assert_true(out[i] == expected[i]);
}

static void test_a_zero_point_is_taken_from_the_code_before_the_product(void **state)
{
    (void)state;
    tn_enc enc = {.struct_size = sizeof enc,
                  .family = TN_ENC_AFFINE,
                  .qtype = TN_Q_UNSIGNED,
                  .bits = 8,
                  .group_k = 1,
                  .scale_type = TN_F32,
                  .zero_type = TN_ZERO_POINT};
    const uint8_t code = 255, zero = 252;
    const float scale = 1.0f / 3.0f; /* 255 and 252 thirds do not both fit a float32 */
    const void *plane[TN_PLANE_LIMIT] = {&code, &scale, &zero};
    tn_planes planes = block(1, 1, plane);
    float out;

    interp_decode_row(&enc, &planes, 0, &out);
    assert_true(out == scale * 3.0f);
}

static void test_e4m3_codes_share_scales_between_rows(void **state)
{
    (void)state;
    tn_enc enc = {.struct_size = sizeof enc,
                  .family = TN_ENC_AFFINE,
                  .qtype = TN_Q_E4M3,
                  .bits = 8,
                  .group_k = 2,
                  .group_n = 2,
                  .scale_type = TN_F32};
    const uint8_t codes[3][4] = {{0x38, 0xb8, 0x7e, 0x01}, {0x00, 0x40, 0x08, 0x07}, {0x38, 0x38, 0x38, 0x38}};
    const float scales[2][2] = {{2.0f, 512.0f}, {3.0f, 5.0f}};
    const float expected[3][4] = {{2, -2, 448 * 512, 1}, {0, 4, 8, 7}, {3, 3, 5, 5}};
    const void *plane[TN_PLANE_LIMIT] = {codes, scales};
    tn_planes planes = block(3, 4, plane);
    float out[4];

    assert_int_equal(interp_decode_check(&enc, NULL), TN_OK);
    assert_int_equal(tn_plane_bytes(&enc, TN_PLANE_SCALE, 3, 4), sizeof scales);
    for (uint64_t row = 0; row < 3; row++) {
        interp_decode_row(&enc, &planes, row, out);
        for (int i = 0; i < 4; i++)
            assert_true(out[i] == expected[row][i]);
    }
}

static void test_mx_scales_are_powers_of_two(void **state)
{
    (void)state;
    tn_enc enc = {.struct_size = sizeof enc,
                  .family = TN_ENC_MX,
                  .qtype = TN_Q_E2M1,
                  .bits = 4,
                  .group_k = 4,
                  .scale_type = TN_E8M0};
    const uint8_t codes[4] = {0x21, 0x43, 0x65, 0xf7}, scales[2] = {127, 0};
    const float tiny = 0x1p-127f, expected[8] = {0.5f, 1, 1.5f, 2, 3 * tiny, 4 * tiny, 6 * tiny, -6 * tiny};
    const void *plane[TN_PLANE_LIMIT] = {codes, scales};
    tn_planes planes = block(1, 8, plane);
    float out[8];

    assert_int_equal(interp_decode_check(&enc, NULL), TN_OK);
    interp_decode_row(&enc, &planes, 0, out);
    for (int i = 0; i < 8; i++)
        assert_true(out[i] == expected[i]);
}

static void test_codes_may_be_places_in_a_table(void **state)
{
    (void)state;
    tn_enc enc = {.struct_size = sizeof enc,
                  .family = TN_ENC_LUT,
                  .qtype = TN_F32,
                  .bits = 2,
                  .group_k = 4,
                  .scale_type = TN_S8,
                  .group2_k = 8,
                  .scale2_type = TN_F16};
    const uint8_t codes[2] = {0xe4, 0x1b}; /* 0 1 2 3, then 3 2 1 0 */
    const int8_t scales[2] = {-2, 3};
    const uint16_t factor = 0x3800; /* 0.5 */
    const float table[4] = {-100.0f, -7.0f, 1.0f, 90.0f};
    const float expected[8] = {100, 7, -1, -90, 135, 1.5f, -10.5f, -150};
    const void *plane[TN_PLANE_LIMIT] = {codes, scales, NULL, &factor, NULL, table};
    tn_planes planes = block(1, 8, plane);
    float out[8];

    assert_int_equal(interp_decode_check(&enc, NULL), TN_OK);
    assert_int_equal(tn_plane_bytes(&enc, TN_PLANE_LUT, 1, 8), sizeof table);
    interp_decode_row(&enc, &planes, 0, out);
    for (int i = 0; i < 8; i++)
        assert_true(out[i] == expected[i]);
}

static void test_a_permutation_says_which_input_a_column_multiplies(void **state)
{
    (void)state;
    tn_enc enc = {.struct_size = sizeof enc,
                  .family = TN_ENC_AFFINE,
                  .qtype = TN_Q_UNSIGNED,
                  .bits = 8,
                  .group_k = 2,
                  .scale_type = TN_F32,
                  .flags = TN_ENC_PERM_K};
    const uint8_t codes[4] = {1, 2, 3, 4};
    const float scales[2] = {1.0f, 10.0f}, expected[4] = {40, 1, 2, 30};
    const uint32_t perm[4] = {1, 2, 3, 0};
    const void *plane[TN_PLANE_LIMIT] = {codes, scales, NULL, NULL, perm};
    tn_planes planes = block(1, 4, plane);

    for (uint32_t row = 0; row < 6; row += 5) { /* of parts, a block has the permutation of its own */
        float out[4];
        planes.row0 = row;
        assert_int_equal(interp_decode_check(&enc, NULL), TN_OK);
        assert_int_equal(tn_plane_bytes(&enc, TN_PLANE_PERM, 1, 4), sizeof perm);
        interp_decode_row(&enc, &planes, 0, out);
        for (int i = 0; i < 4; i++)
            assert_true(out[i] == expected[i]);
        enc.flags |= TN_ENC_PARTS;
        enc.part_n = 5;
    }
}

static void test_unknown_encodings_are_refused(void **state)
{
    (void)state;
    const tn_enc bad[] = {
        {.family = 9},
        {.family = TN_ENC_FLOAT, .qtype = TN_F16, .bits = 32},
        {.family = TN_ENC_FLOAT, .qtype = TN_I32, .bits = 32},
        {.family = TN_ENC_AFFINE, .qtype = TN_Q_SIGNED, .bits = 9, .group_k = 32, .scale_type = TN_F16},
        {.family = TN_ENC_AFFINE, .qtype = TN_Q_SIGNED, .bits = 4, .group_k = 0, .scale_type = TN_F16},
        {.family = TN_ENC_AFFINE, .qtype = TN_Q_SIGNED, .bits = 4, .group_k = 32, .scale_type = TN_U8},
        {.family = TN_ENC_AFFINE, .qtype = TN_Q_SIGNED, .bits = 4, .group_k = 32, .scale_type = TN_F16, .zero_type = 3},
        {.family = TN_ENC_AFFINE,
         .qtype = TN_Q_SIGNED,
         .bits = 4,
         .group_k = 32,
         .scale_type = TN_U8,
         .group2_k = 48,
         .scale2_type = TN_F16},
        {.family = TN_ENC_AFFINE, .qtype = TN_Q_SIGNED, .bits = 4, .group_k = 32, .scale_type = TN_F16, .flags = 4},
        {.family = TN_ENC_AFFINE, .qtype = TN_Q_SIGNED, .bits = 4, .group_k = 32, .scale_type = TN_F16, .flags = 2},
        {.family = TN_ENC_AFFINE, .qtype = TN_Q_SIGNED, .bits = 4, .group_k = 32, .scale_type = TN_F16, .part_n = 8},
        {.family = TN_ENC_AFFINE, .qtype = TN_Q_E4M3, .bits = 8, .group_k = 32, .scale_type = TN_F16, .zero_type = 1},
        {.family = TN_ENC_AFFINE, .qtype = TN_Q_E2M1, .bits = 4, .group_k = 32, .scale_type = TN_F16},
        {.family = TN_ENC_MX, .qtype = TN_Q_E2M1, .bits = 4, .group_k = 32, .scale_type = TN_F16},
        {.family = TN_ENC_LUT, .qtype = TN_F32, .bits = 9, .group_k = 32, .scale_type = TN_F16},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        tn_error err = TN_ERROR_INIT;
        assert_int_equal(interp_decode_check(&bad[i], &err), TN_E_UNSUPPORTED);
        assert_true(err.msg[0] != 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_half_types_are_widened),
        cmocka_unit_test(test_signed_nibbles_have_one_scale_per_group),
        cmocka_unit_test(test_codes_of_three_bits_cross_bytes),
        cmocka_unit_test(test_minimum_and_zero_point_are_added_after_the_product),
        cmocka_unit_test(test_second_level_multiplies_scale_and_minimum),
        cmocka_unit_test(test_a_zero_point_is_taken_from_the_code_before_the_product),
        cmocka_unit_test(test_e4m3_codes_share_scales_between_rows),
        cmocka_unit_test(test_mx_scales_are_powers_of_two),
        cmocka_unit_test(test_codes_may_be_places_in_a_table),
        cmocka_unit_test(test_a_permutation_says_which_input_a_column_multiplies),
        cmocka_unit_test(test_unknown_encodings_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

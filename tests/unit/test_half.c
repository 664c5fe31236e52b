/* test_half.c: every 16-bit pattern survives a round trip; rounding is to nearest even at the edges. */
#include "base/half.h"
#include "cmocka_test.h"

#include <math.h>

static void test_every_f16_survives_a_round_trip(void **state)
{
    (void)state;
    for (uint32_t bits = 0; bits < 0x10000; bits++) {
        float value = float_from_f16((uint16_t)bits);
        if (isnan(value))
            assert_true(isnan(float_from_f16(f16_from_float(value))));
        else
            assert_int_equal(f16_from_float(value), bits);
    }
}

static void test_every_bf16_survives_a_round_trip(void **state)
{
    (void)state;
    for (uint32_t bits = 0; bits < 0x10000; bits++) {
        float value = float_from_bf16((uint16_t)bits);
        if (isnan(value))
            assert_true(isnan(float_from_bf16(bf16_from_float(value))));
        else
            assert_int_equal(bf16_from_float(value), bits);
    }
}

static void test_f16_rounds_to_nearest_even(void **state)
{
    (void)state;
    assert_int_equal(f16_from_float(1.0f + 0x1p-11f), 0x3c00);            /* tie, even below */
    assert_int_equal(f16_from_float(1.0f + 0x1p-10f + 0x1p-11f), 0x3c02); /* tie, even above */
    assert_int_equal(f16_from_float(1.0f + 0x1p-11f + 0x1p-20f), 0x3c01);
    assert_int_equal(f16_from_float(65519.0f), 0x7bff);
    assert_int_equal(f16_from_float(65520.0f), 0x7c00);
    assert_int_equal(f16_from_float(0x1p-25f), 0x0000);          /* tie with zero */
    assert_int_equal(f16_from_float(0x1p-25f * 1.5f), 0x0001);
    assert_int_equal(f16_from_float(-0x1p-24f), 0x8001);
}

static void test_bf16_rounds_to_nearest_even(void **state)
{
    (void)state;
    assert_int_equal(bf16_from_float(1.0f + 0x1p-8f), 0x3f80);
    assert_int_equal(bf16_from_float(1.0f + 0x1p-7f + 0x1p-8f), 0x3f82);
    assert_int_equal(bf16_from_float(1.0f + 0x1p-8f + 0x1p-16f), 0x3f81);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_f16_survives_a_round_trip),
        cmocka_unit_test(test_every_bf16_survives_a_round_trip),
        cmocka_unit_test(test_f16_rounds_to_nearest_even),
        cmocka_unit_test(test_bf16_rounds_to_nearest_even),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* test_byte_level.c: the alphabet of GPT-2. */
#include "byte_level.h"
#include "cmocka_test.h"

#include <string.h>

static void test_every_byte_survives_a_round_trip(void **state)
{
    (void)state;
    char bytes[256], spelt[512], back[512];
    for (int i = 0; i < 256; i++)
        bytes[i] = (char)i;
    size_t n = byte_level_encode(bytes, sizeof bytes, spelt), back_n;
    assert_true(byte_level_decode(spelt, n, back, &back_n));
    assert_int_equal(back_n, sizeof bytes);
    assert_memory_equal(back, bytes, sizeof bytes);
}

static void test_space_and_newline_have_their_well_known_characters(void **state)
{
    (void)state;
    char spelt[8];
    assert_int_equal(byte_level_encode(" \n\xAD!", 4, spelt), 7);
    assert_memory_equal(spelt, "\xC4\xA0\xC4\x8A\xC5\x83!", 7); /* U+0120 U+010A U+0143 */
}

static void test_characters_outside_the_alphabet_are_refused(void **state)
{
    (void)state;
    size_t n = 77;
    assert_false(byte_level_decode(" ", 1, NULL, &n));
    assert_false(byte_level_decode("a\xE2\x96\x81", 4, NULL, &n)); /* U+2581 */
    assert_false(byte_level_decode("\xC5\x84", 2, NULL, &n));      /* U+0144, one past the last */
    assert_false(byte_level_decode("\xC4", 1, NULL, &n));
    assert_int_equal(n, 77);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_byte_survives_a_round_trip),
        cmocka_unit_test(test_space_and_newline_have_their_well_known_characters),
        cmocka_unit_test(test_characters_outside_the_alphabet_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

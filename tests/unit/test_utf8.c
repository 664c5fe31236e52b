/* test_utf8.c: well-formed sequences decode, ill-formed ones are replaced per maximal subpart. */
#include "base/utf8.h"
#include "cmocka_test.h"

#include <string.h>

static void test_every_scalar_value_survives_a_round_trip(void **state)
{
    (void)state;
    for (uint32_t codepoint = 0; codepoint < 0x110000; codepoint++) {
        if (codepoint >= 0xD800 && codepoint < 0xE000)
            continue;
        char bytes[4];
        uint32_t decoded;
        bool valid;
        size_t n = utf8_encode(codepoint, bytes);
        assert_int_equal(utf8_decode(bytes, n, &decoded, &valid), n);
        assert_true(valid && decoded == codepoint);
    }
}

/* Unicode 15, table 3-8: 61 F1 80 80 E1 80 C2 62 80 63 80 BF 64 gives 61 FFFD FFFD FFFD 62 FFFD 63 FFFD FFFD 64. */
static void test_ill_formed_input_follows_the_standards_example(void **state)
{
    (void)state;
    static const char bytes[] = "\x61\xF1\x80\x80\xE1\x80\xC2\x62\x80\x63\x80\xBF\x64";
    static const uint32_t expected[] = {0x61, 0xFFFD, 0xFFFD, 0xFFFD, 0x62, 0xFFFD, 0x63, 0xFFFD, 0xFFFD, 0x64};
    size_t at = 0, count = 0;
    while (at < sizeof bytes - 1) {
        uint32_t codepoint;
        bool valid;
        at += utf8_decode(bytes + at, sizeof bytes - 1 - at, &codepoint, &valid);
        assert_int_equal(codepoint, expected[count++]);
    }
    assert_int_equal(count, 10);
}

static void test_surrogates_and_overlong_forms_are_ill_formed(void **state)
{
    (void)state;
    assert_false(utf8_is_valid("\xED\xA0\x80", 3));
    assert_false(utf8_is_valid("\xC0\x80", 2));
    assert_false(utf8_is_valid("\xF4\x90\x80\x80", 4));
    assert_true(utf8_is_valid("\xF4\x8F\xBF\xBF", 4));
}

static void test_whole_prefix_stops_before_an_unfinished_sequence(void **state)
{
    (void)state;
    const char *text = "a\xF0\x9F\x98\x80";
    assert_int_equal(utf8_whole_prefix(text, 5), 5);
    assert_int_equal(utf8_whole_prefix(text, 4), 1);
    assert_int_equal(utf8_whole_prefix(text, 3), 1);
    assert_int_equal(utf8_whole_prefix(text, 2), 1);
    assert_int_equal(utf8_whole_prefix("a\x80", 2), 2);     /* a stray byte can never be completed */
    assert_int_equal(utf8_whole_prefix("a\xE0\x80", 3), 3); /* nor can an ill-formed start */
    assert_int_equal(utf8_whole_prefix("", 0), 0);
}

static void test_repair_keeps_what_is_well_formed(void **state)
{
    char text[] = "a\xC3\xA9\xFF\xE1\x80z\xF0\x9F\x98"; /* cut in its last character */
    char whole[] = "\xF0\x9F\x98\x80";
    (void)state;

    utf8_repair(text);
    assert_string_equal(text, "a\xC3\xA9???z???");
    utf8_repair(whole);
    assert_string_equal(whole, "\xF0\x9F\x98\x80");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_scalar_value_survives_a_round_trip),
        cmocka_unit_test(test_ill_formed_input_follows_the_standards_example),
        cmocka_unit_test(test_surrogates_and_overlong_forms_are_ill_formed),
        cmocka_unit_test(test_whole_prefix_stops_before_an_unfinished_sequence),
        cmocka_unit_test(test_repair_keeps_what_is_well_formed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* test_value.c: texts that each type takes and refuses. */
#include "cmocka_test.h"

#include "settings/value.h"

#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int64_t size_of(const char *text)
{
    value parsed = {.integer = -1};
    return value_parse("size", text, &parsed) ? parsed.integer : -1;
}

static void test_sizes_follow_vllm_suffixes(void **state)
{
    (void)state;
    assert_int_equal(size_of("4096"), 4096);
    assert_int_equal(size_of("8k"), 8000);
    assert_int_equal(size_of("8K"), 8192);
    assert_int_equal(size_of("2GiB"), 2147483648);
    assert_int_equal(size_of("2 GiB"), 2147483648);
    assert_int_equal(size_of("2GB"), 2000000000);
    assert_int_equal(size_of("25.6k"), 25600);
    assert_int_equal(size_of("1.5K"), 1536);
    assert_int_equal(size_of("3TiB"), 3298534883328);
    assert_int_equal(size_of("0"), 0);
}

static void test_sizes_refuse_what_is_not_a_whole_number_of_bytes(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",     "k",   "-1",     "1.0001k", "1e3", "0x10", "8q",  "8kk",
        "8Kib", "nan", "99999T", "1..5k",   "1 2", " 8",   "8k8", "9999999999999999999999"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(size_of(bad[i]), -1);
}

static void test_integers_refuse_fractions_overflow_and_rests(void **state)
{
    (void)state;
    value parsed;
    assert_true(value_parse("integer", "-42", &parsed));
    assert_int_equal(parsed.integer, -42);
    assert_true(value_parse("integer", "9223372036854775807", &parsed));
    assert_int_equal(parsed.integer, INT64_MAX);
    static const char *const bad[] = {"", " 1", "1 ", "1.5", "9223372036854775808", "0x1", "one", "+-1"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(value_parse("integer", bad[i], &parsed));
}

static void test_numbers_refuse_infinity_and_hexadecimal(void **state)
{
    (void)state;
    value parsed;
    assert_true(value_parse("number", "0.90", &parsed));
    assert_true(parsed.number == 0.90);
    assert_true(value_parse("number", "1e-3", &parsed));
    static const char *const bad[] = {"", "inf", "nan", "0x1p3", "1e999", "1,5", "."};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(value_parse("number", bad[i], &parsed));
}

/* What localedef makes of LC_NUMERIC with decimal_point "," and thousands_sep ".": few machines have such a locale. */
static const char comma_numeric[] =
    "\x14\x11\x03\x20\x06\0\0\0\x20\0\0\0\x22\0\0\0\x24\0\0\0\x28\0\0\0\x2c\0\0\0\x30\0\0\0"
    ",\0.\0\x03\x03\0\0,\0\0\0.\0\0\0"
    "ANSI_X3.4-1968";

static void test_numbers_have_a_point_in_every_locale(void **state)
{
    (void)state;
    char folder[] = "/tmp/comma-locale-XXXXXX", path[64];
    value parsed;

    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/comma", folder);
    assert_int_equal(mkdir(path, 0700), 0);
    strcat(path, "/LC_NUMERIC");
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(comma_numeric, 1, sizeof comma_numeric, file), sizeof comma_numeric);
    assert_int_equal(fclose(file), 0);
    setenv("LOCPATH", folder, 1);
    const bool set = setlocale(LC_NUMERIC, "comma");
    const bool comma = set && strtod("0,5", NULL) == 0.5;
    const bool taken = value_parse("number", "0.5", &parsed) && parsed.number == 0.5 && size_of("1.5K") == 1536;
    const bool refused = !value_parse("number", "0,5", &parsed);
    setlocale(LC_NUMERIC, "C");
    unsetenv("LOCPATH");
    unlink(path);
    *strrchr(path, '/') = '\0';
    rmdir(path);
    rmdir(folder);
    if (!comma)
        skip(); /* not glibc, or one that reads other files */
    assert_true(taken);
    assert_true(refused);
}

static void test_bools_take_four_spellings_of_each(void **state)
{
    (void)state;
    value parsed;
    assert_true(value_parse("bool", "on", &parsed) && parsed.boolean);
    assert_true(value_parse("bool", "1", &parsed) && parsed.boolean);
    assert_true(value_parse("bool", "no", &parsed) && !parsed.boolean);
    assert_true(value_parse("bool", "false", &parsed) && !parsed.boolean);
    assert_false(value_parse("bool", "True", &parsed));
    assert_false(value_parse("bool", "", &parsed));
}

static void test_words_stand_for_themselves_and_come_first(void **state)
{
    (void)state;
    value parsed;
    assert_true(value_parse("auto|size", "auto", &parsed));
    assert_int_equal(parsed.kind, VALUE_WORD);
    assert_true(value_parse("auto|size", "8k", &parsed));
    assert_int_equal(parsed.kind, VALUE_SIZE);
    assert_true(value_parse("auto|on|off", "off", &parsed));
    assert_int_equal(parsed.kind, VALUE_WORD);
    assert_false(value_parse("auto|on|off", "of", &parsed));
    assert_false(value_parse("auto|on|off", "", &parsed));
    assert_false(value_parse("auto|size", "size", &parsed));
}

static void test_description_lists_every_alternative(void **state)
{
    (void)state;
    char text[100], tiny[8];
    value_type_describe("auto|gguf|size", text, sizeof text);
    assert_string_equal(text, "auto, gguf or a size such as 8k, 8K or 2GiB");
    value_type_describe("auto|gguf|size", tiny, sizeof tiny);
    assert_string_equal(tiny, "auto, g");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes_follow_vllm_suffixes),
        cmocka_unit_test(test_sizes_refuse_what_is_not_a_whole_number_of_bytes),
        cmocka_unit_test(test_integers_refuse_fractions_overflow_and_rests),
        cmocka_unit_test(test_numbers_refuse_infinity_and_hexadecimal),
        cmocka_unit_test(test_numbers_have_a_point_in_every_locale),
        cmocka_unit_test(test_bools_take_four_spellings_of_each),
        cmocka_unit_test(test_words_stand_for_themselves_and_come_first),
        cmocka_unit_test(test_description_lists_every_alternative),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* test_json_writer.c: whatever goes in, valid JSON comes out, and valid text survives the round trip. */
#include "json_writer.h"

#include "../cmocka_test.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static void expect(const char *bytes, size_t n, const char *json)
{
    byte_buffer out = {0};
    json_write_string(&out, bytes, n);
    assert_int_equal(out.count, strlen(json));
    assert_memory_equal(out.bytes, json, out.count);
    byte_buffer_finish(&out);
}

static void test_plain_text_is_only_quoted(void **state)
{
    (void)state;
    expect("", 0, "\"\"");
    expect("plain", 5, "\"plain\"");
    expect("gr\xC3\xBC\xC3\x9F \xF0\x9F\x98\x80", 11, "\"gr\xC3\xBC\xC3\x9F \xF0\x9F\x98\x80\"");
}

static void test_controls_and_quotes_are_escaped(void **state)
{
    (void)state;
    expect("a\"b\\c\n\r\t", 8, "\"a\\\"b\\\\c\\n\\r\\t\"");
    expect("\0\x01\x1f\x7f", 4, "\"\\u0000\\u0001\\u001f\\u007f\"");
}

static void test_ill_formed_bytes_become_replacement_characters(void **state)
{
    (void)state;
    expect("\xff", 1, "\"\xEF\xBF\xBD\"");
    expect("a\xE2\x82", 3, "\"a\xEF\xBF\xBD\"");                           /* cut sequence: one */
    expect("\xED\xA0\x80", 3, "\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\""); /* surrogate: one per byte */
}

static void test_random_bytes_give_json_that_parses(void **state)
{
    (void)state;
    srand(7);
    for (int round = 0; round < 2000; round++) {
        char bytes[64];
        byte_buffer out = {0};
        size_t n = (size_t)rand() % sizeof bytes;
        for (size_t i = 0; i < n; i++)
            bytes[i] = (char)rand();
        json_write_string(&out, bytes, n);
        json_t *parsed = json_loadb(out.bytes, out.count, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
        assert_non_null(parsed);
        json_decref(parsed);
        byte_buffer_finish(&out);
    }
}

static void test_logprobs_read_back_as_the_same_float(void **state)
{
    (void)state;
    srand(11);
    for (int i = 0; i < 2000; i++) {
        float value = -(float)rand() / (float)RAND_MAX * 40.0f;
        byte_buffer out = {0};
        json_write_logprob(&out, value);
        byte_buffer_append(&out, "", 1);
        assert_true(strtof(out.bytes, NULL) == value);
        byte_buffer_finish(&out);
    }
}

static void test_infinite_logprobs_become_a_number(void **state)
{
    (void)state;
    const float values[] = {-INFINITY, INFINITY, NAN};
    for (int i = 0; i < 3; i++) {
        byte_buffer out = {0};
        json_write_logprob(&out, values[i]);
        assert_memory_equal(out.bytes, "-9999", 5);
        byte_buffer_finish(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain_text_is_only_quoted),
        cmocka_unit_test(test_controls_and_quotes_are_escaped),
        cmocka_unit_test(test_ill_formed_bytes_become_replacement_characters),
        cmocka_unit_test(test_random_bytes_give_json_that_parses),
        cmocka_unit_test(test_logprobs_read_back_as_the_same_float),
        cmocka_unit_test(test_infinite_logprobs_become_a_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* test_json_text.c: integers that jansson cannot hold, as Python writes them. */
#include "base/json_text.h"
#include "cmocka_test.h"

#include <stdio.h>

static json_t *load(const char *text, json_error_t *ret_error)
{
    size_t n = strlen(text);
    char *exact = malloc(n); /* so that a sanitizer sees a read beyond the end */
    assert_non_null(exact);
    memcpy(exact, text, n);
    json_t *root = json_text_load(exact, n, JSON_REJECT_DUPLICATES, ret_error);
    free(exact);
    return root;
}

static void test_no_limit_of_transformers_is_a_number(void **state)
{
    (void)state;
    json_error_t error;
    json_t *root =
        load("{\"model_max_length\": 1000000000000000019884624838656, \"n\": [-12345678901234567890123, 7]}", &error);
    assert_non_null(root);
    assert_true(json_number_value(json_object_get(root, "model_max_length")) == 1e30);
    const json_t *n = json_object_get(root, "n");
    assert_true(json_number_value(json_array_get(n, 0)) == -12345678901234567890123.0);
    assert_int_equal(json_integer_value(json_array_get(n, 1)), 7);
    json_decref(root);
}

static void test_everything_else_stays_as_it_is(void **state)
{
    (void)state;
    json_error_t error;
    json_t *root =
        load("{\"a\\\"1234567890123456789012\": \"1234567890123456789012\\\\\", \"long\": 9223372036854775807, "
             "\"real\": 1234567890123456789012.5, \"small\": 0.1234567890123456789012, \"e\": 1e5, "
             "\"big\": 123456789012345678901234}",
             &error);
    assert_non_null(root);
    assert_string_equal(json_string_value(json_object_get(root, "a\"1234567890123456789012")),
                        "1234567890123456789012\\");
    assert_true(json_number_value(json_object_get(root, "real")) == 1234567890123456789012.5);
    assert_true(json_number_value(json_object_get(root, "small")) == 0.1234567890123456789012);
    assert_true(json_number_value(json_object_get(root, "e")) == 1e5);
    assert_true(json_number_value(json_object_get(root, "big")) == 123456789012345678901234.0);
    json_decref(root);

    root = load("[9223372036854775807, -9223372036854775808]", &error);
    assert_non_null(root);
    assert_true(json_integer_value(json_array_get(root, 0)) == INT64_MAX);
    assert_true(json_integer_value(json_array_get(root, 1)) == INT64_MIN);
    json_decref(root);
}

static void test_what_is_no_json_is_refused_with_its_place(void **state)
{
    (void)state;
    json_error_t error;
    static const char *const bad[] = {"{\"a\": 1234567890123456789012",
                                      "{\"a\": 1234567890123456789012, \"b",
                                      "{\"a\": 1234567890123456789012, \"b\\",
                                      "{\"a\": 1e999}",
                                      "{\"a\": 1234567890123456789012-}",
                                      "{\"a\": 1234567890123456789012, \"a\": 2}",
                                      ""};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (load(bad[i], &error))
            fail_msg("%s: taken", bad[i]);
        assert_true(error.text[0] != '\0');
    }
    assert_null(load("{\n\"a\": 1234567890123456789012,\nx}", &error));
    assert_int_equal(error.line, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_limit_of_transformers_is_a_number),
        cmocka_unit_test(test_everything_else_stays_as_it_is),
        cmocka_unit_test(test_what_is_no_json_is_refused_with_its_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* test_json_body.c: bodies that would hurt a parser are refused before it runs. */
#include "json_body.h"

#include "../cmocka_test.h"

#include <stdlib.h>
#include <string.h>

static tn_status parse(const char *text, uint32_t depth, api_error *error)
{
    json_t *root = NULL;
    tn_status status = json_body_parse(text, strlen(text), depth, &root, error);
    json_decref(root);
    return status;
}

static void test_an_object_is_parsed(void **state)
{
    (void)state;
    api_error error;
    assert_int_equal(parse("{\"a\": [1, \"]]]]\\\"[[\"]}", 2, &error), TN_OK);
}

static void test_depth_is_counted_outside_strings_only(void **state)
{
    (void)state;
    api_error error;
    assert_int_equal(parse("{\"a\": [[1]]}", 3, &error), TN_OK);
    assert_int_equal(parse("{\"a\": [[[1]]]}", 3, &error), TN_E_ARGUMENT);
    assert_string_equal(error.code, "json_too_deep");
}

static void test_a_hundred_thousand_brackets_are_refused(void **state)
{
    (void)state;
    api_error error;
    char *text = malloc(100001);
    memset(text, '[', 100000);
    text[100000] = '\0';
    assert_int_equal(parse(text, 64, &error), TN_E_ARGUMENT);
    assert_string_equal(error.code, "json_too_deep");
    free(text);
}

static void test_millions_of_small_values_are_refused(void **state)
{
    (void)state;
    api_error error;
    size_t pairs = JSON_BODY_CONTAINERS_MAX + 1;
    char *text = malloc(pairs * 3 + 32), *at = text;
    at += sprintf(at, "{\"a\":[");
    for (size_t i = 0; i < pairs; i++)
        at += sprintf(at, i ? ",{}" : "{}");
    strcpy(at, "]}");
    assert_int_equal(parse(text, 64, &error), TN_E_ARGUMENT);
    assert_int_equal(error.http_status, 413);
    free(text);
}

static void test_bad_json_is_refused_with_its_place(void **state)
{
    (void)state;
    static const char *const bodies[] = {"{",
                                         "{\"a\":}",
                                         "nul",
                                         "{\"a\":1}x",
                                         "{\"a\":1e999}",
                                         "{\"a\":\"\\ud800\"}",
                                         "{\"a\":\"\\u0000\"}",
                                         "{\"a\":\"\xff\"}",
                                         "{\"a\":1,\"a\":2}",
                                         "{\"a\":99999999999999999999}",
                                         "\"",
                                         "{\"a\\"};
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        api_error error = {0};
        assert_int_equal(parse(bodies[i], 64, &error), TN_E_ARGUMENT);
        assert_int_equal(error.http_status, 400);
        assert_non_null(strstr(error.message, "line 1"));
    }
}

static void test_a_body_that_is_no_object_is_refused(void **state)
{
    (void)state;
    api_error error;
    assert_int_equal(parse("[1]", 64, &error), TN_E_ARGUMENT);
    assert_int_equal(parse("", 64, &error), TN_E_ARGUMENT);
    assert_string_equal(error.code, "empty_body");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_object_is_parsed),
        cmocka_unit_test(test_depth_is_counted_outside_strings_only),
        cmocka_unit_test(test_a_hundred_thousand_brackets_are_refused),
        cmocka_unit_test(test_millions_of_small_values_are_refused),
        cmocka_unit_test(test_bad_json_is_refused_with_its_place),
        cmocka_unit_test(test_a_body_that_is_no_object_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

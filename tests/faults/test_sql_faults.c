/* test_sql_faults.c: the SQL extensions' client while memory runs out, at every allocation in turn. */
#include "fail_nth.h"
#include "unit/cmocka_test.h"

#include "client/answer_text.h"
#include "client/row_map.h"
#include "client/yes_no.h"

#include <string.h>

static const char options_text[] = "{\"window\": 2, \"system\": \"s\", \"temperature\": 0, \"stop\": [\"a\", \"b\"]}";

static tn_status parse_options(run_options *ret_options, tn_error *err)
{
    return run_options_parse(options_text, strlen(options_text), ON_ERROR_DETAIL, ret_options, err);
}

static tn_status make_map(tn_error *err)
{
    client_server server;
    run_options options;
    row_map *map;

    tn_status status = client_server_parse("unix:/nowhere", "key", &server, err);
    if (status == TN_OK)
        status = parse_options(&options, err);
    if (status == TN_OK)
        status = row_map_create(&server, "m", &options, &map, err);
    if (status == TN_OK)
        row_map_destroy(map);
    return status;
}

static tn_status constrain(tn_error *err)
{
    const yes_no tokens = {.id = {1, 2}, .is_yes = {true, false}, .count = 2};
    run_options options;

    tn_status status = parse_options(&options, err);
    if (status != TN_OK)
        return status;
    status = yes_no_constrain(&tokens, &options, err);
    run_options_finish(&options);
    return status;
}

/* jansson lives through some failures of its own, so what counts is that a body, if there is one, is whole. */
static void test_a_question_is_whole_or_none(void **state)
{
    static const char whole[] =
        "{\"temperature\":0,\"stop\":[\"a\",\"b\"],\"max_tokens\":3,\"model\":\"m\",\"messages\":["
        "{\"role\":\"system\",\"content\":\"s\"},{\"role\":\"user\",\"content\":\"hi\"}]}";
    run_options options;
    client_request request;
    (void)state;

    assert_int_equal(parse_options(&options, NULL), TN_OK);
    json_t *fields = json_pack("{s:i}", "max_tokens", 3);
    uint32_t failures = 0;
    for (uint32_t n = 1; n < 200; n++) {
        fail_allocation(n);
        tn_status status = question_complete("m", (text_span){"hi", 2}, &options, fields, &request, NULL);
        fail_allocation(0);
        failures += status != TN_OK;
        if (status != TN_OK)
            continue;
        assert_string_equal(request.body, whole);
        free(request.body);
    }
    assert_true(failures > 20);
    json_decref(fields);
    run_options_finish(&options);
}

/* Likewise jansson's reader. */
static void test_an_answer_is_whole_or_the_rows_error(void **state)
{
    static const char body[] = "{\"choices\": [{\"text\": \"four\", \"finish_reason\": \"stop\"}]}";
    uint32_t failures = 0;
    (void)state;

    for (uint32_t n = 1; n < 100; n++) {
        client_reply reply = {.http_status = 200, .bytes = malloc(sizeof body), .count = sizeof body - 1};
        client_answer answer;
        assert_non_null(reply.bytes);
        memcpy(reply.bytes, body, sizeof body);
        fail_allocation(n);
        client_answer_read(&reply, true, NULL, &answer);
        char *text = answer.kind == ANSWER_OK ? answer_text_value(&answer) : NULL;
        fail_allocation(0);
        failures += text == NULL;
        assert_true(answer.kind == ANSWER_OK || (answer.kind == ANSWER_ROW && answer.message[0]));
        assert_true(!text || strcmp(text, "four") == 0);
        free(text);
        client_answer_finish(&answer);
    }
    assert_true(failures > 10);
}

static void test_every_failing_allocation_is_survived(void **state)
{
    (void)state;
    assert_true(fail_every_allocation(make_map, false) > 10);
    assert_true(fail_every_allocation(constrain, false) > 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_failing_allocation_is_survived),
                                       cmocka_unit_test(test_a_question_is_whole_or_none),
                                       cmocka_unit_test(test_an_answer_is_whole_or_the_rows_error)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

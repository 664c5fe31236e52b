/* test_http_faults.c: a request whose nth allocation fails is refused whole: no wrong answer, no crash, no leak.
 *
 * jansson's own allocations are left alone: its lexer ignores a buffer that could not grow and drops a byte of the
 * token.
 */
#include "../unit/http/body_player.h"

#include "fail_nth.h"

#include "unit/cmocka_test.h"

#include <string.h>

void *__real_malloc(size_t size);

static const char *current_body; /* with the route's letter first */

static tn_status play(tn_error *err)
{
    byte_buffer out = {0};
    api_error error = {0};

    json_set_alloc_funcs(__real_malloc, free);
    tn_status status = body_play(current_body[0], current_body + 1, strlen(current_body + 1), &out, &error);
    byte_buffer_finish(&out);
    body_player_finish(); /* so that setting up is tested too */
    return status == TN_OK ? TN_OK : tn_fail(err, status, "%s", error.message);
}

static void expect_failures(const char *body, uint32_t least)
{
    current_body = body;
    assert_true(fail_every_allocation(play, false) >= least);
}

static void test_a_chat_survives_each_failing_allocation(void **state)
{
    (void)state;
    expect_failures("c{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a<x>\"}]}],\"n\":2,"
                    "\"logprobs\":true,\"top_logprobs\":2,\"stop\":\"a\",\"logit_bias\":{\"1\":1},"
                    "\"allowed_token_ids\":[1],\"stop_token_ids\":[2],\"response_format\":{\"type\":\"json_schema\","
                    "\"json_schema\":{\"schema\":{}}},\"return_token_ids\":true,"
                    "\"prompt_logprobs\":1,\"chat_template_kwargs\":{\"a\":1},\"reasoning_effort\":\"low\"}",
                    40);
}

static void test_a_stream_survives_each_failing_allocation(void **state)
{
    (void)state;
    expect_failures("c{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}],\"stream\":true,\"logprobs\":true}", 5);
    expect_failures("t{\"prompt\":[[97,98],[99]],\"echo\":true,\"logprobs\":1,\"stream\":true}", 5);
}

static void test_a_completion_survives_each_failing_allocation(void **state)
{
    (void)state;
    expect_failures("t{\"prompt\":[\"ab\",\"c\"],\"echo\":true,\"logprobs\":2,\"n\":2,\"prompt_logprobs\":1}", 5);
}

static void test_tokenizing_survives_each_failing_allocation(void **state)
{
    (void)state;
    expect_failures("k{\"prompt\":\"ab<x>\",\"return_token_strs\":true}", 5);
    expect_failures("d{\"tokens\":[97,258]}", 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_chat_survives_each_failing_allocation),
        cmocka_unit_test(test_a_stream_survives_each_failing_allocation),
        cmocka_unit_test(test_a_completion_survives_each_failing_allocation),
        cmocka_unit_test(test_tokenizing_survives_each_failing_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

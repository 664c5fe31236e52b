/* test_http_pages.c: the answers to GET, tokenize and detokenize. */
#include "http_fixture.h"

#include "../cmocka_test.h"

#include <string.h>

static void test_health_is_alive_and_head_has_no_body(void **state)
{
    http_answer answer = http_get(*state, "/health");
    assert_int_equal(answer.status, 200);
    assert_string_equal(http_text_at(answer.json, "status"), "alive");
    http_answer_finish(&answer);
    answer = http_ask(*state, "HEAD", "/health", NULL, NULL);
    assert_int_equal(answer.status, 200);
    http_answer_finish(&answer);
}

static void test_ready_follows_the_heartbeat(void **state)
{
    http_fixture *fixture = *state;
    http_answer answer = http_get(fixture, "/ready");
    assert_int_equal(answer.status, 200);
    http_answer_finish(&answer);
    fixture->engine.health.ready = 0;
    strcpy(fixture->engine.health.reason, "stuck");
    answer = http_get(fixture, "/ready");
    assert_int_equal(answer.status, 503);
    assert_string_equal(http_text_at(answer.json, "reason"), "stuck");
    http_answer_finish(&answer);
    fixture->engine.health.ready = 1;
}

static void test_models_lists_every_alias(void **state)
{
    http_answer answer = http_get(*state, "/v1/models");
    assert_int_equal(answer.status, 200);
    assert_string_equal(http_text_at(answer.json, "data.0.id"), "tiny");
    assert_string_equal(http_text_at(answer.json, "data.1.id"), "org/tiny-alias");
    assert_int_equal(json_integer_value(http_at(answer.json, "data.0.max_model_len")), FAKE_CONTEXT);
    http_answer_finish(&answer);
}

static void test_one_model_is_found_by_any_alias(void **state)
{
    static const char *const paths[] = {"/v1/models/tiny", "/v1/models/org/tiny-alias", "/v1/models/org%2Ftiny-alias"};
    for (size_t i = 0; i < 3; i++) {
        http_answer answer = http_get(*state, paths[i]);
        assert_int_equal(answer.status, 200);
        assert_string_equal(http_text_at(answer.json, "object"), "model");
        http_answer_finish(&answer);
    }
    http_answer answer = http_get(*state, "/v1/models/huge");
    assert_int_equal(answer.status, 404);
    assert_string_equal(http_text_at(answer.json, "error.code"), "model_not_found");
    http_answer_finish(&answer);
}

static void test_metrics_carry_both_prefixes(void **state)
{
    static const char *const lines[] = {
        "# TYPE tenon:num_requests_running gauge\ntenon:num_requests_running{model_name=\"tiny\"} 2\n",
        "vllm:num_requests_running{model_name=\"tiny\"} 2\n",
        "# TYPE vllm:prefix_cache_hits_total counter\nvllm:prefix_cache_hits_total{model_name=\"tiny\"} 7\n",
        "tenon:request_success_total{model_name=\"tiny\",finished_reason=\"stop\"} 5\n"
        "tenon:request_success_total{model_name=\"tiny\",finished_reason=\"a\\\"b\\\\c\\n\"} 6\n",
        "tenon:time_to_first_token_seconds_bucket{model_name=\"tiny\",le=\"0.1\"} 3\n"
        "tenon:time_to_first_token_seconds_bucket{model_name=\"tiny\",le=\"1\"} 4\n"
        "tenon:time_to_first_token_seconds_bucket{model_name=\"tiny\",le=\"+Inf\"} 5\n"
        "tenon:time_to_first_token_seconds_sum{model_name=\"tiny\"} 1.5\n"
        "tenon:time_to_first_token_seconds_count{model_name=\"tiny\"} 5\n"};
    http_answer answer = http_get(*state, "/metrics");
    assert_int_equal(answer.status, 200);
    assert_non_null(strstr(answer.head, "text/plain; version=0.0.4"));
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        assert_non_null(strstr(answer.body, lines[i]));
    http_answer_finish(&answer);
}

static void test_vllm_names_can_be_switched_off(void **state)
{
    static const char *const settings[] = {"vllm_metric_names=false", NULL};
    static http_fixture fixture;
    (void)state;
    assert_int_equal(http_fixture_start(&fixture, settings, NULL), TN_OK);
    http_answer answer = http_get(&fixture, "/metrics");
    assert_non_null(strstr(answer.body, "tenon:"));
    assert_null(strstr(answer.body, "vllm:"));
    http_answer_finish(&answer);
    http_fixture_stop(&fixture);
}

static void test_version_is_told(void **state)
{
    http_answer answer = http_get(*state, "/version");
    assert_int_equal(answer.status, 200);
    assert_string_equal(http_text_at(answer.json, "version"), HTTP_FRONTEND_VERSION);
    http_answer_finish(&answer);
}

static void expect_tokens(const json_t *json, const int *tokens, size_t count)
{
    assert_int_equal(json_array_size(http_at(json, "tokens")), count);
    assert_int_equal(json_integer_value(http_at(json, "count")), count);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(json_integer_value(json_array_get(http_at(json, "tokens"), i)), tokens[i]);
}

static void test_tokenize_adds_special_tokens_to_a_prompt(void **state)
{
    http_answer answer = http_post(*state, "/tokenize", "{\"prompt\":\"a<x>b\",\"return_token_strs\":true}");
    assert_int_equal(answer.status, 200);
    expect_tokens(answer.json, (int[]){FAKE_BOS, 'a', FAKE_SPECIAL, 'b'}, 4);
    assert_string_equal(http_text_at(answer.json, "token_strs.2"), "<x>");
    http_answer_finish(&answer);
    answer = http_post(*state, "/tokenize", "{\"model\":\"tiny\",\"prompt\":\"ab\",\"add_special_tokens\":false}");
    expect_tokens(answer.json, (int[]){'a', 'b'}, 2);
    http_answer_finish(&answer);
}

static void test_tokenize_takes_messages(void **state)
{
    http_answer answer = http_post(*state, "/tokenize", "{\"messages\":[{\"role\":\"u\",\"content\":\"x\"}]}");
    assert_int_equal(answer.status, 200);
    expect_tokens(answer.json, (int[]){'u', ':', 'x', '\n'}, 4);
    http_answer_finish(&answer);
}

static void test_tokenize_has_no_length_limit_of_the_model(void **state)
{
    char body[2048];
    snprintf(body, sizeof body, "{\"prompt\":\"%01000d\"}", 0);
    http_answer answer = http_post(*state, "/tokenize", body);
    assert_int_equal(answer.status, 200);
    assert_int_equal(json_integer_value(http_at(answer.json, "count")), 1001);
    http_answer_finish(&answer);
}

static void test_detokenize_joins_bytes_of_one_character(void **state)
{
    http_answer answer = http_post(*state, "/detokenize", "{\"tokens\":[256,195,188,258]}");
    assert_int_equal(answer.status, 200);
    assert_string_equal(http_text_at(answer.json, "prompt"), "<s>\xC3\xBC<x>");
    http_answer_finish(&answer);
    answer = http_post(*state, "/detokenize", "{\"tokens\":[]}");
    assert_string_equal(http_text_at(answer.json, "prompt"), "");
    http_answer_finish(&answer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_health_is_alive_and_head_has_no_body),
        cmocka_unit_test(test_ready_follows_the_heartbeat),
        cmocka_unit_test(test_models_lists_every_alias),
        cmocka_unit_test(test_one_model_is_found_by_any_alias),
        cmocka_unit_test(test_metrics_carry_both_prefixes),
        cmocka_unit_test(test_vllm_names_can_be_switched_off),
        cmocka_unit_test(test_version_is_told),
        cmocka_unit_test(test_tokenize_adds_special_tokens_to_a_prompt),
        cmocka_unit_test(test_tokenize_takes_messages),
        cmocka_unit_test(test_tokenize_has_no_length_limit_of_the_model),
        cmocka_unit_test(test_detokenize_joins_bytes_of_one_character),
    };
    return cmocka_run_group_tests(tests, http_fixture_setup, http_fixture_teardown);
}

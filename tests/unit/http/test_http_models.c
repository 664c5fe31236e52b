/* test_http_models.c: several models behind one door: which one a request goes to, and what happens when one goes. */
#include "../cmocka_test.h"
#include "frontend.h"
#include "http_fixture.h"

#include <string.h>
#include <unistd.h>

#define CHAT "/v1/chat/completions"
#define HI   "\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]"

static const char *const two_models[] = {"fake_models=1", NULL};

static int set_up(void **state)
{
    return http_fixture_setup_with(state, two_models);
}

static void expect_reply(const http_fixture *fixture, const char *body, const char *reply, const char *model)
{
    http_answer answer = http_post(fixture, CHAT, body);
    assert_int_equal(answer.status, 200);
    assert_string_equal(http_text_at(answer.json, "choices.0.message.content"), reply);
    assert_string_equal(http_text_at(answer.json, "model"), model);
    http_answer_finish(&answer);
}

static void expect_refusal(const http_fixture *fixture, const char *path, const char *body, int status,
                           const char *words)
{
    http_answer answer = body ? http_post(fixture, path, body) : http_get(fixture, path);
    assert_int_equal(answer.status, status);
    if (!strstr(http_text_at(answer.json, "error.message"), words))
        fail_msg("%s: '%s' lacks '%s'", path, http_text_at(answer.json, "error.message"), words);
    assert_string_equal(http_text_at(answer.json, "error.param"), "model");
    http_answer_finish(&answer);
}

static void test_the_model_field_routes(void **state)
{
    const http_fixture *fixture = *state;
    expect_reply(fixture, "{\"model\":\"tiny\"," HI "}", "Hello", "tiny");
    expect_reply(fixture, "{\"model\":\"org/tiny-alias\"," HI "}", "Hello", "org/tiny-alias");
    expect_reply(fixture, "{\"model\":\"other\"," HI "}", "Second", "other");
}

static void test_a_model_that_is_not_there_is_a_404_with_those_that_are(void **state)
{
    const http_fixture *fixture = *state;
    expect_refusal(fixture, CHAT, "{\"model\":\"gpt\"," HI "}", 404,
                   "'gpt' does not exist; this server has 'tiny', 'other'");
    expect_refusal(fixture, CHAT, "{" HI "}", 404, "'model' is required: this server has 'tiny', 'other'");
    expect_refusal(fixture, "/tokenize", "{\"model\":\"gpt\",\"prompt\":\"a\"}", 404, "'gpt' does not exist");
    expect_refusal(fixture, "/v1/models/gpt", NULL, 404, "'gpt' does not exist");
    expect_refusal(fixture, CHAT, "{\"model\":7," HI "}", 400, "'model' must be a string");
}

static void test_a_model_on_its_way_is_a_503_to_come_back_for(void **state)
{
    const http_fixture *fixture = *state;
    http_answer answer = http_post(fixture, CHAT, "{\"model\":\"loading\"," HI "}");
    assert_int_equal(answer.status, 503);
    assert_non_null(strstr(answer.head, "Retry-After: 5"));
    assert_string_equal(http_text_at(answer.json, "error.message"), "loading is LOADING, 42 %");
    http_answer_finish(&answer);
    answer = http_post(fixture, CHAT, "{\"model\":\"broken\"," HI "}");
    assert_int_equal(answer.status, 503);
    assert_string_equal(http_text_at(answer.json, "error.message"), "broken has FAILED");
    http_answer_finish(&answer);
}

static void test_tokenize_and_detokenize_take_a_model(void **state)
{
    const http_fixture *fixture = *state;
    http_answer answer = http_post(fixture, "/tokenize", "{\"model\":\"other\",\"prompt\":\"ab\"}");
    assert_int_equal(json_integer_value(http_at(answer.json, "count")), 3);
    http_answer_finish(&answer);
    answer = http_post(fixture, "/detokenize", "{\"model\":\"other\",\"tokens\":[72,105]}");
    assert_string_equal(http_text_at(answer.json, "prompt"), "Hi");
    http_answer_finish(&answer);
}

static void test_pages_speak_of_all_models(void **state)
{
    const http_fixture *fixture = *state;
    http_answer answer = http_get(fixture, "/v1/models");
    assert_int_equal(json_array_size(http_at(answer.json, "data")), 3);
    assert_string_equal(http_text_at(answer.json, "data.2.id"), "other");
    http_answer_finish(&answer);
    answer = http_get(fixture, "/v1/models/other");
    assert_string_equal(http_text_at(answer.json, "root"), "other");
    http_answer_finish(&answer);
    answer = http_get(fixture, "/ready");
    assert_int_equal(answer.status, 200);
    assert_string_equal(http_text_at(answer.json, "models.tiny.status"), "ready");
    assert_string_equal(http_text_at(answer.json, "models.other.status"), "ready");
    http_answer_finish(&answer);
}

/* Prometheus wants a name's series in one group behind one TYPE. */
static void test_metrics_of_all_models_stand_together(void **state)
{
    const http_fixture *fixture = *state;
    http_answer answer = http_get(fixture, "/metrics");
    assert_int_equal(answer.status, 200);
    const char *type = strstr(answer.body, "# TYPE tenon:prefix_cache_hits_total counter\n");
    assert_non_null(type);
    assert_null(strstr(type + 1, "# TYPE tenon:prefix_cache_hits_total "));
    assert_non_null(strstr(type, "counter\ntenon:prefix_cache_hits_total{model_name=\"tiny\"} 7\n"
                                 "tenon:prefix_cache_hits_total{model_name=\"other\"} 7\n"));
    assert_non_null(strstr(answer.body, "vllm:prefix_cache_hits_total{model_name=\"other\"} 7\n"));
    http_answer_finish(&answer);
}

static void test_a_model_that_goes_is_let_go(void **state)
{
    http_fixture *fixture = *state;
    expect_reply(fixture, "{\"model\":\"other\"," HI "}", "Second", "other");
    assert_int_equal(atomic_load(&fixture->models.retained[1]), 1);
    fake_models_list(&fixture->models, 1, false);
    /* The one that is left needs no name now. */
    expect_reply(fixture, "{" HI "}", "Hello", "tiny");
    assert_true(http_becomes(&fixture->models.retained[1], 0));
    expect_refusal(fixture, CHAT, "{\"model\":\"other\"," HI "}", 404, "'other' does not exist");
    fake_models_list(&fixture->models, 1, true);
    expect_reply(fixture, "{\"model\":\"other\"," HI "}", "Second", "other");
}

static void test_a_model_in_use_is_kept_until_its_requests_are_over(void **state)
{
    http_fixture *fixture = *state;
    char head[256];
    const char *body = "{\"model\":\"other\"," HI "}";
    uint32_t submitted = fake_engine_submitted(&fixture->second);
    fixture->second.delay_us = 100000;
    int fd = http_connect(fixture);
    int n =
        snprintf(head, sizeof head,
                 "POST " CHAT " HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
                 strlen(body));
    http_send(fd, head, (size_t)n);
    http_send(fd, body, strlen(body));
    assert_true(fake_engine_takes(&fixture->second, submitted + 1));
    fake_models_list(&fixture->models, 1, false);
    expect_reply(fixture, "{" HI "}", "Hello", "tiny");
    http_answer answer = http_receive(fd);
    assert_int_equal(answer.status, 200);
    assert_string_equal(http_text_at(answer.json, "choices.0.message.content"), "Second");
    http_answer_finish(&answer);
    close(fd);
    fixture->second.delay_us = 0;
    assert_true(http_becomes(&fixture->models.retained[1], 0));
    fake_models_list(&fixture->models, 1, true);
}

/* What the engine refuses before it begins is a status that clients know to come back for, in a stream too. */
static void test_a_stream_that_does_not_begin_is_an_error(void **state)
{
    http_fixture *fixture = *state;
    fixture->engine.submit_status = TN_E_AGAIN;
    http_answer answer = http_post(fixture, CHAT, "{\"model\":\"tiny\",\"stream\":true," HI "}");
    assert_int_equal(answer.status, 429);
    http_answer_finish(&answer);
    fixture->engine.submit_status = TN_OK;
    fixture->engine.refuse_status = TN_E_AGAIN;
    answer = http_post(fixture, CHAT, "{\"model\":\"tiny\",\"stream\":true," HI "}");
    assert_int_equal(answer.status, 429);
    assert_non_null(strstr(answer.head, "Retry-After:"));
    http_answer_finish(&answer);
    fixture->engine.refuse_status = TN_OK;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_model_field_routes),
        cmocka_unit_test(test_a_model_that_is_not_there_is_a_404_with_those_that_are),
        cmocka_unit_test(test_a_model_on_its_way_is_a_503_to_come_back_for),
        cmocka_unit_test(test_tokenize_and_detokenize_take_a_model),
        cmocka_unit_test(test_pages_speak_of_all_models),
        cmocka_unit_test(test_metrics_of_all_models_stand_together),
        cmocka_unit_test(test_a_model_that_goes_is_let_go),
        cmocka_unit_test(test_a_model_in_use_is_kept_until_its_requests_are_over),
        cmocka_unit_test(test_a_stream_that_does_not_begin_is_an_error),
    };
    return cmocka_run_group_tests(tests, set_up, http_fixture_teardown);
}

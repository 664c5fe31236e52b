/* test_sql_client.c: addresses, options, questions and answers of the SQL extensions' client, without a server. */
#include "cmocka_test.h"

#include "base/utf8.h"
#include "client/answer_text.h"
#include "client/question.h"
#include "client/yes_no.h"

#include <string.h>

static void test_addresses(void **state)
{
    static const char *const bad[] = {"",         "localhost:80", "unix:x",        "ftp://x",      "http://",
                                      "http://?", "http://a b",   "http://u@h:80", "http://h:80#x"};
    client_server server;
    tn_error err = TN_ERROR_INIT;
    (void)state;

    assert_int_equal(client_server_parse("unix:/run/x.sock", NULL, &server, &err), TN_OK);
    assert_string_equal(server.socket_path, "/run/x.sock");
    assert_string_equal(server.url, "http://localhost");
    assert_int_equal(client_server_parse("http://[::1]:8000//", "key", &server, &err), TN_OK);
    assert_string_equal(server.url, "http://[::1]:8000");
    assert_string_equal(server.socket_path, "");
    assert_string_equal(server.api_key, "key");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(client_server_parse(bad[i], NULL, &server, &err), TN_E_ARGUMENT);
    assert_int_equal(client_server_parse("http://h", "secret\r\nX: y", &server, &err), TN_E_ARGUMENT);
    assert_null(strstr(err.msg, "secret"));
    assert_string_equal(server.api_key, "key"); /* untouched by a failure */
}

static void test_an_address_of_any_length_is_kept_or_refused(void **state)
{
    char path[256] = "unix:/", url[1024] = "http://";
    client_server server;
    tn_error err = TN_ERROR_INIT;
    (void)state;

    for (size_t i = strlen(path); i < sizeof path - 1; i++) {
        path[i] = 'x';
        bool fits = strlen(path) - 5 < sizeof server.socket_path;
        assert_int_equal(client_server_parse(path, NULL, &server, &err), fits ? TN_OK : TN_E_ARGUMENT);
        assert_true(!fits || strcmp(server.socket_path, path + 5) == 0);
    }
    for (size_t i = strlen(url); i < sizeof url - 1; i++) {
        url[i] = 'x';
        bool fits = strlen(url) < sizeof server.url;
        assert_int_equal(client_server_parse(url, NULL, &server, &err), fits ? TN_OK : TN_E_ARGUMENT);
        assert_true(!fits || strcmp(server.url, url) == 0);
    }
}

static run_options options_of(const char *text)
{
    run_options options;
    tn_error err = TN_ERROR_INIT;

    if (run_options_parse(text, strlen(text), ON_ERROR_NULL, &options, &err) != TN_OK)
        fail_msg("%s: %s", text, err.msg);
    return options;
}

static void test_options(void **state)
{
    (void)state;
    run_options options = options_of("");
    assert_int_equal(options.limits.window, 64);
    assert_int_equal(options.limits.retries, 4);
    assert_int_equal(options.limits.timeout_ms, 600000);
    assert_true(options.limits.ordered);
    assert_int_equal(json_object_size(options.fields), 0);
    assert_false(run_options_repeatable(&options));
    run_options_finish(&options);

    options =
        options_of("{\"window\": 7, \"ordered\": false, \"on_error\": \"fail\", \"temperature\": 0, \"top_p\": 1}");
    assert_int_equal(options.limits.window, 7);
    assert_false(options.limits.ordered);
    assert_int_equal(options.on_error, ON_ERROR_FAIL);
    assert_int_equal(json_object_size(options.fields), 2);
    assert_true(run_options_repeatable(&options));
    run_options_finish(&options);

    options = options_of("{\"temperature\": 0.5}");
    assert_false(run_options_repeatable(&options));
    run_options_finish(&options);
}

static char *body_of(const char *prompt, size_t bytes, const char *options_text)
{
    run_options options = options_of(options_text);
    client_request request;
    tn_error err = TN_ERROR_INIT;

    if (question_complete("m", (text_span){prompt, bytes}, &options, NULL, &request, &err) != TN_OK)
        fail_msg("%s", err.msg);
    run_options_finish(&options);
    return request.body;
}

static void test_questions(void **state)
{
    run_options options = options_of("{}");
    client_request request;
    tn_error err = TN_ERROR_INIT;
    (void)state;

    char *body = body_of("a\0\"b", 4, "{\"raw\": true, \"max_tokens\": 3}");
    assert_string_equal(body, "{\"max_tokens\":3,\"model\":\"m\",\"prompt\":\"a\\u0000\\\"b\"}");
    free(body);
    body = body_of("x", 1, "{\"system\": \"s\"}");
    assert_string_equal(body, "{\"model\":\"m\",\"messages\":[{\"role\":\"system\",\"content\":\"s\"},"
                              "{\"role\":\"user\",\"content\":\"x\"}]}");
    free(body);
    assert_int_equal(question_complete("m", (text_span){"\xff", 1}, &options, NULL, &request, &err), TN_E_ARGUMENT);
    assert_string_equal(err.msg, "the prompt is not valid UTF-8");
    assert_int_equal(question_chat("m", (text_span){"{}", 2}, &options, &request, &err), TN_E_ARGUMENT);
    assert_int_equal(question_chat("m", (text_span){"[", 1}, &options, &request, &err), TN_E_ARGUMENT);
    assert_int_equal(question_json("m", (text_span){"x", 1}, (text_span){"[]", 2}, &options, &request, &err),
                     TN_E_ARGUMENT);
    run_options_finish(&options);
}

static client_answer answer_of(uint32_t http_status, const char *body, const json_t *row_fields)
{
    client_reply reply = {.kind = REPLY_HTTP, .http_status = http_status, .bytes = strdup(body), .count = strlen(body)};
    client_answer answer;

    client_answer_read(&reply, true, row_fields, &answer);
    assert_null(reply.bytes);
    return answer;
}

static void test_whose_fault_it_is(void **state)
{
    static const struct {
        uint32_t http_status;
        const char *body;
        answer_kind kind;
        const char *code;
    } cases[] = {
        {400, "{\"error\":{\"message\":\"x\",\"param\":\"prompt\",\"code\":null}}", ANSWER_ROW, "http_400"},
        {400, "{\"error\":{\"message\":\"x\",\"param\":\"max_tokens\",\"code\":\"context_length_exceeded\"}}",
         ANSWER_ROW, "context_length_exceeded"},
        {400, "{\"error\":{\"message\":\"x\",\"param\":\"top_p\"}}", ANSWER_SYSTEMIC, "http_400"},
        {400, "not json", ANSWER_ROW, "http_400"},
        {401, "", ANSWER_SYSTEMIC, "http_401"},
        {404, "{\"error\":{\"code\":\"model_not_found\"}}", ANSWER_SYSTEMIC, "model_not_found"},
        {503, "{\"error\":{\"message\":\"x\",\"code\":\"engine_unavailable\"}}", ANSWER_SYSTEMIC, "engine_unavailable"},
        {429, "", ANSWER_ROW, "http_429"},
        {413, "[]", ANSWER_ROW, "http_413"},
        {500, "{\"error\":5}", ANSWER_ROW, "http_500"},
        {200, "{}", ANSWER_ROW, "bad_answer"},
        {200, "{\"choices\":[{\"message\":{\"content\":null}}]}", ANSWER_ROW, "bad_answer"},
        {200, "{\"choices\":{\"0\":1}}", ANSWER_ROW, "bad_answer"},
        {200, "", ANSWER_ROW, "bad_answer"},
    };
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        client_answer answer = answer_of(cases[i].http_status, cases[i].body, NULL);
        assert_int_equal(answer.kind, cases[i].kind);
        assert_string_equal(answer.code, cases[i].code);
        assert_true(answer.message[0] != '\0');
        assert_null(answer.value);
        client_answer_finish(&answer);
    }
    json_t *own = json_pack("{s:i}", "top_p", 9);
    client_answer answer = answer_of(400, cases[2].body, own);
    assert_int_equal(answer.kind, ANSWER_ROW); /* the row brought the field that is refused */
    client_answer_finish(&answer);
    json_decref(own);
}

/* A record of a batch is JSON, and a database's texts are UTF-8: words that are cut stay both. */
static void test_long_words_are_cut_between_characters(void **state)
{
    char body[2200] = "{\"error\":{\"message\":\"xy";
    (void)state;

    for (int i = 0; i < 600; i++)
        strcat(body, "\xC3\xA9");
    strcat(body, "\",\"code\":\"");
    for (int i = 0; i < 60; i++)
        strcat(body, "\xC3\xA9");
    strcat(body, "\"}}");
    client_answer answer = answer_of(400, body, NULL);
    assert_true(utf8_is_valid(answer.message, strlen(answer.message)));
    assert_int_equal(strlen(answer.message), sizeof answer.message - 1);
    assert_true(utf8_is_valid(answer.code, strlen(answer.code)));
    client_answer_finish(&answer);
    strcpy(body, "<p>");
    for (int i = 0; i < 600; i++)
        strcat(body, "\xE4\xB8\x96");
    answer = answer_of(200, body, NULL); /* a page of some proxy's */
    assert_int_equal(answer.kind, ANSWER_ROW);
    assert_true(utf8_is_valid(answer.message, strlen(answer.message)));
    client_answer_finish(&answer);
}

static void test_zero_bytes_are_found_anywhere(void **state)
{
    static const char body[] = "{\"choices\":[{\"message\":{\"content\":\"a\",\"reasoning\":[\"x\\u0000\"]}}]}";
    (void)state;

    client_answer answer = answer_of(200, body, NULL);
    client_answer_forbid_zero(&answer, false);
    assert_int_equal(answer.kind, ANSWER_OK); /* the text has none */
    client_answer_forbid_zero(&answer, true);
    assert_int_equal(answer.kind, ANSWER_ROW);
    client_answer_finish(&answer);
    answer = answer_of(200, "{\"choices\":[{\"text\":\"a\",\"n\":[1,{\"b\":\"c\"}]}]}", NULL);
    client_answer_forbid_zero(&answer, true);
    assert_int_equal(answer.kind, ANSWER_OK);
    client_answer_finish(&answer);
}

static void test_answers(void **state)
{
    (void)state;
    client_answer answer = answer_of(200,
                                     "{\"choices\":[{\"text\":\"a\\u0000b\",\"finish_reason\":\"stop\"}],"
                                     "\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":-1}}",
                                     NULL);
    assert_int_equal(answer.kind, ANSWER_OK);
    assert_int_equal(answer.value_bytes, 3);
    assert_memory_equal(answer.value, "a\0b", 4);
    assert_string_equal(answer.finish_reason, "stop");
    assert_int_equal(answer.prompt_tokens, 3);
    assert_int_equal(answer.completion_tokens, -1);
    assert_null(answer_text_json(&answer));
    assert_null(answer_text_count(&answer));
    assert_null(answer_text_embedding(&answer));
    client_answer_forbid_zero(&answer, false);
    assert_int_equal(answer.kind, ANSWER_ROW);
    char *text = answer_text_try(&answer);
    assert_string_equal(text, "{\"value\":null,\"error\":\"the answer holds a zero byte, which text cannot\","
                              "\"code\":\"bad_answer\",\"finish_reason\":null,\"usage\":{\"prompt_tokens\":3,"
                              "\"completion_tokens\":-1}}");
    free(text);
    client_answer_finish(&answer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addresses),         cmocka_unit_test(test_an_address_of_any_length_is_kept_or_refused),
        cmocka_unit_test(test_options),           cmocka_unit_test(test_questions),
        cmocka_unit_test(test_whose_fault_it_is), cmocka_unit_test(test_long_words_are_cut_between_characters),
        cmocka_unit_test(test_answers),           cmocka_unit_test(test_zero_bytes_are_found_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

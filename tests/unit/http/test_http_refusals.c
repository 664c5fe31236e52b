/* test_http_refusals.c: every bad request gets the right status, names its field, and never reaches the engine. */
#include "http_fixture.h"

#include "../cmocka_test.h"

#include <string.h>

#define CHAT "/v1/chat/completions"
#define TEXT "/v1/completions"
#define HI   "\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]"
#define AB   "\"prompt\":\"ab\""

typedef struct bad_request {
    const char *path, *body, *param, *words;
} bad_request;

static void expect_refusal(const http_fixture *fixture, const bad_request *bad)
{
    http_answer answer = http_post(fixture, bad->path, bad->body);
    const char *param = json_string_value(http_at(answer.json, "error.param"));
    const char *message = http_text_at(answer.json, "error.message");
    bool as_expected = answer.status == 400 && (param ? bad->param && strcmp(param, bad->param) == 0 : !bad->param) &&
                       strstr(message, bad->words);
    if (!as_expected)
        fail_msg("%s %s\n gave %d %s", bad->path, bad->body, answer.status, answer.body);
    assert_string_equal(http_text_at(answer.json, "error.type"), "invalid_request_error");
    http_answer_finish(&answer);
}

static void test_values_out_of_range_name_their_field(void **state)
{
    static const bad_request refusals[] = {
        {CHAT, "{" HI ",\"temperature\":-0.1}", "temperature", "between 0 and 100"},
        {CHAT, "{" HI ",\"temperature\":1e-30}", "temperature", "0.0001"},
        {CHAT, "{" HI ",\"temperature\":\"hot\"}", "temperature", "must be a number"},
        {CHAT, "{" HI ",\"top_p\":0}", "top_p", "above 0"},
        {CHAT, "{" HI ",\"top_p\":1.01}", "top_p", "between"},
        {CHAT, "{" HI ",\"top_k\":-2}", "top_k", "between -1"},
        {CHAT, "{" HI ",\"top_k\":1.5}", "top_k", "integer"},
        {CHAT, "{" HI ",\"min_p\":2}", "min_p", "between"},
        {CHAT, "{" HI ",\"seed\":1.5}", "seed", "integer"},
        {CHAT, "{" HI ",\"repetition_penalty\":0}", "repetition_penalty", "between 0.01"},
        {CHAT, "{" HI ",\"presence_penalty\":-3}", "presence_penalty", "between -2"},
        {CHAT, "{" HI ",\"frequency_penalty\":3}", "frequency_penalty", "between -2"},
        {CHAT, "{" HI ",\"logit_bias\":[1]}", "logit_bias", "must map"},
        {CHAT, "{" HI ",\"logit_bias\":{\"260\":1}}", "logit_bias", "0 to 259"},
        {CHAT, "{" HI ",\"logit_bias\":{\"-1\":1}}", "logit_bias", "0 to 259"},
        {CHAT, "{" HI ",\"logit_bias\":{\"5x\":1}}", "logit_bias", "0 to 259"},
        {CHAT, "{" HI ",\"logit_bias\":{\"5\":100,\"05\":100}}", "logit_bias", "'05'"},
        {CHAT, "{" HI ",\"logit_bias\":{\"5\":101}}", "logit_bias", "-100 to 100"},
        {CHAT, "{" HI ",\"logit_bias\":{\"1\":1,\"2\":1,\"3\":1,\"4\":1,\"5\":1,\"6\":1,\"7\":1,\"8\":1,\"9\":1}}",
         "logit_bias", "at most 8"},
        {CHAT, "{" HI ",\"allowed_token_ids\":[]}", "allowed_token_ids", "not be empty"},
        {CHAT, "{" HI ",\"allowed_token_ids\":[-1]}", "allowed_token_ids", "0 to 259"},
        {CHAT, "{" HI ",\"stop\":\"\"}", "stop", "not empty"},
        {CHAT, "{" HI ",\"stop\":[1]}", "stop", "strings"},
        {CHAT, "{" HI ",\"stop\":[\"a\",\"b\",\"c\",\"d\",\"e\"]}", "stop", "at most 4"},
        {CHAT, "{" HI ",\"stop\":\"0123456789012345678901234567890123456789\"}", "stop", "32 bytes"},
        {CHAT, "{" HI ",\"stop_token_ids\":[260]}", "stop_token_ids", "0 to 259"},
        {CHAT, "{" HI ",\"stop_token_ids\":[1,2,3,4,5,6,7,8,9]}", "stop_token_ids", "at most 8"},
        {CHAT, "{" HI ",\"min_tokens\":-1}", "min_tokens", "between 0"},
        {CHAT, "{" HI ",\"min_tokens\":5,\"max_tokens\":4}", "min_tokens", "exceed"},
        {CHAT, "{" HI ",\"max_tokens\":0}", "max_tokens", "at least 1"},
        {CHAT, "{" HI ",\"max_tokens\":-1}", "max_tokens", "between 0"},
        {CHAT, "{" HI ",\"max_tokens\":3,\"max_completion_tokens\":4}", "max_tokens", "contradict"},
        {CHAT, "{" HI ",\"n\":0}", "n", "between 1"},
        {CHAT, "{" HI ",\"n\":-1}", "n", "between 1"},
        {CHAT, "{" HI ",\"n\":1000000}", "n", "between 1 and 4"},
        {CHAT, "{" HI ",\"n\":9223372036854775807}", "n", "between 1"},
        {CHAT, "{" HI ",\"ignore_eos\":1}", "ignore_eos", "true or false"},
        {CHAT, "{" HI ",\"logprobs\":3}", "logprobs", "true or false"},
        {CHAT, "{" HI ",\"top_logprobs\":2}", "top_logprobs", "needs 'logprobs'"},
        {CHAT, "{" HI ",\"logprobs\":true,\"top_logprobs\":6}", "top_logprobs", "between 0 and 5"},
        {CHAT, "{" HI ",\"prompt_logprobs\":-1}", "prompt_logprobs", "between 0"},
        {CHAT, "{" HI ",\"prompt_logprobs\":1,\"stream\":true}", "prompt_logprobs", "cannot be streamed"},
        {CHAT, "{" HI ",\"stream_options\":{\"include_usage\":true}}", "stream_options", "needs 'stream'"},
        {CHAT, "{" HI ",\"stream_options\":7}", "stream_options", "object"},
        {CHAT, "{" HI ",\"cache_salt\":\"\"}", "cache_salt", "1 to 1024"},
        {CHAT, "{" HI ",\"request_id\":\"a b\"}", "request_id", "letters"},
        {CHAT, "{" HI ",\"priority\":2147483648}", "priority", "between"},
        {TEXT, "{" AB ",\"logprobs\":6}", "logprobs", "between 0 and 5"},
        {TEXT, "{" AB ",\"logprobs\":-1}", "logprobs", "between 0"},
        {TEXT, "{" AB ",\"max_tokens\":0}", "max_tokens", "at least 1"},
    };
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++)
        expect_refusal(*state, &refusals[i]);
}

static void test_fields_that_would_change_the_answer_are_refused(void **state)
{
    static const bad_request refusals[] = {
        {CHAT, "{" HI ",\"tool_choice\":\"required\"}", "tool_choice", "forced"},
        {CHAT, "{" HI ",\"tool_choice\":{\"type\":\"function\"}}", "tool_choice", "forced"},
        {CHAT, "{" HI ",\"response_format\":{\"type\":\"json_schema\"}}", "response_format", "json_schema"},
        {CHAT, "{" HI ",\"response_format\":{\"type\":\"grammar\"}}", "response_format", "'grammar' is not supported"},
        {CHAT, "{" HI ",\"response_format\":{\"type\":\"json_object\",\"schema\":{}}}", "response_format", "'schema'"},
        {CHAT, "{" HI ",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"schema\":{},\"strict\":1}}}",
         "response_format", "'strict' must be"},
        {CHAT, "{" HI ",\"structured_outputs\":{\"choice\":[]}}", "structured_outputs", "list of texts"},
        {CHAT, "{" HI ",\"structured_outputs\":{\"json\":3}}", "structured_outputs", "'json' must be"},
        {CHAT, "{" HI ",\"structured_outputs\":{\"json_object\":false}}", "structured_outputs", "only be true"},
        {CHAT, "{" HI ",\"structured_outputs\":{}}", "structured_outputs", "needs one of"},
        {CHAT, "{" HI ",\"structured_outputs\":{\"json\":{},\"regex\":\"a\"}}", "structured_outputs", "contradict"},
        {CHAT, "{" HI ",\"response_format\":\"json\"}", "response_format", "'type'"},
        {CHAT, "{" HI ",\"structured_outputs\":{\"regex\":\"a\"}}", "structured_outputs",
         "not supported by this engine"},
        {CHAT, "{" HI ",\"store\":true}", "store", "not supported"},
        {CHAT, "{" HI ",\"audio\":{\"voice\":\"a\"}}", "audio", "not supported"},
        {CHAT, "{" HI ",\"modalities\":[\"text\",\"audio\"]}", "modalities", "text"},
        {CHAT, "{" HI ",\"use_beam_search\":true}", "use_beam_search", "not supported"},
        {CHAT, "{" HI ",\"ec_transfer_params\":{\"a\":1}}", "ec_transfer_params", "not supported"},
        {CHAT, "{" HI ",\"routed_experts_prompt_start\":4}", "routed_experts_prompt_start", "not supported"},
        {CHAT, "{" HI ",\"return_prompt_text\":true}", "return_prompt_text", "not supported"},
        {CHAT, "{" HI ",\"stream_interval\":10}", "stream_interval", "can only be 1"},
        {CHAT, "{" HI ",\"length_penalty\":1.1}", "length_penalty", "only be 1"},
        {CHAT, "{" HI ",\"parallel_tool_calls\":false}", "parallel_tool_calls", "only be true"},
        {CHAT, "{" HI ",\"chat_template\":\"{{x}}\"}", "chat_template", "not supported"},
        {CHAT, "{" HI ",\"echo\":true}", "echo", "not supported"},
        {CHAT, "{" HI ",\"functions\":[{}]}", "functions", "not supported"},
        {TEXT, "{" AB ",\"suffix\":\"x\"}", "suffix", "not supported"},
        {TEXT, "{" AB ",\"best_of\":3}", "best_of", "not supported"},
    };
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++)
        expect_refusal(*state, &refusals[i]);
}

static void test_unknown_fields_are_refused_with_the_nearest_name(void **state)
{
    static const bad_request refusals[] = {
        {CHAT, "{" HI ",\"temprature\":1}", "temprature", "did you mean 'temperature'"},
        {CHAT, "{" HI ",\"xqzzywvuut\":null}", "xqzzywvuut", "unknown field"},
        {CHAT, "{" HI ",\"prompt\":\"a\"}", "prompt", "unknown field"},
        {TEXT, "{" AB "," HI "}", "messages", "unknown field"},
        {CHAT, "{" HI ",\"stream\":true,\"stream_options\":{\"include_usge\":true}}", "include_usge",
         "did you mean 'include_usage'"},
        {"/tokenize", "{\"promt\":\"a\"}", "promt", "did you mean 'prompt'"},
        {"/detokenize", "{\"token\":[1]}", "token", "did you mean 'tokens'"},
    };
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++)
        expect_refusal(*state, &refusals[i]);
}

static void test_bad_input_names_its_place(void **state)
{
    static const bad_request refusals[] = {
        {CHAT, "{}", "messages", "required"},
        {CHAT, "{\"messages\":[]}", "messages", "not be empty"},
        {CHAT, "{\"messages\":\"Hi\"}", "messages", "a list"},
        {CHAT, "{\"messages\":[1]}", "messages", "messages[0] must be an object"},
        {CHAT, "{\"messages\":[{\"content\":\"a\"}]}", "messages", "messages[0].role"},
        {CHAT, "{\"messages\":[{\"role\":\"user\"}]}", "messages", "messages[0].content"},
        {CHAT, "{\"messages\":[{\"role\":\"user\",\"content\":7}]}", "messages", "messages[0].content"},
        {CHAT, "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":{}}]}]}",
         "messages", "messages[0].content[0] is a part of type 'image_url'"},
        {CHAT, "{\"messages\":[{\"role\":\"user\",\"content\":\"REFUSE\"}]}", "messages", "the template says no"},
        {TEXT, "{}", "prompt", "required"},
        {TEXT, "{\"prompt\":[]}", "prompt", "empty"},
        {TEXT, "{\"prompt\":7}", "prompt", "must be a text"},
        {TEXT, "{\"prompt\":\"\",\"add_special_tokens\":false}", "prompt", "empty"},
        {TEXT, "{\"prompt\":[[]]}", "prompt", "empty"},
        {TEXT, "{\"prompt\":[1,\"a\"]}", "prompt", "entry 1"},
        {TEXT, "{\"prompt\":[1,260]}", "prompt", "entry 1"},
        {TEXT, "{\"prompt\":[-1]}", "prompt", "entry 0"},
        {TEXT, "{\"prompt\":[\"a\",{}]}", "prompt", "must be a text"},
        {"/tokenize", "{}", "prompt", "either"},
        {"/tokenize", "{\"prompt\":\"a\",\"messages\":[]}", "prompt", "either"},
        {"/detokenize", "{}", "tokens", "required"},
        {"/detokenize", "{\"tokens\":[260]}", "tokens", "entry 0"},
        {"/detokenize", "{\"tokens\":[2147483648]}", "tokens", "entry 0"},
    };
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++)
        expect_refusal(*state, &refusals[i]);
}

static void test_a_prompt_beyond_the_context_is_refused_with_both_numbers(void **state)
{
    char body[2048];
    snprintf(body, sizeof body, "{\"prompt\":\"%0300d\"}", 0);
    expect_refusal(*state, &(bad_request){TEXT, body, "prompt", "301 tokens"});
    snprintf(body, sizeof body, "{\"prompt\":\"%0255d\"}", 0);
    expect_refusal(*state, &(bad_request){TEXT, body, "prompt", "room for 255"});
    snprintf(body, sizeof body, "{\"prompt\":\"%01500d\"}", 0); /* longer than 256 of the longest tokens */
    expect_refusal(*state, &(bad_request){TEXT, body, "prompt", "1500 bytes"});
    expect_refusal(*state, &(bad_request){TEXT, "{" AB ",\"max_tokens\":254}", "max_tokens", "context of 256"});
    http_answer answer = http_post(*state, TEXT, "{" AB ",\"max_tokens\":253}");
    assert_int_equal(answer.status, 200);
    http_answer_finish(&answer);
}

static void test_too_many_prompts_are_refused(void **state)
{
    char body[2048] = "{\"prompt\":[";
    for (int i = 0; i < 129; i++)
        strcat(body, i ? ",\"a\"" : "\"a\"");
    strcat(body, "]}");
    expect_refusal(*state, &(bad_request){TEXT, body, "prompt", "takes 128"});
}

static void test_a_model_without_template_says_so(void **state)
{
    http_fixture *fixture = *state;
    fixture->engine.no_template = true;
    expect_refusal(fixture, &(bad_request){CHAT, "{" HI "}", "messages", "no chat template"});
    fixture->engine.no_template = false;
}

static void expect_status(http_answer answer, int status, const char *code, const char *header)
{
    if (answer.status != status || strcmp(http_text_at(answer.json, "error.code"), code) != 0)
        fail_msg("expected %d %s: %s%s", status, code, answer.head, answer.body);
    if (header)
        assert_non_null(strstr(answer.head, header));
    http_answer_finish(&answer);
}

static void test_paths_methods_types_and_models_are_checked(void **state)
{
    static const char json[] = "Content-Type: application/json\r\n";
    expect_status(http_get(*state, "/v2/models"), 404, "unknown_url", NULL);
    expect_status(http_get(*state, CHAT), 405, "method_not_allowed", "Allow: POST");
    expect_status(http_ask(*state, "DELETE", "/v1/models/tiny", NULL, NULL), 405, "method_not_allowed", "Allow: GET");
    expect_status(http_ask(*state, "OPTIONS", CHAT, NULL, NULL), 405, "method_not_allowed", NULL);
    expect_status(http_ask(*state, "POST", "/health", json, "{}"), 405, "method_not_allowed", NULL);
    expect_status(http_ask(*state, "POST", CHAT, NULL, "{}"), 415, "unsupported_media_type", NULL);
    expect_status(http_ask(*state, "POST", CHAT, "Content-Type: text/plain\r\n", "{}"), 415, "unsupported_media_type",
                  NULL);
    expect_status(http_ask(*state, "POST", CHAT, "Content-Type: application/jsonp\r\n", "{}"), 415,
                  "unsupported_media_type", NULL);
    expect_status(http_post(*state, CHAT, "{" HI ",\"model\":\"huge\"}"), 404, "model_not_found", NULL);
    expect_status(http_post(*state, TEXT, "{" AB ",\"model\":\"\"}"), 404, "model_not_found", NULL);
    expect_status(http_post(*state, "/tokenize", "{" AB ",\"model\":\"huge\"}"), 404, "model_not_found", NULL);
    http_answer answer =
        http_ask(*state, "POST", CHAT, "Content-Type: Application/JSON; charset=utf-8\r\n", "{" HI "}");
    assert_int_equal(answer.status, 200);
    http_answer_finish(&answer);
}

static void test_engine_refusals_become_429_400_and_503(void **state)
{
    http_fixture *fixture = *state;
    fixture->engine.submit_status = TN_E_AGAIN;
    expect_status(http_post(fixture, CHAT, "{" HI "}"), 429, "rate_limit_exceeded", "Retry-After: 7");
    fixture->engine.submit_status = TN_E_DEVICE_LOST;
    expect_status(http_post(fixture, TEXT, "{\"prompt\":[\"a\",\"b\"]}"), 503, "engine_unavailable", "Retry-After: 7");
    fixture->engine.submit_status = TN_E_ARGUMENT;
    expect_refusal(fixture, &(bad_request){CHAT, "{" HI "}", NULL, "the script refuses"});
    fixture->engine.submit_status = TN_OK;
}

static void test_keys_are_wanted_but_for_health_and_readiness(void **state)
{
    static const char *const settings[] = {"api_key=one, two", NULL};
    static http_fixture fixture;
    static const char *const paths[] = {"/v1/models", "/metrics", "/version", "/nowhere", "/health/x"};
    (void)state;
    assert_int_equal(http_fixture_start(&fixture, settings, NULL), TN_OK);
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
        expect_status(http_get(&fixture, paths[i]), 401, "invalid_api_key", "WWW-Authenticate: Bearer");
    expect_status(http_post(&fixture, CHAT, "{" HI "}"), 401, "invalid_api_key", NULL);
    expect_status(http_ask(&fixture, "GET", "/v1/models", "Authorization: Bearer on\r\n", NULL), 401, "invalid_api_key",
                  NULL);
    http_answer answer = http_get(&fixture, "/health");
    assert_int_equal(answer.status, 200);
    http_answer_finish(&answer);
    fixture.engine.health = (tn_health){.struct_size = sizeof(tn_health), .failed = 1};
    strcpy(fixture.engine.health.reason, "the device is lost");
    answer = http_get(&fixture, "/ready");
    assert_int_equal(answer.status, 503);
    assert_string_equal(answer.body, "{\"status\":\"not ready\"}");
    http_answer_finish(&answer);
    answer = http_ask(&fixture, "GET", "/ready", "Authorization: Bearer one\r\n", NULL);
    assert_non_null(strstr(answer.body, "the device is lost"));
    http_answer_finish(&answer);
    answer =
        http_ask(&fixture, "POST", CHAT, "Authorization: Bearer two\r\nContent-Type: application/json\r\n", "{" HI "}");
    assert_int_equal(answer.status, 200);
    http_answer_finish(&answer);
    http_fixture_stop(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values_out_of_range_name_their_field),
        cmocka_unit_test(test_fields_that_would_change_the_answer_are_refused),
        cmocka_unit_test(test_unknown_fields_are_refused_with_the_nearest_name),
        cmocka_unit_test(test_bad_input_names_its_place),
        cmocka_unit_test(test_a_prompt_beyond_the_context_is_refused_with_both_numbers),
        cmocka_unit_test(test_too_many_prompts_are_refused),
        cmocka_unit_test(test_a_model_without_template_says_so),
        cmocka_unit_test(test_paths_methods_types_and_models_are_checked),
        cmocka_unit_test(test_engine_refusals_become_429_400_and_503),
        cmocka_unit_test(test_keys_are_wanted_but_for_health_and_readiness),
    };
    return cmocka_run_group_tests(tests, http_fixture_setup, http_fixture_teardown);
}

/* test_http_chat.c: /v1/chat/completions, whole and streamed, and what reaches the engine. */
#include "http_fixture.h"

#include "../cmocka_test.h"

#include <string.h>

#define PATH     "/v1/chat/completions"
#define MESSAGES "\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]"

static http_answer ask(void **state, const char *fields)
{
    char body[2048];
    snprintf(body, sizeof body, "{" MESSAGES "%s%s}", *fields ? "," : "", fields);
    http_answer answer = http_post(*state, PATH, body);
    if (answer.status != 200)
        print_error("%s -> %s\n", fields, answer.body);
    assert_int_equal(answer.status, 200);
    assert_true(answer.complete);
    return answer;
}

static void test_a_whole_answer_has_openai_shape(void **state)
{
    http_answer answer = ask(state, "\"model\":\"org/tiny-alias\"");
    const json_t *json = answer.json;
    assert_string_equal(http_text_at(json, "object"), "chat.completion");
    assert_memory_equal(http_text_at(json, "id"), "chatcmpl-", 9);
    assert_string_equal(http_text_at(json, "model"), "org/tiny-alias");
    assert_memory_equal(http_text_at(json, "system_fingerprint"), "fp_", 3);
    assert_string_equal(http_text_at(json, "choices.0.message.role"), "assistant");
    assert_string_equal(http_text_at(json, "choices.0.message.content"), "Hello");
    assert_string_equal(http_text_at(json, "choices.0.finish_reason"), "stop");
    assert_true(json_is_null(http_at(json, "choices.0.logprobs")));
    assert_true(json_is_null(http_at(json, "choices.0.stop_reason")));
    assert_int_equal(json_integer_value(http_at(json, "choices.0.seed")), 4242);
    assert_int_equal(json_integer_value(http_at(json, "usage.prompt_tokens")), 8); /* "user:Hi\n" */
    assert_int_equal(json_integer_value(http_at(json, "usage.completion_tokens")), 5);
    assert_int_equal(json_integer_value(http_at(json, "usage.total_tokens")), 13);
    assert_int_equal(json_integer_value(http_at(json, "usage.prompt_tokens_details.cached_tokens")), 2);
    http_answer_finish(&answer);
}

static void test_a_stream_opens_with_the_role_and_ends_with_done(void **state)
{
    http_answer answer = ask(state, "\"stream\":true");
    char text[64] = "";
    size_t count = http_chunk_count(&answer);

    assert_non_null(strstr(answer.head, "text/event-stream"));
    assert_int_equal(count, 7); /* role, five tokens, finish */
    for (size_t i = 0; i < count; i++) {
        json_t *chunk = http_chunk(&answer, i);
        assert_string_equal(http_text_at(chunk, "object"), "chat.completion.chunk");
        assert_null(http_at(chunk, "usage"));
        if (i == 0)
            assert_string_equal(http_text_at(chunk, "choices.0.delta.role"), "assistant");
        else if (i < 6)
            strcat(text, http_text_at(chunk, "choices.0.delta.content"));
        if (i == 6)
            assert_string_equal(http_text_at(chunk, "choices.0.finish_reason"), "stop");
        else
            assert_true(json_is_null(http_at(chunk, "choices.0.finish_reason")));
        json_decref(chunk);
    }
    assert_string_equal(text, "Hello");
    assert_string_equal(answer.body + answer.body_bytes - 14, "data: [DONE]\n\n");
    http_answer_finish(&answer);
}

static void test_usage_comes_in_a_chunk_without_choices(void **state)
{
    http_answer answer = ask(state, "\"stream\":true,\"stream_options\":{\"include_usage\":true}");
    size_t count = http_chunk_count(&answer);
    json_t *first = http_chunk(&answer, 0), *last = http_chunk(&answer, count - 1);
    assert_true(json_is_null(http_at(first, "usage")));
    assert_int_equal(json_array_size(http_at(last, "choices")), 0);
    assert_int_equal(json_integer_value(http_at(last, "usage.completion_tokens")), 5);
    json_decref(first);
    json_decref(last);
    http_answer_finish(&answer);
}

static void test_usage_can_come_with_every_chunk(void **state)
{
    http_answer answer = ask(state, "\"stream\":true,\"stream_options\":{\"continuous_usage_stats\":true}");
    for (size_t i = 1; i < 6; i++) {
        json_t *chunk = http_chunk(&answer, i);
        assert_int_equal(json_integer_value(http_at(chunk, "usage.completion_tokens")), i);
        json_decref(chunk);
    }
    http_answer_finish(&answer);
}

static void test_choices_are_kept_apart(void **state)
{
    http_answer answer = ask(state, "\"n\":3");
    assert_int_equal(json_array_size(http_at(answer.json, "choices")), 3);
    assert_string_equal(http_text_at(answer.json, "choices.2.message.content"), "Hello");
    assert_int_equal(json_integer_value(http_at(answer.json, "choices.2.index")), 2);
    assert_int_equal(json_integer_value(http_at(answer.json, "usage.completion_tokens")), 15);
    http_answer_finish(&answer);

    answer = ask(state, "\"n\":3,\"stream\":true");
    char texts[3][64] = {"", "", ""};
    for (size_t i = 0; i < http_chunk_count(&answer); i++) {
        json_t *chunk = http_chunk(&answer, i);
        json_int_t index = json_integer_value(http_at(chunk, "choices.0.index"));
        assert_in_range(index, 0, 2);
        const char *text = json_string_value(http_at(chunk, "choices.0.delta.content"));
        strcat(texts[index], text ? text : "");
        json_decref(chunk);
    }
    for (int i = 0; i < 3; i++)
        assert_string_equal(texts[i], "Hello");
    http_answer_finish(&answer);
}

static void test_logprobs_name_tokens_bytes_and_alternatives(void **state)
{
    http_fixture *fixture = *state;
    fixture->engine.reply = "a\xC3\xBC";
    http_answer answer = ask(state, "\"logprobs\":true,\"top_logprobs\":2");
    const json_t *content = http_at(answer.json, "choices.0.logprobs.content");
    assert_int_equal(json_array_size(content), 3);
    assert_string_equal(http_text_at(content, "0.token"), "a");
    assert_true(json_number_value(http_at(content, "1.logprob")) == -1.0);
    assert_string_equal(http_text_at(content, "1.token"), "bytes:\\xc3");
    assert_int_equal(json_integer_value(http_at(content, "1.bytes.0")), 0xC3);
    assert_int_equal(json_array_size(http_at(content, "0.top_logprobs")), 2);
    assert_string_equal(http_text_at(content, "0.top_logprobs.1.token"), "b");
    assert_string_equal(http_text_at(answer.json, "choices.0.message.content"), "a\xC3\xBC");
    http_answer_finish(&answer);

    answer = ask(state, "\"logprobs\":true,\"stream\":true");
    json_t *chunk = http_chunk(&answer, 2); /* half a character: no text, but its log-prob */
    assert_string_equal(http_text_at(chunk, "choices.0.delta.content"), "");
    assert_int_equal(json_array_size(http_at(chunk, "choices.0.logprobs.content")), 1);
    assert_int_equal(json_array_size(http_at(chunk, "choices.0.logprobs.content.0.top_logprobs")), 0);
    json_decref(chunk);
    http_answer_finish(&answer);
    fixture->engine.reply = "Hello";
}

static void test_every_sampling_field_reaches_the_engine(void **state)
{
    http_fixture *fixture = *state;
    http_answer answer =
        ask(state, "\"temperature\":0.25,\"top_p\":0.5,\"top_k\":7,\"min_p\":0.125,\"seed\":-5,"
                   "\"repetition_penalty\":1.5,\"presence_penalty\":-1,\"frequency_penalty\":2,"
                   "\"logit_bias\":{\"12\":-100,\"65\":1.5},\"allowed_token_ids\":[65,66],\"stop\":[\"x\",\"yy\"],"
                   "\"stop_token_ids\":[3,4,5],\"min_tokens\":2,\"ignore_eos\":true,\"max_completion_tokens\":9,"
                   "\"include_stop_str_in_output\":true,\"skip_special_tokens\":false,\"priority\":-3,"
                   "\"cache_salt\":\"pepper\",\"n\":2,\"add_special_tokens\":true");
    const fake_request *last = &fixture->engine.last;
    const tn_request *request = &last->request;
    assert_true(request->temperature == 0.25f && request->top_p == 0.5f && request->min_p == 0.125f);
    assert_true(request->repetition == 1.5f && request->presence == -1.0f && request->frequency == 2.0f);
    assert_int_equal(request->top_k, 7);
    assert_int_equal((int64_t)request->seed, -5);
    assert_int_equal(request->flags, TN_REQ_SEED | TN_REQ_IGNORE_EOS | TN_REQ_KEEP_STOP | TN_REQ_SHOW_SPECIAL);
    assert_int_equal(request->bias_count, 2);
    assert_int_equal(last->bias[0].token, 12);
    assert_true(last->bias[0].value == -100.0f && last->bias[1].value == 1.5f);
    assert_int_equal(request->allowed_count, 2);
    assert_int_equal(last->allowed[1], 66);
    assert_int_equal(request->stop_count, 2);
    assert_string_equal(last->stop[1], "yy");
    assert_int_equal(request->stop_token_count, 3);
    assert_int_equal(last->stop_token[2], 5);
    assert_int_equal(request->min_new, 2);
    assert_int_equal(request->max_new, 9);
    assert_int_equal(request->n_choices, 2);
    assert_int_equal(request->priority, -3);
    assert_string_equal(last->cache_salt, "pepper");
    assert_int_equal(last->tokens[0], FAKE_BOS);
    assert_string_equal(http_text_at(answer.json, "choices.0.stop_reason"), "x");
    http_answer_finish(&answer);
}

static void test_defaults_are_neutral_and_fill_the_context(void **state)
{
    http_fixture *fixture = *state;
    http_answer answer = ask(state, "\"seed\":null,\"stop\":null,\"logit_bias\":null,\"tools\":null");
    const tn_request *request = &fixture->engine.last.request;
    assert_true(request->temperature == 1.0f && request->top_p == 1.0f && request->min_p == 0.0f);
    assert_true(request->repetition == 1.0f);
    assert_int_equal(request->flags, 0);
    assert_int_equal(request->max_new, FAKE_CONTEXT - 8);
    assert_int_equal(fixture->engine.last.tokens[0], 'u'); /* chat adds no token of its own */
    http_answer_finish(&answer);
}

static void test_an_authors_wishes_hold_for_what_is_left_out(void **state)
{
    (void)state;
    static const char *const settings[] = {"fake_author=1", NULL};
    http_fixture fixture;
    tn_error err = TN_ERROR_INIT;
    assert_int_equal(http_fixture_start(&fixture, settings, &err), TN_OK);
    const tn_request *request = &fixture.engine.last.request;

    http_answer answer = http_post(&fixture, PATH, "{" MESSAGES ",\"temperature\":null}");
    assert_int_equal(answer.status, 200);
    assert_true(request->temperature == 0.6f && request->top_p == 0.95f && request->min_p == 0.125f);
    assert_true(request->repetition == 1.1f);
    assert_int_equal(request->top_k, 20);
    assert_int_equal(request->max_new, 9);
    http_answer_finish(&answer);

    answer = http_post(&fixture, PATH,
                       "{" MESSAGES ",\"temperature\":0,\"top_p\":1,\"min_p\":0,"
                       "\"repetition_penalty\":1,\"top_k\":0,\"max_tokens\":11}");
    assert_int_equal(answer.status, 200);
    assert_true(request->temperature == 0.0f && request->top_p == 1.0f && request->min_p == 0.0f);
    assert_true(request->repetition == 1.0f);
    assert_int_equal(request->top_k, 0);
    assert_int_equal(request->max_new, 11);
    http_answer_finish(&answer);

    /* There the default is 16, as OpenAI has it. */
    answer = http_post(&fixture, "/v1/completions", "{\"prompt\":\"a\"}");
    assert_int_equal(answer.status, 200);
    assert_true(request->temperature == 0.6f);
    assert_int_equal(request->max_new, 16);
    http_answer_finish(&answer);
    http_fixture_stop(&fixture);
}

static void test_harmless_fields_are_accepted(void **state)
{
    http_answer answer =
        ask(state, "\"user\":\"u\",\"metadata\":{\"a\":\"b\"},\"store\":false,\"service_tier\":\"auto\","
                   "\"parallel_tool_calls\":true,\"response_format\":{\"type\":\"text\"},\"tool_choice\":\"none\","
                   "\"modalities\":[\"text\"],\"length_penalty\":1.0,\"use_beam_search\":false,\"tools\":[]");
    http_answer_finish(&answer);
    answer = ask(state, "\"prompt_cache_retention\":\"24h\",\"ec_transfer_params\":null,\"stream_interval\":1,"
                        "\"routed_experts_prompt_start\":0,\"return_prompt_text\":false");
    http_answer_finish(&answer);
}

static void test_tools_and_template_arguments_reach_the_template(void **state)
{
    http_fixture *fixture = *state;
    http_answer answer =
        ask(state, "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}],\"tool_choice\":\"auto\","
                   "\"chat_template_kwargs\":{\"k\":1},\"reasoning_effort\":\"low\",\"add_generation_prompt\":false");
    json_t *given = json_loads(fixture->engine.rendered, 0, NULL);
    assert_string_equal(http_text_at(given, "tools.0.function.name"), "f");
    assert_int_equal(json_integer_value(http_at(given, "chat_template_kwargs.k")), 1);
    assert_string_equal(http_text_at(given, "chat_template_kwargs.reasoning_effort"), "low");
    assert_true(json_is_false(http_at(given, "add_generation_prompt")));
    json_decref(given);
    http_answer_finish(&answer);
}

static void test_tools_that_may_not_be_called_are_not_shown(void **state)
{
    http_fixture *fixture = *state;
    http_answer answer =
        ask(state, "\"tool_choice\":\"none\",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}]");
    json_t *given = json_loads(fixture->engine.rendered, 0, NULL);
    assert_int_equal(answer.status, 200);
    assert_non_null(http_at(given, "messages.0"));
    assert_null(http_at(given, "tools"));
    json_decref(given);
    http_answer_finish(&answer);
}

static void test_tool_call_arguments_reach_the_template_as_objects(void **state)
{
    http_fixture *fixture = *state;
    static const char call[] =
        "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"},{\"role\":\"assistant\",\"tool_calls\":"
        "[{\"function\":{\"name\":\"f\",\"arguments\":\"%s\"}}]}]}";
    char body[512];

    snprintf(body, sizeof body, call, "{\\\"city\\\":\\\"Oslo\\\"}");
    http_answer answer = http_post(fixture, PATH, body);
    assert_int_equal(answer.status, 200);
    json_t *given = json_loads(fixture->engine.rendered, 0, NULL);
    assert_string_equal(http_text_at(given, "messages.1.tool_calls.0.function.arguments.city"), "Oslo");
    json_decref(given);
    http_answer_finish(&answer);

    snprintf(body, sizeof body, call, "{oops");
    answer = http_post(fixture, PATH, body);
    assert_int_equal(answer.status, 400);
    assert_non_null(strstr(answer.body, "messages[1].tool_calls[0].function.arguments"));
    http_answer_finish(&answer);
}

static void test_text_parts_become_one_string(void **state)
{
    http_fixture *fixture = *state;
    http_answer answer = http_post(fixture, PATH,
                                   "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\"},"
                                   "{\"type\":\"text\",\"text\":\"b\"}]},{\"role\":\"assistant\",\"content\":null}]}");
    assert_int_equal(answer.status, 200);
    json_t *given = json_loads(fixture->engine.rendered, 0, NULL);
    assert_string_equal(http_text_at(given, "messages.0.content"), "a\nb");
    json_decref(given);
    http_answer_finish(&answer);
}

static void test_a_request_id_names_the_answer(void **state)
{
    http_answer answer = ask(state, "\"request_id\":\"my-1.x\"");
    assert_string_equal(http_text_at(answer.json, "id"), "chatcmpl-my-1.x");
    http_answer_finish(&answer);
}

static void test_token_ids_are_returned_when_asked_for(void **state)
{
    http_answer answer = ask(state, "\"return_token_ids\":true,\"max_tokens\":2");
    assert_int_equal(json_array_size(http_at(answer.json, "prompt_token_ids")), 8);
    assert_int_equal(json_array_size(http_at(answer.json, "choices.0.token_ids")), 2);
    assert_int_equal(json_integer_value(http_at(answer.json, "choices.0.token_ids.1")), 'e');
    assert_string_equal(http_text_at(answer.json, "choices.0.finish_reason"), "length");
    http_answer_finish(&answer);
}

static void test_prompt_logprobs_start_with_null(void **state)
{
    http_answer answer = ask(state, "\"prompt_logprobs\":1,\"max_tokens\":1");
    const json_t *list = http_at(answer.json, "prompt_logprobs");
    assert_int_equal(json_array_size(list), 8);
    assert_true(json_is_null(json_array_get(list, 0)));
    assert_string_equal(http_text_at(list, "1.115.decoded_token"), "s");
    assert_int_equal(json_integer_value(http_at(list, "1.115.rank")), 1);
    http_answer_finish(&answer);
}

static void test_a_reply_with_every_kind_of_character_survives(void **state)
{
    http_fixture *fixture = *state;
    fixture->engine.reply = "\"\\\n\t\x01 \xF0\x9F\x98\x80 \xE2\x82\xAC";
    static const char *const modes[] = {"", "\"stream\":true"};
    for (int mode = 0; mode < 2; mode++) {
        http_answer answer = ask(state, modes[mode]);
        char text[64] = "";
        if (mode == 0)
            strcpy(text, http_text_at(answer.json, "choices.0.message.content"));
        for (size_t i = 0; mode == 1 && i < http_chunk_count(&answer); i++) {
            json_t *chunk = http_chunk(&answer, i);
            const char *piece = json_string_value(http_at(chunk, "choices.0.delta.content"));
            strcat(text, piece ? piece : "");
            json_decref(chunk);
        }
        assert_string_equal(text, fixture->engine.reply);
        http_answer_finish(&answer);
    }
    fixture->engine.reply = "Hello";
}

static void test_an_engine_failure_is_told_in_either_mode(void **state)
{
    http_fixture *fixture = *state;
    fixture->engine.done_status = TN_E_DEVICE_LOST;
    fixture->engine.fail_after = 2;
    http_answer answer = http_post(fixture, PATH, "{" MESSAGES "}");
    assert_int_equal(answer.status, 503);
    assert_string_equal(http_text_at(answer.json, "error.message"), "the script says so");
    http_answer_finish(&answer);
    answer = ask(state, "\"stream\":true");
    json_t *last = http_chunk(&answer, http_chunk_count(&answer) - 1);
    assert_string_equal(http_text_at(last, "error.type"), "server_error");
    json_decref(last);
    http_answer_finish(&answer);
    fixture->engine.done_status = TN_OK;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_whole_answer_has_openai_shape),
        cmocka_unit_test(test_a_stream_opens_with_the_role_and_ends_with_done),
        cmocka_unit_test(test_usage_comes_in_a_chunk_without_choices),
        cmocka_unit_test(test_usage_can_come_with_every_chunk),
        cmocka_unit_test(test_choices_are_kept_apart),
        cmocka_unit_test(test_logprobs_name_tokens_bytes_and_alternatives),
        cmocka_unit_test(test_every_sampling_field_reaches_the_engine),
        cmocka_unit_test(test_defaults_are_neutral_and_fill_the_context),
        cmocka_unit_test(test_an_authors_wishes_hold_for_what_is_left_out),
        cmocka_unit_test(test_harmless_fields_are_accepted),
        cmocka_unit_test(test_tools_and_template_arguments_reach_the_template),
        cmocka_unit_test(test_tools_that_may_not_be_called_are_not_shown),
        cmocka_unit_test(test_tool_call_arguments_reach_the_template_as_objects),
        cmocka_unit_test(test_text_parts_become_one_string),
        cmocka_unit_test(test_a_request_id_names_the_answer),
        cmocka_unit_test(test_token_ids_are_returned_when_asked_for),
        cmocka_unit_test(test_prompt_logprobs_start_with_null),
        cmocka_unit_test(test_a_reply_with_every_kind_of_character_survives),
        cmocka_unit_test(test_an_engine_failure_is_told_in_either_mode),
    };
    return cmocka_run_group_tests(tests, http_fixture_setup, http_fixture_teardown);
}

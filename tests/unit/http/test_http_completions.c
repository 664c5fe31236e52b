/* test_http_completions.c: /v1/completions: every form of prompt, echo and scores as evaluation harnesses use them. */
#include "http_fixture.h"

#include "../cmocka_test.h"

#include <string.h>

#define PATH "/v1/completions"

static http_answer ask(void **state, const char *body)
{
    http_answer answer = http_post(*state, PATH, body);
    if (answer.status != 200)
        print_error("%s -> %s\n", body, answer.body);
    assert_int_equal(answer.status, 200);
    assert_true(answer.complete);
    return answer;
}

static void test_a_text_prompt_gives_sixteen_tokens_by_default(void **state)
{
    http_fixture *fixture = *state;
    http_answer answer = ask(state, "{\"prompt\":\"ab\"}");
    assert_string_equal(http_text_at(answer.json, "object"), "text_completion");
    assert_memory_equal(http_text_at(answer.json, "id"), "cmpl-", 5);
    assert_string_equal(http_text_at(answer.json, "choices.0.text"), "Hello");
    assert_int_equal(fixture->engine.last.request.max_new, 16);
    assert_int_equal(fixture->engine.last.tokens[0], FAKE_BOS);
    assert_int_equal(fixture->engine.last.tokens[1], 'a');
    http_answer_finish(&answer);
}

static void test_token_ids_are_taken_as_they_are(void **state)
{
    http_fixture *fixture = *state;
    http_answer answer = ask(state, "{\"prompt\":[97,258]}");
    assert_int_equal(fixture->engine.last.request.token_count, 2);
    assert_int_equal(fixture->engine.last.tokens[1], FAKE_SPECIAL);
    http_answer_finish(&answer);
}

static void test_lists_of_prompts_give_choices_in_order(void **state)
{
    http_answer answer = ask(state, "{\"prompt\":[\"a\",\"bcd\"],\"n\":2,\"echo\":true}");
    static const char *const texts[] = {"aHello", "aHello", "bcdHello", "bcdHello"};
    assert_int_equal(json_array_size(http_at(answer.json, "choices")), 4);
    for (size_t i = 0; i < 4; i++) {
        const json_t *choice = json_array_get(http_at(answer.json, "choices"), i);
        assert_int_equal(json_integer_value(http_at(choice, "index")), i);
        assert_string_equal(http_text_at(choice, "text"), texts[i]);
    }
    assert_int_equal(json_integer_value(http_at(answer.json, "usage.prompt_tokens")), 6);
    assert_int_equal(json_integer_value(http_at(answer.json, "usage.completion_tokens")), 20);
    assert_int_equal(json_integer_value(http_at(answer.json, "usage.prompt_tokens_details.cached_tokens")), 4);
    http_answer_finish(&answer);

    answer = ask(state, "{\"prompt\":[[97,98],[99]],\"echo\":true}");
    assert_string_equal(http_text_at(answer.json, "choices.0.text"), "abHello");
    assert_string_equal(http_text_at(answer.json, "choices.1.text"), "cHello");
    http_answer_finish(&answer);
}

static void test_logprobs_come_as_columns(void **state)
{
    http_answer answer = ask(state, "{\"prompt\":\"ab\",\"logprobs\":2,\"max_tokens\":2}");
    const json_t *logprobs = http_at(answer.json, "choices.0.logprobs");
    assert_string_equal(http_text_at(logprobs, "tokens.1"), "e");
    assert_true(json_number_value(http_at(logprobs, "token_logprobs.0")) == -0.5);
    assert_int_equal(json_object_size(http_at(logprobs, "top_logprobs.0")), 2);
    assert_true(json_number_value(http_at(logprobs, "top_logprobs.0.I")) == -1.5);
    assert_int_equal(json_integer_value(http_at(logprobs, "text_offset.1")), 1);
    http_answer_finish(&answer);
}

static void test_the_chosen_token_is_always_among_its_alternatives(void **state)
{
    http_answer answer = ask(state, "{\"prompt\":\"ab\",\"logprobs\":0,\"max_tokens\":1}");
    const json_t *top = http_at(answer.json, "choices.0.logprobs.top_logprobs.0");
    assert_int_equal(json_object_size(top), 1);
    assert_true(json_number_value(http_at(top, "H")) == -0.5);
    http_answer_finish(&answer);
}

/* What lm-evaluation-harness sends to score a text. */
static void test_echo_scores_the_prompt_without_generating(void **state)
{
    http_fixture *fixture = *state;
    http_answer answer = ask(state, "{\"prompt\":[97,195,188,98],\"echo\":true,\"logprobs\":1,\"max_tokens\":0}");
    const json_t *choice = http_at(answer.json, "choices.0"), *logprobs = http_at(choice, "logprobs");
    assert_int_equal(fixture->engine.last.request.max_new, 0);
    assert_true(fixture->engine.last.request.flags & TN_REQ_PROMPT_LOGPROBS);
    assert_string_equal(http_text_at(choice, "text"), "a\xC3\xBC"
                                                      "b");
    assert_string_equal(http_text_at(choice, "finish_reason"), "length");
    assert_int_equal(json_array_size(http_at(logprobs, "tokens")), 4);
    assert_true(json_is_null(http_at(logprobs, "token_logprobs.0")));
    assert_true(json_is_null(http_at(logprobs, "top_logprobs.0")));
    assert_true(json_number_value(http_at(logprobs, "token_logprobs.3")) == -2.0);
    static const int offsets[] = {0, 1, 2, 2}; /* in characters: the middle two tokens are one */
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(json_integer_value(json_array_get(http_at(logprobs, "text_offset"), i)), offsets[i]);
    assert_int_equal(json_integer_value(http_at(answer.json, "usage.completion_tokens")), 0);
    http_answer_finish(&answer);
}

/* No event comes of a prompt's first token, and of such a prompt none at all. */
static void test_a_prompt_of_one_token_has_its_place_among_the_scores(void **state)
{
    http_answer answer = ask(state, "{\"prompt\":[97],\"echo\":true,\"logprobs\":1,\"max_tokens\":1}");
    const json_t *logprobs = http_at(answer.json, "choices.0.logprobs");
    assert_string_equal(http_text_at(answer.json, "choices.0.text"), "aH");
    assert_int_equal(json_array_size(http_at(logprobs, "tokens")), 2);
    assert_string_equal(http_text_at(logprobs, "tokens.0"), "a");
    assert_true(json_is_null(http_at(logprobs, "token_logprobs.0")));
    assert_int_equal(json_integer_value(http_at(logprobs, "text_offset.1")), 1);
    http_answer_finish(&answer);

    answer = ask(state, "{\"prompt\":[97],\"prompt_logprobs\":0,\"max_tokens\":0}");
    assert_int_equal(json_array_size(http_at(answer.json, "choices.0.prompt_logprobs")), 1);
    assert_true(json_is_null(http_at(answer.json, "choices.0.prompt_logprobs.0")));
    http_answer_finish(&answer);
}

/* An engine refuses several choices of nothing. */
static void test_every_choice_of_a_scored_prompt_shows_its_scores(void **state)
{
    http_fixture *fixture = *state;
    http_answer answer = ask(state, "{\"prompt\":[97,98],\"echo\":true,\"logprobs\":1,\"max_tokens\":0,\"n\":2}");
    assert_int_equal(fixture->engine.last.request.n_choices, 1);
    assert_int_equal(json_array_size(http_at(answer.json, "choices")), 2);
    for (size_t i = 0; i < 2; i++) {
        const json_t *choice = json_array_get(http_at(answer.json, "choices"), i);
        assert_string_equal(http_text_at(choice, "text"), "ab");
        assert_string_equal(http_text_at(choice, "finish_reason"), "length");
        assert_true(json_number_value(http_at(choice, "logprobs.token_logprobs.1")) == -1.0);
    }
    http_answer_finish(&answer);
}

static void test_echo_alone_with_no_tokens_returns_the_prompt(void **state)
{
    http_answer answer = ask(state, "{\"prompt\":\"ab\",\"echo\":true,\"max_tokens\":0}");
    assert_string_equal(http_text_at(answer.json, "choices.0.text"), "ab");
    assert_string_equal(http_text_at(answer.json, "choices.0.finish_reason"), "length");
    assert_int_equal(json_integer_value(http_at(answer.json, "usage.completion_tokens")), 0);
    http_answer_finish(&answer);
}

static void test_echoed_offsets_go_on_into_the_answer(void **state)
{
    http_answer answer = ask(state, "{\"prompt\":\"ab\",\"echo\":true,\"logprobs\":0,\"max_tokens\":2}");
    const json_t *logprobs = http_at(answer.json, "choices.0.logprobs");
    static const char *const tokens[] = {"<s>", "a", "b", "H", "e"};
    static const int offsets[] = {0, 0, 1, 2, 3}; /* <s> was added and is not in the text */
    assert_int_equal(json_array_size(http_at(logprobs, "tokens")), 5);
    for (size_t i = 0; i < 5; i++) {
        assert_string_equal(json_string_value(json_array_get(http_at(logprobs, "tokens"), i)), tokens[i]);
        assert_int_equal(json_integer_value(json_array_get(http_at(logprobs, "text_offset"), i)), offsets[i]);
    }
    assert_string_equal(http_text_at(answer.json, "choices.0.text"), "abHe");
    http_answer_finish(&answer);
}

static void test_a_stream_echoes_first(void **state)
{
    http_answer answer = ask(state, "{\"prompt\":\"ab\",\"echo\":true,\"logprobs\":0,\"max_tokens\":2,\"stream\":true,"
                                    "\"stream_options\":{\"include_usage\":true}}");
    char text[64] = "";
    size_t tokens = 0;
    for (size_t i = 0; i + 1 < http_chunk_count(&answer); i++) {
        json_t *chunk = http_chunk(&answer, i);
        strcat(text, http_text_at(chunk, "choices.0.text"));
        tokens += json_array_size(http_at(chunk, "choices.0.logprobs.tokens"));
        json_decref(chunk);
    }
    assert_string_equal(text, "abHe");
    assert_int_equal(tokens, 5);
    http_answer_finish(&answer);
}

static void test_a_stream_begins_with_the_ids_of_a_prompt_that_is_not_echoed(void **state)
{
    http_answer answer = ask(state, "{\"prompt\":\"ab\",\"stream\":true,\"return_token_ids\":true,\"max_tokens\":1}");
    json_t *chunk = http_chunk(&answer, 0);
    assert_string_equal(http_text_at(chunk, "choices.0.text"), "");
    assert_int_equal(json_array_size(http_at(chunk, "choices.0.prompt_token_ids")), 3);
    assert_int_equal(json_integer_value(http_at(chunk, "choices.0.prompt_token_ids.1")), 'a');
    json_decref(chunk);
    chunk = http_chunk(&answer, 1);
    assert_string_equal(http_text_at(chunk, "choices.0.text"), "H");
    assert_int_equal(json_integer_value(http_at(chunk, "choices.0.token_ids.0")), 'H');
    json_decref(chunk);
    http_answer_finish(&answer);
}

static void test_streams_of_many_prompts_are_told_apart_by_index(void **state)
{
    http_answer answer = ask(state, "{\"prompt\":[\"a\",\"b\",\"c\"],\"n\":2,\"stream\":true}");
    char texts[6][64] = {""};
    size_t ends = 0;
    for (size_t i = 0; i < http_chunk_count(&answer); i++) {
        json_t *chunk = http_chunk(&answer, i);
        strcat(texts[json_integer_value(http_at(chunk, "choices.0.index"))], http_text_at(chunk, "choices.0.text"));
        ends += json_is_string(http_at(chunk, "choices.0.finish_reason"));
        json_decref(chunk);
    }
    for (int i = 0; i < 6; i++)
        assert_string_equal(texts[i], "Hello");
    assert_int_equal(ends, 6);
    http_answer_finish(&answer);
}

static void test_tokens_can_be_named_by_id(void **state)
{
    http_answer answer = ask(state, "{\"prompt\":\"ab\",\"logprobs\":1,\"max_tokens\":1,"
                                    "\"return_tokens_as_token_ids\":true}");
    assert_string_equal(http_text_at(answer.json, "choices.0.logprobs.tokens.0"), "token_id:72");
    http_answer_finish(&answer);
}

static void test_prompt_logprobs_belong_to_each_choice(void **state)
{
    http_answer answer = ask(state, "{\"prompt\":[\"ab\",\"c\"],\"prompt_logprobs\":0,\"max_tokens\":1}");
    assert_int_equal(json_array_size(http_at(answer.json, "choices.0.prompt_logprobs")), 3);
    assert_int_equal(json_array_size(http_at(answer.json, "choices.1.prompt_logprobs")), 2);
    assert_true(json_is_null(http_at(answer.json, "choices.0.prompt_logprobs.1.97.rank")));
    http_answer_finish(&answer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_text_prompt_gives_sixteen_tokens_by_default),
        cmocka_unit_test(test_token_ids_are_taken_as_they_are),
        cmocka_unit_test(test_lists_of_prompts_give_choices_in_order),
        cmocka_unit_test(test_logprobs_come_as_columns),
        cmocka_unit_test(test_the_chosen_token_is_always_among_its_alternatives),
        cmocka_unit_test(test_echo_scores_the_prompt_without_generating),
        cmocka_unit_test(test_a_prompt_of_one_token_has_its_place_among_the_scores),
        cmocka_unit_test(test_every_choice_of_a_scored_prompt_shows_its_scores),
        cmocka_unit_test(test_echo_alone_with_no_tokens_returns_the_prompt),
        cmocka_unit_test(test_echoed_offsets_go_on_into_the_answer),
        cmocka_unit_test(test_a_stream_echoes_first),
        cmocka_unit_test(test_a_stream_begins_with_the_ids_of_a_prompt_that_is_not_echoed),
        cmocka_unit_test(test_streams_of_many_prompts_are_told_apart_by_index),
        cmocka_unit_test(test_tokens_can_be_named_by_id),
        cmocka_unit_test(test_prompt_logprobs_belong_to_each_choice),
    };
    return cmocka_run_group_tests(tests, http_fixture_setup, http_fixture_teardown);
}

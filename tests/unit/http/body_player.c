/* body_player.c: the fake engine supplies limits, tokenizer and template; the events are made here. */
#include "body_player.h"

#include "chat_completions.h"
#include "completions.h"
#include "fake_engine.h"
#include "json_body.h"
#include "model.h"
#include "tokenize.h"

#include <string.h>

static tn_engine engine;
static tn_front front;
static http_model model;

static tn_status set_up(api_error *error)
{
    tn_error err = TN_ERROR_INIT;

    if (model.engine)
        return TN_OK;
    fake_engine_init(&engine);
    front.engine_api = &fake_engine_table;
    front.chat = &fake_chat_table;
    front.stats = &fake_stats_table;
    front.options.max_prompts = 8;
    model.front = &front;
    model.engine = &engine;
    model.tok_api = fake_engine_table.tokenizer(&engine, &model.tok);
    model.info = engine.info;
    model.token_bytes_max = 4;
    strcpy(model.fingerprint, "fp_0");
    tn_status status = special_texts_read(model.tok_api, model.tok, model.info.vocab_size, &model.specials, &err);
    if (status != TN_OK) {
        body_player_finish();
        return api_fail_status(error, status, err.msg, 1);
    }
    return TN_OK;
}

static void play_prompt(http_call *call, uint32_t prompt)
{
    static const int32_t tops[] = {65, 195, FAKE_SPECIAL, 1, 9}; /* not 0: jansson reads no NUL in a key */
    static const float values[] = {-0.25f, -1, -2, -3, -1e30f};
    static const char *const texts[] = {"a", "", "\xC3\xBC", "\"\n"};
    tn_event event = {.struct_size = sizeof event, .kind = TN_EVENT_ACCEPTED, .stop_token = -1, .text = ""};

    answer_take_event(call, prompt, &event);
    event.top_count = 5;
    event.top_id = tops;
    event.top_logprob = values;
    for (event.index = 1; event.index < call->prompts[prompt].token_count; event.index++) {
        event.kind = TN_EVENT_PROMPT;
        event.token = call->prompts[prompt].tokens[event.index];
        answer_take_event(call, prompt, &event);
    }
    for (event.index = 0; event.index < 4 * call->choices_per_prompt; event.index++) {
        event.kind = TN_EVENT_TOKEN;
        event.choice = event.index % call->choices_per_prompt;
        event.token = tops[event.index % 5];
        event.text = texts[event.index % 4];
        event.text_bytes = strlen(event.text);
        answer_take_event(call, prompt, &event);
    }
    for (event.choice = 0; event.choice < call->choices_per_prompt; event.choice++) {
        event.kind = TN_EVENT_CHOICE;
        event.finish = TN_FINISH_STOP;
        event.stop = event.choice ? "x\xff" : NULL;
        answer_take_event(call, prompt, &event);
    }
    event.kind = TN_EVENT_DONE;
    answer_take_event(call, prompt, &event);
}

void body_expect_json(const char *bytes, size_t n)
{
    json_t *parsed = json_loadb(bytes, n, JSON_ALLOW_NUL, NULL);
    TN_ASSERT(parsed);
    json_decref(parsed);
}

static void expect_stream(const byte_buffer *out)
{
    const char *at = out->bytes, *end = out->bytes + out->count;
    while (at < end) {
        const char *line_end = memchr(at, '\n', (size_t)(end - at));
        TN_ASSERT(line_end && line_end[1] == '\n' && memcmp(at, "data: ", 6) == 0);
        if (memcmp(at + 6, "[DONE]", 6) != 0)
            body_expect_json(at + 6, (size_t)(line_end - at - 6));
        at = line_end + 2;
    }
}

static tn_status play(http_call *call, const call_params *params, byte_buffer *out, api_error *error)
{
    tn_request request;

    call_params_request(params, &request);
    TN_ASSERT(request.n_choices >= 1 && request.n_choices <= engine.info.max_choices);
    TN_ASSERT(request.top_logprobs <= engine.info.max_top_logprobs);
    for (uint32_t i = 0; i < call->prompt_count; i++) {
        const call_prompt *prompt = &call->prompts[i];
        TN_ASSERT(prompt->token_count >= 1 && prompt->token_count + prompt->max_new <= engine.info.max_model_len);
        play_prompt(call, i);
    }
    TN_ASSERT(call->ended && !call->failed);
    if (call->stream) {
        *out = call->out;
        call->out = (byte_buffer){0};
    } else {
        answer_write_whole(call, out);
    }
    if (out->failed)
        return api_fail_status(error, TN_E_MEMORY, NULL, 1);
    if (call->stream)
        expect_stream(out);
    else
        body_expect_json(out->bytes, out->count);
    return TN_OK;
}

static tn_status generate(json_t *root, bool chat, byte_buffer *out, api_error *error)
{
    call_params params;
    http_call *call = NULL;

    call_params_init(&params, &model.info);
    tn_status status = chat ? chat_completions_prepare(&model, root, &params, &call, error)
                            : completions_prepare(&model, root, &params, &call, error);
    TN_ASSERT((status == TN_OK) == (call != NULL));
    TN_ASSERT(status == TN_OK || (error->http_status >= 400 && error->message[0]));
    if (call)
        status = play(call, &params, out, error);
    call_destroy(call);
    call_params_finish(&params);
    return status;
}

tn_status body_play(char route, const char *bytes, size_t n, byte_buffer *ret_out, api_error *error)
{
    json_t *root = NULL;

    tn_status status = set_up(error);
    if (status == TN_OK)
        status = json_body_parse(bytes, n, 32, &root, error);
    if (status != TN_OK)
        return status;
    if (route == 'k')
        status = tokenize_answer(&model, root, ret_out, error);
    else if (route == 'd')
        status = detokenize_answer(&model, root, ret_out, error);
    else
        status = generate(root, route == 'c', ret_out, error);
    json_decref(root);
    if (status == TN_OK && ret_out->failed)
        return api_fail_status(error, TN_E_MEMORY, NULL, 1);
    if (status == TN_OK && (route == 'k' || route == 'd'))
        body_expect_json(ret_out->bytes, ret_out->count);
    return status;
}

void body_player_finish(void)
{
    special_texts_finish(&model.specials);
    byte_buffer_finish(&model.piece);
    if (model.engine)
        fake_engine_finish(model.engine);
    model = (http_model){0};
    front = (tn_front){0};
}

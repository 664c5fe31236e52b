/* run.c: `tenon run MODEL "prompt"`: one answer, streamed to the terminal. */
#include "cli/command.h"

#include <jansson.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

enum { EVENTS = 64, NEW_TOKENS_DEFAULT = 512 };
#define NO_SEED INT64_MIN

typedef struct choices {
    int64_t max_tokens, seed, top_k;
    double temperature, top_p;
    const char *system;
    bool raw, verbose;
} choices;

/* The prompt's text: through the chat template unless there is none or --raw says so. malloc'ed. One that cannot be
 * used is not left out in silence. */
static tn_status prompt_text(const instance *in, const choices *c, const char *prompt, char **ret_text,
                             uint64_t *ret_bytes, tn_error *err)
{
    if (!c->raw && in->chat_broken)
        return tn_fail(err, TN_E_CORRUPT, "%.440s; --raw continues the prompt without it", in->chat_error.msg);
    if (c->system && !in->chat)
        return tn_fail(err, TN_E_ARGUMENT, "--system needs a chat template, which this model has not");
    if (c->raw || !in->chat) {
        *ret_text = strdup(prompt);
        *ret_bytes = strlen(prompt);
        return *ret_text ? TN_OK : tn_fail(err, TN_E_MEMORY, "prompt");
    }
    json_t *messages = json_array();
    if (c->system)
        json_array_append_new(messages, json_pack("{s:s, s:s}", "role", "system", "content", c->system));
    json_t *user = json_pack("{s:s, s:s}", "role", "user", "content", prompt);
    if (!user) {
        json_decref(messages);
        return tn_fail(err, TN_E_ARGUMENT, "the prompt is not valid UTF-8");
    }
    json_array_append_new(messages, user);
    json_t *root = json_pack("{s:o, s:b}", "messages", messages, "add_generation_prompt", 1);
    char *json = json_dumps(root, JSON_COMPACT);
    json_decref(root);
    tn_status status = json ? chat_template_render(in->chat, json, strlen(json), ret_text, ret_bytes, err)
                            : tn_fail(err, TN_E_MEMORY, "prompt");
    free(json);
    return status;
}

/* Prints text as it comes; returns when the request is done. */
static tn_status stream(tn_client *client, bool verbose, tn_error *err)
{
    tn_event events[EVENTS];
    struct pollfd wait = {.fd = engine_table.event_fd(client), .events = POLLIN};
    bool cut = false;

    for (;;) {
        events[0].struct_size = sizeof *events;
        uint32_t count = engine_table.poll(client, events, sizeof *events, EVENTS);
        for (uint32_t i = 0; i < count; i++) {
            const tn_event *event = &events[i];
            if (event->kind == TN_EVENT_TOKEN || event->kind == TN_EVENT_CHOICE)
                fwrite(event->text, 1, event->text_bytes, stdout);
            cut |= event->kind == TN_EVENT_CHOICE && event->finish == TN_FINISH_LENGTH;
            if (event->kind != TN_EVENT_DONE)
                continue;
            printf("\n");
            output_flush(); /* what is said of the answer comes behind it, wherever the two go */
            if (cut)
                fprintf(stderr, "tenon: stopped at the token limit (--max-tokens)\n");
            if (verbose)
                fprintf(stderr, "prompt %llu tokens, answer %llu tokens\n", (unsigned long long)event->prompt_tokens,
                        (unsigned long long)event->generated_tokens);
            return event->status == TN_OK ? TN_OK : tn_fail(err, event->status, "%s", event->text);
        }
        if (!output_flush())
            return TN_OK; /* nobody reads on: the request ends with its client, and main says why */
        if (count == 0)
            poll(&wait, 1, -1);
    }
}

static tn_status answer(const instance *in, const choices *c, const int32_t *ids, uint64_t count, tn_error *err)
{
    tn_client *client;
    uint64_t id;
    tn_request request = {
        .struct_size = sizeof request,
        .flags = c->seed != NO_SEED ? TN_REQ_SEED : 0,
        .token = ids,
        .token_count = count,
        .max_new = (uint32_t)c->max_tokens,
        .temperature = (float)c->temperature,
        .top_p = (float)c->top_p,
        .top_k = (uint32_t)c->top_k,
        .seed = (uint64_t)c->seed,
    };
    tn_status status = engine_table.client_open(in->engine, EVENTS, &client, err);
    if (status != TN_OK)
        return status;
    status = engine_table.submit(client, &request, &id, err);
    if (status == TN_OK)
        status = stream(client, c->verbose, err);
    engine_table.client_close(client);
    return status;
}

static int check_choices(const choices *c)
{
    tn_error err = TN_ERROR_INIT;
    if (c->max_tokens < 1 || c->max_tokens > 1 << 20)
        tn_fail(&err, TN_E_ARGUMENT, "--max-tokens takes 1 to 1048576");
    else if (!(c->temperature >= 0 && c->temperature <= 100))
        tn_fail(&err, TN_E_ARGUMENT, "--temperature takes 0 to 100");
    else if (!(c->top_p > 0 && c->top_p <= 1))
        tn_fail(&err, TN_E_ARGUMENT, "--top-p takes a number over 0 and up to 1");
    else if (c->seed < 0 && c->seed != NO_SEED)
        tn_fail(&err, TN_E_ARGUMENT, "--seed takes 0 or more");
    else if (c->raw && c->system)
        tn_fail(&err, TN_E_ARGUMENT, "--system needs the chat template, which --raw leaves out");
    else if (c->top_k < 0 || c->top_k > INT32_MAX)
        tn_fail(&err, TN_E_ARGUMENT, "--top-k takes 0 (all) or more");
    else
        return -1;
    report(&err);
    return EXIT_USAGE;
}

static int run_run(const command *command, int argc, char **argv)
{
    choices c = {.max_tokens = NEW_TOKENS_DEFAULT, .seed = NO_SEED, .top_p = 1};
    const flag flags[] = {
        {"max-tokens", "N", FLAG_INTEGER, &c.max_tokens, NULL, "tokens to generate at most (default 512)"},
        {"temperature", "X", FLAG_NUMBER, &c.temperature, NULL, "0 (default): always the likeliest token"},
        {"top-p", "X", FLAG_NUMBER, &c.top_p, NULL, "keep the likeliest tokens up to this mass"},
        {"top-k", "K", FLAG_INTEGER, &c.top_k, NULL, "keep the K likeliest tokens"},
        {"seed", "N", FLAG_INTEGER, &c.seed, NULL, "makes sampling repeatable"},
        {"system", "TEXT", FLAG_STRING, &c.system, NULL, "system message"},
        {"raw", NULL, FLAG_SWITCH, &c.raw, NULL, "continue the text as it is, without the chat template"},
        {"verbose", NULL, FLAG_SWITCH, &c.verbose, NULL, "print token counts at the end"},
    };
    args a;
    session session;
    tn_error err = TN_ERROR_INIT;
    char *text = NULL;
    uint64_t bytes, count;
    int code = args_parse(command, flags, sizeof flags / sizeof *flags, argc, argv, &a);

    if (code < 0)
        code = check_choices(&c);
    if (code >= 0)
        return code;
    args_set(&a, "model.path", a.positional[0]);
    code = session_open(&session, &a, STAGE_MODEL);
    if (code >= 0)
        return code;
    instance *in = &session.instance;
    int32_t *ids = NULL;
    tn_status status = prompt_text(in, &c, a.positional[1], &text, &bytes, &err);
    bool chat = !c.raw && in->chat;
    if (status == TN_OK)
        ids = tokenize_text(in, text, bytes, chat ? TN_ENCODE_PARSE_SPECIAL : TN_ENCODE_ADD_SPECIAL, &count);
    if (ids) {
        in->seqs_max = 1;
        in->context_max = (uint32_t)(count + (uint64_t)c.max_tokens + 1);
        status = session_advance(&session, STAGE_MODEL, STAGE_ENGINE, &err);
        if (status == TN_OK)
            status = answer(in, &c, ids, count, &err);
    }
    if (status != TN_OK)
        report(&err);
    free(ids);
    free(text);
    session_close(&session);
    args_finish(&a);
    return status == TN_OK && ids ? 0 : EXIT_FAILURE;
}

const command command_run = {
    .name = "run",
    .arguments = "MODEL \"PROMPT\"",
    .summary = "one answer, streamed to the terminal",
    .help = "Loads the model, answers the prompt through the model's chat template, and exits. Greedy unless "
            "--temperature\n"
            "is given, so that the same prompt gives the same answer.",
    .positional_min = 2,
    .positional_max = 2,
    .run = run_run,
};

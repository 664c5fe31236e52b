/* embed.c: a program that holds the engine itself: no HTTP, no second copy of the weights.
 *
 *   cc embed.c $(pkg-config --cflags --libs tenon) -o embed && ./embed model.gguf "Why is the sky blue?"
 */
#include <tenon/embed.h>

#include <poll.h>
#include <string.h>

static int fail(const char *what, const tn_error *err)
{
    fprintf(stderr, "%s: %s\n", what, err->msg);
    return 1;
}

/* Prints one request's text as it comes; returns when it is done. */
static void print_answer(const tn_engine_table *api, tn_client *client)
{
    for (int done = 0; !done;) {
        struct pollfd ready = {.fd = api->event_fd(client), .events = POLLIN};
        tn_event events[16] = {{.struct_size = sizeof *events}};
        poll(&ready, 1, -1);
        uint32_t count = api->poll(client, events, sizeof *events, 16);
        for (uint32_t i = 0; i < count; i++) {
            if (events[i].kind == TN_EVENT_TOKEN || events[i].kind == TN_EVENT_CHOICE)
                fwrite(events[i].text, 1, events[i].text_bytes, stdout);
            done |= events[i].kind == TN_EVENT_DONE;
        }
    }
    putchar('\n');
}

int main(int argc, char **argv)
{
    char path[4096], chat[4096], prompt[8192];
    int32_t ids[2048];
    uint64_t bytes = sizeof prompt, count = 2048, id;
    tn_error err = TN_ERROR_INIT;
    tn_runtime *runtime;
    tn_client *client;
    const tn_tok *tok;

    if (argc < 3)
        return fail("usage: embed MODEL QUESTION [SECTION.KEY=VALUE]", &err);
    snprintf(path, sizeof path, "model.path=%s", argv[1]);
    const char *settings[] = {path, argc > 3 ? argv[3] : NULL, NULL};
    if (tn_runtime_open(NULL, settings, &runtime, &err) != TN_OK)
        return fail("open", &err);
    tn_engine *engine = tn_runtime_engine(runtime);
    const tn_engine_table *api = tn_runtime_interface(runtime, TN_ENGINE_ID);
    const tn_chat_table *chat_api = tn_runtime_interface(runtime, TN_CHAT_ID);
    const tn_tokenizer_table *tokenizer = api->tokenizer(engine, &tok);

    /* A real program escapes the question; this one trusts its command line. */
    snprintf(chat, sizeof chat, "{\"messages\":[{\"role\":\"user\",\"content\":\"%s\"}],\"add_generation_prompt\":true}",
             argv[2]);
    if (chat_api->render(engine, chat, strlen(chat), prompt, &bytes, &err) != TN_OK ||
        tokenizer->encode(tok, prompt, bytes, TN_ENCODE_PARSE_SPECIAL, ids, &count, &err) != TN_OK ||
        api->client_open(engine, 64, &client, &err) != TN_OK)
        return fail("prompt", &err);
    tn_request request = {.struct_size = sizeof request, .token = ids, .token_count = count, .max_new = 48};
    if (api->submit(client, &request, &id, &err) != TN_OK)
        return fail("submit", &err);
    print_answer(api, client);
    api->client_close(client);
    tn_runtime_close(runtime);
    return 0;
}

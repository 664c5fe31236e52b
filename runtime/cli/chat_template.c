/* chat_template.c: `tenon chat-template MODEL`: messages as JSON on standard input to the prompt text. */
#include "cli/command.h"

#include <stdlib.h>

static int run_chat_template(const command *command, int argc, char **argv)
{
    args a;
    session session;
    tn_error err = TN_ERROR_INIT;
    uint64_t bytes, text_bytes;
    char *text = NULL;
    int code = args_parse(command, NULL, 0, argc, argv, &a);

    if (code >= 0)
        return code;
    args_set(&a, "model.path", a.positional[0]);
    code = session_open(&session, &a, STAGE_TOKENIZER);
    if (code >= 0)
        return code;
    char *json = read_input(NULL, &bytes);
    tn_status status = json ? TN_OK : TN_E_IO;
    if (json && !session.instance.chat)
        status = tn_fail(&err, TN_E_NOT_FOUND, "%s", session.instance.chat_error.msg);
    else if (json)
        status = chat_template_render(session.instance.chat, json, bytes, &text, &text_bytes, &err);
    if (status == TN_OK)
        fwrite(text, 1, text_bytes, stdout);
    else if (json)
        report(&err);
    free(text);
    free(json);
    session_close(&session);
    args_finish(&a);
    return status == TN_OK ? 0 : EXIT_FAILURE;
}

const command command_chat_template = {
    .name = "chat-template",
    .arguments = "MODEL < JSON",
    .summary = "chat messages (JSON) on standard input to the prompt the model sees",
    .help = "The input is {\"messages\": [...], \"tools\": [...]?, \"add_generation_prompt\": true?}.",
    .positional_min = 1,
    .positional_max = 1,
    .run = run_chat_template,
};

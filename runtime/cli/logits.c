/* logits.c: `tenon logits MODEL`: the top-k logits of every position of a prompt, as JSON: what references compare. */
#include "cli/command.h"
#include "cli/forward.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>

enum { TOP_MAX = 1000, OUTPUT_ROWS = 64 };

typedef struct writer {
    const int32_t *ids;
    uint32_t vocab, top;
    int32_t best[TOP_MAX];
    bool first;
} writer;

/* The ids of the `top` largest logits, descending; insertion into a short list. */
static void find_best(writer *w, const float *logits)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < w->vocab; i++) {
        if (count == w->top && !(logits[i] > logits[w->best[count - 1]]))
            continue;
        uint32_t at = count < w->top ? count++ : count - 1;
        for (; at > 0 && logits[i] > logits[w->best[at - 1]]; at--)
            w->best[at] = w->best[at - 1];
        w->best[at] = (int32_t)i;
    }
}

static void write_rows(void *ctx, const forward_rows *rows)
{
    writer *w = ctx;
    for (uint32_t r = 0; r < rows->count; r++) {
        const float *logits = rows->logits + (uint64_t)r * w->vocab;
        find_best(w, logits);
        printf("%s\n  {\"position\": %llu, \"token\": %d, \"next_logprob\": %.6g, \"top\": [",
               w->first ? "{\"positions\": [" : ",", (unsigned long long)(rows->row0 + r), w->ids[rows->row0 + r],
               (double)rows->target_logprob[r]);
        w->first = false;
        for (uint32_t k = 0; k < w->top; k++)
            printf("%s[%d, %.7g]", k ? ", " : "", w->best[k], (double)logits[w->best[k]]);
        printf("]}");
    }
}

/* A JSON array of ids, or NULL with the reason printed. */
static int32_t *parse_ids(const char *text, uint64_t bytes, uint64_t *ret_count)
{
    json_error_t error;
    json_t *list = json_loadb(text, bytes, 0, &error), *value;
    size_t i;
    int32_t *ids = json_is_array(list) ? calloc(json_array_size(list) + 1, sizeof *ids) : NULL;
    bool good = ids != NULL;

    json_array_foreach(list, i, value)
    {
        good =
            good && json_is_integer(value) && json_integer_value(value) >= 0 && json_integer_value(value) <= INT32_MAX;
        if (good)
            ids[i] = (int32_t)json_integer_value(value);
    }
    *ret_count = json_array_size(list);
    json_decref(list);
    if (good)
        return ids;
    fprintf(stderr, "tenon: standard input is not a JSON array of token ids\n");
    free(ids);
    return NULL;
}

static int run_logits(const command *command, int argc, char **argv)
{
    bool from_ids = false;
    int64_t top = 5;
    const flag flags[] = {
        {"top", "K", FLAG_INTEGER, &top, NULL, "logits per position (default 5)"},
        {"ids", NULL, FLAG_SWITCH, &from_ids, NULL, "standard input is a JSON array of token ids, not text"},
    };
    args a;
    session session;
    tn_error err = TN_ERROR_INIT;
    uint64_t bytes, count;
    int code = args_parse(command, flags, 2, argc, argv, &a);

    if (code >= 0)
        return code;
    if (top < 1 || top > TOP_MAX)
        return report(&(tn_error){.msg = "--top takes 1 to 1000"});
    args_set(&a, "model.path", a.positional[0]);
    code = session_open(&session, &a, STAGE_MODEL);
    if (code >= 0)
        return code;
    char *text = read_input(NULL, &bytes);
    int32_t *ids = !text      ? NULL
                   : from_ids ? parse_ids(text, bytes, &count)
                              : tokenize_text(&session.instance, text, bytes,
                                              TN_ENCODE_ADD_SPECIAL | TN_ENCODE_PARSE_SPECIAL, &count);
    session.instance.seqs_max = 1;
    session.instance.outputs_min = OUTPUT_ROWS;
    tn_status status = ids ? session_advance(&session, STAGE_MODEL, STAGE_LOADED, &err) : TN_E_ARGUMENT;
    if (status == TN_OK) {
        writer w = {.ids = ids, .vocab = model_graph_api(session.instance.graph)->vocab_size, .first = true};
        w.top = (uint32_t)top < w.vocab ? (uint32_t)top : w.vocab;
        status = forward_sequence(&session.instance, ids, count, true, write_rows, &w, &err);
    }
    if (status == TN_OK)
        printf("\n]}\n");
    if (ids && status != TN_OK)
        report(&err);
    free(ids);
    free(text);
    session_close(&session);
    args_finish(&a);
    return status == TN_OK ? 0 : EXIT_FAILURE;
}

const command command_logits = {
    .name = "logits",
    .arguments = "MODEL < PROMPT",
    .summary = "top-k logits at every position of a prompt, as JSON",
    .help =
        "Runs the prompt once and prints, per position, its token, the log-prob of the token that follows it and the\n"
        "largest raw logits as [id, logit] pairs.",
    .positional_min = 1,
    .positional_max = 1,
    .run = run_logits,
};

/* perplexity.c: `tenon perplexity MODEL FILE`: exp of the mean negative log-prob over windows of a text.
 *
 * The text is tokenized once, without special tokens, and cut into windows of equal length (a shorter rest is left
 * out); each window starts from an empty context and all its tokens but the first are scored.
 */
#include "cli/command.h"
#include "cli/forward.h"

#include <math.h>
#include <stdlib.h>

enum { OUTPUT_ROWS = 64 };

typedef struct score {
    double sum;
    uint64_t count, window;
} score;

static void add_rows(void *ctx, const forward_rows *rows)
{
    score *s = ctx;
    for (uint32_t r = 0; r < rows->count; r++) {
        if (rows->row0 + r + 1 == s->window)
            continue; /* the window's last token predicts nothing in it */
        s->sum -= (double)rows->target_logprob[r];
        s->count++;
    }
}

static tn_status score_windows(const instance *in, const int32_t *ids, uint64_t count, uint64_t window,
                               score *ret_score, tn_error *err)
{
    score s = {.window = window};
    tn_status status = TN_OK;

    if (count < window)
        return tn_fail(err, TN_E_ARGUMENT, "the text has %llu tokens, fewer than one window of %llu",
                       (unsigned long long)count, (unsigned long long)window);
    for (uint64_t at = 0; at + window <= count && status == TN_OK; at += window)
        status = forward_sequence(in, ids + at, window, false, add_rows, &s, err);
    *ret_score = s;
    return status;
}

static int run_perplexity(const command *command, int argc, char **argv)
{
    int64_t window = 512;
    const flag flags[] = {{"window", "N", FLAG_INTEGER, &window, NULL, "tokens of a window (default 512)"}};
    args a;
    session session;
    score s = {0};
    tn_error err = TN_ERROR_INIT;
    uint64_t bytes, count;
    int code = args_parse(command, flags, 1, argc, argv, &a);

    if (code >= 0)
        return code;
    if (window < 2 || window > UINT32_MAX)
        return report(&(tn_error){.msg = "--window takes 2 or more tokens"});
    args_set(&a, "model.path", a.positional[0]);
    code = session_open(&session, &a, STAGE_MODEL);
    if (code >= 0)
        return code;
    char *text = read_input(a.positional_count > 1 ? a.positional[1] : NULL, &bytes);
    int32_t *ids = text ? tokenize_text(&session.instance, text, bytes, 0, &count) : NULL;
    session.instance.seqs_max = 1;
    session.instance.context_max = (uint32_t)window;
    session.instance.outputs_min = OUTPUT_ROWS;
    tn_status status = ids ? session_advance(&session, STAGE_MODEL, STAGE_LOADED, &err) : TN_E_ARGUMENT;
    if (status == TN_OK)
        status = score_windows(&session.instance, ids, count, (uint64_t)window, &s, &err);
    if (status == TN_OK)
        printf("{\"perplexity\": %.6f, \"tokens\": %llu, \"scored\": %llu, \"window\": %lld}\n",
               exp(s.sum / (double)s.count), (unsigned long long)count, (unsigned long long)s.count, (long long)window);
    else if (ids)
        report(&err);
    free(ids);
    free(text);
    session_close(&session);
    args_finish(&a);
    return status == TN_OK ? 0 : EXIT_FAILURE;
}

const command command_perplexity = {
    .name = "perplexity",
    .arguments = "MODEL [FILE]",
    .summary = "perplexity of a text file (or standard input), as JSON",
    .help = "Cuts the text into windows of N tokens, each from an empty context; all tokens but a window's first are "
            "scored.",
    .positional_min = 1,
    .positional_max = 2,
    .run = run_perplexity,
};

/* word_splitter.c: depth first, so that no list of words is built. Source: huggingface/tokenizers (pre_tokenizers and
 * SplitDelimiterBehavior).
 */
#include "word_splitter.h"

#include "base/utf8.h"

#include <string.h>

/* What does not change while one text is being cut. */
typedef struct run {
    const word_splitter *splitter;
    word_scratch *scratch;
    word_sink sink;
    void *ctx;
    tn_error *err;
} run;

static tn_status run_from(const run *r, uint32_t step, const char *text, size_t n, bool first);

tn_status word_splitter_add(word_splitter *splitter, const word_step *step, tn_error *err)
{
    if (splitter->count == WORD_STEPS_MAX)
        return tn_fail(err, TN_E_UNSUPPORTED, "the pre_tokenizer has more than %d steps", WORD_STEPS_MAX);
    splitter->step[splitter->count++] = *step;
    return TN_OK;
}

void word_scratch_finish(word_scratch *scratch)
{
    for (uint32_t i = 0; i < WORD_STEPS_MAX; i++)
        free(scratch->step[i].text);
    *scratch = (word_scratch){0};
}

static tn_status cut_at_spaces(const run *r, uint32_t step, const char *text, size_t n, bool first)
{
    tn_status status = TN_OK;
    for (size_t at = 0, start; status == TN_OK && at < n;) {
        size_t width = text_space_width(text + at, n - at);
        if (width > 0) {
            at += width;
            continue;
        }
        for (start = at; at < n && text_space_width(text + at, n - at) == 0;) {
            uint32_t codepoint;
            bool valid;
            at += utf8_decode(text + at, n - at, &codepoint, &valid);
        }
        status = run_from(r, step + 1, text + start, at - start, first && start == 0);
    }
    return status;
}

/* The end of the word that starts at text[at], where a match starts or not. */
static size_t word_end(const word_step *step, word_behavior behavior, const char *text, size_t n, size_t at)
{
    const char *match = memmem(text + at, n - at, step->text, step->n);
    size_t gap = match ? (size_t)(match - (text + at)) : n - at, end = at + gap;
    if (gap > 0) /* a gap takes the match behind it, or stands alone */
        return match && behavior == WORD_WITH_PREVIOUS ? end + step->n : end;
    end = at + step->n;
    bool again = n - end >= step->n && memcmp(text + end, step->text, step->n) == 0;
    if (behavior == WORD_CONTIGUOUS) {
        for (; again; again = n - end >= step->n && memcmp(text + end, step->text, step->n) == 0)
            end += step->n;
    } else if (behavior == WORD_WITH_NEXT && !again && end < n) {
        match = memmem(text + end, n - end, step->text, step->n);
        end = match ? (size_t)(match - text) : n;
    }
    return end;
}

static tn_status cut_at_text(const run *r, uint32_t index, word_behavior behavior, const char *text, size_t n,
                             bool first)
{
    const word_step *step = &r->splitter->step[index];
    tn_status status = TN_OK;
    for (size_t at = 0, end; status == TN_OK && at < n; at = end) {
        end = word_end(step, behavior, text, n, at);
        bool is_match = n - at >= step->n && memcmp(text + at, step->text, step->n) == 0;
        if (!(behavior == WORD_REMOVED && is_match))
            status = run_from(r, index + 1, text + at, end - at, first && at == 0);
    }
    return status;
}

static tn_status meta(const run *r, uint32_t index, const char *text, size_t n, bool first)
{
    const word_step *step = &r->splitter->step[index];
    text_buffer *out = &r->scratch->step[index];
    bool starts = n >= step->n && memcmp(text, step->text, step->n) == 0;
    bool prepend = step->prepend == WORD_PREPEND_ALWAYS || (step->prepend == WORD_PREPEND_FIRST && first);
    tn_status status = TN_OK;
    out->n = 0;
    if (prepend && !starts && *text != ' ')
        status = text_buffer_append(out, step->text, step->n, r->err);
    if (status == TN_OK)
        status = text_buffer_replace(out, " ", 1, step->text, step->n, text, n, r->err);
    if (status != TN_OK)
        return status;
    return step->cut ? cut_at_text(r, index, WORD_WITH_NEXT, out->text, out->n, first)
                     : run_from(r, index + 1, out->text, out->n, first);
}

/* Recursion is as deep as the chain is long. */
static tn_status run_from(const run *r, uint32_t step, const char *text, size_t n, bool first)
{
    if (step == r->splitter->count)
        return r->sink(r->ctx, text, n, r->err);
    switch (r->splitter->step[step].kind) {
    case WORD_SPACES:
        return cut_at_spaces(r, step, text, n, first);
    case WORD_TEXT:
        return cut_at_text(r, step, r->splitter->step[step].behavior, text, n, first);
    default:
        return meta(r, step, text, n, first);
    }
}

tn_status word_splitter_run(const word_splitter *splitter, word_scratch *scratch, const char *text, size_t n,
                            bool first, word_sink sink, void *ctx, tn_error *err)
{
    TN_ASSERT(n > 0);
    return run_from(&(run){splitter, scratch, sink, ctx, err}, 0, text, n, first);
}

/* pre_tokenizer.c: the chain runs depth first, so that no list of pieces is ever built. */
#include "pre_tokenizer.h"

#include "byte_level.h"

#include <string.h>

/* What does not change while one text is being cut. */
typedef struct run {
    const pre_tokenizer *pre;
    pre_scratch *scratch;
    pre_word word;
    void *ctx;
    tn_error *err;
} run;

static tn_status run_from(const run *r, uint32_t step, const char *text, size_t n);

static tn_status append(pre_tokenizer *pre, pre_step **ret_step, tn_error *err)
{
    if (pre->step_count == PRE_TOKENIZER_STEPS_MAX)
        return tn_fail(err, TN_E_UNSUPPORTED, "the pre-tokenizer has more than %d steps", PRE_TOKENIZER_STEPS_MAX);
    *ret_step = &pre->step[pre->step_count++];
    **ret_step = (pre_step){0};
    return TN_OK;
}

tn_status pre_tokenizer_add_split(pre_tokenizer *pre, pre_step_kind kind, const char *pattern, size_t n, bool literal,
                                  split_behavior behavior, bool inverted, tn_error *err)
{
    TN_ASSERT(kind != PRE_STEP_PREFIX_SPACE);
    pre_step *step = NULL;
    tn_status status = append(pre, &step, err);
    if (status != TN_OK)
        return status;
    step->kind = kind;
    return splitter_init(&step->how, pattern, n, literal, behavior, inverted, err);
}

tn_status pre_tokenizer_add_prefix_space(pre_tokenizer *pre, tn_error *err)
{
    pre_step *step = NULL;
    tn_status status = append(pre, &step, err);
    if (status == TN_OK)
        step->kind = PRE_STEP_PREFIX_SPACE;
    return status;
}

void pre_tokenizer_finish(pre_tokenizer *pre)
{
    for (uint32_t i = 0; i < pre->step_count; i++)
        splitter_finish(&pre->step[i].how);
    pre->step_count = 0;
}

void pre_scratch_finish(pre_scratch *scratch)
{
    for (uint32_t i = 0; i < PRE_TOKENIZER_STEPS_MAX; i++) {
        pcre2_match_data_free(scratch->step[i].match);
        free(scratch->step[i].copy);
    }
    *scratch = (pre_scratch){0};
}

static tn_status reserve_copy(const run *r, uint32_t step, size_t n)
{
    if (r->scratch->step[step].capacity >= n)
        return TN_OK;
    char *copy = realloc(r->scratch->step[step].copy, 2 * n + 64);
    if (!copy)
        return tn_fail(r->err, TN_E_MEMORY, "no memory to tokenize a piece of %zu bytes", n);
    r->scratch->step[step].copy = copy;
    r->scratch->step[step].capacity = 2 * n + 64;
    return TN_OK;
}

static tn_status start_split(const run *r, uint32_t step, split *ret_pass, const char *text, size_t n)
{
    pcre2_match_data **match = &r->scratch->step[step].match;
    if (!*match && !(*match = pcre2_match_data_create(1, NULL)))
        return tn_fail(r->err, TN_E_MEMORY, "no memory to tokenize a text");
    split_start(ret_pass, &r->pre->step[step].how, *match, text, n);
    return TN_OK;
}

static tn_status split_text(const run *r, uint32_t step, const char *text, size_t n)
{
    split pass;
    tn_status status = start_split(r, step, &pass, text, n);
    while (status == TN_OK) {
        const char *piece;
        size_t piece_n;
        status = split_next(&pass, &piece, &piece_n, r->err);
        if (status != TN_OK || piece_n == 0)
            break;
        status = run_from(r, step + 1, piece, piece_n);
    }
    return status;
}

/* Characters of the alphabet, that is bytes they stand for. */
static size_t count_chars(const char *text, size_t n)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        count += (text[i] & 0xC0) != 0x80;
    return count;
}

static tn_status split_bytes(const run *r, uint32_t step, const char *text, size_t n)
{
    tn_status status = reserve_copy(r, step, 2 * n);
    if (status != TN_OK)
        return status;
    char *spelt = r->scratch->step[step].copy;
    size_t spelt_n = byte_level_encode(text, n, spelt);
    split pass;
    status = start_split(r, step, &pass, spelt, spelt_n);
    const char *seen = spelt;
    size_t at = 0; /* byte of text that *seen stands for */
    while (status == TN_OK) {
        const char *piece;
        size_t piece_n;
        status = split_next(&pass, &piece, &piece_n, r->err);
        if (status != TN_OK || piece_n == 0)
            break;
        at += count_chars(seen, (size_t)(piece - seen));
        size_t bytes = count_chars(piece, piece_n);
        status = run_from(r, step + 1, text + at, bytes);
        at += bytes;
        seen = piece + piece_n;
    }
    return status;
}

static tn_status prefix_space(const run *r, uint32_t step, const char *text, size_t n)
{
    if (text[0] == ' ')
        return run_from(r, step + 1, text, n);
    tn_status status = reserve_copy(r, step, n + 1);
    if (status != TN_OK)
        return status;
    char *copy = r->scratch->step[step].copy;
    copy[0] = ' ';
    memcpy(copy + 1, text, n);
    return run_from(r, step + 1, copy, n + 1);
}

/* Recursion is as deep as the chain is long. */
static tn_status run_from(const run *r, uint32_t step, const char *text, size_t n)
{
    if (step == r->pre->step_count)
        return r->word(r->ctx, text, n, r->err);
    switch (r->pre->step[step].kind) {
    case PRE_STEP_SPLIT_BYTES:
        return split_bytes(r, step, text, n);
    case PRE_STEP_PREFIX_SPACE:
        return prefix_space(r, step, text, n);
    default:
        return split_text(r, step, text, n);
    }
}

tn_status pre_tokenizer_run(const pre_tokenizer *pre, pre_scratch *scratch, const char *text, size_t n, pre_word word,
                            void *ctx, tn_error *err)
{
    TN_ASSERT(n > 0);
    return run_from(&(run){pre, scratch, word, ctx, err}, 0, text, n);
}

/* splitter.c: PCRE2 with JIT, and the bookkeeping of spans between matches.
 *
 * split_next works in two layers: next_span yields matches and the gaps between them; the behaviors are rules on
 * whether a span joins the piece being held. A zero-length match cuts, and the search goes on one character further.
 */
#include "splitter.h"

#include "regex_dialect.h"

#include <string.h>

enum {
    MATCH_STEPS_MAX = 10 * 1000 * 1000, /* of backtracking, per match */
    MATCH_HEAP_KIB_MAX = 64 * 1024      /* when a match outgrows the JIT's stack */
};

/* Patterns are quoted in messages up to this length. */
#define QUOTE_MAX 80

static tn_status compile(splitter *how, const char *pattern, size_t n, bool literal, const char *shown, int shown_n,
                         tn_error *err)
{
    uint32_t options = PCRE2_UTF | PCRE2_NO_UTF_CHECK | (literal ? PCRE2_LITERAL : PCRE2_UCP | PCRE2_MULTILINE);
    pcre2_compile_context *context = pcre2_compile_context_create(NULL);
    if (!context)
        return tn_fail(err, TN_E_MEMORY, "no memory to compile a regex");
    pcre2_set_newline(context, PCRE2_NEWLINE_LF);
    int code;
    PCRE2_SIZE offset;
    how->code = pcre2_compile((PCRE2_SPTR)pattern, n, options, &code, &offset, context);
    pcre2_compile_context_free(context);
    if (!how->code) {
        PCRE2_UCHAR reason[128];
        pcre2_get_error_message(code, reason, sizeof reason);
        return tn_fail(err, TN_E_CORRUPT, "the regex \"%.*s\" does not compile: %s", shown_n, shown, (char *)reason);
    }
    how->jit = pcre2_jit_compile(how->code, PCRE2_JIT_COMPLETE) == 0;
    return TN_OK;
}

tn_status splitter_init(splitter *how, const char *pattern, size_t n, bool literal, split_behavior behavior,
                        bool inverted, tn_error *err)
{
    *how = (splitter){.behavior = behavior, .inverted = inverted};
    int shown_n = n < QUOTE_MAX ? (int)n : QUOTE_MAX;
    if (literal)
        return compile(how, pattern, n, true, pattern, shown_n, err);
    char *translated;
    size_t translated_n;
    tn_error reason = TN_ERROR_INIT;
    tn_status status = regex_dialect_translate(pattern, n, &translated, &translated_n, &reason);
    if (status != TN_OK)
        return tn_fail(err, status, "the regex \"%.*s\" %s", shown_n, pattern, reason.msg);
    status = compile(how, translated, translated_n, false, pattern, shown_n, err);
    free(translated);
    return status;
}

void splitter_finish(splitter *how)
{
    pcre2_code_free(how->code);
    *how = (splitter){0};
}

void split_start(split *pass, const splitter *how, pcre2_match_data *match, const char *text, size_t n)
{
    *pass = (split){.how = how, .match = match, .text = text, .n = n};
}

static int match_slowly(const split *pass, size_t start)
{
    pcre2_match_context *context = pcre2_match_context_create(NULL);
    if (!context)
        return PCRE2_ERROR_NOMEMORY;
    pcre2_set_match_limit(context, MATCH_STEPS_MAX);
    pcre2_set_heap_limit(context, MATCH_HEAP_KIB_MAX);
    int code = pcre2_match(pass->how->code, (PCRE2_SPTR)pass->text, pass->n, start, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT,
                           pass->match, context);
    pcre2_match_context_free(context);
    return code;
}

/* Machine code first; the interpreter, whose stack is the heap, where that needs more stack than the JIT has. */
static int match_at(const split *pass, size_t start)
{
    if (!pass->how->jit)
        return match_slowly(pass, start);
    int code = pcre2_jit_match(pass->how->code, (PCRE2_SPTR)pass->text, pass->n, start, 0, pass->match, NULL);
    return code == PCRE2_ERROR_JIT_STACKLIMIT ? match_slowly(pass, start) : code;
}

static size_t next_char(const split *pass, size_t at)
{
    do
        at++;
    while (at < pass->n && (pass->text[at] & 0xC0) == 0x80);
    return at;
}

/* Finds the next match at or behind pass->searched. */
static tn_status search(split *pass, tn_error *err)
{
    while (!pass->exhausted && !pass->match_waiting) {
        int code = pass->searched <= pass->n ? match_at(pass, pass->searched) : PCRE2_ERROR_NOMATCH;
        if (code == PCRE2_ERROR_NOMATCH) {
            pass->exhausted = true;
            break;
        }
        if (code < 0) {
            PCRE2_UCHAR reason[128];
            pcre2_get_error_message(code, reason, sizeof reason);
            return tn_fail(err, code == PCRE2_ERROR_NOMEMORY ? TN_E_MEMORY : TN_E_UNSUPPORTED,
                           "the pre-tokenizer's regex gave up %zu bytes into a text: %s", pass->searched,
                           (char *)reason);
        }
        const PCRE2_SIZE *pair = pcre2_get_ovector_pointer(pass->match);
        size_t start = pair[0], end = pair[1];
        if (end < start || start < pass->done) /* \K in a lookaround: nonsense, but PCRE2 allows it */
            return tn_fail(err, TN_E_UNSUPPORTED, "the pre-tokenizer's regex matches backwards");
        pass->searched = end > start ? end : next_char(pass, end);
        if (end == start && end == pass->done && end > 0)
            continue; /* an empty match right behind the last span cuts nothing */
        pass->match_waiting = true;
        pass->match_start = start;
        pass->match_end = end;
    }
    return TN_OK;
}

/* The next match or gap between matches; false at the end. */
static tn_status next_span(split *pass, size_t *ret_start, size_t *ret_end, bool *ret_is_match, bool *ret_more,
                           tn_error *err)
{
    tn_status status = search(pass, err);
    if (status != TN_OK)
        return status;
    *ret_start = pass->done;
    *ret_is_match = pass->match_waiting && pass->match_start == pass->done;
    if (*ret_is_match)
        pass->match_waiting = false;
    *ret_end = *ret_is_match ? pass->match_end : pass->match_waiting ? pass->match_start : pass->n;
    *ret_more = *ret_is_match || *ret_end > *ret_start;
    pass->done = *ret_end;
    *ret_is_match ^= pass->how->inverted;
    return TN_OK;
}

/* Does this span belong to the piece being held? */
static bool joins(const split *pass, bool is_match)
{
    switch (pass->how->behavior) {
    case SPLIT_MERGED_WITH_PREVIOUS:
        return is_match && !pass->last_was_match;
    case SPLIT_MERGED_WITH_NEXT:
        return !is_match && pass->held_is_match;
    case SPLIT_CONTIGUOUS:
        return is_match == pass->last_was_match;
    default:
        return false;
    }
}

tn_status split_next(split *pass, const char **ret_piece, size_t *ret_n, tn_error *err)
{
    *ret_n = 0;
    while (*ret_n == 0) {
        size_t start, end;
        bool is_match, more;
        tn_status status = next_span(pass, &start, &end, &is_match, &more, err);
        if (status != TN_OK)
            return status;
        if (more && is_match && pass->how->behavior == SPLIT_REMOVED)
            continue;
        if (more && pass->holding && joins(pass, is_match)) {
            pass->held_end = end;
            pass->held_is_match = false;
        } else {
            if (pass->holding) {
                *ret_piece = pass->text + pass->held_start;
                *ret_n = pass->held_end - pass->held_start;
            }
            pass->holding = more;
            pass->held_start = start;
            pass->held_end = end;
            pass->held_is_match = is_match;
        }
        pass->last_was_match = is_match;
        if (!more)
            break;
    }
    return TN_OK;
}

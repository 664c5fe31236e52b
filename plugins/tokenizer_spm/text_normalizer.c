/* text_normalizer.c: each step writes into a buffer of its own. Sources: sentencepiece (normalizer.cc) and
 * huggingface/tokenizers (normalizers).
 */
#include "text_normalizer.h"

#include "base/utf8.h"

#include <string.h>
#include <utf8proc.h>

/* ---- SentencePiece's own ---- */

/* The next stretch of text and what it becomes. Returns the bytes it takes. */
static size_t rewrite(const text_normalizer *how, const char *text, size_t n, const char **ret_text, size_t *ret_n)
{
    const added_token *exempt = how->exempt && how->exempt->count ? added_tokens_longest(how->exempt, text, n) : NULL;
    if (exempt) {
        *ret_text = text;
        *ret_n = exempt->n;
        return exempt->n;
    }
    size_t taken = charsmap_match(&how->map, text, n, true, ret_text);
    if (taken > 0) {
        *ret_n = strlen(*ret_text);
        return taken;
    }
    uint32_t codepoint;
    bool valid;
    taken = utf8_decode(text, n, &codepoint, &valid);
    *ret_text = text;
    *ret_n = taken;
    return taken;
}

static bool ends_with_space(const text_buffer *out)
{
    return out->n >= SPM_SPACE_BYTES && memcmp(out->text + out->n - SPM_SPACE_BYTES, SPM_SPACE, SPM_SPACE_BYTES) == 0;
}

static tn_status rewrite_all(const text_normalizer *how, text_buffer *out, const char *text, size_t n, tn_error *err)
{
    const char *piece;
    size_t piece_n;
    bool after_space = how->collapse_spaces;
    tn_status status = TN_OK;
    while (status == TN_OK && n > 0) {
        size_t taken = rewrite(how, text, n, &piece, &piece_n);
        while (after_space && piece_n > 0 && *piece == ' ') {
            piece++;
            piece_n--;
        }
        if (piece_n > 0) {
            status = text_buffer_replace(out, " ", 1, SPM_SPACE, SPM_SPACE_BYTES, piece, piece_n, err);
            after_space = how->collapse_spaces && piece[piece_n - 1] == ' ';
        }
        text += taken;
        n -= taken;
    }
    while (how->collapse_spaces && ends_with_space(out))
        out->n -= SPM_SPACE_BYTES;
    return status;
}

static tn_status sentencepiece(const text_normalizer *how, text_buffer *out, const char *text, size_t n, bool prefix,
                               tn_error *err)
{
    const char *piece;
    size_t piece_n;
    bool dummy = how->dummy_prefix && prefix;
    tn_status status = TN_OK;
    while (how->collapse_spaces && n > 0) {
        size_t taken = rewrite(how, text, n, &piece, &piece_n);
        if (piece_n != 1 || *piece != ' ')
            break;
        text += taken;
        n -= taken;
    }
    if (n == 0)
        return TN_OK;
    if (dummy && !how->space_behind)
        status = text_buffer_append(out, SPM_SPACE, SPM_SPACE_BYTES, err);
    if (status == TN_OK)
        status = rewrite_all(how, out, text, n, err);
    if (status == TN_OK && dummy && how->space_behind)
        status = text_buffer_append(out, SPM_SPACE, SPM_SPACE_BYTES, err);
    return status;
}

/* ---- the steps of a tokenizer.json ---- */

static tn_status collapse(text_buffer *out, const text_step *step, const char *text, size_t n, tn_error *err)
{
    tn_status status = TN_OK;
    for (size_t at = 0, run; status == TN_OK && at < n; at += run) {
        for (run = 0; at + run < n && text[at + run] == ' ';)
            run++;
        if (run > 1) {
            status = text_buffer_append(out, step->to, step->to_n, err);
            continue;
        }
        while (at + run < n && (text[at + run] != ' '))
            run++;
        status = text_buffer_append(out, text + at, run, err);
    }
    return status;
}

static tn_status map_piece(const text_normalizer *how, text_buffer *out, const char *text, size_t n, bool *ret_done,
                           tn_error *err)
{
    const char *to;
    *ret_done = charsmap_match(&how->map, text, n, false, &to) > 0;
    return *ret_done ? text_buffer_append(out, to, strlen(to), err) : TN_OK;
}

/* One grapheme: looked up whole if it is short, else character by character. A key that only begins it counts, and
 * replaces all of it, as in tokenizers. */
static tn_status map_grapheme(const text_normalizer *how, text_buffer *out, const char *text, size_t n, tn_error *err)
{
    enum { WHOLE_BYTES_MAX = 5 };
    bool done = false;
    tn_status status = n <= WHOLE_BYTES_MAX ? map_piece(how, out, text, n, &done, err) : TN_OK;
    for (size_t at = 0, width; status == TN_OK && !done && at < n; at += width) {
        uint32_t codepoint;
        bool valid, mapped;
        width = utf8_decode(text + at, n - at, &codepoint, &valid);
        status = map_piece(how, out, text + at, width, &mapped, err);
        if (status == TN_OK && !mapped)
            status = text_buffer_append(out, text + at, width, err);
    }
    return status;
}

static tn_status map_text(const text_normalizer *how, text_buffer *out, const char *text, size_t n, tn_error *err)
{
    utf8proc_int32_t state = 0;
    uint32_t before, codepoint;
    bool valid;
    size_t start = 0, at = utf8_decode(text, n, &before, &valid);
    tn_status status = TN_OK;
    while (status == TN_OK && at < n) {
        size_t width = utf8_decode(text + at, n - at, &codepoint, &valid);
        if (utf8proc_grapheme_break_stateful((int32_t)before, (int32_t)codepoint, &state)) {
            status = map_grapheme(how, out, text + start, at - start, err);
            start = at;
        }
        before = codepoint;
        at += width;
    }
    return status == TN_OK ? map_grapheme(how, out, text + start, n - start, err) : status;
}

static void strip(const text_step *step, const char **text, size_t *n)
{
    const char *start = *text, *end = *text + *n;
    while (step->left && start < end) {
        size_t width = text_space_width(start, (size_t)(end - start));
        if (width == 0)
            break;
        start += width;
    }
    while (step->right && start < end) {
        const char *last = end - 1;
        while (last > start && (*last & 0xC0) == 0x80)
            last--;
        if (text_space_width(last, (size_t)(end - last)) == 0)
            break;
        end = last;
    }
    *text = start;
    *n = (size_t)(end - start);
}

/* ---- the chain ---- */

static char *copy_text(const char *text, size_t n)
{
    char *copy = malloc(n + 1);
    if (copy && n > 0)
        memcpy(copy, text, n);
    return copy;
}

tn_status text_normalizer_add(text_normalizer *normalizer, const text_step *step, tn_error *err)
{
    if (normalizer->step_count == TEXT_STEPS_MAX)
        return tn_fail(err, TN_E_UNSUPPORTED, "the normalizer has more than %d steps", TEXT_STEPS_MAX);
    text_step *added = &normalizer->step[normalizer->step_count++];
    *added = *step;
    added->from = copy_text(step->from, step->from_n);
    added->to = copy_text(step->to, step->to_n);
    return added->from && added->to ? TN_OK : tn_fail(err, TN_E_MEMORY, "no memory for a normalizer");
}

void text_normalizer_finish(text_normalizer *normalizer)
{
    for (uint32_t i = 0; i < normalizer->step_count; i++) {
        free(normalizer->step[i].from);
        free(normalizer->step[i].to);
    }
    charsmap_finish(&normalizer->map);
    normalizer->step_count = 0;
}

static tn_status apply(const text_normalizer *how, const text_step *step, text_buffer *out, const char *text, size_t n,
                       bool prefix, tn_error *err)
{
    tn_status status;
    switch (step->kind) {
    case TEXT_SENTENCEPIECE:
        return sentencepiece(how, out, text, n, prefix, err);
    case TEXT_PREPEND:
        status = text_buffer_append(out, step->to, step->to_n, err);
        return status == TN_OK ? text_buffer_append(out, text, n, err) : status;
    case TEXT_REPLACE:
        return text_buffer_replace(out, step->from, step->from_n, step->to, step->to_n, text, n, err);
    case TEXT_COLLAPSE:
        return collapse(out, step, text, n, err);
    default:
        return map_text(how, out, text, n, err);
    }
}

tn_status text_normalizer_apply(const text_normalizer *normalizer, text_scratch *scratch, const char *text, size_t n,
                                bool prefix, const char **ret_text, size_t *ret_n, tn_error *err)
{
    tn_status status = TN_OK;
    for (uint32_t i = 0; status == TN_OK && n > 0 && i < normalizer->step_count; i++) {
        const text_step *step = &normalizer->step[i];
        text_buffer *out = &scratch->step[i];
        if (step->kind == TEXT_STRIP) {
            strip(step, &text, &n);
        } else if (step->kind == TEXT_FORM) {
            status = normal_form_apply(step->form, text, n, &scratch->form[i], &text, &n, err);
        } else {
            out->n = 0;
            status = apply(normalizer, step, out, text, n, prefix, err);
            text = out->text ? out->text : "";
            n = out->n;
        }
    }
    *ret_text = text;
    *ret_n = n;
    return status;
}

void text_scratch_finish(text_scratch *scratch)
{
    for (uint32_t i = 0; i < TEXT_STEPS_MAX; i++) {
        free(scratch->step[i].text);
        normalized_finish(&scratch->form[i]);
    }
    *scratch = (text_scratch){0};
}

/* special_text.c: U+FDD0 opens and U+FDD1 closes a mark; both are "not a character" for all time (Unicode 23.7).
 *
 * Vocabularies have a thousand special tokens that begin alike, and a user may write eight million of their first
 * letter: each place costs a binary search, not a comparison with all.
 */
#include "special_text.h"

#include <string.h>

#define MARK_OPEN  "\xEF\xB7\x90"
#define MARK_CLOSE "\xEF\xB7\x91"
enum { MARK_BYTES = 3, PIECE_BYTES = 512 };

static int compare_bytes(const void *a, const void *b)
{
    return strcmp(((const special_text *)a)->text, ((const special_text *)b)->text);
}

static bool begins(const special_text *special, const char *text, size_t n)
{
    return special->bytes <= n && memcmp(special->text, text, special->bytes) == 0;
}

/* What a text begins with stands before it, and all between the two begin with it as well. */
static void link_prefixes(special_texts *specials)
{
    for (uint32_t i = 0; i < specials->count; i++) {
        special_text *special = &specials->texts[i];
        special->prefix = (int64_t)i - 1;
        while (special->prefix >= 0 && !begins(&specials->texts[special->prefix], special->text, special->bytes))
            special->prefix = specials->texts[special->prefix].prefix;
    }
}

static tn_status add_text(special_texts *specials, const char *bytes, size_t n, tn_error *err)
{
    if ((specials->count & (specials->count - 1)) == 0) { /* at powers of two, double */
        size_t capacity = specials->count ? (size_t)specials->count * 2 : 1;
        special_text *texts = realloc(specials->texts, capacity * sizeof *texts);
        if (!texts)
            return tn_fail(err, TN_E_MEMORY, "http_frontend: out of memory for special tokens");
        specials->texts = texts;
    }
    char *text = strndup(bytes, n);
    if (!text)
        return tn_fail(err, TN_E_MEMORY, "http_frontend: out of memory for special tokens");
    specials->texts[specials->count++] = (special_text){.text = text, .bytes = n};
    specials->starts[(unsigned char)text[0]] = true;
    return TN_OK;
}

tn_status special_texts_read(const tn_tokenizer_table *table, const tn_tok *tok, uint32_t vocab,
                             special_texts *ret_specials, tn_error *err)
{
    special_texts specials = {0};
    tn_status status = TN_OK;

    for (uint32_t id = 0; status == TN_OK && id < vocab; id++) {
        char bytes[PIECE_BYTES];
        uint64_t n = sizeof bytes;
        if (!(table->attributes(tok, (int32_t)id) & TN_TOKEN_IS_SPECIAL))
            continue;
        /* One too long to be read is too long to be typed by accident, yet must not be let through. */
        status = table->piece(tok, (int32_t)id, 0, 0, bytes, &n, err);
        if (status == TN_OK && n > 0 && !memchr(bytes, '\0', n))
            status = add_text(&specials, bytes, n, err);
    }
    if (status != TN_OK) {
        special_texts_finish(&specials);
        return status;
    }
    if (specials.count > 0)
        qsort(specials.texts, specials.count, sizeof *specials.texts, compare_bytes);
    link_prefixes(&specials);
    *ret_specials = specials;
    return TN_OK;
}

void special_texts_finish(special_texts *specials)
{
    for (uint32_t i = 0; i < specials->count; i++)
        free(specials->texts[i].text);
    free(specials->texts);
    *specials = (special_texts){0};
}

bool special_text_has_marks(const char *text, size_t n)
{
    return memmem(text, n, MARK_OPEN, MARK_BYTES) || memmem(text, n, MARK_CLOSE, MARK_BYTES);
}

static bool is_behind(const special_text *special, const char *text, size_t n)
{
    int order = memcmp(special->text, text, special->bytes < n ? special->bytes : n);
    return order != 0 ? order > 0 : special->bytes > n;
}

/* Bytes of the longest special token that text[0..n) begins with, 0 if none. */
static size_t match(const special_texts *specials, const char *text, size_t n)
{
    if (!specials->starts[(unsigned char)text[0]])
        return 0;
    uint32_t low = 0, high = specials->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (is_behind(&specials->texts[middle], text, n))
            high = middle;
        else
            low = middle + 1;
    }
    /* The last that is not behind the text: the one we want, or one that begins with it. */
    int64_t at = (int64_t)low - 1;
    while (at >= 0 && !begins(&specials->texts[at], text, n))
        at = specials->texts[at].prefix;
    return at >= 0 ? specials->texts[at].bytes : 0;
}

bool special_text_mark(const special_texts *specials, const char *text, size_t n, byte_buffer *out)
{
    size_t copied = 0;

    for (size_t at = 0; at < n;) {
        size_t bytes = match(specials, text + at, n - at);
        if (bytes == 0) {
            at++;
            continue;
        }
        byte_buffer_append(out, text + copied, at - copied);
        byte_buffer_text(out, MARK_OPEN);
        byte_buffer_append(out, text + at, bytes);
        byte_buffer_text(out, MARK_CLOSE);
        at += bytes;
        copied = at;
    }
    if (copied > 0)
        byte_buffer_append(out, text + copied, n - copied);
    return copied > 0;
}

size_t special_text_next(const char *text, size_t n, bool *ret_marked, const char **ret_stretch, size_t *ret_taken)
{
    *ret_marked = n >= MARK_BYTES && memcmp(text, MARK_OPEN, MARK_BYTES) == 0;
    *ret_stretch = *ret_marked ? text + MARK_BYTES : text;
    size_t left = n - (size_t)(*ret_stretch - text);
    const char *end = memmem(*ret_stretch, left, *ret_marked ? MARK_CLOSE : MARK_OPEN, MARK_BYTES);
    size_t bytes = end ? (size_t)(end - *ret_stretch) : left;
    *ret_taken = (size_t)(*ret_stretch - text) + bytes + (*ret_marked && end ? MARK_BYTES : 0);
    return bytes;
}

/* normal_form.c: utf8proc decomposes and composes; the canonical reordering in between is ours, because utf8proc's is
 * quadratic in the length of a run of combining marks (a megabyte of marks would take hours).
 */
#include "base/tokenizer/normal_form.h"

#include "base/utf8.h"

#include <stdbool.h>
#include <string.h>
#include <utf8proc.h>

static tn_status no_memory(size_t n, tn_error *err)
{
    return tn_fail(err, TN_E_MEMORY, "no memory to normalise a text of %zu bytes", n);
}

static bool is_ascii(const char *text, size_t n)
{
    unsigned char seen = 0;
    for (size_t i = 0; i < n; i++)
        seen |= (unsigned char)text[i];
    return seen < 0x80;
}

static bool reserve(normalized *scratch, size_t codepoints)
{
    if (scratch->codepoint_capacity >= codepoints)
        return true;
    int32_t *grown = realloc(scratch->codepoint, 2 * codepoints * sizeof *grown);
    if (!grown)
        return false;
    scratch->codepoint = grown;
    scratch->codepoint_capacity = 2 * codepoints;
    return true;
}

/* Fills scratch->codepoint; *ret_count of them. */
static tn_status decompose(const char *text, size_t n, utf8proc_option_t options, normalized *scratch,
                           size_t *ret_count, tn_error *err)
{
    enum { LONGEST = 18 }; /* code points that one can decompose into, U+FDFA */
    size_t count = 0;
    for (size_t at = 0; at < n;) {
        uint32_t codepoint;
        bool valid;
        at += utf8_decode(text + at, n - at, &codepoint, &valid);
        if (!reserve(scratch, count + LONGEST))
            return no_memory(n, err);
        int class_state = 0;
        utf8proc_ssize_t added = utf8proc_decompose_char((utf8proc_int32_t)codepoint, scratch->codepoint + count,
                                                         LONGEST, options, &class_state);
        TN_ASSERT(added >= 0 && added <= LONGEST);
        count += (size_t)added;
    }
    *ret_count = count;
    return TN_OK;
}

static int combining_class(int32_t codepoint)
{
    return utf8proc_get_property(codepoint)->combining_class;
}

/* Stable counting sort of one run of marks by combining class; sorted: room for n. */
static void sort_marks(int32_t *mark, size_t n, int32_t *sorted)
{
    size_t start[257] = {0};
    for (size_t i = 0; i < n; i++)
        start[combining_class(mark[i]) + 1]++;
    for (int i = 0; i < 256; i++)
        start[i + 1] += start[i];
    for (size_t i = 0; i < n; i++)
        sorted[start[combining_class(mark[i])]++] = mark[i];
    memcpy(mark, sorted, n * sizeof *mark);
}

static tn_status reorder(int32_t *codepoint, size_t count, tn_error *err)
{
    int32_t *sorted = NULL;
    for (size_t start = 0, end; start < count; start = end + 1) {
        bool ordered = true;
        for (end = start; end < count && combining_class(codepoint[end]) != 0; end++)
            ordered &= end == start || combining_class(codepoint[end - 1]) <= combining_class(codepoint[end]);
        if (ordered)
            continue;
        if (!sorted && !(sorted = malloc(count * sizeof *sorted)))
            return no_memory(count, err);
        sort_marks(codepoint + start, end - start, sorted);
    }
    free(sorted);
    return TN_OK;
}

static tn_status write_utf8(normalized *scratch, size_t count, tn_error *err)
{
    char *text = realloc(scratch->text, 4 * count + 1);
    if (!text)
        return no_memory(count, err);
    scratch->text = text;
    scratch->n = 0;
    for (size_t i = 0; i < count; i++)
        scratch->n += utf8_encode((uint32_t)scratch->codepoint[i], text + scratch->n);
    return TN_OK;
}

tn_status normal_form_apply(normal_form form, const char *text, size_t n, normalized *scratch, const char **ret_text,
                            size_t *ret_n, tn_error *err)
{
    *ret_text = text;
    *ret_n = n;
    if (form == NORMAL_FORM_NONE || is_ascii(text, n))
        return TN_OK;
    bool compat = form == NORMAL_FORM_KC || form == NORMAL_FORM_KD;
    bool composed = form == NORMAL_FORM_C || form == NORMAL_FORM_KC;
    size_t count = 0;
    tn_status status =
        decompose(text, n, UTF8PROC_DECOMPOSE | UTF8PROC_STABLE | (compat ? UTF8PROC_COMPAT : 0), scratch, &count, err);
    if (status == TN_OK)
        status = reorder(scratch->codepoint, count, err);
    if (status != TN_OK)
        return status;
    if (composed) {
        utf8proc_ssize_t left =
            utf8proc_normalize_utf32(scratch->codepoint, (utf8proc_ssize_t)count, UTF8PROC_COMPOSE | UTF8PROC_STABLE);
        TN_ASSERT(left >= 0 && (size_t)left <= count);
        count = (size_t)left;
    }
    status = write_utf8(scratch, count, err);
    if (status != TN_OK)
        return status;
    *ret_text = scratch->text;
    *ret_n = scratch->n;
    return TN_OK;
}

void normalized_finish(normalized *scratch)
{
    free(scratch->text);
    free(scratch->codepoint);
    *scratch = (normalized){0};
}

/* text.c: ranges of characters are cut where the number of bytes changes, then byte by byte: [E1 80..BF 80..BF] and the
 * like, after Russ Cox's and Ken Thompson's way of putting UTF-8 into byte automata.
 */
#include "grammar/text.h"

#include "base/utf8.h"

#include <string.h>

/* Sequences of n bytes between lo and hi, whose first bytes are of one kind. */
static void add_sequences(nfa *nfa, uint32_t from, const uint8_t *lo, const uint8_t *hi, uint32_t n, uint32_t to)
{
    static const uint8_t low[4] = {0x80, 0x80, 0x80, 0x80}, high[4] = {0xbf, 0xbf, 0xbf, 0xbf};
    uint32_t first = lo[0], last = hi[0];

    if (n == 1) {
        nfa_bytes(nfa, from, first, last, to);
        return;
    }
    if (first == last || memcmp(lo + 1, low, n - 1) != 0) {
        uint32_t next = nfa_node(nfa);
        nfa_bytes(nfa, from, first, first, next);
        add_sequences(nfa, next, lo + 1, first == last ? hi + 1 : high, n - 1, to);
        if (first++ == last)
            return;
    }
    bool cut = memcmp(hi + 1, high, n - 1) != 0;
    if (cut) {
        uint32_t next = nfa_node(nfa);
        nfa_bytes(nfa, from, last, last, next);
        add_sequences(nfa, next, low, hi + 1, n - 1, to);
        last--;
    }
    if (first <= last) {
        uint32_t next = nfa_node(nfa);
        nfa_bytes(nfa, from, first, last, next);
        add_sequences(nfa, next, low, high, n - 1, to);
    }
}

static void add_plain(nfa *nfa, uint32_t from, uint32_t lo, uint32_t hi, uint32_t to)
{
    static const struct {
        uint32_t lo, hi;
    } part[] = {{0, 0x7f}, {0x80, 0x7ff}, {0x800, 0xd7ff}, {0xe000, 0xffff}, {0x10000, TEXT_CODEPOINT_MAX}};

    for (size_t i = 0; i < sizeof part / sizeof *part; i++) {
        uint32_t begin = lo > part[i].lo ? lo : part[i].lo, end = hi < part[i].hi ? hi : part[i].hi;
        char first[4], last[4];
        if (begin > end)
            continue;
        size_t n = utf8_encode(begin, first);
        utf8_encode(end, last);
        add_sequences(nfa, from, (const uint8_t *)first, (const uint8_t *)last, (uint32_t)n, to);
    }
}

/* Writes the escape of a character that needs one; 0: it needs none. */
static size_t escape(uint32_t codepoint, char out[8])
{
    static const char spelt[] = "\"\\\b\f\n\r\t", letter[] = "\"\\bfnrt";
    const char *at = codepoint > 0 && codepoint < 0x80 ? strchr(spelt, (int)codepoint) : NULL;

    if (at)
        return (size_t)snprintf(out, 8, "\\%c", letter[at - spelt]);
    if (codepoint < 0x20)
        return (size_t)snprintf(out, 8, "\\u%04x", codepoint);
    return 0;
}

/* The escapes of all control characters, as one: ranges that hold them are most of those there are. */
static void add_controls(nfa *nfa, uint32_t from, uint32_t to)
{
    uint32_t slash = nfa_text(nfa, from, "\\", 1), hex = nfa_text(nfa, slash, "u00", 3);
    uint32_t zero = nfa_text(nfa, hex, "0", 1), one = nfa_text(nfa, hex, "1", 1);

    for (const char *letter = "bfnrt"; *letter; letter++)
        nfa_bytes(nfa, slash, (uint8_t)*letter, (uint8_t)*letter, to);
    nfa_bytes(nfa, zero, '0', '7', to);
    nfa_bytes(nfa, zero, 'b', 'b', to);
    nfa_bytes(nfa, zero, 'e', 'f', to);
    nfa_bytes(nfa, one, '0', '9', to);
    nfa_bytes(nfa, one, 'a', 'f', to);
}

/* Every character beyond ASCII: what follows the first byte is shared, since long texts hold this once for each place.
 */
static void add_beyond_ascii(nfa *nfa, uint32_t from, uint32_t to)
{
    /* First bytes lo..hi; second bytes; how many follow those. */
    static const struct {
        uint8_t lo, hi, second_lo, second_hi, rest;
    } form[] = {{0xc2, 0xdf, 0x80, 0xbf, 0}, {0xe0, 0xe0, 0xa0, 0xbf, 1}, {0xe1, 0xec, 0x80, 0xbf, 1},
                {0xed, 0xed, 0x80, 0x9f, 1}, {0xee, 0xef, 0x80, 0xbf, 1}, {0xf0, 0xf0, 0x90, 0xbf, 2},
                {0xf1, 0xf3, 0x80, 0xbf, 2}, {0xf4, 0xf4, 0x80, 0x8f, 2}};
    uint32_t left[4] = {to}; /* by bytes that are still to come */

    for (int i = 1; i < 4; i++) {
        left[i] = nfa_node(nfa);
        nfa_bytes(nfa, left[i], 0x80, 0xbf, left[i - 1]);
    }
    for (size_t i = 0; i < sizeof form / sizeof *form; i++) {
        bool any_second = form[i].second_lo == 0x80 && form[i].second_hi == 0xbf;
        uint32_t second = any_second ? left[form[i].rest + 1] : nfa_node(nfa);
        nfa_bytes(nfa, from, form[i].lo, form[i].hi, second);
        if (!any_second)
            nfa_bytes(nfa, second, form[i].second_lo, form[i].second_hi, left[form[i].rest]);
    }
}

void text_range(nfa *nfa, text_form form, uint32_t from, uint32_t lo, uint32_t hi, uint32_t to)
{
    char spelling[8];
    uint32_t begin = lo;

    if (form == TEXT_JSON && lo == 0 && hi >= 0x1f) {
        add_controls(nfa, from, to);
        begin = lo = 0x20;
    }
    if (lo < 0x80 && hi == TEXT_CODEPOINT_MAX) {
        add_beyond_ascii(nfa, from, to);
        hi = 0x7f;
    }
    for (uint32_t c = lo; form == TEXT_JSON && c <= hi && c <= '\\'; c++) {
        size_t n = escape(c, spelling);
        if (n == 0)
            continue;
        if (c > begin)
            add_plain(nfa, from, begin, c - 1, to);
        begin = c + 1;
        uint32_t end = nfa_text(nfa, from, spelling, n);
        nfa_empty(nfa, end, to);
    }
    if (begin <= hi)
        add_plain(nfa, from, begin, hi, to);
}

uint32_t text_any(nfa *nfa, text_form form, uint32_t from, uint32_t min, uint32_t max)
{
    uint32_t end = nfa_node(nfa), at = from;

    for (uint32_t i = 0; i < min && nfa->status == TN_OK; i++) {
        uint32_t next = nfa_node(nfa);
        text_range(nfa, form, at, 0, TEXT_CODEPOINT_MAX, next);
        at = next;
    }
    if (max == UINT32_MAX) {
        uint32_t loop = nfa_node(nfa);
        nfa_empty(nfa, at, loop);
        text_range(nfa, form, loop, 0, TEXT_CODEPOINT_MAX, loop);
        nfa_empty(nfa, loop, end);
        return end;
    }
    nfa_empty(nfa, at, end);
    for (uint32_t i = min; i < max && nfa->status == TN_OK; i++) {
        uint32_t next = nfa_node(nfa);
        text_range(nfa, form, at, 0, TEXT_CODEPOINT_MAX, next);
        nfa_empty(nfa, next, end);
        at = next;
    }
    return end;
}

uint32_t text_literal(nfa *nfa, text_form form, uint32_t from, const char *text, size_t n)
{
    for (size_t at = 0, bytes; at < n; at += bytes) {
        uint32_t codepoint, next = nfa_node(nfa);
        bool valid;
        bytes = utf8_decode(text + at, n - at, &codepoint, &valid);
        text_range(nfa, form, from, codepoint, codepoint, next);
        from = next;
    }
    return from;
}

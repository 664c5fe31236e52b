/* regex_dialect.c: one pass over the pattern, copying what means the same and rewriting the rest.
 *
 * A set (\s, \p{L}...) is spelt as the inside of a class, so it needs brackets of its own only outside of one.
 */
#include "regex_dialect.h"

#include "unicode_additions.h"

#include <stdbool.h>
#include <string.h>
#include <strings.h>

/* White_Space. PCRE2's \s has U+180E too. */
#define SPACE "\\t-\\r \\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}"
#define NO_SPACE                                                                                                 \
    "\\x{0}-\\x{8}\\x{e}-\\x{1f}!-\\x{84}\\x{86}-\\x{9f}\\x{a1}-\\x{167f}\\x{1681}-\\x{1fff}\\x{200b}-\\x{2027}" \
    "\\x{202a}-\\x{202e}\\x{2030}-\\x{205e}\\x{2060}-\\x{2fff}\\x{3001}-\\x{d7ff}\\x{e000}-\\x{10ffff}"
#define HEX "0-9A-Fa-f"
/* Oniguruma's word characters besides letters, marks, decimal digits: connectors, letter numbers, circled letters. */
#define WORD_REST                                                                                                     \
    "\\p{Nl}\\p{Pc}\\x{b2}\\x{b3}\\x{b9}\\x{bc}-\\x{be}\\x{24b6}-\\x{24e9}\\x{1f130}-\\x{1f149}\\x{1f150}-\\x{1f169}" \
    "\\x{1f170}-\\x{1f189}"

typedef struct rewriter {
    const char *pattern;
    size_t n, at; /* at: next byte to read */
    char *out;
    size_t used, capacity;
    bool in_class, out_of_memory;
    tn_error *err;
} rewriter;

static void put_bytes(rewriter *r, const char *bytes, size_t n)
{
    if (r->capacity - r->used <= n && !r->out_of_memory) {
        size_t capacity = 2 * (r->used + n) + 256;
        char *out = realloc(r->out, capacity);
        if (out) {
            r->out = out;
            r->capacity = capacity;
        } else {
            r->out_of_memory = true;
        }
    }
    if (r->out_of_memory)
        return;
    memcpy(r->out + r->used, bytes, n);
    r->used += n;
    r->out[r->used] = '\0';
}

static void put(rewriter *r, const char *text)
{
    put_bytes(r, text, strlen(text));
}

static tn_status refuse(rewriter *r, const char *what)
{
    return tn_fail(r->err, TN_E_UNSUPPORTED, "%s at byte %zu", what, r->at);
}

static void open_set(rewriter *r, bool negated)
{
    if (!r->in_class)
        put(r, negated ? "[^" : "[");
}

static void close_set(rewriter *r)
{
    if (!r->in_class)
        put(r, "]");
}

static void put_set(rewriter *r, const char *inside, bool negated)
{
    open_set(r, negated);
    put(r, inside);
    close_set(r);
}

static void put_property(rewriter *r, const char *name, size_t n)
{
    static const char *const scripts[] = {"Han",     "Hiragana", "Katakana", "Hangul",   "Thai",   "Lao",    "Khmer",
                                          "Myanmar", "Latin",    "Greek",    "Cyrillic", "Arabic", "Hebrew", "Bengali"};
    const char *script = "";
    for (size_t i = 0; i < sizeof scripts / sizeof scripts[0]; i++) {
        if (strlen(scripts[i]) == n && strncasecmp(scripts[i], name, n) == 0)
            script = "sc:"; /* a bare script name means script extensions since PCRE2 10.40 */
    }
    put(r, "\\p{");
    put(r, script);
    put_bytes(r, name, n);
    put(r, "}");
    put(r, unicode_additions(name, n));
}

static void put_word_set(rewriter *r)
{
    put_property(r, "L", 1);
    put_property(r, "M", 1);
    put_property(r, "Nd", 2);
    put(r, WORD_REST);
}

static void put_word(rewriter *r, bool negated)
{
    open_set(r, negated);
    put_word_set(r);
    close_set(r);
}

static void put_boundary(rewriter *r, bool negated)
{
    put(r, negated ? "(?:(?<=" : "(?:(?<!");
    put_word(r, false);
    put(r, ")(?=");
    put_word(r, false);
    put(r, negated ? ")|(?<!" : ")|(?<=");
    put_word(r, false);
    put(r, ")(?!");
    put_word(r, false);
    put(r, "))");
}

/* \p{Name}, \p{^Name}, \P{Name}; r->at is behind the letter. Inside a class a negated property keeps PCRE2's own
 * tables: a complement with holes cannot be written there. */
static tn_status rewrite_property(rewriter *r, bool negated)
{
    const char *open = r->pattern + r->at, *close;
    if (r->at >= r->n || *open != '{' || !(close = memchr(open, '}', r->n - r->at)))
        return refuse(r, "has a \\p without braces");
    r->at += (size_t)(close - open) + 1;
    open++;
    if (open < close && *open == '^') {
        negated = !negated;
        open++;
    }
    size_t n = (size_t)(close - open);
    if (n == 0)
        return refuse(r, "has an empty \\p{}");
    if (negated && r->in_class) {
        put(r, "\\P{");
        put_bytes(r, open, n);
        put(r, "}");
        return TN_OK;
    }
    open_set(r, negated);
    put_property(r, open, n);
    close_set(r);
    return TN_OK;
}

static tn_status rewrite_unicode_escape(rewriter *r)
{
    if (r->n - r->at < 4)
        return refuse(r, "has a cut \\u");
    put(r, "\\x{");
    put_bytes(r, r->pattern + r->at, 4);
    put(r, "}");
    r->at += 4;
    return TN_OK;
}

/* r->at is at the character behind the backslash. */
static tn_status rewrite_escape(rewriter *r)
{
    if (r->at >= r->n)
        return refuse(r, "ends in a backslash");
    char c = r->pattern[r->at++];
    if (r->in_class && memchr("WDHB", c, 4))
        return refuse(r, "has a negated set inside a class");
    switch (c) {
    case 's':
        put_set(r, SPACE, false);
        return TN_OK;
    case 'S':
        put_set(r, NO_SPACE, false);
        return TN_OK;
    case 'w':
    case 'W':
        put_word(r, c == 'W');
        return TN_OK;
    case 'd':
    case 'D':
        open_set(r, c == 'D');
        put_property(r, "Nd", 2);
        close_set(r);
        return TN_OK;
    case 'h':
    case 'H':
        put_set(r, HEX, c == 'H');
        return TN_OK;
    case 'v':
        put(r, "\\x{b}");
        return TN_OK;
    case 'p':
    case 'P':
        return rewrite_property(r, c == 'P');
    case 'u':
        return rewrite_unicode_escape(r);
    case 'b':
    case 'B':
        if (r->in_class)
            put(r, "\\x{8}");
        else
            put_boundary(r, c == 'B');
        return TN_OK;
    case 'C': /* a single byte, or control and meta notations: never seen in a tokenizer */
    case 'M':
    case 'c':
        return refuse(r, "has an escape that is not supported");
    default:
        put(r, "\\");
        put_bytes(r, &c, 1);
        return TN_OK;
    }
}

/* Copies "[:name:]" if the pattern goes on with it. */
static bool copy_posix_class(rewriter *r)
{
    const char *at = r->pattern + r->at;
    size_t left = r->n - r->at;
    if (left < 4 || at[1] != ':')
        return false;
    const char *end = memmem(at + 2, left - 2, ":]", 2);
    if (!end)
        return false;
    put_bytes(r, at, (size_t)(end - at) + 2);
    r->at += (size_t)(end - at) + 2;
    return true;
}

static tn_status rewrite_in_class(rewriter *r)
{
    char c = r->pattern[r->at];
    if (c == '[')
        return copy_posix_class(r) ? TN_OK : refuse(r, "has a class within a class");
    if (c == '&' && r->n - r->at >= 2 && r->pattern[r->at + 1] == '&')
        return refuse(r, "has a class intersection");
    put_bytes(r, &c, 1);
    r->at++;
    if (c == ']')
        r->in_class = false;
    return TN_OK;
}

static void enter_class(rewriter *r)
{
    put(r, "[");
    r->at++;
    r->in_class = true;
    if (r->at < r->n && r->pattern[r->at] == '^') {
        put(r, "^");
        r->at++;
    }
    if (r->at < r->n && r->pattern[r->at] == ']') { /* first: a literal */
        put(r, "\\]");
        r->at++;
    }
}

/* Ruby's inline (?m) is PCRE2's (?s). r->at is at the parenthesis. */
static void rewrite_group(rewriter *r)
{
    put(r, "(");
    r->at++;
    if (r->n - r->at < 2 || r->pattern[r->at] != '?')
        return;
    put(r, "?");
    r->at++;
    for (; r->at < r->n && memchr("imx-", r->pattern[r->at], 4); r->at++)
        put(r, r->pattern[r->at] == 'm' ? "s" : (char[]){r->pattern[r->at], '\0'});
}

/* {1,3}+ repeats the interval in Ruby and makes it possessive in PCRE2. */
static tn_status rewrite_outside(rewriter *r)
{
    char c = r->pattern[r->at];
    if (c == '[') {
        enter_class(r);
        return TN_OK;
    }
    if (c == '(') {
        rewrite_group(r);
        return TN_OK;
    }
    if (c == '}' && r->n - r->at >= 2 && r->pattern[r->at + 1] == '+')
        return refuse(r, "has a repeated interval");
    put_bytes(r, &c, 1);
    r->at++;
    return TN_OK;
}

tn_status regex_dialect_translate(const char *pattern, size_t n, char **ret_pattern, size_t *ret_n, tn_error *err)
{
    rewriter r = {.pattern = pattern, .n = n, .err = err};
    tn_status status = TN_OK;
    put(&r, "");
    while (r.at < n && status == TN_OK) {
        if (pattern[r.at] == '\\') {
            r.at++;
            status = rewrite_escape(&r);
        } else {
            status = r.in_class ? rewrite_in_class(&r) : rewrite_outside(&r);
        }
    }
    if (status == TN_OK && r.out_of_memory)
        status = tn_fail(err, TN_E_MEMORY, "no memory for a regex of %zu bytes", n);
    if (status != TN_OK) {
        free(r.out);
        return status;
    }
    *ret_pattern = r.out;
    *ret_n = r.used;
    return TN_OK;
}

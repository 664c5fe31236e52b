/* regex.c: recursive descent to a tree in one array, then the tree to an automaton, a repeated part once for each time.
 */
#include "grammar/regex.h"

#include "base/utf8.h"

#include <string.h>

enum { TERMS_MAX = 8192, RANGES_MAX = 8192, DEPTH_MAX = 64 };
#define NO_TERM UINT32_MAX

typedef enum term_kind { TERM_EMPTY, TERM_SET, TERM_PAIR, TERM_EITHER, TERM_REPEAT } term_kind;

typedef struct term {
    term_kind kind;
    uint32_t left, right; /* SET: first range, count. PAIR, EITHER: terms. REPEAT: term */
    uint32_t min, max;    /* REPEAT; max UINT32_MAX: no limit */
} term;

typedef struct range {
    uint32_t lo, hi;
} range;

typedef struct parser {
    nfa *nfa;
    const char *what;
    text_form form;
    const char *text;
    size_t n, at;
    uint32_t term_count, range_count, depth;
    bool ahead; /* within a look-ahead, outside its groups */
    term term[TERMS_MAX];
    range range[RANGES_MAX];
} parser;

static uint32_t parse_either(parser *p);

static uint32_t refuse(parser *p, const char *why)
{
    nfa_fail(p->nfa, TN_E_ARGUMENT, "%s: at byte %zu of the expression: %s", p->what, p->at, why);
    return NO_TERM;
}

static uint32_t new_term(parser *p, term term)
{
    if (p->nfa->status != TN_OK)
        return NO_TERM;
    if (p->term_count == TERMS_MAX)
        return refuse(p, "it is too long");
    p->term[p->term_count] = term;
    return p->term_count++;
}

static bool looking_at(const parser *p, const char *text)
{
    size_t n = strlen(text);
    return p->n - p->at >= n && memcmp(p->text + p->at, text, n) == 0;
}

static bool take(parser *p, const char *text)
{
    if (!looking_at(p, text))
        return false;
    p->at += strlen(text);
    return true;
}

/* ---- sets ---- */

static void add_range(parser *p, uint32_t lo, uint32_t hi)
{
    if (p->range_count == RANGES_MAX)
        refuse(p, "its classes are too long");
    else
        p->range[p->range_count++] = (range){lo, hi};
}

static int compare_ranges(const void *a, const void *b)
{
    const range *left = a, *right = b;
    return (left->lo > right->lo) - (left->lo < right->lo);
}

/* Replaces the ranges from first on by those between them. */
static void negate(parser *p, uint32_t first)
{
    uint32_t count = p->range_count - first, next = 0;
    range *old = malloc((count + 1) * sizeof *old);

    if (!old) {
        nfa_fail(p->nfa, TN_E_MEMORY, "out of memory for an expression");
        return;
    }
    memcpy(old, p->range + first, count * sizeof *old);
    qsort(old, count, sizeof *old, compare_ranges);
    p->range_count = first;
    for (uint32_t i = 0; i < count; i++) {
        if (old[i].lo > next)
            add_range(p, next, old[i].lo - 1);
        next = old[i].hi + 1 > next ? old[i].hi + 1 : next;
    }
    if (next <= TEXT_CODEPOINT_MAX)
        add_range(p, next, TEXT_CODEPOINT_MAX);
    free(old);
}

/* \d, \w, \s and their opposites; false: c is none of them. */
static bool add_named(parser *p, char c)
{
    static const range digits[] = {{'0', '9'}}, words[] = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}},
                       spaces[] = {{9, 13},          {' ', ' '},       {0xa0, 0xa0},     {0x1680, 0x1680},
                                   {0x2000, 0x200a}, {0x2028, 0x2029}, {0x202f, 0x202f}, {0x205f, 0x205f},
                                   {0x3000, 0x3000}, {0xfeff, 0xfeff}};
    const range *from = NULL;
    size_t count = 0;
    uint32_t first = p->range_count;

    if (c == 'd' || c == 'D')
        from = digits, count = sizeof digits / sizeof *digits;
    else if (c == 'w' || c == 'W')
        from = words, count = sizeof words / sizeof *words;
    else if (c == 's' || c == 'S')
        from = spaces, count = sizeof spaces / sizeof *spaces;
    for (size_t i = 0; i < count; i++)
        add_range(p, from[i].lo, from[i].hi);
    if (count > 0 && c < 'a')
        negate(p, first);
    return count > 0;
}

static uint32_t take_hex(parser *p, uint32_t digits)
{
    uint32_t value = 0;
    for (uint32_t i = 0; i < digits; i++, p->at++) {
        const char *hex = "0123456789abcdef0123456789ABCDEF", *digit = NULL;
        if (p->at < p->n && p->text[p->at] != '\0')
            digit = strchr(hex, p->text[p->at]);
        if (!digit) {
            refuse(p, "an escape lacks hexadecimal digits");
            return 0;
        }
        value = value * 16 + (uint32_t)(digit - hex) % 16;
    }
    return value;
}

static uint32_t take_character(parser *p)
{
    uint32_t codepoint;
    bool valid;
    p->at += utf8_decode(p->text + p->at, p->n - p->at, &codepoint, &valid);
    return codepoint;
}

/* \u1234, \ud83d\ude00 or \u{1f600}; p stands behind the u. */
static uint32_t take_unicode(parser *p)
{
    if (take(p, "{")) {
        size_t digits = 0;
        while (p->at + digits < p->n && p->text[p->at + digits] != '}')
            digits++;
        uint32_t value = digits >= 1 && digits <= 6 ? take_hex(p, (uint32_t)digits) : TEXT_CODEPOINT_MAX + 1u;
        if (!take(p, "}") || value > TEXT_CODEPOINT_MAX)
            refuse(p, "\\u{...} holds no character");
        return value;
    }
    uint32_t value = take_hex(p, 4);
    if (value >= 0xd800 && value < 0xdc00 && take(p, "\\u"))
        value = 0x10000 + ((value - 0xd800) << 10) + ((take_hex(p, 4) - 0xdc00) & 0x3ff);
    return value;
}

/* An escape that stands for one character; p stands behind the backslash. */
static uint32_t take_escape(parser *p)
{
    static const char letters[] = "nrtfv0", values[] = "\n\r\t\f\v";

    if (p->at == p->n) {
        refuse(p, "a backslash ends it");
        return 0;
    }
    char c = p->text[p->at];
    const char *letter = c ? strchr(letters, c) : NULL;
    if (letter) {
        p->at++;
        return (uint8_t)values[letter - letters];
    }
    if (take(p, "x"))
        return take_hex(p, 2);
    if (take(p, "u"))
        return take_unicode(p);
    if ((c >= '1' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) {
        refuse(p, c == 'b' || c == 'B'   ? "word borders are not supported"
                  : c == 'p' || c == 'P' ? "\\p classes are not supported; spell the ranges out"
                                         : "this escape is not supported");
        return 0;
    }
    return take_character(p);
}

static uint32_t new_set(parser *p, uint32_t first)
{
    return new_term(p, (term){.kind = TERM_SET, .left = first, .right = p->range_count - first});
}

/* One member of a class; false: it was a class of its own (\d), which has been added. */
static bool take_member(parser *p, uint32_t *ret_codepoint)
{
    if (!take(p, "\\")) {
        *ret_codepoint = take_character(p);
        return true;
    }
    if (p->at < p->n && add_named(p, p->text[p->at])) {
        p->at++;
        return false;
    }
    if (take(p, "b")) {
        *ret_codepoint = '\b';
        return true;
    }
    *ret_codepoint = take_escape(p);
    return true;
}

static uint32_t parse_class(parser *p)
{
    uint32_t first = p->range_count;
    bool opposite = take(p, "^");

    while (p->nfa->status == TN_OK && !take(p, "]")) {
        uint32_t lo, hi;
        if (p->at == p->n)
            return refuse(p, "a class is not closed");
        if (!take_member(p, &lo))
            continue;
        hi = lo;
        if (p->n - p->at >= 2 && p->text[p->at] == '-' && p->text[p->at + 1] != ']') {
            p->at++;
            if (!take_member(p, &hi))
                return refuse(p, "a range ends in a class");
        }
        if (hi < lo)
            return refuse(p, "a range ends before it begins");
        add_range(p, lo, hi);
    }
    if (opposite && p->nfa->status == TN_OK)
        negate(p, first);
    return new_set(p, first);
}

/* ---- structure ---- */

static uint32_t parse_group(parser *p)
{
    if (take(p, "?:")) {
    } else if (looking_at(p, "?=") || looking_at(p, "?!") || looking_at(p, "?<=") || looking_at(p, "?<!")) {
        return refuse(p, "look-around is not supported, but for (?!...) right behind ^");
    } else if (looking_at(p, "?")) {
        return refuse(p, "only plain groups are supported");
    }
    if (++p->depth > DEPTH_MAX)
        return refuse(p, "its groups are nested too deeply");
    uint32_t inside = parse_either(p);
    p->depth--;
    if (p->nfa->status == TN_OK && !take(p, ")"))
        return refuse(p, "a group is not closed");
    return inside;
}

static uint32_t parse_atom(parser *p)
{
    uint32_t first = p->range_count;
    char c = p->text[p->at];

    if (take(p, "("))
        return parse_group(p);
    if (take(p, "["))
        return parse_class(p);
    if (take(p, ".")) {
        add_range(p, '\n', '\n');
        add_range(p, '\r', '\r');
        add_range(p, 0x2028, 0x2029);
        negate(p, first);
        return new_set(p, first);
    }
    if (c == '^' || c == '$')
        return refuse(p, "anchors are supported at the ends of the whole expression only");
    if (c == '*' || c == '+' || c == '?')
        return refuse(p, "there is nothing to repeat");
    if (take(p, "\\")) {
        if (p->at < p->n && add_named(p, p->text[p->at])) {
            p->at++;
            return new_set(p, first);
        }
        uint32_t codepoint = take_escape(p);
        add_range(p, codepoint, codepoint);
        return new_set(p, first);
    }
    uint32_t codepoint = take_character(p);
    add_range(p, codepoint, codepoint);
    return new_set(p, first);
}

static bool take_number(parser *p, uint32_t *ret_number)
{
    uint32_t value = 0;
    size_t begin = p->at;
    for (; p->at < p->n && p->text[p->at] >= '0' && p->text[p->at] <= '9'; p->at++)
        value = value <= REGEX_REPEAT_MAX ? value * 10 + (uint32_t)(p->text[p->at] - '0') : value;
    *ret_number = value;
    return p->at > begin;
}

/* {n}, {n,} or {n,m}; false: the brace is a character. */
static bool take_counts(parser *p, uint32_t *ret_min, uint32_t *ret_max)
{
    size_t begin = p->at;
    if (take(p, "{") && take_number(p, ret_min)) {
        *ret_max = *ret_min;
        if (take(p, ",") && !take_number(p, ret_max))
            *ret_max = UINT32_MAX;
        if (take(p, "}"))
            return true;
    }
    p->at = begin;
    return false;
}

static uint32_t parse_repeated(parser *p)
{
    uint32_t inside = parse_atom(p), min, max;

    while (p->nfa->status == TN_OK) {
        if (take(p, "*"))
            min = 0, max = UINT32_MAX;
        else if (take(p, "+"))
            min = 1, max = UINT32_MAX;
        else if (take(p, "?"))
            min = 0, max = 1;
        else if (!take_counts(p, &min, &max))
            break;
        take(p, "?");
        if (min > REGEX_REPEAT_MAX || (max != UINT32_MAX && max > REGEX_REPEAT_MAX))
            return refuse(p, "a repetition is longer than 4096");
        if (min > max)
            return refuse(p, "a repetition ends before it begins");
        inside = new_term(p, (term){.kind = TERM_REPEAT, .left = inside, .min = min, .max = max});
    }
    return inside;
}

/* Whether the character here is the last of an alternative of the whole expression, or of a look-ahead. */
static bool is_last(const parser *p)
{
    return p->at + 1 == p->n || p->text[p->at + 1] == '|' || (p->ahead && p->text[p->at + 1] == ')');
}

static uint32_t parse_sequence(parser *p)
{
    uint32_t left = NO_TERM;

    while (p->nfa->status == TN_OK && p->at < p->n && p->text[p->at] != '|' && p->text[p->at] != ')') {
        if (p->depth == 0 && p->text[p->at] == '$' && is_last(p))
            break;
        uint32_t right = parse_repeated(p);
        left = left == NO_TERM ? right : new_term(p, (term){.kind = TERM_PAIR, .left = left, .right = right});
    }
    return left == NO_TERM ? new_term(p, (term){.kind = TERM_EMPTY}) : left;
}

static uint32_t parse_either(parser *p)
{
    uint32_t left = parse_sequence(p);
    while (p->nfa->status == TN_OK && take(p, "|"))
        left = new_term(p, (term){.kind = TERM_EITHER, .left = left, .right = parse_sequence(p)});
    return left;
}

/* ---- to an automaton ---- */

static uint32_t add_term(parser *p, uint32_t from, uint32_t index);

static uint32_t add_repeat(parser *p, uint32_t from, const term *term)
{
    nfa *nfa = p->nfa;
    uint32_t end = nfa_node(nfa);

    for (uint32_t i = 0; i < term->min && nfa->status == TN_OK; i++)
        from = add_term(p, from, term->left);
    if (term->max == UINT32_MAX) {
        uint32_t loop = nfa_node(nfa);
        nfa_empty(nfa, from, loop);
        nfa_empty(nfa, add_term(p, loop, term->left), loop);
        nfa_empty(nfa, loop, end);
        return end;
    }
    nfa_empty(nfa, from, end);
    for (uint32_t i = term->min; i < term->max && nfa->status == TN_OK; i++) {
        from = add_term(p, from, term->left);
        nfa_empty(nfa, from, end);
    }
    return end;
}

static uint32_t add_term(parser *p, uint32_t from, uint32_t index)
{
    nfa *nfa = p->nfa;
    if (!nfa_spend(nfa, 1) || index == NO_TERM)
        return from;
    const term *term = &p->term[index];
    uint32_t end;

    switch (term->kind) {
    case TERM_SET:
        end = nfa_node(nfa);
        for (uint32_t i = 0; i < term->right; i++)
            text_range(nfa, p->form, from, p->range[term->left + i].lo, p->range[term->left + i].hi, end);
        return end;
    case TERM_PAIR:
        return add_term(p, add_term(p, from, term->left), term->right);
    case TERM_EITHER:
        end = add_term(p, from, term->left);
        nfa_empty(nfa, add_term(p, from, term->right), end);
        return end;
    case TERM_REPEAT:
        return add_repeat(p, from, term);
    default:
        return from;
    }
}

/* The texts that begin as a look-ahead says; p stands behind its (?!. */
static void add_ahead(parser *p, uint32_t from, uint32_t to)
{
    p->ahead = true;
    do {
        uint32_t at = nfa_node(p->nfa);
        nfa_empty(p->nfa, from, at);
        take(p, "^");
        uint32_t inside = parse_sequence(p);
        at = add_term(p, at, inside);
        if (!take(p, "$"))
            at = text_any(p->nfa, p->form, at, 0, UINT32_MAX);
        nfa_empty(p->nfa, at, to);
    } while (p->nfa->status == TN_OK && take(p, "|"));
    p->ahead = false;
    if (!take(p, ")"))
        refuse(p, "a look-ahead is not closed");
}

/* ^(?!A)(?!B)C: the texts of C, less those of A and of B. */
static void add_difference(parser *p, uint32_t from, bool search, uint32_t to)
{
    nfa *nfa = p->nfa;
    uint32_t start = nfa_node(nfa), banned = nfa_node(nfa), banned_end = nfa_node(nfa);
    dfa all, less, rest;

    while (nfa->status == TN_OK && take(p, "(?!"))
        add_ahead(p, banned, banned_end);
    uint32_t inside = parse_sequence(p), at = add_term(p, start, inside);
    if (!take(p, "$") && search)
        at = text_any(nfa, p->form, at, 0, UINT32_MAX);
    dfa_build(nfa, start, at, &all);
    dfa_build(nfa, banned, banned_end, &less);
    dfa_subtract(nfa, &all, &less, &rest);
    nfa_empty(nfa, nfa_add_dfa(nfa, from, &rest), to);
    dfa_finish(&all);
    dfa_finish(&less);
    dfa_finish(&rest);
}

/* One alternative of the whole expression, which may be anchored. */
static void add_alternative(parser *p, uint32_t from, bool search, uint32_t to)
{
    uint32_t at = nfa_node(p->nfa); /* its own beginning: a loop before one alternative is not the others' */

    nfa_empty(p->nfa, from, at);
    bool anchored = take(p, "^");
    if (anchored && looking_at(p, "(?!")) {
        add_difference(p, at, search, to);
        return;
    }
    if (!anchored && search)
        at = text_any(p->nfa, p->form, at, 0, UINT32_MAX);
    uint32_t inside = parse_sequence(p);
    at = add_term(p, at, inside);
    if (!take(p, "$") && search)
        at = text_any(p->nfa, p->form, at, 0, UINT32_MAX);
    nfa_empty(p->nfa, at, to);
}

uint32_t regex_add(nfa *nfa, text_form form, uint32_t from, const char *regex, size_t n, bool search, const char *what)
{
    uint32_t end = nfa_node(nfa);
    parser *p = nfa->status == TN_OK ? calloc(1, sizeof *p) : NULL;

    if (n > REGEX_BYTES_MAX)
        nfa_fail(nfa, TN_E_ARGUMENT, "%s: the expression has %zu bytes; %d are allowed", what, n, REGEX_BYTES_MAX);
    else if (!p)
        nfa_fail(nfa, TN_E_MEMORY, "out of memory for an expression");
    if (p && nfa->status == TN_OK) {
        *p = (parser){.nfa = nfa, .what = what, .form = form, .text = regex, .n = n};
        do {
            add_alternative(p, from, search, end);
        } while (nfa->status == TN_OK && take(p, "|"));
        if (nfa->status == TN_OK && p->at < p->n)
            refuse(p, "there is a closing parenthesis too many");
    }
    free(p);
    return end;
}

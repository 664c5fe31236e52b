/* runtime/chat/jinja_lexer.c: the template's text to tokens.
 *
 * Outside of tags it looks for the next opening brace pair and applies the white space rules to the text before it;
 * inside it reads tokens until the closing pair, which counts only where all brackets are closed (so that "}}" may end
 * two dicts). Source: the behaviour of Jinja 3.1 with trim_blocks and lstrip_blocks.
 */
#include "jinja_lexer.h"

#include "jinja_text.h"

#include "base/utf8.h"

#include <ctype.h>
#include <string.h>
#include <utf8proc.h>

enum { BRACKETS_MAX = 250 };

typedef struct lexer {
    jinja_state *state;
    jinja_tokens *tokens;
    const char *text;
    uint64_t count;
    uint64_t at;
    uint64_t line_counted;       /* newlines before this offset are in state->line */
    bool line_starting;          /* the last thing read ended with a newline */
    char brackets[BRACKETS_MAX]; /* the closers that this tag still awaits */
    uint32_t n_brackets;
} lexer;

/* Drops "\r", and one newline at the end. */
static void newlines_normalize(lexer *lex, const char *text, uint64_t count)
{
    char *copy = JINJA_ARRAY(lex->state, char, count);
    uint64_t n = 0;
    for (uint64_t i = 0; i < count; i++) {
        if (text[i] == '\r') {
            copy[n++] = '\n';
            if (i + 1 < count && text[i + 1] == '\n')
                i++;
        } else {
            copy[n++] = text[i];
        }
    }
    if (n && copy[n - 1] == '\n')
        n--;
    lex->text = copy;
    lex->count = n;
}

static void line_update(lexer *lex, uint64_t offset)
{
    for (; lex->line_counted < offset; lex->line_counted++)
        lex->state->line += lex->text[lex->line_counted] == '\n';
}

static jinja_token *token_add(lexer *lex, jinja_token_kind kind)
{
    jinja_tokens *tokens = lex->tokens;
    if (tokens->count == tokens->capacity) {
        uint64_t capacity = tokens->capacity ? tokens->capacity * 2 : 64;
        jinja_token *items = JINJA_ARRAY(lex->state, jinja_token, capacity);
        if (tokens->count)
            memcpy(items, tokens->items, tokens->count * sizeof *items);
        tokens->items = items;
        tokens->capacity = capacity;
    }
    jinja_token *token = &tokens->items[tokens->count++];
    token->kind = kind;
    token->line = lex->state->line;
    return token;
}

static void data_add(lexer *lex, uint64_t start, uint64_t end)
{
    if (end > start)
        token_add(lex, JINJA_TOKEN_DATA)->value = jinja_text(lex->state, lex->text + start, end - start);
}

static char byte_at(const lexer *lex, uint64_t at)
{
    return at < lex->count ? lex->text[at] : 0;
}

static bool is_here(const lexer *lex, uint64_t at, const char *word)
{
    size_t n = strlen(word);
    return at <= lex->count && n <= lex->count - at && memcmp(lex->text + at, word, n) == 0;
}

static uint64_t after_space(const lexer *lex, uint64_t at)
{
    return at + jinja_space_prefix(lex->text + at, lex->count - at);
}

/* Where the text [start, end) before a tag ends once the tag's sign and lstrip_blocks are applied. */
static uint64_t text_end(const lexer *lex, uint64_t start, uint64_t end, char sign, bool prints)
{
    if (sign == '-')
        return start + jinja_space_trimmed(lex->text + start, end - start);
    if (sign == '+' || prints)
        return end;
    uint64_t line = end;
    while (line > start && lex->text[line - 1] != '\n')
        line--;
    if (line == start && !lex->line_starting)
        return end;
    return after_space(lex, line) >= end ? line : end;
}

/* Steps over "%}" and its relatives at `at`, whose sign may be '-', '+' or none; false if they are not there. */
static bool close_skip(lexer *lex, uint64_t at, const char *close, bool trims_newline)
{
    char sign = byte_at(lex, at);
    bool signed_close = (sign == '-' || sign == '+') && is_here(lex, at + 1, close);
    if (!signed_close && !is_here(lex, at, close))
        return false;
    at += 2 + signed_close;
    if (signed_close && sign == '-')
        at = after_space(lex, at);
    else if (!signed_close && trims_newline && byte_at(lex, at) == '\n')
        at++;
    lex->at = at;
    lex->line_starting = lex->text[at - 1] == '\n';
    return true;
}

static void comment_skip(lexer *lex)
{
    for (uint64_t at = lex->at; at < lex->count; at++)
        if (close_skip(lex, at, "#}", true))
            return;
    jinja_fail(lex->state, "the comment is not closed with '#}'");
}

/* At "{%", past its sign: true, and steps past, if this is a whole {% raw %}. */
static bool raw_begin_skip(lexer *lex)
{
    uint64_t at = after_space(lex, lex->at);
    if (!is_here(lex, at, "raw"))
        return false;
    at = after_space(lex, at + 3);
    if (byte_at(lex, at) == '+')
        return false;
    return close_skip(lex, at, "%}", false);
}

static void raw_read(lexer *lex)
{
    uint64_t start = lex->at;
    for (uint64_t open = start; open + 1 < lex->count; open++) {
        if (!is_here(lex, open, "{%"))
            continue;
        uint64_t at = open + 2;
        char sign = byte_at(lex, at);
        at = after_space(lex, at + (sign == '-' || sign == '+'));
        if (!is_here(lex, at, "endraw"))
            continue;
        uint64_t end = text_end(lex, start, open, sign, false);
        if (!close_skip(lex, after_space(lex, at + 6), "%}", true))
            continue;
        data_add(lex, start, end);
        return;
    }
    jinja_fail(lex->state, "the raw block is not closed with '{%% endraw %%}'");
}

static uint32_t escape_read(lexer *lex, const char *bytes, uint64_t count, uint64_t *at, uint32_t n_digits)
{
    uint32_t value = 0;
    if (count - *at < n_digits)
        jinja_fail(lex->state, "a string escape with too few digits");
    for (uint32_t i = 0; i < n_digits; i++) {
        char c = bytes[(*at)++];
        if (!isxdigit((unsigned char)c))
            jinja_fail(lex->state, "a string escape with a character that is no hexadecimal digit");
        value = value * 16 + (uint32_t)(isdigit((unsigned char)c) ? c - '0' : tolower((unsigned char)c) - 'a' + 10);
    }
    if (value > 0x10FFFF || (value >= 0xD800 && value < 0xE000))
        jinja_fail(lex->state, "a string escape that is no Unicode character");
    return value;
}

static void octal_add(lexer *lex, jinja_buffer *buffer, const char *bytes, uint64_t count, uint64_t *at)
{
    uint32_t value = 0;
    for (int i = 0; i < 3 && *at < count && bytes[*at] >= '0' && bytes[*at] <= '7'; i++)
        value = value * 8 + (uint32_t)(bytes[(*at)++] - '0');
    jinja_buffer_add_codepoint(lex->state, buffer, value);
}

/* Adds what the escape at bytes[*at], past its backslash, stands for. */
static void escape_add(lexer *lex, jinja_buffer *buffer, const char *bytes, uint64_t count, uint64_t *at)
{
    static const char plain[] = "\\\\''\"\"a\ab\bf\fn\nr\rt\tv\v";
    char c = bytes[(*at)++];
    for (size_t i = 0; i + 1 < sizeof plain; i += 2)
        if (plain[i] == c) {
            jinja_buffer_add_char(lex->state, buffer, plain[i + 1]);
            return;
        }
    if (c == '\n')
        return;
    if (c >= '0' && c <= '7') {
        --*at;
        octal_add(lex, buffer, bytes, count, at);
    } else if (c == 'x' || c == 'u' || c == 'U') {
        jinja_buffer_add_codepoint(lex->state, buffer,
                                   escape_read(lex, bytes, count, at,
                                               c == 'x'   ? 2
                                               : c == 'u' ? 4
                                                          : 8));
    } else if (c == 'N') {
        jinja_fail(lex->state, "character names (\\N{...}) are not supported in strings");
    } else {
        jinja_buffer_add_char(lex->state, buffer, '\\');
        --*at;
    }
}

static void string_read(lexer *lex)
{
    char quote = lex->text[lex->at];
    uint64_t start = ++lex->at;
    bool escaped = false;
    while (lex->at < lex->count && lex->text[lex->at] != quote) {
        escaped |= lex->text[lex->at] == '\\';
        lex->at += lex->text[lex->at] == '\\' ? 2 : 1;
    }
    if (lex->at >= lex->count)
        jinja_fail(lex->state, "the string is not closed with %c", quote);
    const char *bytes = lex->text + start;
    uint64_t count = lex->at++ - start;
    if (!escaped) {
        token_add(lex, JINJA_TOKEN_CONSTANT)->value = jinja_text(lex->state, bytes, count);
        return;
    }
    jinja_buffer *buffer = jinja_buffer_open(lex->state);
    for (uint64_t at = 0; at < count;) {
        const char *slash = memchr(bytes + at, '\\', count - at);
        uint64_t plain = slash ? (uint64_t)(slash - bytes) - at : count - at;
        jinja_buffer_add(lex->state, buffer, bytes + at, plain);
        at += plain;
        if (slash) {
            at++;
            escape_add(lex, buffer, bytes, count, &at);
        }
    }
    token_add(lex, JINJA_TOKEN_CONSTANT)->value = jinja_text_take(lex->state, buffer);
}

/* Digits with single "_" between. */
static uint64_t digits_end(const lexer *lex, uint64_t at, int (*is_digit)(int))
{
    while (is_digit((unsigned char)byte_at(lex, at)) ||
           (byte_at(lex, at) == '_' && is_digit((unsigned char)byte_at(lex, at + 1)) && at > 0 &&
            isxdigit((unsigned char)lex->text[at - 1])))
        at++;
    return at;
}

static uint64_t exponent_end(const lexer *lex, uint64_t at)
{
    if (tolower((unsigned char)byte_at(lex, at)) != 'e')
        return at;
    uint64_t digits = at + 1;
    if (byte_at(lex, digits) == '+' || byte_at(lex, digits) == '-')
        digits++;
    return isdigit((unsigned char)byte_at(lex, digits)) ? digits_end(lex, digits, isdigit) : at;
}

static int is_binary_digit(int c)
{
    return c == '0' || c == '1';
}

static int is_octal_digit(int c)
{
    return c >= '0' && c <= '7';
}

static uint64_t prefixed_end(const lexer *lex, uint64_t at)
{
    char letter = (char)tolower((unsigned char)byte_at(lex, at + 1));
    int (*is_digit)(int) = letter == 'x'   ? isxdigit
                           : letter == 'o' ? is_octal_digit
                           : letter == 'b' ? is_binary_digit
                                           : NULL;
    if (byte_at(lex, at) != '0' || !is_digit)
        return at;
    uint64_t first = at + 2 + (byte_at(lex, at + 2) == '_');
    return is_digit((unsigned char)byte_at(lex, first)) ? digits_end(lex, first, is_digit) : at;
}

static void number_read(lexer *lex)
{
    uint64_t start = lex->at;
    uint64_t end = prefixed_end(lex, start);
    bool integer = true;
    if (end == start) {
        end = digits_end(lex, start, isdigit);
        bool after_dot = start > 0 && lex->text[start - 1] == '.'; /* x.0.1: two subscripts, no float */
        if (!after_dot && byte_at(lex, end) == '.' && isdigit((unsigned char)byte_at(lex, end + 1))) {
            end = digits_end(lex, end + 1, isdigit);
            integer = false;
        }
        uint64_t whole = end;
        if (!after_dot)
            end = exponent_end(lex, end);
        integer &= end == whole;
    }
    jinja_token *token = token_add(lex, JINJA_TOKEN_CONSTANT);
    bool parsed;
    if (integer) {
        token->value.kind = JINJA_INT;
        parsed = jinja_int_parse(lex->state, lex->text + start, end - start, 0, &token->value.as.integer);
    } else {
        token->value.kind = JINJA_FLOAT;
        parsed = jinja_float_parse(lex->state, lex->text + start, end - start, &token->value.as.real);
    }
    if (!parsed)
        jinja_fail(lex->state, "the number '%.*s' cannot be read", (int)(end - start < 60 ? end - start : 60),
                   lex->text + start);
    lex->at = end;
}

static bool is_name_character(uint32_t codepoint)
{
    if (codepoint < 0x80)
        return codepoint == '_' || isalnum((int)codepoint);
    utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)codepoint);
    return category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_NL;
}

static void name_read(lexer *lex)
{
    uint64_t start = lex->at;
    while (lex->at < lex->count) {
        uint32_t codepoint;
        bool valid;
        uint64_t n = utf8_decode(lex->text + lex->at, lex->count - lex->at, &codepoint, &valid);
        if (!is_name_character(codepoint))
            break;
        lex->at += n;
    }
    if (lex->at == start)
        jinja_fail(lex->state, "unexpected character (code %u) in a tag", (unsigned)(unsigned char)lex->text[start]);
    token_add(lex, JINJA_TOKEN_NAME)->value = jinja_text(lex->state, lex->text + start, lex->at - start);
}

static bool operator_read(lexer *lex)
{
    static const char *const doubles[] = {"//", "**", "==", "!=", ">=", "<="};
    char c = lex->text[lex->at];
    jinja_token *token;
    for (size_t i = 0; i < sizeof doubles / sizeof *doubles; i++)
        if (is_here(lex, lex->at, doubles[i])) {
            token = token_add(lex, JINJA_TOKEN_OPERATOR);
            memcpy(token->operator_text, doubles[i], 2);
            lex->at += 2;
            return true;
        }
    if (!c || !strchr("+-/*%~[](){}><=.:|,;", c))
        return false;
    if (strchr("([{", c)) {
        if (lex->n_brackets >= BRACKETS_MAX)
            jinja_fail(lex->state, "brackets nested deeper than %d levels", BRACKETS_MAX);
        lex->brackets[lex->n_brackets++] = c == '(' ? ')' : c == '[' ? ']' : '}';
    } else if (strchr(")]}", c)) {
        if (lex->n_brackets == 0 || lex->brackets[--lex->n_brackets] != c)
            jinja_fail(lex->state, "unexpected '%c'", c);
    }
    token_add(lex, JINJA_TOKEN_OPERATOR)->operator_text[0] = c;
    lex->at++;
    return true;
}

/* Reads the inside of one tag and its end. */
static void tag_read(lexer *lex, bool prints)
{
    lex->n_brackets = 0;
    uint32_t opened_at = lex->state->line;
    const char *close = prints ? "}}" : "%}";
    for (;;) {
        lex->at = after_space(lex, lex->at);
        line_update(lex, lex->at);
        if (lex->at >= lex->count)
            jinja_fail(lex->state, "the tag opened on line %u is not closed with '%s'", opened_at, close);
        bool plus = byte_at(lex, lex->at) == '+';
        uint64_t at = lex->at;
        if (lex->n_brackets == 0 && !(prints && plus) && close_skip(lex, at, close, !prints)) {
            token_add(lex, prints ? JINJA_TOKEN_PRINT_END : JINJA_TOKEN_BLOCK_END);
            return;
        }
        char c = lex->text[lex->at];
        if (isdigit((unsigned char)c))
            number_read(lex);
        else if (c == '\'' || c == '"')
            string_read(lex);
        else if (!operator_read(lex))
            name_read(lex);
    }
}

/* The offset of the next "{{", "{%" or "{#", or the text's length. */
static uint64_t next_tag(const lexer *lex)
{
    for (uint64_t at = lex->at; at + 1 < lex->count; at++) {
        const char *brace = memchr(lex->text + at, '{', lex->count - 1 - at);
        if (!brace)
            break;
        at = (uint64_t)(brace - lex->text);
        if (brace[1] == '{' || brace[1] == '%' || brace[1] == '#')
            return at;
    }
    return lex->count;
}

static void text_read(lexer *lex)
{
    uint64_t start = lex->at;
    uint64_t tag = next_tag(lex);
    if (tag == lex->count) {
        data_add(lex, start, lex->count);
        lex->at = lex->count;
        return;
    }
    char type = lex->text[tag + 1], sign = byte_at(lex, tag + 2);
    bool has_sign = sign == '-' || sign == '+';
    data_add(lex, start, text_end(lex, start, tag, has_sign ? sign : 0, type == '{'));
    line_update(lex, tag);
    lex->at = tag + 2 + has_sign;
    lex->line_starting = false;
    if (type == '#') {
        comment_skip(lex);
    } else if (type == '%' && raw_begin_skip(lex)) {
        raw_read(lex);
    } else {
        token_add(lex, type == '{' ? JINJA_TOKEN_PRINT_BEGIN : JINJA_TOKEN_BLOCK_BEGIN);
        tag_read(lex, type == '{');
    }
}

void jinja_lex(jinja_state *state, const char *text, uint64_t count, jinja_tokens *ret_tokens)
{
    lexer lex = {.state = state, .tokens = ret_tokens, .line_starting = true};
    memset(ret_tokens, 0, sizeof *ret_tokens);
    newlines_normalize(&lex, text, count);
    state->line = 1;
    while (lex.at < lex.count) {
        jinja_work(state, 1);
        line_update(&lex, lex.at);
        text_read(&lex);
    }
    line_update(&lex, lex.count);
    token_add(&lex, JINJA_TOKEN_END);
}

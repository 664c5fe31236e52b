/* runtime/chat/jinja_text.c: str() and repr() of values as Python prints them, and numbers to and from text.
 *
 * Floats: the fewest digits of %.*e that read back as the same number, laid out by Python's rule (an exponent below
 * 1e-4 and from 1e16). The run's locale is "C" (jinja_state_run), so printf and strtod agree with Python.
 */
#include "jinja_text.h"

#include "jinja_eval.h"

#include "base/utf8.h"

#include <ctype.h>
#include <math.h>
#include <string.h>

void jinja_int_add(jinja_state *state, jinja_buffer *buffer, jinja_int integer, uint32_t base)
{
    char digits[130];
    uint32_t at = sizeof digits;
    jinja_uint magnitude = integer < 0 ? -(jinja_uint)integer : (jinja_uint)integer;
    do {
        digits[--at] = "0123456789abcdef"[(uint32_t)(magnitude % base)];
        magnitude /= base;
    } while (magnitude);
    if (integer < 0)
        digits[--at] = '-';
    jinja_buffer_add(state, buffer, digits + at, sizeof digits - at);
}

/* Splits real (finite, > 0) into its shortest digits and the exponent of the first one. */
static int float_digits(double real, char digits[20], int *ret_exponent)
{
    char text[40];
    for (int precision = 0; precision < 17; precision++) {
        snprintf(text, sizeof text, "%.*e", precision, real);
        if (strtod(text, NULL) == real)
            break;
    }
    int count = 0;
    const char *at = text;
    for (; *at != 'e'; at++)
        if (isdigit((unsigned char)*at))
            digits[count++] = *at;
    *ret_exponent = atoi(at + 1);
    while (count > 1 && digits[count - 1] == '0')
        count--;
    return count;
}

static void float_fixed_add(jinja_state *state, jinja_buffer *buffer, const char *digits, int count, int exponent)
{
    if (exponent < 0) {
        jinja_buffer_add_text(state, buffer, "0.");
        jinja_buffer_add_repeated(state, buffer, '0', (uint64_t)(-exponent - 1));
        jinja_buffer_add(state, buffer, digits, (uint64_t)count);
        return;
    }
    int whole = exponent + 1;
    jinja_buffer_add(state, buffer, digits, (uint64_t)(count < whole ? count : whole));
    if (count <= whole) {
        jinja_buffer_add_repeated(state, buffer, '0', (uint64_t)(whole - count));
        jinja_buffer_add_text(state, buffer, ".0");
        return;
    }
    jinja_buffer_add_char(state, buffer, '.');
    jinja_buffer_add(state, buffer, digits + whole, (uint64_t)(count - whole));
}

void jinja_float_add(jinja_state *state, jinja_buffer *buffer, double real)
{
    if (isnan(real)) {
        jinja_buffer_add_text(state, buffer, "nan");
        return;
    }
    if (signbit(real))
        jinja_buffer_add_char(state, buffer, '-');
    real = fabs(real);
    if (isinf(real)) {
        jinja_buffer_add_text(state, buffer, "inf");
        return;
    }
    char digits[20] = "0";
    int exponent = 0;
    int count = real > 0 ? float_digits(real, digits, &exponent) : 1;
    if (exponent >= -4 && exponent < 16) {
        float_fixed_add(state, buffer, digits, count, exponent);
        return;
    }
    jinja_buffer_add_char(state, buffer, digits[0]);
    if (count > 1) {
        jinja_buffer_add_char(state, buffer, '.');
        jinja_buffer_add(state, buffer, digits + 1, (uint64_t)count - 1);
    }
    jinja_buffer_add_format(state, buffer, "e%c%02d", exponent < 0 ? '-' : '+', abs(exponent));
}

static void string_repr_add(jinja_state *state, jinja_buffer *buffer, const jinja_string *string)
{
    char quote = memchr(string->bytes, '\'', string->count) && !memchr(string->bytes, '"', string->count) ? '"' : '\'';
    if (string->markup)
        jinja_buffer_add_text(state, buffer, "Markup(");
    jinja_buffer_add_char(state, buffer, quote);
    for (uint64_t i = 0; i < string->count;) {
        uint32_t codepoint;
        bool valid;
        uint64_t n = utf8_decode(string->bytes + i, string->count - i, &codepoint, &valid);
        if (codepoint == (uint32_t)quote || codepoint == '\\')
            jinja_buffer_add_format(state, buffer, "\\%c", (char)codepoint);
        else if (codepoint == '\n' || codepoint == '\r' || codepoint == '\t')
            jinja_buffer_add_text(state, buffer, codepoint == '\n' ? "\\n" : codepoint == '\r' ? "\\r" : "\\t");
        else if (jinja_is_printable(codepoint))
            jinja_buffer_add(state, buffer, string->bytes + i, n);
        else if (codepoint < 0x100)
            jinja_buffer_add_format(state, buffer, "\\x%02x", codepoint);
        else if (codepoint < 0x10000)
            jinja_buffer_add_format(state, buffer, "\\u%04x", codepoint);
        else
            jinja_buffer_add_format(state, buffer, "\\U%08x", codepoint);
        i += n;
    }
    jinja_buffer_add_char(state, buffer, quote);
    if (string->markup)
        jinja_buffer_add_char(state, buffer, ')');
}

static void items_repr_add(jinja_state *state, jinja_buffer *buffer, const jinja_list *list, const char *around)
{
    jinja_buffer_add_char(state, buffer, around[0]);
    for (uint64_t i = 0; i < list->count; i++) {
        if (i)
            jinja_buffer_add_text(state, buffer, ", ");
        jinja_repr_add(state, buffer, jinja_list_at(list, i));
    }
    if (around[0] == '(' && list->count == 1)
        jinja_buffer_add_char(state, buffer, ',');
    jinja_buffer_add_char(state, buffer, around[1]);
}

static void dict_repr_add(jinja_state *state, jinja_buffer *buffer, const jinja_dict *dict)
{
    jinja_buffer_add_char(state, buffer, '{');
    for (uint64_t i = 0; i < dict->count; i++) {
        if (i)
            jinja_buffer_add_text(state, buffer, ", ");
        jinja_repr_add(state, buffer, dict->entries[i].key);
        jinja_buffer_add_text(state, buffer, ": ");
        jinja_repr_add(state, buffer, dict->entries[i].value);
    }
    jinja_buffer_add_char(state, buffer, '}');
}

static void range_repr_add(jinja_state *state, jinja_buffer *buffer, const jinja_list *range)
{
    jinja_buffer_add_text(state, buffer, "range(");
    jinja_int_add(state, buffer, range->start, 10);
    jinja_buffer_add_text(state, buffer, ", ");
    jinja_int_add(state, buffer, range->stop, 10);
    if (range->step != 1) {
        jinja_buffer_add_text(state, buffer, ", ");
        jinja_int_add(state, buffer, range->step, 10);
    }
    jinja_buffer_add_char(state, buffer, ')');
}

static void container_repr_add(jinja_state *state, jinja_buffer *buffer, jinja_value value)
{
    switch (value.kind) {
    case JINJA_LIST:
        items_repr_add(state, buffer, value.as.list, "[]");
        break;
    case JINJA_TUPLE:
        items_repr_add(state, buffer, value.as.list, "()");
        break;
    case JINJA_RANGE:
        range_repr_add(state, buffer, value.as.list);
        break;
    case JINJA_VIEW:
        jinja_buffer_add_format(state, buffer, "%s(", value.as.list->label);
        items_repr_add(state, buffer, value.as.list, "[]");
        jinja_buffer_add_char(state, buffer, ')');
        break;
    case JINJA_DICT:
        dict_repr_add(state, buffer, value.as.dict);
        break;
    case JINJA_NAMESPACE:
        jinja_buffer_add_text(state, buffer, "<Namespace ");
        dict_repr_add(state, buffer, value.as.dict);
        jinja_buffer_add_char(state, buffer, '>');
        break;
    case JINJA_MACRO:
        jinja_macro_repr_add(state, buffer, value.as.macro);
        break;
    case JINJA_LOOP:
        jinja_loop_repr_add(state, buffer, value.as.loop);
        break;
    default:
        jinja_buffer_add_format(state, buffer, "<%s object>", jinja_type_name(value));
        break;
    }
}

void jinja_repr_add(jinja_state *state, jinja_buffer *buffer, jinja_value value)
{
    jinja_work(state, 1);
    switch (value.kind) {
    case JINJA_ABSENT:
    case JINJA_UNDEFINED:
        jinja_buffer_add_text(state, buffer, "Undefined");
        break;
    case JINJA_NONE:
        jinja_buffer_add_text(state, buffer, "None");
        break;
    case JINJA_BOOL:
        jinja_buffer_add_text(state, buffer, value.as.boolean ? "True" : "False");
        break;
    case JINJA_INT:
        jinja_int_add(state, buffer, value.as.integer, 10);
        break;
    case JINJA_FLOAT:
        jinja_float_add(state, buffer, value.as.real);
        break;
    case JINJA_STRING:
        string_repr_add(state, buffer, value.as.string);
        break;
    default:
        jinja_depth_enter(state);
        container_repr_add(state, buffer, value);
        jinja_depth_leave(state);
    }
}

void jinja_str_add(jinja_state *state, jinja_buffer *buffer, jinja_value value)
{
    if (value.kind == JINJA_STRING)
        jinja_buffer_add(state, buffer, value.as.string->bytes, value.as.string->count);
    else if (value.kind != JINJA_UNDEFINED)
        jinja_repr_add(state, buffer, value);
}

jinja_value jinja_repr(jinja_state *state, jinja_value value)
{
    jinja_buffer *buffer = jinja_buffer_open(state);
    jinja_repr_add(state, buffer, value);
    return jinja_text_take(state, buffer);
}

const jinja_string *jinja_str(jinja_state *state, jinja_value value)
{
    if (value.kind == JINJA_STRING)
        return value.as.string;
    jinja_buffer *buffer = jinja_buffer_open(state);
    jinja_str_add(state, buffer, value);
    return jinja_text_take(state, buffer).as.string;
}

/* Copies the digits without blanks around and without "_" between; false where Python refuses. */
static bool number_clean(jinja_state *state, const char *bytes, uint64_t count, char *out, uint64_t capacity)
{
    uint64_t start = jinja_space_prefix(bytes, count);
    uint64_t end = jinja_space_trimmed(bytes, count);
    uint64_t n = 0;
    jinja_work(state, (start + count - end) / 4);
    for (uint64_t i = start; i < end; i++) {
        if (bytes[i] == '_') {
            if (i == start || i + 1 == end || !isalnum((unsigned char)bytes[i - 1]) ||
                !isalnum((unsigned char)bytes[i + 1]))
                return false;
            continue;
        }
        if (n + 1 >= capacity || bytes[i] == 0)
            return false;
        out[n++] = bytes[i];
    }
    out[n] = 0;
    return n > 0;
}

static uint32_t prefix_base(const char *text)
{
    if (text[0] != '0')
        return 0;
    char letter = (char)tolower((unsigned char)text[1]);
    return letter == 'x' ? 16 : letter == 'o' ? 8 : letter == 'b' ? 2 : 0;
}

bool jinja_int_parse(jinja_state *state, const char *bytes, uint64_t count, uint32_t base, jinja_int *ret_integer)
{
    char text[512];
    if (!number_clean(state, bytes, count, text, sizeof text))
        return false;
    const char *at = text;
    bool negative = *at == '-';
    if (*at == '-' || *at == '+')
        at++;
    uint32_t prefixed = prefix_base(at);
    if (prefixed && (base == 0 || base == prefixed)) {
        base = prefixed;
        at += 2;
    }
    if (base == 0)
        base = 10;
    if (!*at)
        return false;
    const jinja_int limit = (jinja_int)(~(jinja_uint)0 >> 1);
    jinja_int value = 0;
    for (; *at; at++) {
        uint32_t digit = isdigit((unsigned char)*at)   ? (uint32_t)(*at - '0')
                         : isalpha((unsigned char)*at) ? (uint32_t)(tolower((unsigned char)*at) - 'a') + 10
                                                       : 99;
        if (digit >= base)
            return false;
        if (value > (limit - digit) / base)
            jinja_fail(state, "an integer of more than 127 bits");
        value = value * base + digit;
    }
    *ret_integer = negative ? -value : value;
    return true;
}

static bool is_float_grammar(const char *at)
{
    if (*at == '-' || *at == '+')
        at++;
    if (!strcasecmp(at, "inf") || !strcasecmp(at, "infinity") || !strcasecmp(at, "nan"))
        return true;
    size_t whole = strspn(at, "0123456789");
    at += whole;
    size_t fraction = 0;
    if (*at == '.') {
        fraction = strspn(at + 1, "0123456789");
        at += 1 + fraction;
    }
    if (whole + fraction == 0)
        return false;
    if (*at == 'e' || *at == 'E') {
        at++;
        if (*at == '-' || *at == '+')
            at++;
        size_t exponent = strspn(at, "0123456789");
        if (exponent == 0)
            return false;
        at += exponent;
    }
    return *at == 0;
}

bool jinja_float_parse(jinja_state *state, const char *bytes, uint64_t count, double *ret_real)
{
    char text[512];
    if (!number_clean(state, bytes, count, text, sizeof text) || !is_float_grammar(text))
        return false;
    *ret_real = strtod(text, NULL);
    return true;
}

jinja_value jinja_markup(jinja_state *state, const jinja_string *string)
{
    jinja_string *markup = JINJA_NEW(state, jinja_string);
    *markup = *string;
    markup->markup = true;
    return (jinja_value){.kind = JINJA_STRING, .as.string = markup};
}

jinja_value jinja_escape_text(jinja_state *state, const jinja_string *string)
{
    jinja_buffer *buffer = jinja_buffer_open(state);
    for (uint64_t i = 0; i < string->count; i++) {
        char c = string->bytes[i];
        const char *entity = c == '&'    ? "&amp;"
                             : c == '<'  ? "&lt;"
                             : c == '>'  ? "&gt;"
                             : c == '"'  ? "&#34;"
                             : c == '\'' ? "&#39;"
                                         : NULL;
        if (entity)
            jinja_buffer_add_text(state, buffer, entity);
        else
            jinja_buffer_add_char(state, buffer, c);
    }
    return jinja_markup(state, jinja_text_take(state, buffer).as.string);
}

jinja_value jinja_escape(jinja_state *state, jinja_value value)
{
    if (value.kind == JINJA_STRING && value.as.string->markup)
        return value;
    return jinja_escape_text(state, jinja_str(state, value));
}

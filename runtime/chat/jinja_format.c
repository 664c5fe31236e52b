/* runtime/chat/jinja_format.c: Python's two ways of formatting: "%05.2f" % values and "{:>8}".format(values).
 *
 * Numbers go through printf in the "C" locale, one conversion at a time, with widths and precisions bounded.
 * Departures: format() has no grouping (",") and no attribute access within the braces beyond what x.y and x[y] give a
 * template.
 */
#include "jinja_builtins.h"
#include "jinja_eval.h"
#include "jinja_text.h"

#include "base/utf8.h"

#include <ctype.h>
#include <math.h>
#include <string.h>

enum { WIDTH_MAX = 4096, PRECISION_MAX = 60 };

/* One conversion, in either notation. */
typedef struct conversion {
    char type;  /* of printf, or 's', 'r'; 0: by the value */
    char align; /* '<', '>', '^', '=' or 0 */
    char sign;  /* '+', ' ' or 0 */
    bool alternate;
    const char *fill; /* one character */
    uint64_t n_fill;
    jinja_int width, precision; /* precision -1: none */
} conversion;

static void padded_add(jinja_state *state, jinja_buffer *out, const conversion *to, const jinja_string *text)
{
    uint64_t missing = to->width > (jinja_int)text->characters ? (uint64_t)to->width - text->characters : 0;
    uint64_t sign = text->count && strchr("+- ", text->bytes[0]) ? 1 : 0;
    uint64_t before = to->align == '<' ? 0 : to->align == '^' ? missing / 2 : missing;
    uint64_t lead = to->align == '=' ? sign : 0;
    jinja_buffer_add(state, out, text->bytes, lead);
    for (uint64_t i = 0; i < before; i++)
        jinja_buffer_add(state, out, to->fill, to->n_fill);
    jinja_buffer_add(state, out, text->bytes + lead, text->count - lead);
    for (uint64_t i = before; i < missing; i++)
        jinja_buffer_add(state, out, to->fill, to->n_fill);
}

static jinja_int integer_of(jinja_state *state, jinja_value value, char type)
{
    jinja_require_defined(state, value);
    if (value.kind == JINJA_BOOL)
        return value.as.boolean;
    if (value.kind == JINJA_INT)
        return value.as.integer;
    if (value.kind == JINJA_FLOAT && (type == 'd' || type == 'i') && fabs(value.as.real) < 0x1p126)
        return (jinja_int)value.as.real;
    jinja_fail(state, "%%%c format: a number is required, not %s", type, jinja_type_name(value));
}

static double real_of(jinja_state *state, jinja_value value)
{
    jinja_require_defined(state, value);
    if (!jinja_is_number(value))
        jinja_fail(state, "must be a real number, not %s", jinja_type_name(value));
    return value.kind == JINJA_FLOAT ? value.as.real
           : value.kind == JINJA_INT ? (double)value.as.integer
                                     : value.as.boolean;
}

static void sign_add(jinja_state *state, jinja_buffer *text, const conversion *to, bool negative)
{
    if (!negative && to->sign)
        jinja_buffer_add_char(state, text, to->sign);
}

static void integer_add(jinja_state *state, jinja_buffer *text, const conversion *to, jinja_int integer)
{
    uint32_t base = to->type == 'x' || to->type == 'X' ? 16 : to->type == 'o' ? 8 : to->type == 'b' ? 2 : 10;
    uint64_t start = text->count;
    sign_add(state, text, to, integer < 0);
    if (to->alternate && base != 10) {
        char prefix[3] = {'0', to->type == 'X' ? 'x' : to->type, 0};
        if (integer < 0)
            jinja_buffer_add_char(state, text, '-');
        jinja_buffer_add_text(state, text, prefix);
        integer = integer < 0 ? -integer : integer;
    }
    jinja_int_add(state, text, integer, base);
    for (uint64_t i = start; to->type == 'X' && i < text->count; i++)
        text->bytes[i] = (char)toupper((unsigned char)text->bytes[i]);
}

static void real_add(jinja_state *state, jinja_buffer *text, const conversion *to, double real)
{
    char format[8] = {'%', to->alternate ? '#' : '.', to->alternate ? '.' : '*', to->alternate ? '*' : to->type,
                      to->alternate ? to->type : 0};
    char type = to->type == '%' ? 'f' : to->type;
    char printed[420];
    format[to->alternate ? 4 : 3] = type;
    if (to->type == '%')
        real *= 100;
    sign_add(state, text, to, signbit(real) != 0);
    int count = snprintf(printed, sizeof printed, format, to->precision < 0 ? 6 : (int)to->precision, real);
    TN_ASSERT(count >= 0 && (size_t)count < sizeof printed);
    jinja_buffer_add(state, text, printed, (uint64_t)count);
    if (to->type == '%')
        jinja_buffer_add_char(state, text, '%');
}

static void string_add(jinja_state *state, jinja_buffer *text, const conversion *to, const jinja_string *string)
{
    if (to->precision >= 0 && (jinja_int)string->characters > to->precision)
        string = jinja_substring(state, string, 0, (uint64_t)to->precision).as.string;
    jinja_buffer_add(state, text, string->bytes, string->count);
}

static void character_add(jinja_state *state, jinja_buffer *text, jinja_value value)
{
    if (value.kind == JINJA_STRING && value.as.string->characters == 1) {
        jinja_buffer_add(state, text, value.as.string->bytes, value.as.string->count);
        return;
    }
    jinja_int code = integer_of(state, value, 'c');
    if (code < 0 || code > 0x10FFFF || (code >= 0xD800 && code < 0xE000))
        jinja_fail(state, "%%c: not a character code");
    jinja_buffer_add_codepoint(state, text, (uint32_t)code);
}

static void conversion_add(jinja_state *state, jinja_buffer *out, conversion *to, jinja_value value)
{
    jinja_buffer *text = jinja_buffer_open(state);
    if (to->width > WIDTH_MAX || to->precision > PRECISION_MAX)
        jinja_fail(state, "a format wider than %d or more precise than %d", WIDTH_MAX, PRECISION_MAX);
    switch (to->type) {
    case 's':
        string_add(state, text, to, jinja_str(state, value));
        break;
    case 'r':
    case 'a':
        string_add(state, text, to, jinja_repr(state, value).as.string);
        break;
    case 'c':
        character_add(state, text, value);
        break;
    case 'd':
    case 'i':
    case 'u':
    case 'x':
    case 'X':
    case 'o':
    case 'b':
        integer_add(state, text, to, integer_of(state, value, to->type));
        break;
    case 'e':
    case 'E':
    case 'f':
    case 'F':
    case 'g':
    case 'G':
    case '%':
        real_add(state, text, to, real_of(state, value));
        break;
    default:
        jinja_fail(state, "unsupported format character (code %u)", (unsigned)(unsigned char)to->type);
    }
    padded_add(state, out, to, jinja_text_take(state, text).as.string);
}

/* Where the values of "%" come from. */
typedef struct percent {
    jinja_state *state;
    const jinja_string *format;
    uint64_t at;
    jinja_value values;
    uint64_t used;
} percent;

static jinja_value percent_next(percent *from)
{
    bool tuple = from->values.kind == JINJA_TUPLE;
    uint64_t count = tuple ? from->values.as.list->count : 1;
    if (from->used >= count)
        jinja_fail(from->state, "not enough arguments for the format string");
    return tuple ? from->values.as.list->items[from->used++] : (from->used++, from->values);
}

static char percent_byte(const percent *from)
{
    if (from->at >= from->format->count)
        jinja_fail(from->state, "incomplete format");
    return from->format->bytes[from->at];
}

static jinja_int number_read(jinja_state *state, const jinja_string *format, uint64_t *at)
{
    jinja_int number = 0;
    for (; *at < format->count && isdigit((unsigned char)format->bytes[*at]); ++*at) {
        number = number * 10 + (format->bytes[*at] - '0');
        if (number > 1000000)
            jinja_fail(state, "a format with a number beyond 1000000");
    }
    return number;
}

static jinja_int percent_number(percent *from)
{
    if (percent_byte(from) != '*')
        return number_read(from->state, from->format, &from->at);
    from->at++;
    return integer_of(from->state, percent_next(from), 'd');
}

static bool percent_key(percent *from, jinja_value *ret_value)
{
    if (percent_byte(from) != '(')
        return false;
    const jinja_string close = {")", 1, 1, false};
    uint64_t end = jinja_string_find(from->state, from->format, &close, from->at);
    if (end == UINT64_MAX)
        jinja_fail(from->state, "incomplete format key");
    if (from->values.kind != JINJA_DICT)
        jinja_fail(from->state, "format requires a mapping");
    jinja_value key = jinja_string_part(from->state, from->format, from->at + 1, end - from->at - 1);
    *ret_value = jinja_element(from->state, from->values, key);
    if (ret_value->kind == JINJA_ABSENT)
        jinja_fail(from->state, "the format's key '%.*s' is missing",
                   (int)(key.as.string->count < 60 ? key.as.string->count : 60), key.as.string->bytes);
    from->at = end + 1;
    return true;
}

static void percent_conversion(percent *from, jinja_buffer *out)
{
    conversion to = {.align = '>', .fill = " ", .n_fill = 1, .precision = -1};
    jinja_value value;
    bool keyed = percent_key(from, &value), zero = false, left = false;
    for (;; from->at++) {
        char flag = percent_byte(from);
        if (flag == '0')
            zero = true;
        else if (flag == '-')
            left = true;
        else if (flag == '+' || (flag == ' ' && !to.sign))
            to.sign = flag;
        else if (flag == '#')
            to.alternate = true;
        else if (flag != ' ')
            break;
    }
    to.width = percent_number(from);
    if (to.width < 0) {
        left = true;
        to.width = -to.width;
    }
    if (percent_byte(from) == '.') {
        from->at++;
        to.precision = percent_number(from);
    }
    to.type = percent_byte(from);
    from->at++;
    if (to.type == '%') {
        jinja_buffer_add_char(from->state, out, '%');
        return;
    }
    if (left)
        to.align = '<';
    else if (zero && !strchr("srac", to.type)) {
        to.align = '=';
        to.fill = "0";
    }
    conversion_add(from->state, out, &to, keyed ? value : percent_next(from));
    if (keyed)
        from->used = 1;
}

jinja_value jinja_format_percent(jinja_state *state, const jinja_string *format, jinja_value values)
{
    percent from = {.state = state, .format = format, .values = values};
    jinja_buffer *out = jinja_buffer_open(state);
    while (from.at < format->count) {
        const char *sign = memchr(format->bytes + from.at, '%', format->count - from.at);
        uint64_t end = sign ? (uint64_t)(sign - format->bytes) : format->count;
        jinja_buffer_add(state, out, format->bytes + from.at, end - from.at);
        from.at = end;
        if (sign) {
            from.at++;
            jinja_work(state, 1);
            percent_conversion(&from, out);
        }
    }
    bool tuple = values.kind == JINJA_TUPLE;
    bool mapping = values.kind == JINJA_DICT || jinja_is_sequence(values);
    if (tuple ? from.used < values.as.list->count : from.used == 0 && !mapping)
        jinja_fail(state, "not all arguments converted during string formatting");
    return jinja_text_take(state, out);
}

/* "{name.part[0]!r:spec}": the value that the part before "!" and ":" names. automatic: counts the unnamed. */
static jinja_value field_value(jinja_state *state, const jinja_call *call, const jinja_string *field, uint64_t *at,
                               uint64_t *automatic)
{
    uint64_t start = *at;
    while (*at < field->count && !strchr(".[!:", field->bytes[*at]))
        ++*at;
    const jinja_string *name = jinja_string_part(state, field, start, *at - start).as.string;
    jinja_int index = 0;
    bool numbered = name->count && jinja_int_parse(state, name->bytes, name->count, 10, &index);
    if (name->count == 0)
        index = (jinja_int)(*automatic)++;
    if (name->count == 0 || numbered) {
        if (index < 0 || index >= (jinja_int)call->n_args)
            jinja_fail(state, "format: there is no argument %lld", (long long)index);
        return call->args[index];
    }
    for (uint64_t i = 0; i < call->n_keywords; i++)
        if (jinja_string_equal(call->keywords[i].name, name))
            return call->keywords[i].value;
    jinja_fail(state, "format: there is no argument '%.*s'", (int)(name->count < 60 ? name->count : 60), name->bytes);
}

static jinja_value field_members(jinja_state *state, jinja_value value, const jinja_string *field, uint64_t *at)
{
    while (*at < field->count && (field->bytes[*at] == '.' || field->bytes[*at] == '[')) {
        bool bracket = field->bytes[*at] == '[';
        uint64_t start = ++*at;
        while (*at < field->count && !strchr(bracket ? "]" : ".[!:", field->bytes[*at]))
            ++*at;
        jinja_value key = jinja_string_part(state, field, start, *at - start);
        jinja_int index;
        if (bracket && jinja_int_parse(state, key.as.string->bytes, key.as.string->count, 10, &index))
            key = jinja_integer(index);
        *at += bracket && *at < field->count;
        jinja_require_defined(state, value);
        jinja_value found = jinja_element(state, value, key);
        if (found.kind == JINJA_ABSENT)
            jinja_fail(state, "format: no such element");
        value = found;
    }
    return value;
}

static void spec_read(jinja_state *state, const jinja_string *spec, conversion *to)
{
    uint64_t at = 0;
    uint64_t first = 1;
    while (first < spec->count && ((unsigned char)spec->bytes[first] & 0xC0u) == 0x80u)
        first++;
    if (first < spec->count && strchr("<>^=", spec->bytes[first])) {
        to->fill = spec->bytes;
        to->n_fill = first;
        to->align = spec->bytes[first];
        at = first + 1;
    } else if (spec->count && strchr("<>^=", spec->bytes[0])) {
        to->align = spec->bytes[at++];
    }
    if (at < spec->count && strchr("+ -", spec->bytes[at])) {
        to->sign = spec->bytes[at] == '-' ? 0 : spec->bytes[at];
        at++;
    }
    if (at < spec->count && spec->bytes[at] == '#') {
        to->alternate = true;
        at++;
    }
    if (at < spec->count && spec->bytes[at] == '0') {
        to->fill = to->align ? to->fill : "0";
        to->align = to->align ? to->align : '=';
        at++;
    }
    to->width = number_read(state, spec, &at);
    if (at < spec->count && spec->bytes[at] == '.') {
        at++;
        to->precision = number_read(state, spec, &at);
    }
    if (at < spec->count)
        to->type = spec->bytes[at++];
    if (at < spec->count)
        jinja_fail(state, "format: the part after ':' cannot be read");
}

static void field_add(jinja_state *state, jinja_buffer *out, const jinja_call *call, const jinja_string *field,
                      uint64_t *automatic)
{
    conversion to = {.fill = " ", .n_fill = 1, .precision = -1};
    uint64_t at = 0;
    jinja_value value = field_value(state, call, field, &at, automatic);
    value = field_members(state, value, field, &at);
    if (at + 1 < field->count && field->bytes[at] == '!') {
        char how = field->bytes[at + 1];
        if (how != 'r' && how != 's')
            jinja_fail(state, "format: only !r and !s are known");
        value = how == 'r' ? jinja_repr(state, value)
                           : (jinja_value){.kind = JINJA_STRING, .as.string = jinja_str(state, value)};
        at += 2;
    }
    if (at < field->count) {
        if (field->bytes[at] != ':')
            jinja_fail(state, "format: expected ':' within the braces");
        spec_read(state, jinja_string_part(state, field, at + 1, field->count - at - 1).as.string, &to);
    }
    bool number = value.kind == JINJA_INT || value.kind == JINJA_FLOAT;
    if (!to.align)
        to.align = number ? '>' : '<';
    if (!to.type)
        to.type = value.kind == JINJA_INT ? 'd' : value.kind == JINJA_FLOAT && to.precision >= 0 ? 'g' : 's';
    conversion_add(state, out, &to, value);
}

jinja_value jinja_format_braces(jinja_state *state, const jinja_string *format, const jinja_call *call)
{
    jinja_buffer *out = jinja_buffer_open(state);
    uint64_t automatic = 0;
    for (uint64_t i = 0; i < format->count; i++) {
        char c = format->bytes[i];
        bool twice = i + 1 < format->count && format->bytes[i + 1] == c;
        if (c != '{' && c != '}') {
            jinja_buffer_add_char(state, out, c);
        } else if (twice) {
            jinja_buffer_add_char(state, out, c);
            i++;
        } else {
            const jinja_string close = {"}", 1, 1, false};
            uint64_t end = c == '{' ? jinja_string_find(state, format, &close, i) : UINT64_MAX;
            if (end == UINT64_MAX)
                jinja_fail(state, "format: single '%c' in the string", c);
            jinja_work(state, 1);
            field_add(state, out, call, jinja_string_part(state, format, i + 1, end - i - 1).as.string, &automatic);
            i = end;
        }
    }
    return jinja_text_take(state, out);
}

/* runtime/chat/jinja_filters.c: filters on text and numbers. */
#include "jinja_builtins.h"
#include "jinja_eval.h"
#include "jinja_text.h"

#include "base/utf8.h"

#include <ctype.h>
#include <math.h>
#include <string.h>
#include <utf8proc.h>

static jinja_value filter_recase(jinja_state *state, jinja_call *call, jinja_case to)
{
    return jinja_recase(state, jinja_str(state, call->self), to);
}

static jinja_value filter_upper(jinja_state *state, jinja_call *call)
{
    return filter_recase(state, call, JINJA_UPPER);
}

static jinja_value filter_lower(jinja_state *state, jinja_call *call)
{
    return filter_recase(state, call, JINJA_LOWER);
}

static jinja_value filter_capitalize(jinja_state *state, jinja_call *call)
{
    return filter_recase(state, call, JINJA_CAPITALIZE);
}

/* Unlike str.title(), words begin only after blanks, hyphens and opening brackets. */
static jinja_value filter_title(jinja_state *state, jinja_call *call)
{
    const jinja_string *string = jinja_str(state, call->self);
    jinja_buffer *buffer = jinja_buffer_open(state);
    bool begins = true;
    for (uint64_t i = 0; i < string->count;) {
        uint32_t codepoint;
        bool valid;
        uint64_t n = utf8_decode(string->bytes + i, string->count - i, &codepoint, &valid);
        jinja_string character = {string->bytes + i, n, 1, false};
        const jinja_string *cased = jinja_recase(state, &character, begins ? JINJA_UPPER : JINJA_LOWER).as.string;
        jinja_buffer_add(state, buffer, cased->bytes, cased->count);
        begins = jinja_is_space(codepoint) || (codepoint < 0x80 && codepoint && strchr("-({[<", (int)codepoint));
        i += n;
    }
    return jinja_text_take(state, buffer);
}

static jinja_value filter_trim(jinja_state *state, jinja_call *call)
{
    return jinja_trim(state, jinja_str(state, call->self), jinja_argument_string(state, call, 0, NULL),
                      JINJA_TRIM_LEFT | JINJA_TRIM_RIGHT);
}

static jinja_value filter_string(jinja_state *state, jinja_call *call)
{
    return (jinja_value){.kind = JINJA_STRING, .as.string = jinja_str(state, call->self)};
}

static jinja_value filter_default(jinja_state *state, jinja_call *call)
{
    bool missing = call->self.kind == JINJA_UNDEFINED ||
                   (jinja_argument_bool(state, call, 1, false) && !jinja_truth(state, call->self));
    if (!missing)
        return call->self;
    return call->bound[0].kind == JINJA_ABSENT ? jinja_text(state, "", 0) : call->bound[0];
}

static jinja_value filter_replace(jinja_state *state, jinja_call *call)
{
    jinja_int count = call->bound[2].kind == JINJA_NONE ? -1 : jinja_argument_int(state, call, 2, -1);
    return jinja_string_replace(state, jinja_str(state, call->self), jinja_str(state, call->bound[0]),
                                jinja_str(state, call->bound[1]), count);
}

static jinja_value filter_escape(jinja_state *state, jinja_call *call)
{
    return jinja_escape(state, call->self);
}

static jinja_value filter_forceescape(jinja_state *state, jinja_call *call)
{
    return jinja_escape_text(state, jinja_str(state, call->self));
}

static jinja_value filter_safe(jinja_state *state, jinja_call *call)
{
    return jinja_markup(state, jinja_str(state, call->self));
}

/* Drops comments and tags, and makes each run of white space one blank. */
static jinja_value filter_striptags(jinja_state *state, jinja_call *call)
{
    const jinja_string *string = jinja_str(state, call->self);
    const jinja_string close = {">", 1, 1, false}, comment_close = {"-->", 3, 3, false};
    jinja_buffer *buffer = jinja_buffer_open(state);
    bool blank = false;
    for (uint64_t i = 0; i < string->count;) {
        uint32_t codepoint;
        bool valid;
        uint64_t n = utf8_decode(string->bytes + i, string->count - i, &codepoint, &valid);
        if (codepoint == '<') {
            bool comment = string->count - i >= 4 && memcmp(string->bytes + i, "<!--", 4) == 0;
            uint64_t end = jinja_string_find(state, string, comment ? &comment_close : &close, i + 1);
            if (end != UINT64_MAX) {
                i = end + (comment ? 3 : 1);
                continue;
            }
        }
        if (jinja_is_space(codepoint)) {
            blank = true;
        } else {
            if (blank && buffer->count)
                jinja_buffer_add_char(state, buffer, ' ');
            blank = false;
            jinja_buffer_add(state, buffer, string->bytes + i, n);
        }
        i += n;
    }
    return jinja_text_take(state, buffer);
}

static jinja_value filter_int(jinja_state *state, jinja_call *call)
{
    jinja_value fallback = call->bound[0].kind == JINJA_ABSENT ? jinja_integer(0) : call->bound[0];
    jinja_int base = jinja_argument_int(state, call, 1, 10), integer;
    jinja_value value = call->self;
    jinja_require_defined(state, value);
    if (base != 0 && (base < 2 || base > 36))
        return fallback;
    double real = 0;
    if (value.kind == JINJA_INT)
        return value;
    if (value.kind == JINJA_BOOL)
        return jinja_integer(value.as.boolean);
    if (value.kind == JINJA_STRING) {
        const jinja_string *string = value.as.string;
        if (jinja_int_parse(state, string->bytes, string->count, (uint32_t)base, &integer))
            return jinja_integer(integer);
        if (!jinja_float_parse(state, string->bytes, string->count, &real))
            return fallback;
    } else if (value.kind == JINJA_FLOAT) {
        real = value.as.real;
    } else {
        return fallback;
    }
    if (isnan(real) || isinf(real))
        return fallback;
    if (fabs(real) >= 0x1p126)
        jinja_fail(state, "int: the number has more than 126 bits");
    return jinja_integer((jinja_int)real);
}

static jinja_value filter_float(jinja_state *state, jinja_call *call)
{
    jinja_value value = call->self;
    double real;
    jinja_require_defined(state, value);
    if (value.kind == JINJA_FLOAT)
        return value;
    if (jinja_is_number(value))
        return jinja_real(value.kind == JINJA_BOOL ? value.as.boolean : (double)value.as.integer);
    if (value.kind == JINJA_STRING && jinja_float_parse(state, value.as.string->bytes, value.as.string->count, &real))
        return jinja_real(real);
    return call->bound[0].kind == JINJA_ABSENT ? jinja_real(0) : call->bound[0];
}

static jinja_value filter_abs(jinja_state *state, jinja_call *call)
{
    jinja_value value = call->self;
    jinja_require_defined(state, value);
    if (!jinja_is_number(value))
        jinja_fail(state, "bad operand type for abs(): '%s'", jinja_type_name(value));
    if (value.kind == JINJA_FLOAT)
        return jinja_real(fabs(value.as.real));
    jinja_int integer = value.kind == JINJA_BOOL ? (jinja_int)value.as.boolean : value.as.integer;
    return jinja_integer(integer < 0 ? -integer : integer);
}

/* Rounds to `precision` decimals, halves of the decimal value to even, as Python does: through the exact text. */
static double round_decimals(double real, int precision)
{
    char text[400];
    if (precision >= 0) {
        snprintf(text, sizeof text, "%.*f", precision < 320 ? precision : 320, real);
        return precision < 320 && fabs(real) < 1e60 ? strtod(text, NULL) : real;
    }
    double unit = pow(10, -precision);
    return nearbyint(real / unit) * unit;
}

static jinja_value filter_round(jinja_state *state, jinja_call *call)
{
    jinja_int precision = jinja_argument_int(state, call, 0, 0);
    const jinja_string *method = jinja_argument_string(state, call, 1, "common");
    jinja_value value = call->self;
    jinja_require_defined(state, value);
    if (!jinja_is_number(value))
        jinja_fail(state, "round needs a number, not %s", jinja_type_name(value));
    if (precision < -300 || precision > 300)
        jinja_fail(state, "round to a precision that is not from -300 to 300");
    bool integer = value.kind != JINJA_FLOAT;
    double real = !integer ? value.as.real : value.kind == JINJA_BOOL ? value.as.boolean : (double)value.as.integer;
    if (jinja_string_is(method, "common")) {
        if (integer && precision >= 0)
            return value.kind == JINJA_BOOL ? jinja_integer(value.as.boolean) : value;
        if (isnan(real) || isinf(real))
            return jinja_real(real);
        real = round_decimals(real, (int)precision);
        if (integer && fabs(real) >= 0x1p126)
            jinja_fail(state, "round: the number has more than 126 bits");
        return integer ? jinja_integer((jinja_int)real) : jinja_real(real);
    }
    double unit = pow(10, (double)precision);
    if (jinja_string_is(method, "ceil"))
        return jinja_real(ceil(real * unit) / unit);
    if (jinja_string_is(method, "floor"))
        return jinja_real(floor(real * unit) / unit);
    jinja_fail(state, "the method of round must be common, ceil or floor");
}

static const jinja_string *indent_width(jinja_state *state, const jinja_call *call)
{
    if (call->bound[0].kind == JINJA_STRING)
        return call->bound[0].as.string;
    jinja_int width = jinja_argument_int(state, call, 0, 4);
    jinja_buffer *buffer = jinja_buffer_open(state);
    jinja_buffer_add_repeated(state, buffer, ' ',
                              width <= 0          ? 0
                              : width > INT32_MAX ? (uint64_t)INT32_MAX
                                                  : (uint64_t)width);
    return jinja_text_take(state, buffer).as.string;
}

static jinja_value filter_indent(jinja_state *state, jinja_call *call)
{
    const jinja_string *width = indent_width(state, call);
    bool first = jinja_argument_bool(state, call, 1, false), blank = jinja_argument_bool(state, call, 2, false);
    jinja_require_defined(state, call->self);
    if (call->self.kind != JINJA_STRING)
        jinja_fail(state, "indent needs str, not %s", jinja_type_name(call->self));
    const jinja_list *lines = jinja_string_lines(state, call->self.as.string, false).as.list;
    jinja_buffer *buffer = jinja_buffer_open(state);
    uint64_t count = call->self.as.string->count;
    bool open_end = count && call->self.as.string->bytes[count - 1] == '\n';
    for (uint64_t i = 0; i < lines->count + open_end || i == 0; i++) {
        const jinja_string empty = {"", 0, 0, false};
        const jinja_string *line = i < lines->count ? lines->items[i].as.string : &empty;
        if (i)
            jinja_buffer_add_char(state, buffer, '\n');
        if (i ? blank || line->count : first)
            jinja_buffer_add(state, buffer, width->bytes, width->count);
        jinja_buffer_add(state, buffer, line->bytes, line->count);
    }
    return jinja_text_take(state, buffer);
}

static jinja_value filter_truncate(jinja_state *state, jinja_call *call)
{
    jinja_require_defined(state, call->self);
    if (call->self.kind != JINJA_STRING)
        jinja_fail(state, "truncate needs str, not %s", jinja_type_name(call->self));
    const jinja_string *string = call->self.as.string;
    jinja_int length = jinja_argument_int(state, call, 0, 255);
    bool kills_words = jinja_argument_bool(state, call, 1, false);
    const jinja_string *end = jinja_argument_string(state, call, 2, "...");
    jinja_int leeway = call->bound[3].kind == JINJA_NONE ? 5 : jinja_argument_int(state, call, 3, 5);
    if (length < (jinja_int)end->characters || leeway < 0)
        jinja_fail(state, "truncate needs a length of at least that of its end, and a leeway of at least 0");
    if (length >= (jinja_int)string->characters || (jinja_int)string->characters - length <= leeway)
        return (jinja_value){.kind = JINJA_STRING, .as.string = string};
    const jinja_string *kept = jinja_substring(state, string, 0, (uint64_t)length - end->characters).as.string;
    uint64_t count = kept->count;
    const char *blank = kills_words || !count ? NULL : memrchr(kept->bytes, ' ', count);
    if (blank)
        count = (uint64_t)(blank - kept->bytes);
    jinja_buffer *buffer = jinja_buffer_open(state);
    jinja_buffer_add(state, buffer, kept->bytes, count);
    jinja_buffer_add(state, buffer, end->bytes, end->count);
    return jinja_text_take(state, buffer);
}

static bool is_word_character(uint32_t codepoint)
{
    if (codepoint == '_')
        return true;
    utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)codepoint);
    return (category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO) ||
           (category >= UTF8PROC_CATEGORY_ND && category <= UTF8PROC_CATEGORY_NO);
}

static jinja_value filter_wordcount(jinja_state *state, jinja_call *call)
{
    const jinja_string *string = jinja_str(state, call->self);
    jinja_int count = 0;
    bool inside = false;
    jinja_work(state, string->count / 4);
    for (uint64_t i = 0; i < string->count;) {
        uint32_t codepoint;
        bool valid;
        i += utf8_decode(string->bytes + i, string->count - i, &codepoint, &valid);
        bool word = is_word_character(codepoint);
        count += word && !inside;
        inside = word;
    }
    return jinja_integer(count);
}

static jinja_value filter_center(jinja_state *state, jinja_call *call)
{
    const jinja_string *string = jinja_str(state, call->self);
    jinja_int width = jinja_argument_int(state, call, 0, 80);
    if (width <= (jinja_int)string->characters)
        return (jinja_value){.kind = JINJA_STRING, .as.string = string};
    uint64_t total = width > INT32_MAX ? (uint64_t)INT32_MAX : (uint64_t)width;
    uint64_t padding = total - string->characters;
    uint64_t left = padding / 2 + (padding & total & 1); /* Python's choice for odd paddings */
    jinja_buffer *buffer = jinja_buffer_open(state);
    jinja_buffer_add_repeated(state, buffer, ' ', left);
    jinja_buffer_add(state, buffer, string->bytes, string->count);
    jinja_buffer_add_repeated(state, buffer, ' ', padding - left);
    return jinja_text_take(state, buffer);
}

static void url_add(jinja_state *state, jinja_buffer *buffer, const jinja_string *string, bool query)
{
    for (uint64_t i = 0; i < string->count; i++) {
        unsigned char c = (unsigned char)string->bytes[i];
        if (isalnum(c) || (c && strchr("_.-~", c)) || (c == '/' && !query))
            jinja_buffer_add_char(state, buffer, (char)c);
        else if (c == ' ' && query)
            jinja_buffer_add_char(state, buffer, '+');
        else
            jinja_buffer_add_format(state, buffer, "%%%02X", c);
    }
}

static jinja_value filter_urlencode(jinja_state *state, jinja_call *call)
{
    jinja_buffer *buffer = jinja_buffer_open(state);
    if (call->self.kind == JINJA_STRING || !jinja_is_iterable(call->self)) {
        url_add(state, buffer, jinja_str(state, call->self), false);
        return jinja_text_take(state, buffer);
    }
    jinja_value items = call->self;
    if (items.kind == JINJA_DICT) {
        const jinja_string name = {"items", 5, 5, false};
        jinja_call inner = {.self = items};
        items = jinja_invoke(state, jinja_filter_find(&name), &inner);
    }
    const jinja_list *list = jinja_iterate(state, items);
    for (uint64_t i = 0; i < list->count; i++) {
        const jinja_list *pair = jinja_iterate(state, jinja_list_at(list, i));
        if (pair->count != 2)
            jinja_fail(state, "urlencode needs pairs");
        if (i)
            jinja_buffer_add_char(state, buffer, '&');
        url_add(state, buffer, jinja_str(state, jinja_list_at(pair, 0)), true);
        jinja_buffer_add_char(state, buffer, '=');
        url_add(state, buffer, jinja_str(state, jinja_list_at(pair, 1)), true);
    }
    return jinja_text_take(state, buffer);
}

static jinja_value filter_format(jinja_state *state, jinja_call *call)
{
    const jinja_string *format = jinja_str(state, call->self);
    if (call->n_args && call->n_keywords)
        jinja_fail(state, "format takes positional or keyword arguments, not both");
    if (call->n_keywords == 0)
        return jinja_format_percent(state, format, jinja_list_of(state, JINJA_TUPLE, call->args, call->n_args));
    jinja_value values = jinja_dict_new(state, JINJA_DICT, call->n_keywords);
    for (uint64_t i = 0; i < call->n_keywords; i++)
        jinja_dict_append(state, values.as.dict,
                          (jinja_value){.kind = JINJA_STRING, .as.string = call->keywords[i].name},
                          call->keywords[i].value);
    return jinja_format_percent(state, format, values);
}

static const jinja_function items_table[] = {
    {.name = "abs", .run = filter_abs, .parameters = ""},
    {.name = "capitalize", .run = filter_capitalize, .parameters = ""},
    {.name = "center", .run = filter_center, .parameters = "width"},
    {.name = "d", .run = filter_default, .parameters = "default_value boolean"},
    {.name = "default", .run = filter_default, .parameters = "default_value boolean"},
    {.name = "e", .run = filter_escape, .parameters = ""},
    {.name = "escape", .run = filter_escape, .parameters = ""},
    {.name = "float", .run = filter_float, .parameters = "default"},
    {.name = "forceescape", .run = filter_forceescape, .parameters = ""},
    {.name = "format", .run = filter_format},
    {.name = "indent", .run = filter_indent, .parameters = "width first blank"},
    {.name = "int", .run = filter_int, .parameters = "default base"},
    {.name = "lower", .run = filter_lower, .parameters = ""},
    {.name = "replace", .run = filter_replace, .parameters = "old new count", .n_required = 2},
    {.name = "round", .run = filter_round, .parameters = "precision method"},
    {.name = "safe", .run = filter_safe, .parameters = ""},
    {.name = "string", .run = filter_string, .parameters = ""},
    {.name = "striptags", .run = filter_striptags, .parameters = ""},
    {.name = "title", .run = filter_title, .parameters = ""},
    {.name = "trim", .run = filter_trim, .parameters = "chars"},
    {.name = "truncate", .run = filter_truncate, .parameters = "length killwords end leeway"},
    {.name = "upper", .run = filter_upper, .parameters = ""},
    {.name = "urlencode", .run = filter_urlencode, .parameters = ""},
    {.name = "wordcount", .run = filter_wordcount, .parameters = ""},
};
const jinja_functions jinja_text_filters = {items_table, sizeof items_table / sizeof *items_table};

const jinja_function *jinja_filter_find(const jinja_string *name)
{
    const jinja_function *function = jinja_functions_find(jinja_text_filters, name);
    return function ? function : jinja_functions_find(jinja_list_filters, name);
}

/* runtime/chat/jinja_json.c: the tojson filter, which is Python's json.dumps(value, ensure_ascii=False, ...).
 *
 * Unlike Jinja's own tojson it escapes nothing for HTML; that is what Hugging Face's setting does.
 */
#include "jinja_builtins.h"
#include "jinja_text.h"

#include "base/utf8.h"

#include <math.h>

typedef struct writer {
    jinja_state *state;
    jinja_buffer *buffer;
    const jinja_string *indent; /* one level; NULL: all on one line */
    const jinja_string *item_separator, *key_separator;
    bool ascii, sort_keys;
    uint32_t level;
} writer;

static void value_write(writer *to, jinja_value value);

static void codepoint_escape(writer *to, uint32_t codepoint)
{
    if (codepoint >= 0x10000) {
        codepoint -= 0x10000;
        jinja_buffer_add_format(to->state, to->buffer, "\\u%04x\\u%04x", 0xD800 + (codepoint >> 10),
                                0xDC00 + (codepoint & 0x3FF));
    } else {
        jinja_buffer_add_format(to->state, to->buffer, "\\u%04x", codepoint);
    }
}

static void string_write(writer *to, const jinja_string *string)
{
    uint64_t plain = 0; /* start of what needs no escape */
    jinja_buffer_add_char(to->state, to->buffer, '"');
    for (uint64_t i = 0; i < string->count;) {
        uint32_t codepoint;
        bool valid;
        uint64_t n = utf8_decode(string->bytes + i, string->count - i, &codepoint, &valid);
        char letter = codepoint == '"'    ? '"'
                      : codepoint == '\\' ? '\\'
                      : codepoint == '\n' ? 'n'
                      : codepoint == '\r' ? 'r'
                      : codepoint == '\t' ? 't'
                      : codepoint == '\b' ? 'b'
                      : codepoint == '\f' ? 'f'
                                          : 0;
        bool escaped = letter || codepoint < 0x20 || (to->ascii && codepoint > 0x7E + 1);
        if (escaped) {
            jinja_buffer_add(to->state, to->buffer, string->bytes + plain, i - plain);
            if (letter)
                jinja_buffer_add_format(to->state, to->buffer, "\\%c", letter);
            else
                codepoint_escape(to, codepoint);
            plain = i + n;
        }
        i += n;
    }
    jinja_buffer_add(to->state, to->buffer, string->bytes + plain, string->count - plain);
    jinja_buffer_add_char(to->state, to->buffer, '"');
}

static void real_write(writer *to, double real)
{
    if (isnan(real))
        jinja_buffer_add_text(to->state, to->buffer, "NaN");
    else if (isinf(real))
        jinja_buffer_add_text(to->state, to->buffer, real < 0 ? "-Infinity" : "Infinity");
    else
        jinja_float_add(to->state, to->buffer, real);
}

static void line_break(writer *to)
{
    if (!to->indent)
        return;
    jinja_buffer_add_char(to->state, to->buffer, '\n');
    for (uint32_t i = 0; i < to->level; i++)
        jinja_buffer_add(to->state, to->buffer, to->indent->bytes, to->indent->count);
}

static void separate(writer *to, uint64_t index)
{
    if (index)
        jinja_buffer_add(to->state, to->buffer, to->item_separator->bytes, to->item_separator->count);
    line_break(to);
}

static void list_write(writer *to, const jinja_list *list)
{
    jinja_buffer_add_char(to->state, to->buffer, '[');
    to->level++;
    for (uint64_t i = 0; i < list->count; i++) {
        separate(to, i);
        value_write(to, jinja_list_at(list, i));
    }
    to->level--;
    if (list->count)
        line_break(to);
    jinja_buffer_add_char(to->state, to->buffer, ']');
}

static void key_write(writer *to, jinja_value key)
{
    switch (key.kind) {
    case JINJA_STRING:
        string_write(to, key.as.string);
        break;
    case JINJA_BOOL:
        jinja_buffer_add_text(to->state, to->buffer, key.as.boolean ? "\"true\"" : "\"false\"");
        break;
    case JINJA_NONE:
        jinja_buffer_add_text(to->state, to->buffer, "\"null\"");
        break;
    case JINJA_INT:
    case JINJA_FLOAT:
        jinja_buffer_add_char(to->state, to->buffer, '"');
        value_write(to, key);
        jinja_buffer_add_char(to->state, to->buffer, '"');
        break;
    default:
        jinja_fail(to->state, "tojson: keys must be str, int, float, bool or None, not %s", jinja_type_name(key));
    }
}

static void dict_write(writer *to, const jinja_dict *dict)
{
    jinja_value keys = {.kind = JINJA_ABSENT};
    if (to->sort_keys) {
        jinja_call call = {.self = {.kind = JINJA_DICT, .as.dict = (jinja_dict *)dict}};
        const jinja_string sort = {"sort", 4, 4, false};
        jinja_keyword exact = {&(const jinja_string){"case_sensitive", 14, 14, false}, jinja_bool(true)};
        call.keywords = &exact;
        call.n_keywords = 1;
        keys = jinja_invoke(to->state, jinja_filter_find(&sort), &call);
    }
    jinja_buffer_add_char(to->state, to->buffer, '{');
    to->level++;
    for (uint64_t i = 0; i < dict->count; i++) {
        jinja_entry entry = dict->entries[i];
        if (to->sort_keys) {
            entry.key = jinja_list_at(keys.as.list, i);
            entry.value = *jinja_dict_find(to->state, dict, entry.key);
        }
        separate(to, i);
        key_write(to, entry.key);
        jinja_buffer_add(to->state, to->buffer, to->key_separator->bytes, to->key_separator->count);
        value_write(to, entry.value);
    }
    to->level--;
    if (dict->count)
        line_break(to);
    jinja_buffer_add_char(to->state, to->buffer, '}');
}

static void value_write(writer *to, jinja_value value)
{
    jinja_work(to->state, 1);
    jinja_depth_enter(to->state);
    switch (value.kind) {
    case JINJA_NONE:
        jinja_buffer_add_text(to->state, to->buffer, "null");
        break;
    case JINJA_BOOL:
        jinja_buffer_add_text(to->state, to->buffer, value.as.boolean ? "true" : "false");
        break;
    case JINJA_INT:
        jinja_int_add(to->state, to->buffer, value.as.integer, 10);
        break;
    case JINJA_FLOAT:
        real_write(to, value.as.real);
        break;
    case JINJA_STRING:
        string_write(to, value.as.string);
        break;
    case JINJA_LIST:
    case JINJA_TUPLE:
        list_write(to, value.as.list);
        break;
    case JINJA_DICT:
        dict_write(to, value.as.dict);
        break;
    default:
        jinja_fail(to->state, "tojson: an object of type %s is not JSON serializable", jinja_type_name(value));
    }
    jinja_depth_leave(to->state);
}

/* indent: None, a number of blanks or a string. */
static const jinja_string *indent_of(jinja_state *state, const jinja_call *call)
{
    jinja_value indent = call->bound[1];
    if (indent.kind == JINJA_ABSENT || indent.kind == JINJA_NONE)
        return NULL;
    if (indent.kind == JINJA_STRING)
        return indent.as.string;
    jinja_int width = jinja_argument_int(state, call, 1, 0);
    jinja_buffer *buffer = jinja_buffer_open(state);
    jinja_buffer_add_repeated(state, buffer, ' ', width <= 0 ? 0 : width < 1000 ? (uint64_t)width : 1000);
    return jinja_text_take(state, buffer).as.string;
}

static void separators_set(writer *to, jinja_value separators)
{
    to->item_separator = jinja_text(to->state, to->indent ? "," : ", ", to->indent ? 1 : 2).as.string;
    to->key_separator = jinja_text(to->state, ": ", 2).as.string;
    if (separators.kind == JINJA_ABSENT || separators.kind == JINJA_NONE)
        return;
    const jinja_list *pair = jinja_iterate(to->state, separators);
    if (pair->count != 2 || jinja_list_at(pair, 0).kind != JINJA_STRING || jinja_list_at(pair, 1).kind != JINJA_STRING)
        jinja_fail(to->state, "tojson: separators must be two strings");
    to->item_separator = jinja_list_at(pair, 0).as.string;
    to->key_separator = jinja_list_at(pair, 1).as.string;
}

jinja_value jinja_tojson(jinja_state *state, jinja_call *call)
{
    writer to = {.state = state, .buffer = jinja_buffer_open(state)};
    to.ascii = jinja_argument_bool(state, call, 0, false);
    to.indent = indent_of(state, call);
    separators_set(&to, call->bound[2]);
    to.sort_keys = jinja_argument_bool(state, call, 3, false);
    value_write(&to, call->self);
    return jinja_text_take(state, to.buffer);
}

/* runtime/chat/jinja_sequence.c: elements and slices of strings and lists, and searching in strings.
 *
 * Strings are indexed by character. A string with as many bytes as characters is ASCII, where that costs nothing; else
 * characters are counted from the start. Parts share the bytes of the whole.
 */
#include "jinja_value.h"

#include <string.h>

bool jinja_string_equal(const jinja_string *left, const jinja_string *right)
{
    return left->count == right->count && (left->count == 0 || memcmp(left->bytes, right->bytes, left->count) == 0);
}

bool jinja_string_is(const jinja_string *string, const char *text)
{
    return strlen(text) == string->count && memcmp(string->bytes, text, string->count) == 0;
}

jinja_value jinja_string_part(jinja_state *state, const jinja_string *string, uint64_t byte, uint64_t n_bytes)
{
    TN_ASSERT(byte <= string->count && n_bytes <= string->count - byte);
    if (string->characters != string->count)
        return jinja_text(state, string->bytes + byte, n_bytes);
    jinja_string *part = JINJA_NEW(state, jinja_string);
    *part = (jinja_string){string->bytes + byte, n_bytes, n_bytes, false};
    return (jinja_value){.kind = JINJA_STRING, .as.string = part};
}

/* Byte offset of a character, which may be one past the last. */
static uint64_t byte_of(jinja_state *state, const jinja_string *string, uint64_t character)
{
    if (string->characters == string->count)
        return character;
    jinja_work(state, character / 16);
    uint64_t byte = 0;
    while (byte < string->count) {
        if (((unsigned char)string->bytes[byte] & 0xC0u) != 0x80u && character-- == 0)
            break;
        byte++;
    }
    return byte;
}

jinja_value jinja_substring(jinja_state *state, const jinja_string *string, uint64_t start, uint64_t count)
{
    TN_ASSERT(start <= string->characters && count <= string->characters - start);
    uint64_t first = byte_of(state, string, start);
    if (start + count == string->characters)
        return jinja_string_part(state, string, first, string->count - first);
    jinja_string rest = {string->bytes + first, string->count - first, string->characters - start, false};
    return jinja_string_part(state, string, first, byte_of(state, &rest, count));
}

uint64_t jinja_string_find(jinja_state *state, const jinja_string *string, const jinja_string *needle, uint64_t from)
{
    if (from > string->count)
        return UINT64_MAX;
    if (needle->count == 0)
        return from;
    const char *found = memmem(string->bytes + from, string->count - from, needle->bytes, needle->count);
    uint64_t at = found ? (uint64_t)(found - string->bytes) : UINT64_MAX;
    jinja_work(state, ((found ? at : string->count) - from + needle->count) / 64);
    return at;
}

/* False if index is no int or out of range. */
static bool index_resolve(jinja_value index, uint64_t count, uint64_t *ret_index)
{
    jinja_int i;
    if (index.kind == JINJA_INT)
        i = index.as.integer;
    else if (index.kind == JINJA_BOOL)
        i = index.as.boolean;
    else
        return false;
    if (i < 0)
        i += (jinja_int)count;
    if (i < 0 || i >= (jinja_int)count)
        return false;
    *ret_index = (uint64_t)i;
    return true;
}

jinja_value jinja_element(jinja_state *state, jinja_value value, jinja_value key)
{
    const jinja_value absent = {.kind = JINJA_ABSENT};
    uint64_t index;
    switch (value.kind) {
    case JINJA_STRING:
        if (!index_resolve(key, value.as.string->characters, &index))
            return absent;
        return jinja_substring(state, value.as.string, index, 1);
    case JINJA_LIST:
    case JINJA_TUPLE:
    case JINJA_RANGE:
        return index_resolve(key, value.as.list->count, &index) ? jinja_list_at(value.as.list, index) : absent;
    case JINJA_DICT:
    case JINJA_NAMESPACE: {
        const jinja_value *found = jinja_dict_find(state, value.as.dict, key);
        return found ? *found : absent;
    }
    default:
        return absent;
    }
}

typedef struct bounds {
    jinja_int start, step;
    uint64_t count;
} bounds;

static jinja_int bound_clamp(jinja_state *state, jinja_value bound, jinja_int count, jinja_int when_open, jinja_int low,
                             jinja_int high)
{
    jinja_int i;
    if (bound.kind == JINJA_NONE)
        return when_open;
    if (bound.kind == JINJA_BOOL)
        i = bound.as.boolean;
    else if (bound.kind == JINJA_INT)
        i = bound.as.integer;
    else {
        jinja_require_defined(state, bound);
        jinja_fail(state, "slice indices must be integers or None, not %s", jinja_type_name(bound));
    }
    if (i < 0 && i >= -count)
        i += count;
    else if (i < 0)
        i = low;
    return i < low ? low : i > high ? high : i;
}

static bounds bounds_resolve(jinja_state *state, uint64_t length, jinja_value start, jinja_value stop, jinja_value step)
{
    jinja_int n = (jinja_int)length;
    jinja_int by = bound_clamp(state, step, 0, 1, -n - 1, n + 1);
    if (step.kind == JINJA_INT) /* bound_clamp counts negative indices from the end; a step is taken as it is */
        by = step.as.integer < -n - 1 ? -n - 1 : step.as.integer > n + 1 ? n + 1 : step.as.integer;
    if (by == 0)
        jinja_fail(state, "slice step cannot be zero");
    jinja_int low = by < 0 ? -1 : 0, high = by < 0 ? n - 1 : n;
    jinja_int first = bound_clamp(state, start, n, by < 0 ? high : low, low, high);
    jinja_int last = bound_clamp(state, stop, n, by < 0 ? low : high, low, high);
    jinja_int span = by < 0 ? first - last : last - first;
    jinja_int stride = by < 0 ? -by : by;
    return (bounds){first, by, span > 0 ? (uint64_t)((span + stride - 1) / stride) : 0};
}

static jinja_value string_slice(jinja_state *state, const jinja_string *string, bounds at)
{
    if (at.step == 1 || at.count == 0)
        return jinja_substring(state, string, at.count ? (uint64_t)at.start : 0, at.count);
    const jinja_list *characters = jinja_iterate(state, (jinja_value){.kind = JINJA_STRING, .as.string = string});
    jinja_buffer *buffer = jinja_buffer_open(state);
    for (uint64_t i = 0; i < at.count; i++) {
        jinja_value character = characters->items[at.start + (jinja_int)i * at.step];
        jinja_buffer_add(state, buffer, character.as.string->bytes, character.as.string->count);
    }
    return jinja_text_take(state, buffer);
}

static jinja_value list_slice(jinja_state *state, jinja_kind kind, const jinja_list *list, bounds at)
{
    if (kind == JINJA_RANGE) {
        jinja_list *slice = JINJA_NEW(state, jinja_list);
        slice->count = at.count;
        slice->start = at.count ? list->start + at.start * list->step : 0;
        slice->step = at.count > 1 ? list->step * at.step : 1; /* so that slices of slices cannot overflow */
        slice->stop = slice->start + (jinja_int)at.count * slice->step;
        return (jinja_value){.kind = JINJA_RANGE, .as.list = slice};
    }
    if (at.step == 1)
        return jinja_list_of(state, kind, list->items + (at.count ? at.start : 0), at.count);
    jinja_value *items = JINJA_ARRAY(state, jinja_value, at.count);
    for (uint64_t i = 0; i < at.count; i++)
        items[i] = list->items[at.start + (jinja_int)i * at.step];
    return jinja_list_of(state, kind, items, at.count);
}

jinja_value jinja_slice(jinja_state *state, jinja_value value, jinja_value start, jinja_value stop, jinja_value step)
{
    jinja_require_defined(state, value);
    if (value.kind != JINJA_STRING && !jinja_is_sequence(value))
        jinja_fail(state, "'%s' object cannot be sliced", jinja_type_name(value));
    bounds at = bounds_resolve(state, jinja_length(state, value), start, stop, step);
    if (value.kind == JINJA_STRING)
        return string_slice(state, value.as.string, at);
    return list_slice(state, value.kind, value.as.list, at);
}

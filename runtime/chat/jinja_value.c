/* runtime/chat/jinja_value.c: making values, and what Python's operators ask of them: truth, equality, order, length,
 * membership, iteration.
 *
 * Dicts are searched from the front: messages and tool descriptions have few keys, and the steps charged for every
 * search bound what a hostile request can cost.
 */
#include "jinja_value.h"

#include "jinja_text.h"

#include <string.h>

jinja_value jinja_undefined_variable(jinja_state *state, const jinja_string *name)
{
    jinja_undefined *undefined = JINJA_NEW(state, jinja_undefined);
    undefined->name = (jinja_value){.kind = JINJA_STRING, .as.string = name};
    return (jinja_value){.kind = JINJA_UNDEFINED, .as.undefined = undefined};
}

jinja_value jinja_undefined_member(jinja_state *state, jinja_value object, jinja_value name)
{
    jinja_undefined *undefined = JINJA_NEW(state, jinja_undefined);
    undefined->name = name;
    undefined->owner = jinja_type_name(object);
    return (jinja_value){.kind = JINJA_UNDEFINED, .as.undefined = undefined};
}

jinja_value jinja_undefined_because(jinja_state *state, const char *text)
{
    jinja_undefined *undefined = JINJA_NEW(state, jinja_undefined);
    undefined->text = text;
    return (jinja_value){.kind = JINJA_UNDEFINED, .as.undefined = undefined};
}

jinja_value jinja_text(jinja_state *state, const char *bytes, uint64_t count)
{
    jinja_string *string = JINJA_NEW(state, jinja_string);
    jinja_work(state, count / 64);
    string->bytes = bytes;
    string->count = count;
    for (uint64_t i = 0; i < count; i++)
        string->characters += ((unsigned char)bytes[i] & 0xC0u) != 0x80u;
    return (jinja_value){.kind = JINJA_STRING, .as.string = string};
}

jinja_value jinja_text_copy(jinja_state *state, const char *bytes, uint64_t count)
{
    char *copy = JINJA_ARRAY(state, char, count);
    if (count)
        memcpy(copy, bytes, count);
    return jinja_text(state, copy, count);
}

jinja_value jinja_text_take(jinja_state *state, jinja_buffer *buffer)
{
    jinja_value text = jinja_text_copy(state, buffer->bytes, buffer->count);
    jinja_buffer_close(state, buffer);
    return text;
}

jinja_value jinja_list_of(jinja_state *state, jinja_kind kind, const jinja_value *items, uint64_t count)
{
    static const jinja_value nothing[1]; /* items of an empty list: NULL would mean a range */
    jinja_list *list = JINJA_NEW(state, jinja_list);
    list->items = count ? items : nothing;
    list->count = count;
    return (jinja_value){.kind = kind, .as.list = list};
}

jinja_value jinja_pair(jinja_state *state, jinja_value first, jinja_value second)
{
    jinja_value *items = JINJA_ARRAY(state, jinja_value, 2);
    items[0] = first;
    items[1] = second;
    return jinja_list_of(state, JINJA_TUPLE, items, 2);
}

jinja_value jinja_dict_new(jinja_state *state, jinja_kind kind, uint64_t capacity)
{
    jinja_dict *dict = JINJA_NEW(state, jinja_dict);
    dict->capacity = capacity;
    dict->entries = JINJA_ARRAY(state, jinja_entry, capacity);
    return (jinja_value){.kind = kind, .as.dict = dict};
}

void jinja_dict_append(jinja_state *state, jinja_dict *dict, jinja_value key, jinja_value value)
{
    if (dict->count == dict->capacity) {
        uint64_t capacity = dict->capacity ? dict->capacity * 2 : 4;
        jinja_entry *entries = JINJA_ARRAY(state, jinja_entry, capacity);
        if (dict->count)
            memcpy(entries, dict->entries, dict->count * sizeof *entries);
        dict->entries = entries;
        dict->capacity = capacity;
    }
    dict->entries[dict->count++] = (jinja_entry){key, value};
}

static bool is_hashable(jinja_state *state, jinja_value value)
{
    switch (value.kind) {
    case JINJA_LIST:
    case JINJA_DICT:
    case JINJA_VIEW:
        return false;
    case JINJA_TUPLE:
        jinja_work(state, value.as.list->count / 16);
        for (uint64_t i = 0; i < value.as.list->count; i++)
            if (value.as.list->items[i].kind == JINJA_TUPLE || !is_hashable(state, value.as.list->items[i]))
                return false; /* tuples in tuples are no keys here: that keeps this free of recursion */
        return true;
    default:
        return true;
    }
}

static void require_hashable(jinja_state *state, jinja_value key)
{
    if (!is_hashable(state, key))
        jinja_fail(state, "unhashable type: '%s'", jinja_type_name(key));
}

const jinja_value *jinja_dict_find(jinja_state *state, const jinja_dict *dict, jinja_value key)
{
    if (key.kind == JINJA_STRING)
        return jinja_dict_find_name(state, dict, key.as.string);
    jinja_work(state, 1 + dict->count / 8);
    for (uint64_t i = 0; i < dict->count; i++)
        if (jinja_equal(state, dict->entries[i].key, key))
            return &dict->entries[i].value;
    return NULL;
}

const jinja_value *jinja_dict_find_name(jinja_state *state, const jinja_dict *dict, const jinja_string *name)
{
    jinja_work(state, 1 + dict->count / 8);
    for (uint64_t i = 0; i < dict->count; i++) {
        jinja_value key = dict->entries[i].key;
        if (key.kind != JINJA_STRING || key.as.string->count != name->count)
            continue;
        jinja_work(state, name->count / 64);
        if (jinja_string_equal(key.as.string, name))
            return &dict->entries[i].value;
    }
    return NULL;
}

void jinja_dict_set(jinja_state *state, jinja_dict *dict, jinja_value key, jinja_value value)
{
    require_hashable(state, key);
    const jinja_value *found = jinja_dict_find(state, dict, key);
    if (found)
        dict->entries[(const jinja_entry *)((const char *)found - offsetof(jinja_entry, value)) - dict->entries].value =
            value;
    else
        jinja_dict_append(state, dict, key, value);
}

void jinja_builder_add(jinja_state *state, jinja_builder *builder, jinja_value item)
{
    if (builder->count == builder->capacity) {
        uint64_t capacity = builder->capacity ? builder->capacity * 2 : 8;
        jinja_value *items = JINJA_ARRAY(state, jinja_value, capacity);
        if (builder->count)
            memcpy(items, builder->items, builder->count * sizeof *items);
        builder->items = items;
        builder->capacity = capacity;
    }
    builder->items[builder->count++] = item;
}

jinja_value jinja_builder_take(jinja_state *state, jinja_builder *builder, jinja_kind kind)
{
    return jinja_list_of(state, kind, builder->items, builder->count);
}

const char *jinja_type_name(jinja_value value)
{
    switch (value.kind) {
    case JINJA_ABSENT:
    case JINJA_UNDEFINED:
        return "Undefined";
    case JINJA_NONE:
        return "NoneType";
    case JINJA_BOOL:
        return "bool";
    case JINJA_INT:
        return "int";
    case JINJA_FLOAT:
        return "float";
    case JINJA_STRING:
        return value.as.string->markup ? "Markup" : "str";
    case JINJA_LIST:
        return "list";
    case JINJA_TUPLE:
        return "tuple";
    case JINJA_RANGE:
        return "range";
    case JINJA_VIEW:
        return value.as.list->label;
    case JINJA_GENERATOR:
        return "generator";
    case JINJA_DICT:
        return "dict";
    case JINJA_NAMESPACE:
        return "Namespace";
    case JINJA_FUNCTION:
        return "function";
    case JINJA_MACRO:
        return "Macro";
    case JINJA_LOOP:
        return "LoopContext";
    case JINJA_CYCLER:
        return "Cycler";
    case JINJA_JOINER:
        return "Joiner";
    }
    return "object";
}

bool jinja_is_number(jinja_value value)
{
    return value.kind == JINJA_BOOL || value.kind == JINJA_INT || value.kind == JINJA_FLOAT;
}

bool jinja_is_sequence(jinja_value value)
{
    return value.kind == JINJA_LIST || value.kind == JINJA_TUPLE || value.kind == JINJA_RANGE;
}

bool jinja_is_callable(jinja_value value)
{
    return value.kind == JINJA_FUNCTION || value.kind == JINJA_MACRO || value.kind == JINJA_LOOP ||
           value.kind == JINJA_JOINER || value.kind == JINJA_UNDEFINED;
}

bool jinja_truth(jinja_state *state, jinja_value value)
{
    (void)state;
    switch (value.kind) {
    case JINJA_ABSENT:
    case JINJA_UNDEFINED:
    case JINJA_NONE:
        return false;
    case JINJA_BOOL:
        return value.as.boolean;
    case JINJA_INT:
        return value.as.integer != 0;
    case JINJA_FLOAT:
        return value.as.real != 0;
    case JINJA_STRING:
        return value.as.string->count != 0;
    case JINJA_LIST:
    case JINJA_TUPLE:
    case JINJA_RANGE:
    case JINJA_VIEW:
        return value.as.list->count != 0;
    case JINJA_DICT:
        return value.as.dict->count != 0;
    default:
        return true;
    }
}

static jinja_int integer_of(jinja_value value)
{
    return value.kind == JINJA_BOOL ? (jinja_int)value.as.boolean : value.as.integer;
}

static double real_of(jinja_value value)
{
    return value.kind == JINJA_FLOAT ? value.as.real : (double)integer_of(value);
}

static int number_compare(jinja_value left, jinja_value right)
{
    if (left.kind == JINJA_FLOAT || right.kind == JINJA_FLOAT) {
        double a = real_of(left), b = real_of(right);
        if (a != a || b != b)
            return JINJA_UNORDERED;
        return (a > b) - (a < b);
    }
    jinja_int a = integer_of(left), b = integer_of(right);
    return (a > b) - (a < b);
}

static bool list_equal(jinja_state *state, const jinja_list *left, const jinja_list *right)
{
    if (left->count != right->count)
        return false;
    for (uint64_t i = 0; i < left->count; i++)
        if (!jinja_equal(state, jinja_list_at(left, i), jinja_list_at(right, i)))
            return false;
    return true;
}

static bool dict_equal(jinja_state *state, const jinja_dict *left, const jinja_dict *right)
{
    if (left->count != right->count)
        return false;
    for (uint64_t i = 0; i < left->count; i++) {
        const jinja_value *other = jinja_dict_find(state, right, left->entries[i].key);
        if (!other || !jinja_equal(state, left->entries[i].value, *other))
            return false;
    }
    return true;
}

bool jinja_equal(jinja_state *state, jinja_value left, jinja_value right)
{
    jinja_work(state, 1);
    if (jinja_is_number(left) && jinja_is_number(right))
        return number_compare(left, right) == 0;
    if (left.kind != right.kind)
        return false;
    switch (left.kind) {
    case JINJA_ABSENT:
    case JINJA_UNDEFINED:
    case JINJA_NONE:
        return true;
    case JINJA_STRING:
        jinja_work(state, left.as.string->count / 64);
        return jinja_string_equal(left.as.string, right.as.string);
    case JINJA_LIST:
    case JINJA_TUPLE:
    case JINJA_RANGE:
    case JINJA_DICT: {
        jinja_depth_enter(state);
        bool equal = left.kind == JINJA_DICT ? dict_equal(state, left.as.dict, right.as.dict)
                                             : list_equal(state, left.as.list, right.as.list);
        jinja_depth_leave(state);
        return equal;
    }
    case JINJA_NAMESPACE:
        return left.as.dict == right.as.dict;
    case JINJA_FUNCTION:
        return left.as.function == right.as.function;
    case JINJA_MACRO:
        return left.as.macro == right.as.macro;
    case JINJA_LOOP:
        return left.as.loop == right.as.loop;
    default:
        return left.as.list == right.as.list;
    }
}

static int string_compare(const jinja_string *left, const jinja_string *right)
{
    uint64_t shared = left->count < right->count ? left->count : right->count;
    int order = shared ? memcmp(left->bytes, right->bytes, shared) : 0;
    if (order == 0)
        return (left->count > right->count) - (left->count < right->count);
    return order < 0 ? -1 : 1;
}

static int list_compare(jinja_state *state, const jinja_list *left, const jinja_list *right, const char *operation)
{
    uint64_t shared = left->count < right->count ? left->count : right->count;
    for (uint64_t i = 0; i < shared; i++) {
        jinja_value a = jinja_list_at(left, i), b = jinja_list_at(right, i);
        if (!jinja_equal(state, a, b))
            return jinja_compare(state, a, b, operation);
    }
    return (left->count > right->count) - (left->count < right->count);
}

int jinja_compare(jinja_state *state, jinja_value left, jinja_value right, const char *operation)
{
    jinja_work(state, 1);
    if (jinja_is_number(left) && jinja_is_number(right))
        return number_compare(left, right);
    if (left.kind == JINJA_STRING && right.kind == JINJA_STRING) {
        jinja_work(state, left.as.string->count / 64);
        return string_compare(left.as.string, right.as.string);
    }
    if (left.kind == right.kind && (left.kind == JINJA_LIST || left.kind == JINJA_TUPLE)) {
        jinja_depth_enter(state);
        int order = list_compare(state, left.as.list, right.as.list, operation);
        jinja_depth_leave(state);
        return order;
    }
    jinja_require_defined(state, left);
    jinja_require_defined(state, right);
    jinja_fail(state, "'%s' not supported between instances of '%s' and '%s'", operation, jinja_type_name(left),
               jinja_type_name(right));
}

bool jinja_contains(jinja_state *state, jinja_value container, jinja_value item)
{
    if (container.kind == JINJA_STRING) {
        if (item.kind != JINJA_STRING)
            jinja_fail(state, "'in <string>' requires string as left operand, not %s", jinja_type_name(item));
        return jinja_string_find(state, container.as.string, item.as.string, 0) != UINT64_MAX;
    }
    if (container.kind == JINJA_DICT) {
        require_hashable(state, item);
        return jinja_dict_find(state, container.as.dict, item) != NULL;
    }
    if (!jinja_is_iterable(container))
        jinja_fail(state, "argument of type '%s' is not iterable", jinja_type_name(container));
    const jinja_list *list = jinja_iterate(state, container);
    for (uint64_t i = 0; i < list->count; i++)
        if (jinja_equal(state, jinja_list_at(list, i), item))
            return true;
    return false;
}

uint64_t jinja_length(jinja_state *state, jinja_value value)
{
    switch (value.kind) {
    case JINJA_UNDEFINED:
        return 0;
    case JINJA_STRING:
        return value.as.string->characters;
    case JINJA_LIST:
    case JINJA_TUPLE:
    case JINJA_RANGE:
    case JINJA_VIEW:
        return value.as.list->count;
    case JINJA_DICT:
        return value.as.dict->count;
    default:
        jinja_fail(state, "object of type '%s' has no len()", jinja_type_name(value));
    }
}

bool jinja_is_iterable(jinja_value value)
{
    switch (value.kind) {
    case JINJA_UNDEFINED:
    case JINJA_STRING:
    case JINJA_LIST:
    case JINJA_TUPLE:
    case JINJA_RANGE:
    case JINJA_VIEW:
    case JINJA_GENERATOR:
    case JINJA_DICT:
        return true;
    default:
        return false;
    }
}

static const jinja_list *string_characters(jinja_state *state, const jinja_string *string)
{
    jinja_value *items = JINJA_ARRAY(state, jinja_value, string->characters);
    jinja_work(state, string->characters);
    uint64_t byte = 0;
    for (uint64_t i = 0; i < string->characters; i++) {
        uint64_t end = byte + 1;
        while (end < string->count && ((unsigned char)string->bytes[end] & 0xC0u) == 0x80u)
            end++;
        items[i] = jinja_string_part(state, string, byte, end - byte);
        byte = end;
    }
    return jinja_list_of(state, JINJA_LIST, items, string->characters).as.list;
}

static const jinja_list *dict_keys(jinja_state *state, const jinja_dict *dict)
{
    jinja_value *items = JINJA_ARRAY(state, jinja_value, dict->count);
    for (uint64_t i = 0; i < dict->count; i++)
        items[i] = dict->entries[i].key;
    return jinja_list_of(state, JINJA_LIST, items, dict->count).as.list;
}

const jinja_list *jinja_iterate(jinja_state *state, jinja_value value)
{
    switch (value.kind) {
    case JINJA_UNDEFINED:
        return jinja_list_of(state, JINJA_LIST, NULL, 0).as.list;
    case JINJA_STRING:
        return string_characters(state, value.as.string);
    case JINJA_LIST:
    case JINJA_TUPLE:
    case JINJA_RANGE:
    case JINJA_VIEW:
        return value.as.list;
    case JINJA_GENERATOR: {
        jinja_list *list = value.as.list;
        uint64_t start = (uint64_t)list->start;
        list->start = (jinja_int)list->count;
        return jinja_list_of(state, JINJA_LIST, list->items + start, list->count - start).as.list;
    }
    case JINJA_DICT:
        return dict_keys(state, value.as.dict);
    default:
        jinja_fail(state, "'%s' object is not iterable", jinja_type_name(value));
    }
}

void jinja_require_defined(jinja_state *state, jinja_value value)
{
    if (value.kind != JINJA_UNDEFINED)
        return;
    const jinja_undefined *undefined = value.as.undefined;
    if (undefined->text)
        jinja_fail(state, "%s", undefined->text);
    jinja_value name = jinja_repr(state, undefined->name);
    int n = (int)(name.as.string->count < 160 ? name.as.string->count : 160);
    if (!undefined->owner)
        jinja_fail(state, "%.*s is undefined", n, name.as.string->bytes);
    if (undefined->name.kind != JINJA_STRING)
        jinja_fail(state, "%s object has no element %.*s", undefined->owner, n, name.as.string->bytes);
    if (strcmp(undefined->owner, "NoneType") == 0)
        jinja_fail(state, "'None' has no attribute %.*s", n, name.as.string->bytes);
    jinja_fail(state, "'%s object' has no attribute %.*s", undefined->owner, n, name.as.string->bytes);
}

/* runtime/chat/jinja_filters_list.c: filters on lists and dicts: selecting, mapping, sorting, grouping, picking.
 *
 * What Jinja yields lazily is made at once here, but comes as a generator all the same: it has no length and is used up
 * by the first iteration.
 */
#include "jinja_builtins.h"
#include "jinja_eval.h"
#include "jinja_text.h"

#include <string.h>

static bool is_digits(const jinja_string *string)
{
    for (uint64_t i = 0; i < string->count; i++)
        if (string->bytes[i] < '0' || string->bytes[i] > '9')
            return false;
    return string->count > 0;
}

/* Splits "a.b.0" and looks the parts up one after the other, as x["a"]["b"][0]. */
static jinja_value path_get(jinja_state *state, jinja_value value, jinja_value path, jinja_value or_value)
{
    if (path.kind == JINJA_NONE || path.kind == JINJA_ABSENT)
        return value;
    const jinja_string dot = {".", 1, 1, false};
    uint64_t at = 0;
    for (;;) {
        jinja_value part = path;
        uint64_t end = UINT64_MAX;
        if (path.kind == JINJA_STRING) {
            end = jinja_string_find(state, path.as.string, &dot, at);
            part = jinja_string_part(state, path.as.string, at, (end == UINT64_MAX ? path.as.string->count : end) - at);
            jinja_int index;
            if (is_digits(part.as.string) &&
                jinja_int_parse(state, part.as.string->bytes, part.as.string->count, 10, &index))
                part = jinja_integer(index);
        }
        jinja_require_defined(state, value);
        jinja_value found = jinja_element(state, value, part);
        if (found.kind == JINJA_ABSENT && part.kind == JINJA_STRING)
            found = jinja_attribute(state, value, part.as.string);
        value = found.kind == JINJA_ABSENT ? jinja_undefined_member(state, value, part) : found;
        if (value.kind == JINJA_UNDEFINED && or_value.kind != JINJA_ABSENT && or_value.kind != JINJA_NONE)
            value = or_value;
        if (end == UINT64_MAX)
            return value;
        at = end + 1;
    }
}

static jinja_value fold_case(jinja_state *state, jinja_value value, bool case_sensitive)
{
    if (case_sensitive || value.kind != JINJA_STRING)
        return value;
    return jinja_recase(state, value.as.string, JINJA_LOWER);
}

/* The values to sort by: one for each comma-separated path. A list even of one, since lists of equal elements can be
 * compared whatever these are. */
static jinja_value sort_key(jinja_state *state, jinja_value item, jinja_value paths, bool case_sensitive)
{
    const jinja_string comma = {",", 1, 1, false};
    jinja_builder builder = {0};
    if (paths.kind != JINJA_STRING) {
        jinja_builder_add(state, &builder,
                          fold_case(state, path_get(state, item, paths, jinja_none()), case_sensitive));
        return jinja_builder_take(state, &builder, JINJA_LIST);
    }
    for (uint64_t at = 0;;) {
        uint64_t end = jinja_string_find(state, paths.as.string, &comma, at);
        uint64_t stop = end == UINT64_MAX ? paths.as.string->count : end;
        jinja_value path = jinja_string_part(state, paths.as.string, at, stop - at);
        jinja_builder_add(state, &builder, fold_case(state, path_get(state, item, path, jinja_none()), case_sensitive));
        if (end == UINT64_MAX)
            return jinja_builder_take(state, &builder, JINJA_LIST);
        at = end + 1;
    }
}

/* Merges the sorted halves of items[0..count) through scratch. Equal items keep their order, also when reversed. */
static void entries_merge(jinja_state *state, jinja_entry *items, jinja_entry *scratch, uint64_t count, bool reverse)
{
    uint64_t half = count / 2;
    if (count < 2)
        return;
    entries_merge(state, items, scratch, half, reverse);
    entries_merge(state, items + half, scratch, count - half, reverse);
    memcpy(scratch, items, count * sizeof *items);
    for (uint64_t i = 0, a = 0, b = half; i < count; i++) {
        bool second = a == half;
        if (a < half && b < count)
            second = reverse ? jinja_compare(state, scratch[a].key, scratch[b].key, "<") == -1
                             : jinja_compare(state, scratch[b].key, scratch[a].key, "<") == -1;
        items[i] = scratch[second ? b++ : a++];
    }
}

static void entries_sort(jinja_state *state, jinja_entry *items, uint64_t count, bool reverse)
{
    entries_merge(state, items, JINJA_ARRAY(state, jinja_entry, count), count, reverse);
}

static jinja_value entries_values(jinja_state *state, const jinja_entry *entries, uint64_t count)
{
    jinja_value *items = JINJA_ARRAY(state, jinja_value, count);
    for (uint64_t i = 0; i < count; i++)
        items[i] = entries[i].value;
    return jinja_list_of(state, JINJA_LIST, items, count);
}

static jinja_value filter_sort(jinja_state *state, jinja_call *call)
{
    const jinja_list *list = jinja_iterate(state, call->self);
    bool case_sensitive = jinja_argument_bool(state, call, 1, false);
    jinja_entry *entries = JINJA_ARRAY(state, jinja_entry, list->count);
    for (uint64_t i = 0; i < list->count; i++) {
        jinja_value item = jinja_list_at(list, i);
        entries[i] = (jinja_entry){sort_key(state, item, call->bound[2], case_sensitive), item};
    }
    entries_sort(state, entries, list->count, jinja_argument_bool(state, call, 0, false));
    return entries_values(state, entries, list->count);
}

static jinja_value filter_dictsort(jinja_state *state, jinja_call *call)
{
    if (call->self.kind != JINJA_DICT)
        jinja_fail(state, "dictsort needs a mapping, not %s", jinja_type_name(call->self));
    const jinja_dict *dict = call->self.as.dict;
    const jinja_string *by = jinja_argument_string(state, call, 1, "key");
    bool by_value = jinja_string_is(by, "value");
    if (!by_value && !jinja_string_is(by, "key"))
        jinja_fail(state, "dictsort sorts by 'key' or by 'value'");
    bool case_sensitive = jinja_argument_bool(state, call, 0, false);
    jinja_entry *entries = JINJA_ARRAY(state, jinja_entry, dict->count);
    for (uint64_t i = 0; i < dict->count; i++) {
        jinja_entry entry = dict->entries[i];
        entries[i].key = fold_case(state, by_value ? entry.value : entry.key, case_sensitive);
        entries[i].value = jinja_pair(state, entry.key, entry.value);
    }
    entries_sort(state, entries, dict->count, jinja_argument_bool(state, call, 2, false));
    return entries_values(state, entries, dict->count);
}

static jinja_value filter_groupby(jinja_state *state, jinja_call *call)
{
    const jinja_list *list = jinja_iterate(state, call->self);
    bool case_sensitive = jinja_argument_bool(state, call, 2, false);
    jinja_entry *entries = JINJA_ARRAY(state, jinja_entry, list->count);
    for (uint64_t i = 0; i < list->count; i++) {
        jinja_value item = jinja_list_at(list, i);
        jinja_value key = path_get(state, item, call->bound[0], call->bound[1]);
        entries[i] = (jinja_entry){fold_case(state, key, case_sensitive), item};
    }
    entries_sort(state, entries, list->count, false);
    jinja_builder groups = {0};
    for (uint64_t i = 0, end; i < list->count; i = end) {
        for (end = i + 1; end < list->count && jinja_equal(state, entries[i].key, entries[end].key);)
            end++;
        jinja_value key = path_get(state, entries[i].value, call->bound[0], call->bound[1]);
        jinja_value group = jinja_pair(state, key, entries_values(state, entries + i, end - i));
        group.as.list->label = "group"; /* has .grouper and .list */
        jinja_builder_add(state, &groups, group);
    }
    return jinja_builder_take(state, &groups, JINJA_LIST);
}

static jinja_value filter_unique(jinja_state *state, jinja_call *call)
{
    const jinja_list *list = jinja_iterate(state, call->self);
    bool case_sensitive = jinja_argument_bool(state, call, 0, false);
    jinja_value seen = jinja_dict_new(state, JINJA_DICT, 8);
    jinja_builder builder = {0};
    for (uint64_t i = 0; i < list->count; i++) {
        jinja_value item = jinja_list_at(list, i);
        jinja_value key = fold_case(state, path_get(state, item, call->bound[1], jinja_none()), case_sensitive);
        uint64_t before = seen.as.dict->count;
        jinja_dict_set(state, seen.as.dict, key, jinja_none());
        if (seen.as.dict->count > before)
            jinja_builder_add(state, &builder, item);
    }
    return jinja_builder_take(state, &builder, JINJA_GENERATOR);
}

static jinja_value extreme(jinja_state *state, jinja_call *call, int wanted)
{
    const jinja_list *list = jinja_iterate(state, call->self);
    bool case_sensitive = jinja_argument_bool(state, call, 0, false);
    if (list->count == 0)
        return jinja_undefined_because(state, "no aggregated item, the sequence was empty");
    jinja_value best = jinja_list_at(list, 0), best_key = jinja_none();
    for (uint64_t i = 0; i < list->count; i++) {
        jinja_value item = jinja_list_at(list, i);
        jinja_value key = fold_case(state, path_get(state, item, call->bound[1], jinja_none()), case_sensitive);
        if (i == 0 || jinja_compare(state, key, best_key, wanted < 0 ? "<" : ">") == wanted) {
            best = item;
            best_key = key;
        }
    }
    return best;
}

static jinja_value filter_min(jinja_state *state, jinja_call *call)
{
    return extreme(state, call, -1);
}

static jinja_value filter_max(jinja_state *state, jinja_call *call)
{
    return extreme(state, call, 1);
}

static jinja_value filter_sum(jinja_state *state, jinja_call *call)
{
    const jinja_list *list = jinja_iterate(state, call->self);
    jinja_value total = call->bound[1].kind == JINJA_ABSENT ? jinja_integer(0) : call->bound[1];
    if (total.kind == JINJA_STRING)
        jinja_fail(state, "sum() can't sum strings");
    for (uint64_t i = 0; i < list->count; i++)
        total =
            jinja_arithmetic(state, '+', total, path_get(state, jinja_list_at(list, i), call->bound[0], jinja_none()));
    return total;
}

static jinja_value filter_list(jinja_state *state, jinja_call *call)
{
    const jinja_list *list = jinja_iterate(state, call->self);
    jinja_value *items = JINJA_ARRAY(state, jinja_value, list->count);
    for (uint64_t i = 0; i < list->count; i++)
        items[i] = jinja_list_at(list, i);
    return jinja_list_of(state, JINJA_LIST, items, list->count);
}

static jinja_value filter_first(jinja_state *state, jinja_call *call)
{
    if (call->self.kind == JINJA_GENERATOR && call->self.as.list->start < (jinja_int)call->self.as.list->count)
        return call->self.as.list->items[call->self.as.list->start++];
    const jinja_list *list = jinja_iterate(state, call->self);
    return list->count ? jinja_list_at(list, 0)
                       : jinja_undefined_because(state, "no first item, the sequence was empty");
}

static jinja_value filter_last(jinja_state *state, jinja_call *call)
{
    if (call->self.kind == JINJA_GENERATOR)
        jinja_fail(state, "'generator' object is not reversible");
    const jinja_list *list = jinja_iterate(state, call->self);
    return list->count ? jinja_list_at(list, list->count - 1)
                       : jinja_undefined_because(state, "no last item, the sequence was empty");
}

static jinja_value filter_length(jinja_state *state, jinja_call *call)
{
    return jinja_integer((jinja_int)jinja_length(state, call->self));
}

static jinja_value filter_reverse(jinja_state *state, jinja_call *call)
{
    if (call->self.kind == JINJA_STRING)
        return jinja_slice(state, call->self, jinja_none(), jinja_none(), jinja_integer(-1));
    const jinja_list *list = jinja_iterate(state, call->self);
    jinja_value *items = JINJA_ARRAY(state, jinja_value, list->count);
    for (uint64_t i = 0; i < list->count; i++)
        items[i] = jinja_list_at(list, list->count - 1 - i);
    return jinja_list_of(state, JINJA_GENERATOR, items, list->count);
}

static jinja_value filter_items(jinja_state *state, jinja_call *call)
{
    if (call->self.kind == JINJA_UNDEFINED)
        return jinja_list_of(state, JINJA_GENERATOR, NULL, 0);
    if (call->self.kind != JINJA_DICT)
        jinja_fail(state, "can only get item pairs from a mapping, not from %s", jinja_type_name(call->self));
    const jinja_dict *dict = call->self.as.dict;
    jinja_value *items = JINJA_ARRAY(state, jinja_value, dict->count);
    for (uint64_t i = 0; i < dict->count; i++)
        items[i] = jinja_pair(state, dict->entries[i].key, dict->entries[i].value);
    return jinja_list_of(state, JINJA_GENERATOR, items, dict->count);
}

static jinja_value filter_batch(jinja_state *state, jinja_call *call)
{
    const jinja_list *list = jinja_iterate(state, call->self);
    jinja_int size = jinja_argument_int(state, call, 0, 0);
    bool fills = call->bound[1].kind != JINJA_ABSENT && call->bound[1].kind != JINJA_NONE;
    jinja_builder batches = {0}, batch = {0};
    for (uint64_t i = 0; i < list->count; i++) {
        if ((jinja_int)batch.count == size) {
            jinja_builder_add(state, &batches, jinja_builder_take(state, &batch, JINJA_LIST));
            batch = (jinja_builder){0};
        }
        jinja_builder_add(state, &batch, jinja_list_at(list, i));
    }
    while (fills && batch.count && (jinja_int)batch.count < size)
        jinja_builder_add(state, &batch, call->bound[1]);
    if (batch.count)
        jinja_builder_add(state, &batches, jinja_builder_take(state, &batch, JINJA_LIST));
    return jinja_builder_take(state, &batches, JINJA_GENERATOR);
}

static jinja_value filter_slice(jinja_state *state, jinja_call *call)
{
    const jinja_list *list = jinja_iterate(state, call->self);
    jinja_int slices = jinja_argument_int(state, call, 0, 0);
    bool fills = call->bound[1].kind != JINJA_ABSENT && call->bound[1].kind != JINJA_NONE;
    if (slices <= 0 || slices > state->limits.range_items)
        jinja_fail(state, "slice needs a number of slices from 1 to %u", state->limits.range_items);
    uint64_t each = list->count / (uint64_t)slices, longer = list->count % (uint64_t)slices;
    jinja_builder made = {0};
    uint64_t at = 0;
    for (uint64_t i = 0; i < (uint64_t)slices; i++) {
        jinja_builder slice = {0};
        for (uint64_t end = at + each + (i < longer); at < end; at++)
            jinja_builder_add(state, &slice, jinja_list_at(list, at));
        if (fills && i >= longer)
            jinja_builder_add(state, &slice, call->bound[1]);
        jinja_builder_add(state, &made, jinja_builder_take(state, &slice, JINJA_LIST));
    }
    return jinja_builder_take(state, &made, JINJA_GENERATOR);
}

static const jinja_keyword *keyword_find(const jinja_call *call, const char *name)
{
    for (uint64_t i = 0; i < call->n_keywords; i++)
        if (jinja_string_is(call->keywords[i].name, name))
            return &call->keywords[i];
    return NULL;
}

/* The filter or test named by args[index], with the arguments after it. */
static const jinja_function *named(jinja_state *state, const jinja_call *call, uint64_t index, bool test,
                                   jinja_call *ret_inner)
{
    jinja_value name = call->args[index];
    if (name.kind != JINJA_STRING)
        jinja_fail(state, "the name of a %s must be str, not %s", test ? "test" : "filter", jinja_type_name(name));
    const jinja_function *function = test ? jinja_test_find(name.as.string) : jinja_filter_find(name.as.string);
    if (!function)
        jinja_fail(state, "there is no %s named '%.*s'", test ? "test" : "filter",
                   (int)(name.as.string->count < 60 ? name.as.string->count : 60), name.as.string->bytes);
    *ret_inner = *call;
    ret_inner->args = call->args + index + 1;
    ret_inner->n_args = call->n_args - index - 1;
    return function;
}

static jinja_value filter_map(jinja_state *state, jinja_call *call)
{
    const jinja_keyword *attribute = keyword_find(call, "attribute");
    const jinja_function *function = NULL;
    jinja_call inner = {0};
    jinja_builder builder = {0};
    if (!jinja_truth(state, call->self))
        return jinja_builder_take(state, &builder, JINJA_GENERATOR);
    if (call->n_args)
        function = named(state, call, 0, false, &inner);
    else if (!attribute)
        jinja_fail(state, "map needs a filter or attribute=");
    const jinja_keyword *or_value = keyword_find(call, "default");
    if (!function && call->n_keywords > 1u + (or_value != NULL))
        jinja_fail(state, "map(attribute=...) takes only 'default' beside");

    const jinja_list *list = jinja_iterate(state, call->self);
    for (uint64_t i = 0; i < list->count; i++) {
        inner.self = jinja_list_at(list, i);
        jinja_depth_enter(state); /* map('map', 'map', ...) */
        jinja_builder_add(
            state, &builder,
            function ? jinja_invoke(state, function, &inner)
                     : path_get(state, inner.self, attribute->value, or_value ? or_value->value : jinja_none()));
        jinja_depth_leave(state);
    }
    return jinja_builder_take(state, &builder, JINJA_GENERATOR);
}

/* args: [attribute,] [test, arguments...] */
static jinja_value choose(jinja_state *state, jinja_call *call, bool by_attribute, bool keep)
{
    uint64_t first = by_attribute ? 1 : 0;
    const jinja_function *function = NULL;
    jinja_call inner = {0};
    jinja_builder builder = {0};
    if (!jinja_truth(state, call->self))
        return jinja_builder_take(state, &builder, JINJA_GENERATOR);
    if (call->n_args < first)
        jinja_fail(state, "the name of an attribute is missing");
    if (call->n_args > first)
        function = named(state, call, first, true, &inner);
    const jinja_list *list = jinja_iterate(state, call->self);
    for (uint64_t i = 0; i < list->count; i++) {
        jinja_value item = jinja_list_at(list, i);
        inner.self = by_attribute ? path_get(state, item, call->args[0], jinja_none()) : item;
        jinja_value passes = function ? jinja_invoke(state, function, &inner) : inner.self;
        if (jinja_truth(state, passes) == keep)
            jinja_builder_add(state, &builder, item);
    }
    return jinja_builder_take(state, &builder, JINJA_GENERATOR);
}

static jinja_value filter_select(jinja_state *state, jinja_call *call)
{
    return choose(state, call, false, true);
}

static jinja_value filter_reject(jinja_state *state, jinja_call *call)
{
    return choose(state, call, false, false);
}

static jinja_value filter_selectattr(jinja_state *state, jinja_call *call)
{
    return choose(state, call, true, true);
}

static jinja_value filter_rejectattr(jinja_state *state, jinja_call *call)
{
    return choose(state, call, true, false);
}

static jinja_value filter_join(jinja_state *state, jinja_call *call)
{
    const jinja_string *between = call->bound[0].kind == JINJA_ABSENT ? NULL : jinja_str(state, call->bound[0]);
    const jinja_list *list = jinja_iterate(state, call->self);
    jinja_buffer *buffer = jinja_buffer_open(state);
    for (uint64_t i = 0; i < list->count; i++) {
        if (i && between)
            jinja_buffer_add(state, buffer, between->bytes, between->count);
        jinja_str_add(state, buffer, path_get(state, jinja_list_at(list, i), call->bound[1], jinja_none()));
    }
    return jinja_text_take(state, buffer);
}

static jinja_value filter_attr(jinja_state *state, jinja_call *call)
{
    const jinja_string *name = jinja_str(state, call->bound[0]);
    jinja_require_defined(state, call->self);
    jinja_value found = jinja_attribute(state, call->self, name);
    return found.kind == JINJA_ABSENT ? jinja_undefined_member(state, call->self, call->bound[0]) : found;
}

static const jinja_function items_table[] = {
    {.name = "attr", .run = filter_attr, .parameters = "name", .n_required = 1},
    {.name = "batch", .run = filter_batch, .parameters = "linecount fill_with", .n_required = 1},
    {.name = "count", .run = filter_length, .parameters = ""},
    {.name = "dictsort", .run = filter_dictsort, .parameters = "case_sensitive by reverse"},
    {.name = "first", .run = filter_first, .parameters = ""},
    {.name = "groupby", .run = filter_groupby, .parameters = "attribute default case_sensitive", .n_required = 1},
    {.name = "items", .run = filter_items, .parameters = ""},
    {.name = "join", .run = filter_join, .parameters = "d attribute"},
    {.name = "last", .run = filter_last, .parameters = ""},
    {.name = "length", .run = filter_length, .parameters = ""},
    {.name = "list", .run = filter_list, .parameters = ""},
    {.name = "map", .run = filter_map},
    {.name = "max", .run = filter_max, .parameters = "case_sensitive attribute"},
    {.name = "min", .run = filter_min, .parameters = "case_sensitive attribute"},
    {.name = "reject", .run = filter_reject},
    {.name = "rejectattr", .run = filter_rejectattr},
    {.name = "reverse", .run = filter_reverse, .parameters = ""},
    {.name = "select", .run = filter_select},
    {.name = "selectattr", .run = filter_selectattr},
    {.name = "slice", .run = filter_slice, .parameters = "slices fill_with", .n_required = 1},
    {.name = "sort", .run = filter_sort, .parameters = "reverse case_sensitive attribute"},
    {.name = "sum", .run = filter_sum, .parameters = "attribute start"},
    {.name = "tojson", .run = jinja_tojson, .parameters = "ensure_ascii indent separators sort_keys"},
    {.name = "unique", .run = filter_unique, .parameters = "case_sensitive attribute"},
};
const jinja_functions jinja_list_filters = {items_table, sizeof items_table / sizeof *items_table};

/* runtime/chat/jinja_methods.c: attributes that are no elements: methods of dicts, lists and macros, properties. The
 * methods of strings are in jinja_string_methods.c.
 *
 * Only what is listed here can be reached; there is no way from a value to anything of the process.
 */
#include "jinja_builtins.h"
#include "jinja_eval.h"

#include <string.h>

static jinja_value dict_get(jinja_state *state, jinja_call *call)
{
    const jinja_value *found = jinja_dict_find(state, call->self.as.dict, call->bound[0]);
    if (found)
        return *found;
    return call->bound[1].kind == JINJA_ABSENT ? jinja_none() : call->bound[1];
}

static jinja_value dict_view(jinja_state *state, const jinja_dict *dict, const char *label)
{
    bool keys = strcmp(label, "dict_keys") == 0, values = strcmp(label, "dict_values") == 0;
    jinja_value *items = JINJA_ARRAY(state, jinja_value, dict->count);
    for (uint64_t i = 0; i < dict->count; i++) {
        jinja_entry entry = dict->entries[i];
        items[i] = keys ? entry.key : values ? entry.value : jinja_pair(state, entry.key, entry.value);
    }
    jinja_value view = jinja_list_of(state, JINJA_VIEW, items, dict->count);
    view.as.list->label = label;
    return view;
}

static jinja_value dict_keys(jinja_state *state, jinja_call *call)
{
    return dict_view(state, call->self.as.dict, "dict_keys");
}

static jinja_value dict_values(jinja_state *state, jinja_call *call)
{
    return dict_view(state, call->self.as.dict, "dict_values");
}

static jinja_value dict_items(jinja_state *state, jinja_call *call)
{
    return dict_view(state, call->self.as.dict, "dict_items");
}

/* A copy of what never changes is the thing itself. */
static jinja_value copy(jinja_state *state, jinja_call *call)
{
    (void)state;
    return call->self;
}

static jinja_value list_index(jinja_state *state, jinja_call *call)
{
    const jinja_list *list = call->self.as.list;
    for (uint64_t i = 0; i < list->count; i++)
        if (jinja_equal(state, jinja_list_at(list, i), call->bound[0]))
            return jinja_integer((jinja_int)i);
    jinja_fail(state, "index: the value is not in the list");
}

static jinja_value list_count(jinja_state *state, jinja_call *call)
{
    const jinja_list *list = call->self.as.list;
    jinja_int count = 0;
    for (uint64_t i = 0; i < list->count; i++)
        count += jinja_equal(state, jinja_list_at(list, i), call->bound[0]);
    return jinja_integer(count);
}

static jinja_value cycler_current(const jinja_list *list)
{
    return list->items[(uint64_t)list->start % list->count];
}

static jinja_value cycler_next(jinja_state *state, jinja_call *call)
{
    (void)state;
    jinja_value current = cycler_current(call->self.as.list);
    call->self.as.list->start++;
    return current;
}

static jinja_value cycler_reset(jinja_state *state, jinja_call *call)
{
    (void)state;
    call->self.as.list->start = 0;
    return jinja_none();
}

static jinja_value bound_method(jinja_state *state, jinja_functions functions, jinja_value self,
                                const jinja_string *name)
{
    const jinja_function *function = jinja_functions_find(functions, name);
    if (!function)
        return (jinja_value){.kind = JINJA_ABSENT};
    jinja_function *method = JINJA_NEW(state, jinja_function);
    *method = *function;
    method->self = self;
    return (jinja_value){.kind = JINJA_FUNCTION, .as.function = method};
}

static jinja_value macro_attribute(jinja_state *state, const jinja_macro *macro, const jinja_string *name)
{
    const jinja_node *node = macro->node;
    if (jinja_string_is(name, "name"))
        return node->name ? (jinja_value){.kind = JINJA_STRING, .as.string = node->name} : jinja_none();
    if (jinja_string_is(name, "catch_varargs"))
        return jinja_bool(node->uses & JINJA_USES_VARARGS);
    if (jinja_string_is(name, "catch_kwargs"))
        return jinja_bool(node->uses & JINJA_USES_KWARGS);
    if (jinja_string_is(name, "caller"))
        return jinja_bool(node->uses & JINJA_USES_CALLER);
    if (!jinja_string_is(name, "arguments"))
        return (jinja_value){.kind = JINJA_ABSENT};
    jinja_builder builder = {0};
    for (const jinja_node *parameter = node->args; parameter; parameter = parameter->next)
        jinja_builder_add(state, &builder, (jinja_value){.kind = JINJA_STRING, .as.string = parameter->name});
    return jinja_builder_take(state, &builder, JINJA_TUPLE);
}

jinja_value jinja_attribute(jinja_state *state, jinja_value object, const jinja_string *name)
{
    static const jinja_function dict_table[] = {
        {.name = "copy", .run = copy, .parameters = ""},
        {.name = "get", .run = dict_get, .parameters = "key default", .n_required = 1},
        {.name = "items", .run = dict_items, .parameters = ""},
        {.name = "keys", .run = dict_keys, .parameters = ""},
        {.name = "values", .run = dict_values, .parameters = ""},
    };
    static const jinja_function list_table[] = {
        {.name = "copy", .run = copy, .parameters = ""},
        {.name = "count", .run = list_count, .parameters = "value", .n_required = 1},
        {.name = "index", .run = list_index, .parameters = "value", .n_required = 1},
    };
    static const jinja_function cycler_table[] = {
        {.name = "next", .run = cycler_next, .parameters = ""},
        {.name = "reset", .run = cycler_reset, .parameters = ""},
    };
    jinja_functions functions = {NULL, 0};
    switch (object.kind) {
    case JINJA_STRING:
        functions = jinja_string_methods;
        break;
    case JINJA_DICT:
        functions = (jinja_functions){dict_table, sizeof dict_table / sizeof *dict_table};
        break;
    case JINJA_TUPLE:
        if (object.as.list->label && jinja_string_is(name, "grouper"))
            return object.as.list->items[0];
        if (object.as.list->label && jinja_string_is(name, "list"))
            return object.as.list->items[1];
        functions = (jinja_functions){list_table + 1, sizeof list_table / sizeof *list_table - 1};
        break;
    case JINJA_RANGE:
        functions = (jinja_functions){list_table + 1, sizeof list_table / sizeof *list_table - 1};
        break;
    case JINJA_LIST:
        functions = (jinja_functions){list_table, sizeof list_table / sizeof *list_table};
        break;
    case JINJA_CYCLER:
        if (jinja_string_is(name, "current"))
            return cycler_current(object.as.list);
        functions = (jinja_functions){cycler_table, sizeof cycler_table / sizeof *cycler_table};
        break;
    case JINJA_LOOP:
        return jinja_loop_attribute(state, object.as.loop, name);
    case JINJA_MACRO:
        return macro_attribute(state, object.as.macro, name);
    default:
        break;
    }
    return bound_method(state, functions, object, name);
}

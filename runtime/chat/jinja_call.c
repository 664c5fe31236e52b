/* runtime/chat/jinja_call.c: binding arguments to the parameters of a ready-made function, and the global functions. */
#include "jinja_builtins.h"
#include "jinja_text.h"

#include <string.h>

static int shown(const jinja_string *name)
{
    return (int)(name->count < 60 ? name->count : 60);
}

/* The position of name among the parameters, or -1. */
static int parameter_find(const char *parameters, const jinja_string *name)
{
    for (int index = 0; *parameters; index++) {
        size_t n = strcspn(parameters, " ");
        if (n == name->count && memcmp(parameters, name->bytes, n) == 0)
            return index;
        parameters += n + (parameters[n] == ' ');
    }
    return -1;
}

static uint32_t parameter_total(const char *parameters)
{
    uint32_t count = *parameters != 0;
    for (; *parameters; parameters++)
        count += *parameters == ' ';
    return count;
}

static void bind(jinja_state *state, const jinja_function *function, jinja_call *call)
{
    uint32_t total = parameter_total(function->parameters);
    TN_ASSERT(total <= JINJA_PARAMETERS_MAX);
    if (call->n_args > total)
        jinja_fail(state, "%s takes at most %u arguments, got %llu", function->name, total,
                   (unsigned long long)call->n_args);
    memset(call->bound, 0, sizeof call->bound);
    for (uint64_t i = 0; i < call->n_args; i++)
        call->bound[i] = call->args[i];
    for (uint64_t i = 0; i < call->n_keywords; i++) {
        const jinja_string *name = call->keywords[i].name;
        int index = parameter_find(function->parameters, name);
        if (index < 0)
            jinja_fail(state, "%s has no parameter '%.*s'", function->name, shown(name), name->bytes);
        if (call->bound[index].kind != JINJA_ABSENT)
            jinja_fail(state, "%s got '%.*s' twice", function->name, shown(name), name->bytes);
        call->bound[index] = call->keywords[i].value;
    }
    for (uint32_t i = 0; i < function->n_required; i++)
        if (call->bound[i].kind == JINJA_ABSENT)
            jinja_fail(state, "%s needs %u arguments (%s)", function->name, function->n_required, function->parameters);
}

jinja_value jinja_invoke(jinja_state *state, const jinja_function *function, jinja_call *call)
{
    jinja_work(state, 1);
    if (function->parameters)
        bind(state, function, call);
    return function->run(state, call);
}

const jinja_function *jinja_functions_find(jinja_functions functions, const jinja_string *name)
{
    for (uint64_t i = 0; i < functions.count; i++)
        if (jinja_string_is(name, functions.items[i].name))
            return &functions.items[i];
    return NULL;
}

const jinja_string *jinja_argument_string(jinja_state *state, const jinja_call *call, int index, const char *or_text)
{
    jinja_value value = call->bound[index];
    if (value.kind == JINJA_ABSENT || (value.kind == JINJA_NONE && or_text == NULL))
        return or_text ? jinja_text(state, or_text, strlen(or_text)).as.string : NULL;
    jinja_require_defined(state, value);
    if (value.kind != JINJA_STRING)
        jinja_fail(state, "argument %d must be str, not %s", index + 1, jinja_type_name(value));
    return value.as.string;
}

jinja_int jinja_argument_int(jinja_state *state, const jinja_call *call, int index, jinja_int or_integer)
{
    jinja_value value = call->bound[index];
    if (value.kind == JINJA_ABSENT)
        return or_integer;
    jinja_require_defined(state, value);
    if (value.kind != JINJA_INT && value.kind != JINJA_BOOL)
        jinja_fail(state, "argument %d must be an integer, not %s", index + 1, jinja_type_name(value));
    if (value.kind == JINJA_BOOL)
        return value.as.boolean;
    if (value.as.integer != (int64_t)value.as.integer)
        jinja_fail(state, "argument %d has more than 64 bits", index + 1);
    return value.as.integer;
}

bool jinja_argument_bool(jinja_state *state, const jinja_call *call, int index, bool or_boolean)
{
    jinja_value value = call->bound[index];
    return value.kind == JINJA_ABSENT ? or_boolean : jinja_truth(state, value);
}

static jinja_value global_range(jinja_state *state, jinja_call *call)
{
    jinja_int start = jinja_argument_int(state, call, 0, 0);
    jinja_int stop = jinja_argument_int(state, call, 1, 0);
    jinja_int step = jinja_argument_int(state, call, 2, 1);
    if (call->bound[1].kind == JINJA_ABSENT) {
        stop = start;
        start = 0;
    }
    if (step == 0)
        jinja_fail(state, "range() arg 3 must not be zero");
    jinja_int span = step > 0 ? stop - start : start - stop;
    jinja_int stride = step > 0 ? step : -step;
    jinja_int count = span > 0 ? (span + stride - 1) / stride : 0;
    if (count > state->limits.range_items)
        jinja_fail(state, "range() of more than %u items", state->limits.range_items);
    jinja_list *list = JINJA_NEW(state, jinja_list);
    *list = (jinja_list){.count = (uint64_t)count, .start = start, .stop = stop, .step = step};
    return (jinja_value){.kind = JINJA_RANGE, .as.list = list};
}

/* dict(mapping or pairs, name=value...) and namespace(...). */
static jinja_value mapping_of(jinja_state *state, jinja_call *call, jinja_kind kind)
{
    jinja_value made = jinja_dict_new(state, kind, 4);
    if (call->n_args > 1)
        jinja_fail(state, "%s takes at most one positional argument", kind == JINJA_DICT ? "dict" : "namespace");
    if (call->n_args && (call->args[0].kind == JINJA_DICT || call->args[0].kind == JINJA_NAMESPACE)) {
        const jinja_dict *from = call->args[0].as.dict;
        for (uint64_t i = 0; i < from->count; i++)
            jinja_dict_set(state, made.as.dict, from->entries[i].key, from->entries[i].value);
    } else if (call->n_args) {
        const jinja_list *pairs = jinja_iterate(state, call->args[0]);
        for (uint64_t i = 0; i < pairs->count; i++) {
            const jinja_list *pair = jinja_iterate(state, jinja_list_at(pairs, i));
            if (pair->count != 2)
                jinja_fail(state, "a dict is made from pairs");
            jinja_dict_set(state, made.as.dict, jinja_list_at(pair, 0), jinja_list_at(pair, 1));
        }
    }
    for (uint64_t i = 0; i < call->n_keywords; i++) {
        jinja_value name = {.kind = JINJA_STRING, .as.string = call->keywords[i].name};
        jinja_dict_set(state, made.as.dict, name, call->keywords[i].value);
    }
    return made;
}

static jinja_value global_dict(jinja_state *state, jinja_call *call)
{
    return mapping_of(state, call, JINJA_DICT);
}

static jinja_value global_namespace(jinja_state *state, jinja_call *call)
{
    jinja_value made = mapping_of(state, call, JINJA_NAMESPACE);
    for (uint64_t i = 0; i < made.as.dict->count; i++) {
        jinja_value key = made.as.dict->entries[i].key;
        if (key.kind == JINJA_STRING && key.as.string->count && key.as.string->bytes[0] == '_')
            jinja_fail(state, "a namespace cannot hold names that begin with an underscore");
    }
    return made;
}

static jinja_value global_cycler(jinja_state *state, jinja_call *call)
{
    if (call->n_args == 0)
        jinja_fail(state, "cycler() needs at least one item");
    jinja_value made = jinja_list_of(state, JINJA_CYCLER, call->args, call->n_args);
    return made;
}

static jinja_value global_joiner(jinja_state *state, jinja_call *call)
{
    jinja_value *separator = JINJA_NEW(state, jinja_value);
    *separator = call->bound[0].kind == JINJA_ABSENT ? jinja_text(state, ", ", 2) : call->bound[0];
    return jinja_list_of(state, JINJA_JOINER, separator, 1);
}

static jinja_value global_raise_exception(jinja_state *state, jinja_call *call)
{
    const jinja_string *message = jinja_str(state, call->bound[0]);
    jinja_fail(state, "%.*s", (int)(message->count < 480 ? message->count : 480), message->bytes);
}

static jinja_value global_strftime_now(jinja_state *state, jinja_call *call)
{
    const jinja_string *format = jinja_argument_string(state, call, 0, NULL);
    if (!format || format->count > 256 || memchr(format->bytes, 0, format->count))
        jinja_fail(state, "strftime_now needs a format of at most 256 bytes");
    char pattern[258];
    char text[4096];
    /* strftime returns 0 both for an empty result and for one that does not fit; the blank tells them apart. */
    memcpy(pattern, format->bytes, format->count);
    memcpy(pattern + format->count, " ", 2);
    size_t count = strftime(text, sizeof text, pattern, &state->now);
    if (count == 0)
        jinja_fail(state, "strftime_now gives more than %zu bytes", sizeof text);
    return jinja_text_copy(state, text, count - 1);
}

const jinja_function *jinja_global_find(const jinja_string *name)
{
    static const jinja_function items[] = {
        {.name = "range", .run = global_range, .parameters = "start stop step", .n_required = 1},
        {.name = "dict", .run = global_dict},
        {.name = "namespace", .run = global_namespace},
        {.name = "cycler", .run = global_cycler},
        {.name = "joiner", .run = global_joiner, .parameters = "sep"},
        {.name = "raise_exception", .run = global_raise_exception, .parameters = "message", .n_required = 1},
        {.name = "strftime_now", .run = global_strftime_now, .parameters = "format", .n_required = 1},
    };
    return jinja_functions_find((jinja_functions){items, sizeof items / sizeof *items}, name);
}

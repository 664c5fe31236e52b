/* runtime/chat/jinja_eval.c: expressions of a compiled template.
 *
 * A tree walk: chat templates are short and their cost is dwarfed by tokenization, so there is no bytecode. Each node
 * is one step against the limit, and each level of recursion one level of depth.
 */
#include "jinja_eval.h"

#include "jinja_builtins.h"
#include "jinja_text.h"

#include <string.h>

jinja_scope *jinja_scope_new(jinja_state *state, jinja_scope *parent)
{
    jinja_scope *scope = JINJA_NEW(state, jinja_scope);
    scope->parent = parent;
    return scope;
}

static jinja_variable *variable_find(jinja_state *state, const jinja_scope *scope, const jinja_string *name)
{
    uint64_t seen = 0;
    for (jinja_variable *variable = scope->variables; variable; variable = variable->next) {
        if (jinja_string_equal(variable->name, name))
            return variable;
        jinja_work(state, ++seen % 8 == 0);
    }
    return NULL;
}

void jinja_scope_set(jinja_state *state, jinja_scope *scope, const jinja_string *name, jinja_value value)
{
    jinja_variable *variable = variable_find(state, scope, name);
    if (!variable) {
        variable = scope->spare;
        if (variable)
            scope->spare = variable->next;
        else
            variable = JINJA_NEW(state, jinja_variable);
        variable->name = name;
        variable->next = scope->variables;
        scope->variables = variable;
    }
    variable->value = value;
}

static jinja_value eval_name(jinja_state *state, const jinja_scope *scope, const jinja_string *name)
{
    for (; scope; scope = scope->parent) {
        jinja_work(state, 1);
        const jinja_variable *variable = variable_find(state, scope, name);
        if (variable)
            return variable->value;
    }
    const jinja_function *function = jinja_global_find(name);
    if (function)
        return (jinja_value){.kind = JINJA_FUNCTION, .as.function = function};
    return jinja_undefined_variable(state, name);
}

static jinja_value eval_items(jinja_state *state, jinja_scope *scope, const jinja_node *node, jinja_kind kind)
{
    jinja_builder builder = {0};
    for (const jinja_node *argument = node->args; argument; argument = argument->next)
        jinja_builder_add(state, &builder, jinja_eval(state, scope, argument->a));
    return jinja_builder_take(state, &builder, kind);
}

static jinja_value eval_dict(jinja_state *state, jinja_scope *scope, const jinja_node *node)
{
    jinja_value dict = jinja_dict_new(state, JINJA_DICT, 4);
    for (const jinja_node *argument = node->args; argument; argument = argument->next->next) {
        jinja_value key = jinja_eval(state, scope, argument->a);
        jinja_dict_set(state, dict.as.dict, key, jinja_eval(state, scope, argument->next->a));
    }
    return dict;
}

static jinja_value attribute_unsafe(jinja_state *state, jinja_value object, const jinja_string *name)
{
    jinja_buffer *buffer = jinja_buffer_open(state);
    jinja_buffer_add_text(state, buffer, "access to attribute '");
    jinja_buffer_add(state, buffer, name->bytes, name->count < 100 ? name->count : 100);
    jinja_buffer_add_format(state, buffer, "' of '%s' object is unsafe", jinja_type_name(object));
    jinja_buffer_add_char(state, buffer, 0); /* undefined's text is a C string */
    return jinja_undefined_because(state, jinja_text_take(state, buffer).as.string->bytes);
}

/* Python's own attributes, and the methods that would change a list or dict. */
static bool is_unsafe(jinja_value object, const jinja_string *name)
{
    static const char *const list_names[] = {"append", "clear",   "extend", "insert", "pop",
                                             "remove", "reverse", "sort",   NULL};
    static const char *const dict_names[] = {"clear", "pop", "popitem", "setdefault", "update", NULL};
    if (name->count > 4 && memcmp(name->bytes, "__", 2) == 0 && memcmp(name->bytes + name->count - 2, "__", 2) == 0)
        return true;
    const char *const *names = object.kind == JINJA_LIST ? list_names : object.kind == JINJA_DICT ? dict_names : NULL;
    for (; names && *names; names++)
        if (jinja_string_is(name, *names))
            return true;
    return false;
}

/* object.name, then object["name"]. */
static jinja_value eval_attribute(jinja_state *state, jinja_scope *scope, const jinja_node *node)
{
    jinja_value object = jinja_eval(state, scope, node->a);
    jinja_value name = {.kind = JINJA_STRING, .as.string = node->name};
    state->line = node->line;
    jinja_require_defined(state, object);
    if (is_unsafe(object, node->name))
        return attribute_unsafe(state, object, node->name);
    jinja_value found = jinja_attribute(state, object, node->name);
    if (found.kind == JINJA_ABSENT)
        found = jinja_element(state, object, name);
    return found.kind == JINJA_ABSENT ? jinja_undefined_member(state, object, name) : found;
}

static jinja_value eval_bound(jinja_state *state, jinja_scope *scope, const jinja_node *node)
{
    return node ? jinja_eval(state, scope, node) : jinja_none();
}

/* object[key], then object.key. */
static jinja_value eval_element(jinja_state *state, jinja_scope *scope, const jinja_node *node)
{
    jinja_value object = jinja_eval(state, scope, node->a);
    if (node->b->kind == JINJA_NODE_SLICE) {
        const jinja_node *slice = node->b;
        jinja_value start = eval_bound(state, scope, slice->a);
        jinja_value stop = eval_bound(state, scope, slice->b);
        jinja_value step = eval_bound(state, scope, slice->c);
        state->line = node->line;
        return jinja_slice(state, object, start, stop, step);
    }
    jinja_value key = jinja_eval(state, scope, node->b);
    state->line = node->line;
    jinja_require_defined(state, object);
    jinja_value found = jinja_element(state, object, key);
    if (found.kind == JINJA_ABSENT && key.kind == JINJA_STRING) {
        if (is_unsafe(object, key.as.string))
            return attribute_unsafe(state, object, key.as.string);
        found = jinja_attribute(state, object, key.as.string);
    }
    return found.kind == JINJA_ABSENT ? jinja_undefined_member(state, object, key) : found;
}

typedef struct arguments {
    jinja_builder args;
    jinja_keyword *keywords;
    uint64_t n_keywords, capacity;
} arguments;

static void keyword_add(jinja_state *state, arguments *to, const jinja_string *name, jinja_value value)
{
    for (uint64_t i = 0; i < to->n_keywords; i++)
        if (jinja_string_equal(to->keywords[i].name, name))
            jinja_fail(state, "the keyword argument '%.*s' is passed twice", (int)(name->count < 60 ? name->count : 60),
                       name->bytes);
    jinja_work(state, to->n_keywords);
    if (to->n_keywords == to->capacity) {
        to->capacity = to->capacity ? to->capacity * 2 : 4;
        jinja_keyword *keywords = JINJA_ARRAY(state, jinja_keyword, to->capacity);
        if (to->n_keywords)
            memcpy(keywords, to->keywords, to->n_keywords * sizeof *keywords);
        to->keywords = keywords;
    }
    to->keywords[to->n_keywords++] = (jinja_keyword){name, value};
}

static void keywords_spread(jinja_state *state, arguments *to, jinja_value value)
{
    if (value.kind != JINJA_DICT)
        jinja_fail(state, "argument after ** must be a mapping, not %s", jinja_type_name(value));
    for (uint64_t i = 0; i < value.as.dict->count; i++) {
        jinja_entry entry = value.as.dict->entries[i];
        if (entry.key.kind != JINJA_STRING)
            jinja_fail(state, "keywords must be strings");
        keyword_add(state, to, entry.key.as.string, entry.value);
    }
}

void jinja_eval_arguments(jinja_state *state, jinja_scope *scope, const jinja_node *args, jinja_call *call)
{
    arguments to = {0};
    for (; args; args = args->next) {
        jinja_value value = jinja_eval(state, scope, args->a);
        if (args->name) {
            keyword_add(state, &to, args->name, value);
        } else if (args->op == 'p') {
            keywords_spread(state, &to, value);
        } else if (args->op == '*') {
            const jinja_list *list = jinja_iterate(state, value);
            for (uint64_t i = 0; i < list->count; i++)
                jinja_builder_add(state, &to.args, jinja_list_at(list, i));
        } else {
            jinja_builder_add(state, &to.args, value);
        }
    }
    call->args = to.args.items;
    call->n_args = to.args.count;
    call->keywords = to.keywords;
    call->n_keywords = to.n_keywords;
}

jinja_value jinja_call_value(jinja_state *state, jinja_value callee, jinja_call *call)
{
    switch (callee.kind) {
    case JINJA_FUNCTION:
        call->self = callee.as.function->self;
        return jinja_invoke(state, callee.as.function, call);
    case JINJA_MACRO:
        return jinja_macro_call(state, callee.as.macro, call);
    case JINJA_LOOP:
        return jinja_loop_call(state, callee.as.loop, call);
    case JINJA_JOINER: /* nothing the first time, then the separator */
        return callee.as.list->start++ ? callee.as.list->items[0] : jinja_text(state, "", 0);
    default:
        jinja_require_defined(state, callee);
        jinja_fail(state, "'%s' object is not callable", jinja_type_name(callee));
    }
}

static jinja_value eval_call(jinja_state *state, jinja_scope *scope, const jinja_node *node)
{
    jinja_call call = {0};
    jinja_value callee = jinja_eval(state, scope, node->a);
    jinja_eval_arguments(state, scope, node->args, &call);
    state->line = node->line;
    return jinja_call_value(state, callee, &call);
}

/* A filter or a test. */
static jinja_value eval_named(jinja_state *state, jinja_scope *scope, const jinja_node *node, jinja_value operand)
{
    jinja_call call = {.self = operand};
    jinja_eval_arguments(state, scope, node->args, &call);
    state->line = node->line;
    if (!node->function)
        jinja_fail(state, "there is no %s named '%.*s'", node->kind == JINJA_NODE_FILTER ? "filter" : "test",
                   (int)(node->name->count < 60 ? node->name->count : 60), node->name->bytes);
    return jinja_invoke(state, node->function, &call);
}

jinja_value jinja_eval_filters(jinja_state *state, jinja_scope *scope, const jinja_node *filters, jinja_value operand)
{
    if (!filters)
        return operand;
    jinja_depth_enter(state);
    operand = jinja_eval_filters(state, scope, filters->a, operand);
    jinja_depth_leave(state);
    return eval_named(state, scope, filters, operand);
}

static bool compare_one(jinja_state *state, char op, jinja_value left, jinja_value right)
{
    int order;
    switch (op) {
    case '=':
        return jinja_equal(state, left, right);
    case '!':
        return !jinja_equal(state, left, right);
    case 'i':
        return jinja_contains(state, right, left);
    case 'n':
        return !jinja_contains(state, right, left);
    case '<':
        return jinja_compare(state, left, right, "<") == -1;
    case '>':
        return jinja_compare(state, left, right, ">") == 1;
    case 'l':
        order = jinja_compare(state, left, right, "<=");
        return order == -1 || order == 0;
    default:
        order = jinja_compare(state, left, right, ">=");
        return order == 1 || order == 0;
    }
}

static jinja_value eval_compare(jinja_state *state, jinja_scope *scope, const jinja_node *node)
{
    jinja_value left = jinja_eval(state, scope, node->a);
    for (const jinja_node *operand = node->args; operand; operand = operand->next) {
        jinja_value right = jinja_eval(state, scope, operand->a);
        state->line = node->line;
        if (!compare_one(state, operand->op, left, right))
            return jinja_bool(false);
        left = right;
    }
    return jinja_bool(true);
}

static jinja_value eval_concat(jinja_state *state, jinja_scope *scope, const jinja_node *node)
{
    jinja_buffer *buffer = jinja_buffer_open(state);
    for (const jinja_node *argument = node->args; argument; argument = argument->next)
        jinja_str_add(state, buffer, jinja_eval(state, scope, argument->a));
    return jinja_text_take(state, buffer);
}

static jinja_value eval_choice(jinja_state *state, jinja_scope *scope, const jinja_node *node)
{
    if (jinja_truth(state, jinja_eval(state, scope, node->a)))
        return jinja_eval(state, scope, node->b);
    if (node->c)
        return jinja_eval(state, scope, node->c);
    return jinja_undefined_because(state, "the inline if-expression was false and has no else");
}

static jinja_value eval_arithmetic(jinja_state *state, jinja_scope *scope, const jinja_node *node)
{
    jinja_value left = jinja_eval(state, scope, node->a);
    jinja_value right = jinja_eval(state, scope, node->b);
    state->line = node->line;
    return jinja_arithmetic(state, node->op, left, right);
}

static jinja_value eval_logic(jinja_state *state, jinja_scope *scope, const jinja_node *node)
{
    jinja_value left = jinja_eval(state, scope, node->a);
    if (jinja_truth(state, left) == (node->kind == JINJA_NODE_OR))
        return left;
    return jinja_eval(state, scope, node->b);
}

static jinja_value eval_node(jinja_state *state, jinja_scope *scope, const jinja_node *node)
{
    switch (node->kind) {
    case JINJA_NODE_CONSTANT:
        return node->value;
    case JINJA_NODE_NAME:
        return eval_name(state, scope, node->name);
    case JINJA_NODE_LIST:
        return eval_items(state, scope, node, JINJA_LIST);
    case JINJA_NODE_TUPLE:
        return eval_items(state, scope, node, JINJA_TUPLE);
    case JINJA_NODE_DICT:
        return eval_dict(state, scope, node);
    case JINJA_NODE_ATTRIBUTE:
        return eval_attribute(state, scope, node);
    case JINJA_NODE_ELEMENT:
        return eval_element(state, scope, node);
    case JINJA_NODE_CALL:
        return eval_call(state, scope, node);
    case JINJA_NODE_FILTER:
    case JINJA_NODE_TEST:
        return eval_named(state, scope, node, jinja_eval(state, scope, node->a));
    case JINJA_NODE_CHOICE:
        return eval_choice(state, scope, node);
    case JINJA_NODE_AND:
    case JINJA_NODE_OR:
        return eval_logic(state, scope, node);
    case JINJA_NODE_NOT:
        return jinja_bool(!jinja_truth(state, jinja_eval(state, scope, node->a)));
    case JINJA_NODE_NEGATE:
        return jinja_negate(state, jinja_eval(state, scope, node->a));
    case JINJA_NODE_PLUS:
        return jinja_arithmetic(state, '+', jinja_integer(0), jinja_eval(state, scope, node->a));
    case JINJA_NODE_ARITHMETIC:
        return eval_arithmetic(state, scope, node);
    case JINJA_NODE_CONCAT:
        return eval_concat(state, scope, node);
    case JINJA_NODE_COMPARE:
        return eval_compare(state, scope, node);
    default:
        TN_ASSERT(!"an expression");
        return jinja_none();
    }
}

jinja_value jinja_eval(jinja_state *state, jinja_scope *scope, const jinja_node *node)
{
    jinja_work(state, 1);
    jinja_depth_enter(state);
    jinja_value value = eval_node(state, scope, node);
    jinja_depth_leave(state);
    return value;
}

/* runtime/chat/jinja_exec.c: statements of a compiled template, and macros.
 *
 * Loops, macros and captured blocks have scopes of their own; an if has not. A name set in a scope hides the outer one
 * and is gone when the scope ends, as in Jinja; only namespaces carry values out of a loop.
 */
#include "jinja_eval.h"

#include "jinja_builtins.h"
#include "jinja_text.h"

static const jinja_string name_caller = {"caller", 6, 6, false};
static const jinja_string name_varargs = {"varargs", 7, 7, false};
static const jinja_string name_kwargs = {"kwargs", 6, 6, false};

static void assign_member(jinja_state *state, jinja_scope *scope, const jinja_node *target, jinja_value value)
{
    jinja_node name = {.kind = JINJA_NODE_NAME, .line = target->line, .name = target->name};
    jinja_value object = jinja_eval(state, scope, &name);
    jinja_require_defined(state, object);
    if (object.kind != JINJA_NAMESPACE)
        jinja_fail(state, "cannot assign an attribute of a %s, only of a namespace", jinja_type_name(object));
    if (target->b->value.as.string->bytes[0] == '_')
        jinja_fail(state, "cannot assign an attribute whose name begins with an underscore");
    jinja_dict_set(state, object.as.dict, target->b->value, value);
}

static void assign_tuple(jinja_state *state, jinja_scope *scope, const jinja_node *target, jinja_value value)
{
    jinja_require_defined(state, value);
    const jinja_list *items = jinja_iterate(state, value);
    uint64_t wanted = 0;
    for (const jinja_node *item = target->args; item; item = item->next)
        wanted++;
    if (items->count != wanted)
        jinja_fail(state, "cannot unpack %llu values into %llu names", (unsigned long long)items->count,
                   (unsigned long long)wanted);
    uint64_t i = 0;
    for (const jinja_node *item = target->args; item; item = item->next)
        jinja_assign(state, scope, item->a, jinja_list_at(items, i++));
}

void jinja_assign(jinja_state *state, jinja_scope *scope, const jinja_node *target, jinja_value value)
{
    jinja_depth_enter(state);
    if (target->kind == JINJA_NODE_NAME)
        jinja_scope_set(state, scope, target->name, value);
    else if (target->kind == JINJA_NODE_MEMBER)
        assign_member(state, scope, target, value);
    else
        assign_tuple(state, scope, target, value);
    jinja_depth_leave(state);
}

/* Runs body in its own scope and returns what it printed. */
static jinja_value capture(jinja_state *state, jinja_scope *scope, const jinja_node *body)
{
    jinja_buffer *outer = state->out;
    state->out = jinja_buffer_open(state);
    jinja_exec(state, scope, body);
    jinja_value text = jinja_text_take(state, state->out);
    state->out = outer;
    return text;
}

static uint64_t parameter_count(const jinja_node *parameters)
{
    uint64_t count = 0;
    for (; parameters; parameters = parameters->next)
        count++;
    return count;
}

static const jinja_keyword *keyword_find(const jinja_call *call, const jinja_string *name)
{
    for (uint64_t i = 0; i < call->n_keywords; i++)
        if (jinja_string_equal(call->keywords[i].name, name))
            return &call->keywords[i];
    return NULL;
}

static bool is_parameter(const jinja_node *parameters, const jinja_string *name)
{
    for (; parameters; parameters = parameters->next)
        if (jinja_string_equal(parameters->name, name))
            return true;
    return false;
}

static void bind_parameters(jinja_state *state, jinja_scope *scope, const jinja_node *parameter, const jinja_call *call)
{
    for (uint64_t i = 0; parameter; parameter = parameter->next, i++) {
        const jinja_keyword *keyword = keyword_find(call, parameter->name);
        jinja_work(state, 1 + call->n_keywords / 8);
        if (keyword && i < call->n_args)
            jinja_fail(state, "the macro's parameter '%.*s' is passed twice",
                       (int)(parameter->name->count < 60 ? parameter->name->count : 60), parameter->name->bytes);
        jinja_value value = i < call->n_args ? call->args[i]
                            : keyword        ? keyword->value
                            : parameter->a   ? jinja_eval(state, scope, parameter->a)
                                             : jinja_undefined_variable(state, parameter->name);
        jinja_scope_set(state, scope, parameter->name, value);
    }
}

/* Positional and keyword arguments beyond the parameters. */
static void bind_rest(jinja_state *state, jinja_scope *scope, const jinja_node *node, const jinja_call *call)
{
    uint64_t count = parameter_count(node->args);
    uint64_t extra = call->n_args > count ? call->n_args - count : 0;
    if (node->uses & JINJA_USES_VARARGS)
        jinja_scope_set(state, scope, &name_varargs,
                        jinja_list_of(state, JINJA_TUPLE, extra ? call->args + count : NULL, extra));
    else if (extra)
        jinja_fail(state, "the macro takes not more than %llu arguments", (unsigned long long)count);

    jinja_value rest = jinja_dict_new(state, JINJA_DICT, call->n_keywords);
    for (uint64_t i = 0; i < call->n_keywords; i++) {
        const jinja_keyword *keyword = &call->keywords[i];
        jinja_work(state, 1 + count / 8);
        jinja_value name = {.kind = JINJA_STRING, .as.string = keyword->name};
        bool is_caller = (node->uses & JINJA_USES_CALLER) && jinja_string_equal(keyword->name, &name_caller);
        if (is_caller || is_parameter(node->args, keyword->name))
            continue;
        if (!(node->uses & JINJA_USES_KWARGS))
            jinja_fail(state, "the macro takes no keyword argument '%.*s'",
                       (int)(keyword->name->count < 60 ? keyword->name->count : 60), keyword->name->bytes);
        jinja_dict_append(state, rest.as.dict, name, keyword->value);
    }
    if (node->uses & JINJA_USES_KWARGS)
        jinja_scope_set(state, scope, &name_kwargs, rest);
}

jinja_value jinja_macro_call(jinja_state *state, const jinja_macro *macro, jinja_call *call)
{
    const jinja_node *node = macro->node;
    uint32_t line = state->line;
    jinja_scope *scope = jinja_scope_new(state, macro->scope);
    bind_parameters(state, scope, node->args, call);
    bind_rest(state, scope, node, call);
    if ((node->uses & JINJA_USES_CALLER) && !is_parameter(node->args, &name_caller) && node->kind == JINJA_NODE_MACRO) {
        const jinja_keyword *caller = keyword_find(call, &name_caller);
        jinja_scope_set(state, scope, &name_caller,
                        caller ? caller->value : jinja_undefined_because(state, "no caller defined"));
    }
    jinja_value text = capture(state, scope, node->body);
    state->line = line;
    return text;
}

void jinja_macro_repr_add(jinja_state *state, jinja_buffer *buffer, const jinja_macro *macro)
{
    if (!macro->node->name) {
        jinja_buffer_add_text(state, buffer, "<Macro anonymous>");
        return;
    }
    jinja_buffer_add_text(state, buffer, "<Macro '");
    jinja_buffer_add(state, buffer, macro->node->name->bytes, macro->node->name->count);
    jinja_buffer_add_text(state, buffer, "'>");
}

static jinja_value macro_new(jinja_state *state, jinja_scope *scope, const jinja_node *node)
{
    jinja_macro *macro = JINJA_NEW(state, jinja_macro);
    macro->node = node;
    macro->scope = scope;
    return (jinja_value){.kind = JINJA_MACRO, .as.macro = macro};
}

/* {% call(args) f(...) %}: calls f with the block as its caller, and prints the result. */
static void exec_call_block(jinja_state *state, jinja_scope *scope, const jinja_node *node)
{
    jinja_call call = {0};
    jinja_value callee = jinja_eval(state, scope, node->a->a);
    jinja_eval_arguments(state, scope, node->a->args, &call);
    jinja_keyword *keywords = JINJA_ARRAY(state, jinja_keyword, call.n_keywords + 1);
    for (uint64_t i = 0; i < call.n_keywords; i++)
        keywords[i] = call.keywords[i];
    keywords[call.n_keywords++] = (jinja_keyword){&name_caller, macro_new(state, scope, node)};
    call.keywords = keywords;
    jinja_str_add(state, state->out, jinja_call_value(state, callee, &call));
}

static void exec_set_block(jinja_state *state, jinja_scope *scope, const jinja_node *node)
{
    jinja_scope *inner = jinja_scope_new(state, scope);
    jinja_value text = capture(state, inner, node->body);
    jinja_assign(state, scope, node->a, jinja_eval_filters(state, inner, node->b, text));
}

static void exec_filter_block(jinja_state *state, jinja_scope *scope, const jinja_node *node)
{
    jinja_scope *inner = jinja_scope_new(state, scope);
    jinja_value text = capture(state, inner, node->body);
    jinja_str_add(state, state->out, jinja_eval_filters(state, inner, node->b, text));
}

/* The values are evaluated outside of the new scope. */
static jinja_flow exec_with(jinja_state *state, jinja_scope *scope, const jinja_node *node)
{
    jinja_scope *inner = jinja_scope_new(state, scope);
    for (const jinja_node *item = node->args; item; item = item->next)
        jinja_assign(state, inner, item->a, jinja_eval(state, scope, item->b));
    return jinja_exec_body(state, inner, node->body);
}

static jinja_flow exec_if(jinja_state *state, jinja_scope *scope, const jinja_node *node)
{
    const jinja_node *branch = jinja_truth(state, jinja_eval(state, scope, node->a)) ? node->body : node->otherwise;
    return jinja_exec_body(state, scope, branch);
}

static jinja_flow exec_node(jinja_state *state, jinja_scope *scope, const jinja_node *node)
{
    switch (node->kind) {
    case JINJA_NODE_DATA:
        jinja_buffer_add(state, state->out, node->value.as.string->bytes, node->value.as.string->count);
        break;
    case JINJA_NODE_PRINT:
        jinja_str_add(state, state->out, jinja_eval(state, scope, node->a));
        break;
    case JINJA_NODE_IF:
        return exec_if(state, scope, node);
    case JINJA_NODE_FOR:
        return jinja_loop_exec(state, scope, node, jinja_iterate(state, jinja_eval(state, scope, node->b)), 0);
    case JINJA_NODE_SET:
        jinja_assign(state, scope, node->a, jinja_eval(state, scope, node->b));
        break;
    case JINJA_NODE_SET_BLOCK:
        exec_set_block(state, scope, node);
        break;
    case JINJA_NODE_MACRO:
        jinja_scope_set(state, scope, node->name, macro_new(state, scope, node));
        break;
    case JINJA_NODE_CALL_BLOCK:
        exec_call_block(state, scope, node);
        break;
    case JINJA_NODE_FILTER_BLOCK:
        exec_filter_block(state, scope, node);
        break;
    case JINJA_NODE_WITH:
        return exec_with(state, scope, node);
    case JINJA_NODE_SCOPE:
        jinja_exec(state, jinja_scope_new(state, scope), node->body);
        break;
    case JINJA_NODE_BREAK:
        return JINJA_FLOW_BREAK;
    case JINJA_NODE_CONTINUE:
        return JINJA_FLOW_CONTINUE;
    default:
        TN_ASSERT(!"a statement");
    }
    return JINJA_FLOW_ON;
}

jinja_flow jinja_exec_body(jinja_state *state, jinja_scope *scope, const jinja_node *body)
{
    jinja_flow flow = JINJA_FLOW_ON;
    jinja_depth_enter(state);
    for (; body && flow == JINJA_FLOW_ON; body = body->next) {
        jinja_work(state, 1);
        state->line = body->line;
        flow = exec_node(state, scope, body);
    }
    jinja_depth_leave(state);
    return flow;
}

void jinja_exec(jinja_state *state, jinja_scope *scope, const jinja_node *body)
{
    jinja_flow flow = jinja_exec_body(state, scope, body);
    TN_ASSERT(flow == JINJA_FLOW_ON); /* the parser refuses break and continue outside of loops */
}

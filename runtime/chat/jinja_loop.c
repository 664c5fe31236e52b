/* runtime/chat/jinja_loop.c: for loops and the `loop` variable.
 *
 * A loop with a condition tests each item only when it is reached or peeked at, as Jinja does: the body may change a
 * namespace that the condition reads. Asking for the length tests all the rest at once.
 */
#include "jinja_eval.h"

#include "jinja_builtins.h"
#include "jinja_text.h"

static const jinja_string name_loop = {"loop", 4, 4, false};

static bool item_passes(jinja_state *state, jinja_loop *loop, jinja_value item)
{
    if (!loop->filtered)
        return true;
    jinja_scope *scope = jinja_scope_new(state, loop->scope);
    jinja_assign(state, scope, loop->node->a, item);
    return jinja_truth(state, jinja_eval(state, scope, loop->node->c));
}

/* The next item that passes, or ABSENT. */
static jinja_value item_take(jinja_state *state, jinja_loop *loop)
{
    while (loop->taken < loop->items->count) {
        jinja_value item = jinja_list_at(loop->items, loop->taken++);
        if (item_passes(state, loop, item))
            return item;
    }
    return (jinja_value){.kind = JINJA_ABSENT};
}

static jinja_value item_peek(jinja_state *state, jinja_loop *loop)
{
    if (loop->next.kind == JINJA_ABSENT)
        loop->next = item_take(state, loop);
    return loop->next;
}

static uint64_t loop_length(jinja_state *state, jinja_loop *loop)
{
    if (!loop->filtered)
        return loop->items->count;
    uint64_t seen = (uint64_t)(loop->index0 + 1) + (loop->next.kind != JINJA_ABSENT);
    jinja_builder builder = {0};
    for (uint64_t i = 0; i < seen; i++)
        jinja_builder_add(state, &builder, jinja_none()); /* never looked at again */
    for (jinja_value item = item_take(state, loop); item.kind != JINJA_ABSENT; item = item_take(state, loop))
        jinja_builder_add(state, &builder, item);
    loop->items = jinja_builder_take(state, &builder, JINJA_LIST).as.list;
    loop->taken = seen;
    loop->filtered = false;
    return loop->items->count;
}

static void loop_advance(jinja_loop *loop, jinja_value item)
{
    loop->index0++;
    loop->previous = loop->current;
    loop->current = item;
    loop->next = (jinja_value){.kind = JINJA_ABSENT};
}

static void scope_clear(jinja_scope *scope)
{
    while (scope->variables) {
        jinja_variable *variable = scope->variables;
        scope->variables = variable->next;
        variable->next = scope->spare;
        scope->spare = variable;
    }
}

jinja_flow jinja_loop_exec(jinja_state *state, jinja_scope *scope, const jinja_node *node, const jinja_list *items,
                           uint64_t depth0)
{
    jinja_loop *loop = JINJA_NEW(state, jinja_loop);
    *loop = (jinja_loop){
        .node = node, .scope = scope, .items = items, .index0 = -1, .depth0 = depth0, .filtered = node->c != NULL};
    jinja_scope *inner = jinja_scope_new(state, scope);
    bool completed = false; /* Jinja runs the else branch unless a turn came to its end without break and continue */
    for (;;) {
        jinja_value item = item_peek(state, loop);
        if (item.kind == JINJA_ABSENT)
            break;
        loop_advance(loop, item);
        scope_clear(inner);
        state->line = node->line;
        jinja_scope_set(state, inner, &name_loop, (jinja_value){.kind = JINJA_LOOP, .as.loop = loop});
        jinja_assign(state, inner, node->a, item);
        jinja_flow flow = jinja_exec_body(state, inner, node->body);
        completed |= flow == JINJA_FLOW_ON;
        if (flow == JINJA_FLOW_BREAK)
            break;
        jinja_work(state, 1);
    }
    if (completed)
        return JINJA_FLOW_ON;
    return jinja_exec_body(state, jinja_scope_new(state, scope), node->otherwise);
}

jinja_value jinja_loop_call(jinja_state *state, jinja_loop *loop, jinja_call *call)
{
    if (!loop->node->flag)
        jinja_fail(state, "the loop must have the 'recursive' marker to be called");
    if (call->n_args != 1 || call->n_keywords)
        jinja_fail(state, "loop() takes one argument");
    jinja_buffer *outer = state->out;
    uint32_t line = state->line;
    state->out = jinja_buffer_open(state);
    jinja_loop_exec(state, loop->scope, loop->node, jinja_iterate(state, call->args[0]), loop->depth0 + 1);
    jinja_value text = jinja_text_take(state, state->out);
    state->out = outer;
    state->line = line;
    return text;
}

static jinja_value loop_cycle(jinja_state *state, jinja_call *call)
{
    if (call->n_args == 0)
        jinja_fail(state, "no items for cycling given");
    return call->args[(uint64_t)call->self.as.loop->index0 % call->n_args];
}

static jinja_value loop_changed(jinja_state *state, jinja_call *call)
{
    jinja_loop *loop = call->self.as.loop;
    jinja_value now = jinja_list_of(state, JINJA_TUPLE, call->args, call->n_args);
    bool same = loop->changed.kind == JINJA_TUPLE && jinja_equal(state, loop->changed, now);
    loop->changed = now;
    return jinja_bool(!same);
}

static jinja_value loop_method(jinja_state *state, jinja_loop *loop, const char *name,
                               jinja_value (*run)(jinja_state *state, jinja_call *call))
{
    jinja_function *function = JINJA_NEW(state, jinja_function);
    function->name = name;
    function->run = run;
    function->self = (jinja_value){.kind = JINJA_LOOP, .as.loop = loop};
    return (jinja_value){.kind = JINJA_FUNCTION, .as.function = function};
}

static jinja_value or_undefined(jinja_state *state, jinja_value value, const char *why)
{
    return value.kind == JINJA_ABSENT ? jinja_undefined_because(state, why) : value;
}

jinja_value jinja_loop_attribute(jinja_state *state, jinja_loop *loop, const jinja_string *name)
{
    if (jinja_string_is(name, "index"))
        return jinja_integer(loop->index0 + 1);
    if (jinja_string_is(name, "index0"))
        return jinja_integer(loop->index0);
    if (jinja_string_is(name, "first"))
        return jinja_bool(loop->index0 == 0);
    if (jinja_string_is(name, "last"))
        return jinja_bool(item_peek(state, loop).kind == JINJA_ABSENT);
    if (jinja_string_is(name, "length"))
        return jinja_integer((jinja_int)loop_length(state, loop));
    if (jinja_string_is(name, "revindex"))
        return jinja_integer((jinja_int)loop_length(state, loop) - loop->index0);
    if (jinja_string_is(name, "revindex0"))
        return jinja_integer((jinja_int)loop_length(state, loop) - loop->index0 - 1);
    if (jinja_string_is(name, "previtem"))
        return or_undefined(state, loop->previous, "there is no previous item");
    if (jinja_string_is(name, "nextitem"))
        return or_undefined(state, item_peek(state, loop), "there is no next item");
    if (jinja_string_is(name, "depth"))
        return jinja_integer((jinja_int)loop->depth0 + 1);
    if (jinja_string_is(name, "depth0"))
        return jinja_integer((jinja_int)loop->depth0);
    if (jinja_string_is(name, "cycle"))
        return loop_method(state, loop, "cycle", loop_cycle);
    if (jinja_string_is(name, "changed"))
        return loop_method(state, loop, "changed", loop_changed);
    return (jinja_value){.kind = JINJA_ABSENT};
}

void jinja_loop_repr_add(jinja_state *state, jinja_buffer *buffer, jinja_loop *loop)
{
    jinja_buffer_add_text(state, buffer, "<LoopContext ");
    jinja_int_add(state, buffer, loop->index0 + 1, 10);
    jinja_buffer_add_char(state, buffer, '/');
    jinja_int_add(state, buffer, (jinja_int)loop_length(state, loop), 10);
    jinja_buffer_add_char(state, buffer, '>');
}

/* runtime/chat/jinja_eval.h: running a compiled template: scopes, expressions, statements, macros, loops. */
#ifndef CHAT_JINJA_EVAL_H
#define CHAT_JINJA_EVAL_H

#include "jinja_ast.h"

typedef struct jinja_variable jinja_variable;
struct jinja_variable {
    jinja_variable *next;
    const jinja_string *name;
    jinja_value value;
};

/* Names are searched from here to the outermost scope, then among the global functions. */
typedef struct jinja_scope jinja_scope;
struct jinja_scope {
    jinja_scope *parent;
    jinja_variable *variables;
    jinja_variable *spare; /* cells of the previous turn of a loop */
};

struct jinja_macro {
    const jinja_node *node; /* MACRO or CALL_BLOCK */
    jinja_scope *scope;     /* where it was defined */
};

struct jinja_loop {
    const jinja_node *node; /* FOR */
    jinja_scope *scope;     /* around the loop */
    const jinja_list *items;
    uint64_t taken; /* items looked at, of which the last may be the peeked one */
    jinja_int index0;
    uint64_t depth0;
    bool filtered;                       /* items still have to pass node->c */
    jinja_value previous, current, next; /* ABSENT: none */
    jinja_value changed;                 /* the arguments of the last loop.changed */
};

jinja_scope *jinja_scope_new(jinja_state *state, jinja_scope *parent);
void jinja_scope_set(jinja_state *state, jinja_scope *scope, const jinja_string *name, jinja_value value);

jinja_value jinja_eval(jinja_state *state, jinja_scope *scope, const jinja_node *node);
/* The filters of a set block or filter block; operand takes the place of the NULL one. */
jinja_value jinja_eval_filters(jinja_state *state, jinja_scope *scope, const jinja_node *filters, jinja_value operand);
/* Evaluates ARGUMENT nodes into call. */
void jinja_eval_arguments(jinja_state *state, jinja_scope *scope, const jinja_node *args, jinja_call *call);
jinja_value jinja_call_value(jinja_state *state, jinja_value callee, jinja_call *call);
jinja_value jinja_arithmetic(jinja_state *state, char op, jinja_value left, jinja_value right);
jinja_value jinja_negate(jinja_state *state, jinja_value value);

/* Runs statements; the output goes to state->out. */
void jinja_exec(jinja_state *state, jinja_scope *scope, const jinja_node *body);
jinja_value jinja_macro_call(jinja_state *state, const jinja_macro *macro, jinja_call *call);
void jinja_assign(jinja_state *state, jinja_scope *scope, const jinja_node *target, jinja_value value);

/* loop(items) in a recursive loop; loop.name: ABSENT if there is none. */
jinja_value jinja_loop_call(jinja_state *state, jinja_loop *loop, jinja_call *call);
jinja_value jinja_loop_attribute(jinja_state *state, jinja_loop *loop, const jinja_string *name);
typedef enum jinja_flow { JINJA_FLOW_ON, JINJA_FLOW_BREAK, JINJA_FLOW_CONTINUE } jinja_flow;
/* What it returns is for the loop around this one: a break in the else branch. */
jinja_flow jinja_loop_exec(jinja_state *state, jinja_scope *scope, const jinja_node *node, const jinja_list *items,
                           uint64_t depth0);
jinja_flow jinja_exec_body(jinja_state *state, jinja_scope *scope, const jinja_node *body);

void jinja_macro_repr_add(jinja_state *state, jinja_buffer *buffer, const jinja_macro *macro);
void jinja_loop_repr_add(jinja_state *state, jinja_buffer *buffer, jinja_loop *loop);

#endif

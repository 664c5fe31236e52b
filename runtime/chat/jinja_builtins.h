/* runtime/chat/jinja_builtins.h: what templates find ready-made: filters, tests, methods, functions. */
#ifndef CHAT_JINJA_BUILTINS_H
#define CHAT_JINJA_BUILTINS_H

#include "jinja_value.h"

/* NULL if there is none of that name. */
const jinja_function *jinja_filter_find(const jinja_string *name);
const jinja_function *jinja_test_find(const jinja_string *name);
const jinja_function *jinja_global_find(const jinja_string *name);
/* object.name without a look at its elements: a bound method or a property; ABSENT if there is none. */
jinja_value jinja_attribute(jinja_state *state, jinja_value object, const jinja_string *name);

/* Binds the call's arguments to the function's parameters and runs it. */
jinja_value jinja_invoke(jinja_state *state, const jinja_function *function, jinja_call *call);

/* A table of functions, in one file each; the list filters have their own. */
typedef struct jinja_functions {
    const jinja_function *items;
    uint64_t count;
} jinja_functions;
const jinja_function *jinja_functions_find(jinja_functions functions, const jinja_string *name);
extern const jinja_functions jinja_text_filters, jinja_list_filters, jinja_string_methods;
/* For filters that are methods' twins. */
jinja_value jinja_tojson(jinja_state *state, jinja_call *call);
jinja_value jinja_string_replace(jinja_state *state, const jinja_string *string, const jinja_string *from,
                                 const jinja_string *to, jinja_int count);
/* Python's str.splitlines(). */
jinja_value jinja_string_lines(jinja_state *state, const jinja_string *string, bool keep_ends);
/* "format" % values, and "format".format(...). */
jinja_value jinja_format_percent(jinja_state *state, const jinja_string *format, jinja_value values);
jinja_value jinja_format_braces(jinja_state *state, const jinja_string *format, const jinja_call *call);

/* Arguments: bound[index], or the default if it was not passed; fail if it has the wrong type. Integers: 64 bits, so
 * that sums with lengths cannot overflow. */
const jinja_string *jinja_argument_string(jinja_state *state, const jinja_call *call, int index, const char *or_text);
jinja_int jinja_argument_int(jinja_state *state, const jinja_call *call, int index, jinja_int or_integer);
bool jinja_argument_bool(jinja_state *state, const jinja_call *call, int index, bool or_boolean);

#endif

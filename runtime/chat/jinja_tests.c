/* runtime/chat/jinja_tests.c: what follows "is" in a template. */
#include "jinja_builtins.h"
#include "jinja_eval.h"
#include "jinja_text.h"

#include "base/utf8.h"

#include <string.h>
#include <utf8proc.h>

static bool is_remainder(jinja_state *state, jinja_call *call, jinja_int divisor, jinja_int remainder)
{
    jinja_value left = jinja_arithmetic(state, '%', call->self, jinja_integer(divisor));
    return jinja_equal(state, left, jinja_integer(remainder));
}

static jinja_value test_odd(jinja_state *state, jinja_call *call)
{
    return jinja_bool(is_remainder(state, call, 2, 1));
}

static jinja_value test_even(jinja_state *state, jinja_call *call)
{
    return jinja_bool(is_remainder(state, call, 2, 0));
}

static jinja_value test_divisibleby(jinja_state *state, jinja_call *call)
{
    return jinja_bool(jinja_equal(state, jinja_arithmetic(state, '%', call->self, call->bound[0]), jinja_integer(0)));
}

static jinja_value test_defined(jinja_state *state, jinja_call *call)
{
    (void)state;
    return jinja_bool(call->self.kind != JINJA_UNDEFINED);
}

static jinja_value test_undefined(jinja_state *state, jinja_call *call)
{
    (void)state;
    return jinja_bool(call->self.kind == JINJA_UNDEFINED);
}

static jinja_value test_filter(jinja_state *state, jinja_call *call)
{
    (void)state;
    return jinja_bool(call->self.kind == JINJA_STRING && jinja_filter_find(call->self.as.string));
}

static jinja_value test_test(jinja_state *state, jinja_call *call)
{
    (void)state;
    return jinja_bool(call->self.kind == JINJA_STRING && jinja_test_find(call->self.as.string));
}

static jinja_value test_none(jinja_state *state, jinja_call *call)
{
    (void)state;
    return jinja_bool(call->self.kind == JINJA_NONE);
}

static jinja_value test_boolean(jinja_state *state, jinja_call *call)
{
    (void)state;
    return jinja_bool(call->self.kind == JINJA_BOOL);
}

static jinja_value test_true(jinja_state *state, jinja_call *call)
{
    (void)state;
    return jinja_bool(call->self.kind == JINJA_BOOL && call->self.as.boolean);
}

static jinja_value test_false(jinja_state *state, jinja_call *call)
{
    (void)state;
    return jinja_bool(call->self.kind == JINJA_BOOL && !call->self.as.boolean);
}

static jinja_value test_integer(jinja_state *state, jinja_call *call)
{
    (void)state;
    return jinja_bool(call->self.kind == JINJA_INT);
}

static jinja_value test_float(jinja_state *state, jinja_call *call)
{
    (void)state;
    return jinja_bool(call->self.kind == JINJA_FLOAT);
}

static jinja_value test_number(jinja_state *state, jinja_call *call)
{
    (void)state;
    return jinja_bool(jinja_is_number(call->self));
}

static jinja_value test_string(jinja_state *state, jinja_call *call)
{
    (void)state;
    return jinja_bool(call->self.kind == JINJA_STRING);
}

static jinja_value test_mapping(jinja_state *state, jinja_call *call)
{
    (void)state;
    return jinja_bool(call->self.kind == JINJA_DICT);
}

static jinja_value test_sequence(jinja_state *state, jinja_call *call)
{
    (void)state;
    return jinja_bool(call->self.kind == JINJA_STRING || call->self.kind == JINJA_DICT ||
                      call->self.kind == JINJA_UNDEFINED || jinja_is_sequence(call->self));
}

static jinja_value test_iterable(jinja_state *state, jinja_call *call)
{
    (void)state;
    return jinja_bool(jinja_is_iterable(call->self));
}

static jinja_value test_callable(jinja_state *state, jinja_call *call)
{
    (void)state;
    return jinja_bool(jinja_is_callable(call->self));
}

/* Identity: of containers by storage, of others by type and value, as small constants have it in Python. */
static jinja_value test_sameas(jinja_state *state, jinja_call *call)
{
    jinja_value left = call->self, right = call->bound[0];
    if (left.kind != right.kind)
        return jinja_bool(false);
    if (left.kind == JINJA_LIST || left.kind == JINJA_TUPLE)
        return jinja_bool(left.as.list == right.as.list);
    if (left.kind == JINJA_DICT)
        return jinja_bool(left.as.dict == right.as.dict);
    return jinja_bool(jinja_equal(state, left, right));
}

static jinja_value test_escaped(jinja_state *state, jinja_call *call)
{
    (void)state;
    return jinja_bool(call->self.kind == JINJA_STRING && call->self.as.string->markup);
}

/* True if there are cased letters and all are of the category. */
static bool all_cased(jinja_state *state, const jinja_string *string, utf8proc_category_t wanted)
{
    bool any = false;
    jinja_work(state, string->count / 4);
    for (uint64_t i = 0; i < string->count;) {
        uint32_t codepoint;
        bool valid;
        i += utf8_decode(string->bytes + i, string->count - i, &codepoint, &valid);
        utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)codepoint);
        if (category == wanted)
            any = true;
        else if (category == UTF8PROC_CATEGORY_LU || category == UTF8PROC_CATEGORY_LL ||
                 category == UTF8PROC_CATEGORY_LT)
            return false;
    }
    return any;
}

static jinja_value test_lower(jinja_state *state, jinja_call *call)
{
    return jinja_bool(all_cased(state, jinja_str(state, call->self), UTF8PROC_CATEGORY_LL));
}

static jinja_value test_upper(jinja_state *state, jinja_call *call)
{
    return jinja_bool(all_cased(state, jinja_str(state, call->self), UTF8PROC_CATEGORY_LU));
}

static jinja_value test_in(jinja_state *state, jinja_call *call)
{
    return jinja_bool(jinja_contains(state, call->bound[0], call->self));
}

static jinja_value test_eq(jinja_state *state, jinja_call *call)
{
    return jinja_bool(jinja_equal(state, call->self, call->bound[0]));
}

static jinja_value test_ne(jinja_state *state, jinja_call *call)
{
    return jinja_bool(!jinja_equal(state, call->self, call->bound[0]));
}

static jinja_value test_lt(jinja_state *state, jinja_call *call)
{
    return jinja_bool(jinja_compare(state, call->self, call->bound[0], "<") == -1);
}

static jinja_value test_gt(jinja_state *state, jinja_call *call)
{
    return jinja_bool(jinja_compare(state, call->self, call->bound[0], ">") == 1);
}

static jinja_value test_le(jinja_state *state, jinja_call *call)
{
    int order = jinja_compare(state, call->self, call->bound[0], "<=");
    return jinja_bool(order == -1 || order == 0);
}

static jinja_value test_ge(jinja_state *state, jinja_call *call)
{
    int order = jinja_compare(state, call->self, call->bound[0], ">=");
    return jinja_bool(order == 1 || order == 0);
}

#define UNARY(test_name, function)                           \
    {                                                        \
        .name = test_name, .run = function, .parameters = "" \
    }
#define BINARY(test_name, function)                                                \
    {                                                                              \
        .name = test_name, .run = function, .parameters = "other", .n_required = 1 \
    }

const jinja_function *jinja_test_find(const jinja_string *name)
{
    static const jinja_function items[] = {
        UNARY("odd", test_odd),
        UNARY("even", test_even),
        {.name = "divisibleby", .run = test_divisibleby, .parameters = "num", .n_required = 1},
        UNARY("defined", test_defined),
        UNARY("undefined", test_undefined),
        UNARY("filter", test_filter),
        UNARY("test", test_test),
        UNARY("none", test_none),
        UNARY("boolean", test_boolean),
        UNARY("true", test_true),
        UNARY("false", test_false),
        UNARY("integer", test_integer),
        UNARY("float", test_float),
        UNARY("number", test_number),
        UNARY("string", test_string),
        UNARY("mapping", test_mapping),
        UNARY("sequence", test_sequence),
        UNARY("iterable", test_iterable),
        UNARY("callable", test_callable),
        UNARY("escaped", test_escaped),
        UNARY("lower", test_lower),
        UNARY("upper", test_upper),
        BINARY("sameas", test_sameas),
        {.name = "in", .run = test_in, .parameters = "seq", .n_required = 1},
        BINARY("==", test_eq),
        BINARY("eq", test_eq),
        BINARY("equalto", test_eq),
        BINARY("!=", test_ne),
        BINARY("ne", test_ne),
        BINARY("<", test_lt),
        BINARY("lt", test_lt),
        BINARY("lessthan", test_lt),
        BINARY(">", test_gt),
        BINARY("gt", test_gt),
        BINARY("greaterthan", test_gt),
        BINARY("<=", test_le),
        BINARY("le", test_le),
        BINARY(">=", test_ge),
        BINARY("ge", test_ge),
    };
    return jinja_functions_find((jinja_functions){items, sizeof items / sizeof *items}, name);
}

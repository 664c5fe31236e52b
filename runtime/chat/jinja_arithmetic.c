/* runtime/chat/jinja_arithmetic.c: Python's arithmetic operators on numbers, strings and lists.
 *
 * Integers have 127 bits and fail beyond; floor division and remainder take the divisor's sign. Repetition and
 * concatenation are bounded by the limits on text and memory.
 */
#include "jinja_builtins.h"
#include "jinja_eval.h"
#include "jinja_text.h"

#include <math.h>
#include <string.h>

static const jinja_int integer_max = (jinja_int)(~(jinja_uint)0 >> 1);

static jinja_int as_integer(jinja_value value)
{
    return value.kind == JINJA_BOOL ? (jinja_int)value.as.boolean : value.as.integer;
}

static double as_real(jinja_value value)
{
    return value.kind == JINJA_FLOAT ? value.as.real : (double)as_integer(value);
}

static _Noreturn void fail_too_large(jinja_state *state)
{
    jinja_fail(state, "the result is an integer of more than 127 bits");
}

static jinja_int multiply(jinja_state *state, jinja_int left, jinja_int right)
{
    if (left == 0 || right == 0)
        return 0;
    /* __builtin_mul_overflow on 128 bits needs a library function that not every compiler brings */
    jinja_uint a = left < 0 ? -(jinja_uint)left : (jinja_uint)left;
    jinja_uint b = right < 0 ? -(jinja_uint)right : (jinja_uint)right;
    if (a > (jinja_uint)integer_max / b)
        fail_too_large(state);
    jinja_int product = (jinja_int)(a * b);
    return (left < 0) != (right < 0) ? -product : product;
}

static jinja_int add(jinja_state *state, jinja_int left, jinja_int right)
{
    if (right > 0 ? left > integer_max - right : left < -integer_max - right)
        fail_too_large(state);
    return left + right;
}

static jinja_int floor_divide(jinja_int left, jinja_int right)
{
    jinja_int quotient = left / right;
    return left % right != 0 && (left < 0) != (right < 0) ? quotient - 1 : quotient;
}

static jinja_int floor_remainder(jinja_int left, jinja_int right)
{
    jinja_int remainder = left % right;
    return remainder != 0 && (remainder < 0) != (right < 0) ? remainder + right : remainder;
}

static jinja_value integer_power(jinja_state *state, jinja_int base, jinja_int exponent)
{
    if (exponent < 0) {
        if (base == 0)
            jinja_fail(state, "0 cannot be raised to a negative power");
        return jinja_real(pow((double)base, (double)exponent));
    }
    jinja_int result = 1;
    if (base == 0 || base == 1)
        return jinja_integer(exponent == 0 ? 1 : base);
    if (base == -1)
        return jinja_integer(exponent % 2 ? -1 : 1);
    for (; exponent > 0; exponent--) /* overflows within 127 turns */
        result = multiply(state, result, base);
    return jinja_integer(result);
}

static jinja_value integer_arithmetic(jinja_state *state, char op, jinja_int left, jinja_int right)
{
    if ((op == '/' || op == 'f' || op == '%') && right == 0)
        jinja_fail(state, op == '/' ? "division by zero" : "integer division or modulo by zero");
    switch (op) {
    case '+':
        return jinja_integer(add(state, left, right));
    case '-':
        return jinja_integer(add(state, left, -right));
    case '*':
        return jinja_integer(multiply(state, left, right));
    case '/':
        return jinja_real((double)left / (double)right);
    case 'f':
        return jinja_integer(floor_divide(left, right));
    case '%':
        return jinja_integer(floor_remainder(left, right));
    default:
        return integer_power(state, left, right);
    }
}

static double real_remainder(double left, double right)
{
    double remainder = fmod(left, right);
    if (remainder != 0 && (remainder < 0) != (right < 0))
        remainder += right;
    return remainder != 0 ? remainder : copysign(0, right);
}

static jinja_value real_power(jinja_state *state, double base, double exponent)
{
    if (base == 0 && exponent < 0)
        jinja_fail(state, "0.0 cannot be raised to a negative power");
    if (base < 0 && exponent != floor(exponent))
        jinja_fail(state, "a negative number cannot be raised to a fractional power");
    double result = pow(base, exponent);
    if (isinf(result) && !isinf(base) && !isinf(exponent))
        jinja_fail(state, "numerical result out of range");
    return jinja_real(result);
}

static jinja_value real_arithmetic(jinja_state *state, char op, double left, double right)
{
    if ((op == '/' || op == 'f' || op == '%') && right == 0)
        jinja_fail(state, "float division by zero");
    switch (op) {
    case '+':
        return jinja_real(left + right);
    case '-':
        return jinja_real(left - right);
    case '*':
        return jinja_real(left * right);
    case '/':
        return jinja_real(left / right);
    case 'f':
        return jinja_real(floor((left - real_remainder(left, right)) / right + 0.5));
    case '%':
        return jinja_real(real_remainder(left, right));
    default:
        return real_power(state, left, right);
    }
}

/* What is added to a safe text is escaped, on either side, as Python's Markup does. */
static jinja_value concatenate_texts(jinja_state *state, jinja_value left, jinja_value right)
{
    bool safe = left.as.string->markup || right.as.string->markup;
    if (safe) {
        left = jinja_escape(state, left);
        right = jinja_escape(state, right);
    }
    jinja_buffer *buffer = jinja_buffer_open(state);
    jinja_str_add(state, buffer, left);
    jinja_str_add(state, buffer, right);
    jinja_value joined = jinja_text_take(state, buffer);
    return safe ? jinja_markup(state, joined.as.string) : joined;
}

static jinja_value concatenate(jinja_state *state, jinja_value left, jinja_value right)
{
    if (left.kind == JINJA_STRING)
        return concatenate_texts(state, left, right);
    const jinja_list *a = left.as.list, *b = right.as.list;
    jinja_value *items = JINJA_ARRAY(state, jinja_value, a->count + b->count);
    if (a->count)
        memcpy(items, a->items, a->count * sizeof *items);
    if (b->count)
        memcpy(items + a->count, b->items, b->count * sizeof *items);
    return jinja_list_of(state, left.kind, items, a->count + b->count);
}

static jinja_value string_repeat(jinja_state *state, const jinja_string *string, jinja_int times)
{
    jinja_buffer *buffer = jinja_buffer_open(state);
    if (string->count == 1 && times > 0) /* the cheap way, and the usual one */
        jinja_buffer_add_repeated(state, buffer, string->bytes[0],
                                  times < INT64_MAX ? (uint64_t)times : (uint64_t)INT64_MAX);
    else if (string->count)
        for (; times > 0; times--) {
            jinja_work(state, 1);
            jinja_buffer_add(state, buffer, string->bytes, string->count);
        }
    return jinja_text_take(state, buffer);
}

static jinja_value list_repeat(jinja_state *state, jinja_kind kind, const jinja_list *list, jinja_int times)
{
    if (times <= 0 || list->count == 0)
        return jinja_list_of(state, kind, NULL, 0);
    if (times > (jinja_int)(state->limits.memory_bytes / list->count))
        jinja_fail(state, "a list repeated too often");
    uint64_t count = list->count * (uint64_t)times;
    jinja_value *items = JINJA_ARRAY(state, jinja_value, count);
    for (uint64_t i = 0; i < count; i += list->count)
        memcpy(items + i, list->items, list->count * sizeof *items);
    return jinja_list_of(state, kind, items, count);
}

static jinja_value repeat(jinja_state *state, jinja_value sequence, jinja_int times)
{
    if (sequence.kind == JINJA_STRING) {
        jinja_value repeated = string_repeat(state, sequence.as.string, times);
        return sequence.as.string->markup ? jinja_markup(state, repeated.as.string) : repeated;
    }
    return list_repeat(state, sequence.kind, sequence.as.list, times);
}

static bool is_repeatable(jinja_value value)
{
    return value.kind == JINJA_STRING || value.kind == JINJA_LIST || value.kind == JINJA_TUPLE;
}

static bool is_integer(jinja_value value)
{
    return value.kind == JINJA_INT || value.kind == JINJA_BOOL;
}

static _Noreturn void fail_types(jinja_state *state, char op, jinja_value left, jinja_value right)
{
    char single[2] = {op, 0};
    const char *name = op == 'f' ? "//" : op == 'p' ? "**" : single;
    if (op == '+' && is_repeatable(left))
        jinja_fail(state, "can only concatenate %s (not \"%s\") to %s", jinja_type_name(left), jinja_type_name(right),
                   jinja_type_name(left));
    jinja_fail(state, "unsupported operand type(s) for %s: '%s' and '%s'", name, jinja_type_name(left),
               jinja_type_name(right));
}

jinja_value jinja_arithmetic(jinja_state *state, char op, jinja_value left, jinja_value right)
{
    if (jinja_is_number(left) && jinja_is_number(right)) {
        if (left.kind == JINJA_FLOAT || right.kind == JINJA_FLOAT)
            return real_arithmetic(state, op, as_real(left), as_real(right));
        return integer_arithmetic(state, op, as_integer(left), as_integer(right));
    }
    jinja_require_defined(state, left);
    if (op == '%' && left.kind == JINJA_STRING)
        return jinja_format_percent(state, left.as.string, right);
    jinja_require_defined(state, right);
    if (op == '+' && left.kind == right.kind && is_repeatable(left))
        return concatenate(state, left, right);
    if (op == '*' && is_repeatable(left) && is_integer(right))
        return repeat(state, left, as_integer(right));
    if (op == '*' && is_integer(left) && is_repeatable(right))
        return repeat(state, right, as_integer(left));
    fail_types(state, op, left, right);
}

jinja_value jinja_negate(jinja_state *state, jinja_value value)
{
    jinja_require_defined(state, value);
    if (value.kind == JINJA_FLOAT)
        return jinja_real(-value.as.real);
    if (!is_integer(value))
        jinja_fail(state, "bad operand type for unary -: '%s'", jinja_type_name(value));
    return jinja_integer(-as_integer(value));
}

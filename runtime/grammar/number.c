/* number.c: a bound is compared digit by digit, as the digits come.
 *
 * Before the point it is not known yet which of the two numbers is longer, so a state is how many digits there were and
 * how they compare with as many of the bound's; at the point, or the end, the lengths decide first.
 */
#include "grammar/number.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { DOUBLE_DIGITS = 15 };
typedef enum order { LESS, EQUAL, GREATER, ORDER_COUNT } order;

/* A bound's magnitude as decimal digits: no leading zeros but one digit at least, no trailing zeros behind the point.
 */
typedef struct decimal {
    bool negative;
    char whole[NUMBER_DIGITS_MAX + 1], part[NUMBER_DIGITS_MAX + 1];
    uint32_t whole_count, part_count;
} decimal;

/* Which magnitudes are wanted. */
typedef struct comparison {
    decimal than;
    uint32_t part_max; /* digits behind the point */
    bool wanted[ORDER_COUNT];
    bool integer;
} comparison;

void number_text(const json_t *value, char text[40])
{
    double number = json_number_value(value);

    if (json_is_integer(value)) {
        snprintf(text, 40, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        return;
    }
    if (fabs(number) < 1e15 && number == floor(number)) {
        snprintf(text, 40, "%.0f", number == 0 ? 0.0 : number);
        return;
    }
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, 40, "%.*g", digits, number);
        if (strtod(text, NULL) == number)
            return;
    }
}

/* "-12.5e-3" to a decimal; false if it has too many digits. */
static bool read_decimal(const json_t *value, decimal *ret)
{
    char text[40], digits[40];
    int count = 0, point = 0, exponent = 0;
    bool seen_point = false;
    decimal read = {0};

    number_text(value, text);
    const char *at = text;
    read.negative = *at == '-';
    for (at += read.negative; *at && *at != 'e'; at++) {
        if (*at == '.') {
            seen_point = true;
            continue;
        }
        digits[count++] = *at;
        point += !seen_point;
    }
    if (*at == 'e')
        exponent = atoi(at + 1);
    point += exponent;
    int first = 0;
    while (first < count && digits[first] == '0')
        first++;
    while (count > first && digits[count - 1] == '0')
        count--;
    int whole = point > first ? point - first : 0;
    if (whole > NUMBER_DIGITS_MAX || count - point > NUMBER_DIGITS_MAX)
        return false;
    for (int i = first; i < point; i++)
        read.whole[read.whole_count++] = i < count ? digits[i] : '0';
    if (read.whole_count == 0)
        read.whole[read.whole_count++] = '0';
    for (int i = point; i < count; i++)
        read.part[read.part_count++] = i >= 0 && i >= first ? digits[i] : '0';
    if (first == count)
        read.negative = false;
    *ret = read;
    return true;
}

static order compare_digit(char digit, char with)
{
    return digit < with ? LESS : digit > with ? GREATER : EQUAL;
}

/* Ways from a node by each digit, to the node of how the comparison stands then. */
static void add_digits(nfa *nfa, uint32_t from, char first, char with, order now, const uint32_t to[ORDER_COUNT])
{
    for (char digit = first; digit <= '9'; digit++)
        nfa_bytes(nfa, from, (uint8_t)digit, (uint8_t)digit, to[now == EQUAL ? compare_digit(digit, with) : now]);
}

static void new_nodes(nfa *nfa, uint32_t node[ORDER_COUNT])
{
    for (int i = 0; i < ORDER_COUNT; i++)
        node[i] = nfa_node(nfa);
}

/* Digits behind the point, from the node of each order of the whole parts. */
static void add_fraction(nfa *nfa, const comparison *c, const uint32_t point[ORDER_COUNT], uint32_t end)
{
    uint32_t from[ORDER_COUNT], to[ORDER_COUNT];

    memcpy(from, point, sizeof from);
    for (uint32_t i = 0; i < c->part_max; i++) {
        new_nodes(nfa, to);
        for (int o = 0; o < ORDER_COUNT; o++) {
            add_digits(nfa, from[o], '0', i < c->than.part_count ? c->than.part[i] : '0', (order)o, to);
            order final = o == EQUAL && i + 1 < c->than.part_count ? LESS : (order)o;
            if (c->wanted[final])
                nfa_empty(nfa, to[o], end);
        }
        memcpy(from, to, sizeof from);
    }
}

/* A magnitude that compares as wanted. */
static void add_magnitude(nfa *nfa, uint32_t from, const comparison *c, uint32_t end)
{
    uint32_t point[ORDER_COUNT], at[ORDER_COUNT] = {0}, next[ORDER_COUNT];

    new_nodes(nfa, point);
    for (uint32_t n = 1; n <= NUMBER_DIGITS_MAX; n++) {
        new_nodes(nfa, next);
        char with = n <= c->than.whole_count ? c->than.whole[n - 1] : '0';
        if (n == 1) {
            /* A zero is the only digit of its number. */
            uint32_t zero[ORDER_COUNT];
            new_nodes(nfa, zero);
            order o = compare_digit('0', with);
            nfa_bytes(nfa, from, '0', '0', zero[o]);
            order whole = c->than.whole_count > 1 ? LESS : o;
            nfa_bytes(nfa, zero[o], '.', '.', point[whole]);
            if (c->wanted[whole == EQUAL && c->than.part_count > 0 ? LESS : whole])
                nfa_empty(nfa, zero[o], end);
            add_digits(nfa, from, '1', with, EQUAL, next);
        } else {
            for (int o = 0; o < ORDER_COUNT; o++)
                add_digits(nfa, at[o], '0', with, (order)o, next);
        }
        for (int o = 0; o < ORDER_COUNT; o++) {
            order whole = n < c->than.whole_count ? LESS : n > c->than.whole_count ? GREATER : (order)o;
            nfa_bytes(nfa, next[o], '.', '.', point[whole]);
            if (c->wanted[whole == EQUAL && c->than.part_count > 0 ? LESS : whole])
                nfa_empty(nfa, next[o], end);
        }
        memcpy(at, next, sizeof at);
    }
    if (!c->integer)
        add_fraction(nfa, c, point, end);
}

/* Digits behind the point of a number that must not be the bound: readers make doubles of both, which fifteen digits
 * keep apart. */
static uint32_t exclusive_part(const decimal *than)
{
    uint32_t most = than->whole_count < DOUBLE_DIGITS ? DOUBLE_DIGITS - than->whole_count : 0;
    return most > than->part_count ? most : than->part_count;
}

/* Numbers on one side of a bound. */
static void add_side(nfa *nfa, uint32_t from, uint32_t end, const decimal *than, bool at_least, bool exclusive,
                     bool integer)
{
    comparison c = {.than = *than, .part_max = NUMBER_DIGITS_MAX, .integer = integer};
    comparison all = {.than = {.whole = "0", .whole_count = 1}, .part_max = NUMBER_DIGITS_MAX, .integer = integer};
    bool outwards = at_least != than->negative; /* the wanted magnitudes with the bound's sign are the larger ones */
    uint32_t minus = nfa_node(nfa);

    c.wanted[outwards ? GREATER : LESS] = true;
    c.wanted[EQUAL] = !exclusive;
    if (exclusive)
        c.part_max = exclusive_part(than);
    all.wanted[GREATER] = true;
    nfa_bytes(nfa, from, '-', '-', minus);
    add_magnitude(nfa, than->negative ? minus : from, &c, end);
    if (than->negative != at_least)
        return;
    all.wanted[EQUAL] = at_least; /* a zero is not below zero */
    add_magnitude(nfa, at_least ? from : minus, &all, end);
}

/* Without bounds. */
static uint32_t add_free(nfa *nfa, uint32_t from, bool integer)
{
    uint32_t end = nfa_node(nfa), minus = nfa_node(nfa), whole = nfa_node(nfa), zero = nfa_node(nfa);

    nfa_bytes(nfa, from, '-', '-', minus);
    nfa_bytes(nfa, from, '0', '0', zero);
    nfa_empty(nfa, zero, integer ? end : whole);
    if (!integer)
        nfa_bytes(nfa, minus, '0', '0', whole);
    uint32_t at = nfa_node(nfa);
    nfa_bytes(nfa, from, '1', '9', at);
    nfa_bytes(nfa, minus, '1', '9', at);
    nfa_empty(nfa, at, whole);
    for (int i = 1; i < NUMBER_DIGITS_MAX; i++) {
        uint32_t next = nfa_node(nfa);
        nfa_bytes(nfa, at, '0', '9', next);
        nfa_empty(nfa, next, whole);
        at = next;
    }
    nfa_empty(nfa, whole, end);
    if (integer)
        return end;
    uint32_t power = nfa_node(nfa), part = nfa_node(nfa);
    nfa_empty(nfa, whole, power);
    nfa_bytes(nfa, whole, '.', '.', part);
    for (int i = 0; i < NUMBER_DIGITS_MAX; i++) {
        uint32_t next = nfa_node(nfa);
        nfa_bytes(nfa, part, '0', '9', next);
        nfa_empty(nfa, next, power);
        part = next;
    }
    nfa_empty(nfa, power, end);
    uint32_t sign = nfa_node(nfa), digit = nfa_node(nfa), second = nfa_node(nfa);
    nfa_bytes(nfa, power, 'e', 'e', sign);
    nfa_bytes(nfa, power, 'E', 'E', sign);
    nfa_bytes(nfa, sign, '+', '+', digit);
    nfa_bytes(nfa, sign, '-', '-', digit);
    nfa_empty(nfa, sign, digit);
    nfa_bytes(nfa, digit, '0', '9', second);
    nfa_empty(nfa, second, end);
    nfa_bytes(nfa, second, '0', '9', end);
    return end;
}

/* Narrows *sum, which has states after the first time, to one side of a bound. */
static void narrow(nfa *nfa, dfa *sum, const number_bound *bound, bool at_least, bool integer, const char *where)
{
    uint32_t from = nfa_node(nfa), end = nfa_node(nfa);
    dfa one, both;
    decimal than = {0};

    if (!read_decimal(bound->value, &than)) {
        nfa_fail(nfa, TN_E_ARGUMENT, "%s: a bound has more than %d digits before or behind the point", where,
                 NUMBER_DIGITS_MAX);
        return;
    }
    add_side(nfa, from, end, &than, at_least, bound->exclusive, integer);
    dfa_build(nfa, from, end, &one);
    if (sum->state_count == 0) {
        *sum = one;
        return;
    }
    dfa_intersect(nfa, sum, &one, &both);
    dfa_finish(&one);
    dfa_finish(sum);
    *sum = both;
}

uint32_t number_add(nfa *nfa, uint32_t from, bool integer, const number_bound *low, uint32_t low_count,
                    const number_bound *high, uint32_t high_count, const char *where)
{
    dfa sum = {0};

    if (low_count + high_count == 0)
        return add_free(nfa, from, integer);
    for (uint32_t i = 0; i < low_count && nfa->status == TN_OK; i++)
        narrow(nfa, &sum, &low[i], true, integer, where);
    for (uint32_t i = 0; i < high_count && nfa->status == TN_OK; i++)
        narrow(nfa, &sum, &high[i], false, integer, where);
    uint32_t end = nfa_add_dfa(nfa, from, &sum);
    dfa_finish(&sum);
    return end;
}

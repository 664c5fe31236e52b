/* runtime/grammar/number.h: JSON numbers, free or between bounds.
 *
 * Numbers have an end: at most 18 digits before the point, as many behind it, and two of an exponent, so that every one
 * fits a 64-bit integer or a double. Between bounds a number has no exponent. There is no minus before a zero integer.
 */
#ifndef GRAMMAR_NUMBER_H
#define GRAMMAR_NUMBER_H

#include "grammar/automaton.h"

#include <jansson.h>

enum { NUMBER_DIGITS_MAX = 18 };

typedef struct number_bound {
    const json_t *value; /* NULL: none */
    bool exclusive;
} number_bound;

/* integer: without a fraction. The bounds of each list all hold. where: names the place in errors. Returns the end. */
uint32_t number_add(nfa *nfa, uint32_t from, bool integer, const number_bound *low, uint32_t low_count,
                    const number_bound *high, uint32_t high_count, const char *where);
/* The shortest text of a number that reads as the same number again. */
void number_text(const json_t *value, char text[40]);

#endif

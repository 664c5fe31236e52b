/* runtime/grammar/regex.h: regular expressions of ECMA-262, the part of them that is regular and bounded.
 *
 * Literals, ., classes, \d \w \s and their opposites, escapes of characters, groups, |, and all quantifiers (lazy ones
 * describe the same texts). ^ and $ only where an alternative of the whole expression begins and ends. (?!...) only
 * right behind ^. Refused by name: other look-around, back references, \b, named groups, \p.
 */
#ifndef GRAMMAR_REGEX_H
#define GRAMMAR_REGEX_H

#include "grammar/text.h"

enum { REGEX_BYTES_MAX = 4096, REGEX_REPEAT_MAX = 4096 };

/* search: the expression may match anywhere in the text, as "pattern" means it; else all of the text. what: names it in
 * errors. Returns the end; errors break the builder. */
uint32_t regex_add(nfa *nfa, text_form form, uint32_t from, const char *regex, size_t n, bool search, const char *what);

#endif

/* runtime/grammar/text.h: characters as bytes: UTF-8, plain or as the inside of a JSON string.
 *
 * Inside a JSON string every character has one spelling here: itself, or for the quotation mark, the backslash and
 * control characters the escape that RFC 8259 makes necessary (the short one where there is one, else lower-case hex).
 * So a set of texts and a set of JSON strings are the same automaton, and lengths are counted in characters.
 */
#ifndef GRAMMAR_TEXT_H
#define GRAMMAR_TEXT_H

#include "grammar/automaton.h"

typedef enum text_form { TEXT_PLAIN, TEXT_JSON } text_form;

enum { TEXT_CODEPOINT_MAX = 0x10ffff };

/* The characters lo..hi; surrogates are none. */
void text_range(nfa *nfa, text_form form, uint32_t from, uint32_t lo, uint32_t hi, uint32_t to);
/* Between min and max characters of any kind; max UINT32_MAX: no limit. Returns the end. */
uint32_t text_any(nfa *nfa, text_form form, uint32_t from, uint32_t min, uint32_t max);
/* A text, which is UTF-8. Returns the end. */
uint32_t text_literal(nfa *nfa, text_form form, uint32_t from, const char *text, size_t n);

#endif

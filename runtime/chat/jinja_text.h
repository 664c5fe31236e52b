/* runtime/chat/jinja_text.h: values as text (Python's str and repr), numbers from text, and letters' cases. */
#ifndef CHAT_JINJA_TEXT_H
#define CHAT_JINJA_TEXT_H

#include "jinja_value.h"

/* str(value) and repr(value). */
void jinja_str_add(jinja_state *state, jinja_buffer *buffer, jinja_value value);
void jinja_repr_add(jinja_state *state, jinja_buffer *buffer, jinja_value value);
jinja_value jinja_repr(jinja_state *state, jinja_value value);
/* value itself if it is a string. */
const jinja_string *jinja_str(jinja_state *state, jinja_value value);

void jinja_int_add(jinja_state *state, jinja_buffer *buffer, jinja_int integer, uint32_t base);
/* Python's repr of a float: the shortest text that reads back as the same number. */
void jinja_float_add(jinja_state *state, jinja_buffer *buffer, double real);

/* Python's int(text, base) and float(text): blanks around and "_" between digits are fine. base 0: from the prefix. */
bool jinja_int_parse(jinja_state *state, const char *bytes, uint64_t count, uint32_t base, jinja_int *ret_integer);
bool jinja_float_parse(jinja_state *state, const char *bytes, uint64_t count, double *ret_real);

/* Python's str.isspace for one character, and the trimming that goes with it. */
bool jinja_is_space(uint32_t codepoint);
bool jinja_is_printable(uint32_t codepoint);
enum { JINJA_TRIM_LEFT = 1, JINJA_TRIM_RIGHT = 2 };
/* characters: NULL for white space. */
jinja_value jinja_trim(jinja_state *state, const jinja_string *string, const jinja_string *characters, int sides);
/* Bytes of the white space at the start, and of the text without that at the end. */
uint64_t jinja_space_prefix(const char *bytes, uint64_t count);
uint64_t jinja_space_trimmed(const char *bytes, uint64_t count);

typedef enum jinja_case { JINJA_UPPER, JINJA_LOWER, JINJA_SWAP, JINJA_CAPITALIZE, JINJA_TITLE } jinja_case;
/* Simple mappings, one character to one, but for the sharp s. */
jinja_value jinja_recase(jinja_state *state, const jinja_string *string, jinja_case to);

/* The text, marked safe. */
jinja_value jinja_markup(jinja_state *state, const jinja_string *string);
/* The text with & < > and quotes as entities, marked safe; jinja_escape leaves what is marked already. */
jinja_value jinja_escape_text(jinja_state *state, const jinja_string *string);
jinja_value jinja_escape(jinja_state *state, jinja_value value);

#endif

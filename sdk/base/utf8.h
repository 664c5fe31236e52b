/* sdk/base/utf8.h: UTF-8 decoding with the Unicode standard's replacement practice (maximal subparts). */
#ifndef BASE_UTF8_H
#define BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { UTF8_REPLACEMENT = 0xFFFD };

/* Decodes the sequence at bytes[0..n), n >= 1. Returns bytes consumed (>= 1). Ill-formed input gives UTF8_REPLACEMENT
 * and consumes its maximal subpart (Unicode 15, section 3.9). *ret_valid: false when the replacement was made. */
size_t utf8_decode(const char *bytes, size_t n, uint32_t *ret_codepoint, bool *ret_valid);
/* Writes 1..4 bytes; returns how many. codepoint must be a scalar value. */
size_t utf8_encode(uint32_t codepoint, char out[4]);
bool utf8_is_valid(const char *bytes, size_t n);
/* Bytes of the longest prefix that does not end inside a sequence which further bytes could still complete. */
size_t utf8_whole_prefix(const char *bytes, size_t n);
/* Makes a terminated text valid where it lies: what is ill-formed becomes '?', so that its length stays. */
void utf8_repair(char *text);

#endif

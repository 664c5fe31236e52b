/* byte_level.h: the byte alphabet of GPT-2: every byte has a printable character that stands for it in a vocabulary.
 *
 * Bytes 33-126, 161-172 and 174-255 stand for themselves as code points; the other 68, in ascending order, are
 * U+0100..U+0143. So a space is written U+0120 and a newline U+010A. Source: Radford et al. 2019, encoder.py.
 */
#ifndef TOKENIZER_BPE_BYTE_LEVEL_H
#define TOKENIZER_BPE_BYTE_LEVEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Writes the character of a byte as UTF-8; returns its length, 1 or 2. */
size_t byte_level_char(uint8_t byte, char out[2]);
/* Writes n bytes in the alphabet; out holds 2 * n bytes. Returns the bytes written. */
size_t byte_level_encode(const char *bytes, size_t n, char *out);
/* The bytes that n bytes of text in the alphabet stand for; out holds n bytes or is NULL to count only. False if a
 * character is not of the alphabet (ret_n untouched). */
bool byte_level_decode(const char *text, size_t n, char *out, size_t *ret_n);

#endif

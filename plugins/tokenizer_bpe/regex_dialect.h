/* regex_dialect.h: rewrites a pre-tokenizer's regex, written for Oniguruma (Ruby syntax), for PCRE2.
 *
 * Vocabularies were trained with Hugging Face's tokenizers, whose engine is Oniguruma; where the two differ, this makes
 * PCRE2 agree: what \s, \w, \h and \v mean, (?m), scripts against script extensions, and letters, digits and marks that
 * Unicode has added since PCRE2's tables. What cannot be said in PCRE2 (class intersections, nested classes) is
 * refused.
 */
#ifndef TOKENIZER_BPE_REGEX_DIALECT_H
#define TOKENIZER_BPE_REGEX_DIALECT_H

#include "tenon/error.h"

/* Writes the PCRE2 pattern, terminated, into *ret_pattern: moved to the caller, freed by free(). pattern: n bytes of
 * valid UTF-8. TN_E_UNSUPPORTED, TN_E_CORRUPT (a sentence part such as "has ... at byte N"), TN_E_MEMORY. */
tn_status regex_dialect_translate(const char *pattern, size_t n, char **ret_pattern, size_t *ret_n, tn_error *err);

#endif

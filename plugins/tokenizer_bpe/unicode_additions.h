/* unicode_additions.h: code points that gained a property after the Unicode version of the PCRE2 at hand. */
#ifndef TOKENIZER_BPE_UNICODE_ADDITIONS_H
#define TOKENIZER_BPE_UNICODE_ADDITIONS_H

#include <stddef.h>

/* Ranges in PCRE2 class syntax to stand beside \p{property}; "" if there are none. property: n bytes. */
const char *unicode_additions(const char *property, size_t n);

#endif

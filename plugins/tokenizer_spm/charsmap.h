/* charsmap.h: SentencePiece's precompiled_charsmap: what each sequence of characters is rewritten to.
 *
 * The blob is a length, a double-array trie of that many bytes (units of 32 bits, as darts-clone packs them), and the
 * replacements, each ended by a zero byte. A leaf's value is the offset of its replacement. Immutable after load.
 */
#ifndef TOKENIZER_SPM_CHARSMAP_H
#define TOKENIZER_SPM_CHARSMAP_H

#include "tenon/error.h"

#include <stdbool.h>

typedef struct charsmap {
    uint32_t *unit; /* [unit_count]; owned. NULL: rewrites nothing */
    uint32_t unit_count;
    char *text; /* [text_bytes] replacements, ends with a zero byte; owned */
    uint32_t text_bytes;
} charsmap;

/* Copies the blob; empty is fine. TN_E_CORRUPT: a sentence part such as "holds ..."; TN_E_MEMORY. */
tn_status charsmap_load(charsmap *map, const void *blob, uint64_t bytes, tn_error *err);
/* Zeroed is fine. */
void charsmap_finish(charsmap *map);

/* A key that the n bytes of valid UTF-8 begin with: the longest, or the shortest. Its length, 0 if there is none;
 * *ret_text: the replacement, terminated, valid UTF-8. */
size_t charsmap_match(const charsmap *map, const char *text, size_t n, bool longest, const char **ret_text);

#endif

/* text_normalizer.h: what happens to a text before it is cut into pieces: a chain of rewritings.
 *
 * Either the one step of a SentencePiece model (its NormalizerSpec), or the normalizers of a tokenizer.json.
 */
#ifndef TOKENIZER_SPM_TEXT_NORMALIZER_H
#define TOKENIZER_SPM_TEXT_NORMALIZER_H

#include "base/tokenizer/added_tokens.h"
#include "base/tokenizer/normal_form.h"
#include "charsmap.h"
#include "text_buffer.h"

#define SPM_SPACE "\xE2\x96\x81" /* U+2581, which stands for a space in pieces */

enum { SPM_SPACE_BYTES = 3, TEXT_STEPS_MAX = 16 };

typedef enum text_step_kind {
    TEXT_SENTENCEPIECE, /* all that a NormalizerSpec says */
    TEXT_PREPEND,       /* to, before a text that is not empty */
    TEXT_REPLACE,       /* each from by to */
    TEXT_COLLAPSE,      /* each run of at least two spaces by to */
    TEXT_STRIP,         /* white space at the ends */
    TEXT_FORM,          /* a Unicode normalisation form */
    TEXT_CHARSMAP       /* the charsmap, as tokenizers applies it */
} text_step_kind;

typedef struct text_step {
    text_step_kind kind;
    char *from, *to; /* owned */
    size_t from_n, to_n;
    bool left, right; /* TEXT_STRIP */
    normal_form form; /* TEXT_FORM */
} text_step;

typedef struct text_normalizer {
    text_step step[TEXT_STEPS_MAX];
    uint32_t step_count;
    charsmap map;
    /* TEXT_SENTENCEPIECE */
    bool dummy_prefix;          /* a space before the text */
    bool collapse_spaces;       /* leading, trailing and doubled spaces go */
    bool space_behind;          /* the dummy goes behind the text */
    const added_tokens *exempt; /* texts that are left as they are; borrowed, or NULL */
} text_normalizer;

/* Scratch of one thread. Zeroed is empty. */
typedef struct text_scratch {
    text_buffer step[TEXT_STEPS_MAX];
    normalized form[TEXT_STEPS_MAX];
} text_scratch;

/* Appends a step, the texts of which are copied. TN_E_UNSUPPORTED past TEXT_STEPS_MAX; TN_E_MEMORY. */
tn_status text_normalizer_add(text_normalizer *normalizer, const text_step *step, tn_error *err);
/* Zeroed is fine. */
void text_normalizer_finish(text_normalizer *normalizer);

/* Rewrites n bytes of valid UTF-8. prefix: false withholds the dummy. *ret_text: the text itself or scratch's.
 * TN_E_MEMORY; TN_E_ARGUMENT if the result would be longer than 2^30 bytes. */
tn_status text_normalizer_apply(const text_normalizer *normalizer, text_scratch *scratch, const char *text, size_t n,
                                bool prefix, const char **ret_text, size_t *ret_n, tn_error *err);
void text_scratch_finish(text_scratch *scratch);

#endif

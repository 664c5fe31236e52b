/* word_splitter.h: the pre_tokenizers of a tokenizer.json that pieces with U+2581 use: a chain, each step applied to
 * the words of the one before it.
 */
#ifndef TOKENIZER_SPM_WORD_SPLITTER_H
#define TOKENIZER_SPM_WORD_SPLITTER_H

#include "text_normalizer.h"

enum { WORD_STEPS_MAX = 8, WORD_TEXT_BYTES_MAX = 32 };

typedef enum word_step_kind {
    WORD_SPACES, /* cuts at white space, which goes */
    WORD_TEXT,   /* cuts at a text */
    WORD_META    /* Metaspace: spaces become the text, which may be put before, and cut at */
} word_step_kind;

/* What becomes of a match: a word of its own; nothing; joined to the gap before or behind it; joined to the matches
 * that touch it. */
typedef enum word_behavior {
    WORD_ISOLATED,
    WORD_REMOVED,
    WORD_WITH_PREVIOUS,
    WORD_WITH_NEXT,
    WORD_CONTIGUOUS
} word_behavior;

typedef enum word_prepend { WORD_PREPEND_NEVER, WORD_PREPEND_FIRST, WORD_PREPEND_ALWAYS } word_prepend;

typedef struct word_step {
    word_step_kind kind;
    char text[WORD_TEXT_BYTES_MAX];
    size_t n;
    word_behavior behavior; /* WORD_TEXT */
    word_prepend prepend;   /* WORD_META */
    bool cut;               /* WORD_META: each text begins a word */
} word_step;

typedef struct word_splitter {
    word_step step[WORD_STEPS_MAX];
    uint32_t count;
} word_splitter;

/* Scratch of one thread. Zeroed is empty. */
typedef struct word_scratch {
    text_buffer step[WORD_STEPS_MAX];
} word_scratch;

/* TN_E_UNSUPPORTED past WORD_STEPS_MAX. */
tn_status word_splitter_add(word_splitter *splitter, const word_step *step, tn_error *err);

/* What takes the words: not empty, borrowed for the call. */
typedef tn_status (*word_sink)(void *ctx, const char *word, size_t n, tn_error *err);
/* Cuts n > 0 bytes of valid UTF-8; first: they begin the text. Stops at the first failure of the sink. */
tn_status word_splitter_run(const word_splitter *splitter, word_scratch *scratch, const char *text, size_t n,
                            bool first, word_sink sink, void *ctx, tn_error *err);
void word_scratch_finish(word_scratch *scratch);

#endif

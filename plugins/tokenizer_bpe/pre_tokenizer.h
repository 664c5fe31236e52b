/* pre_tokenizer.h: cuts a text into the words that are merged one by one: a chain of splits, each applied to the pieces
 * of the one before it.
 */
#ifndef TOKENIZER_BPE_PRE_TOKENIZER_H
#define TOKENIZER_BPE_PRE_TOKENIZER_H

#include "splitter.h"

enum { PRE_TOKENIZER_STEPS_MAX = 16 };

typedef enum pre_step_kind {
    PRE_STEP_SPLIT,       /* in the text */
    PRE_STEP_SPLIT_BYTES, /* in the text as written in the byte alphabet (splits listed behind ByteLevel) */
    PRE_STEP_PREFIX_SPACE /* a piece without a leading space gets one */
} pre_step_kind;

typedef struct pre_step {
    pre_step_kind kind;
    splitter how;
} pre_step;

typedef struct pre_tokenizer {
    pre_step step[PRE_TOKENIZER_STEPS_MAX];
    uint32_t step_count;
} pre_tokenizer;

/* Scratch of one call, one element per step. Zeroed is empty. */
typedef struct pre_scratch {
    struct {
        pcre2_match_data *match;
        char *copy; /* the piece with a space, or in the byte alphabet */
        size_t capacity;
    } step[PRE_TOKENIZER_STEPS_MAX];
} pre_scratch;

/* Appends a step. TN_E_UNSUPPORTED past PRE_TOKENIZER_STEPS_MAX; otherwise as splitter_init. */
tn_status pre_tokenizer_add_split(pre_tokenizer *pre, pre_step_kind kind, const char *pattern, size_t n, bool literal,
                                  split_behavior behavior, bool inverted, tn_error *err);
tn_status pre_tokenizer_add_prefix_space(pre_tokenizer *pre, tn_error *err);
/* Appends the splits that llama.cpp defines for the name of a GGUF's tokenizer.ggml.pre. *ret_ignore_merges: a word
 * that is a token needs no merging; *ret_add_bos: what add_bos_token defaults to. TN_E_UNSUPPORTED lists the known
 * names. */
tn_status pre_tokenizer_add_named(pre_tokenizer *pre, const char *name, size_t n, bool *ret_ignore_merges,
                                  bool *ret_add_bos, tn_error *err);
/* Zeroed is fine. */
void pre_tokenizer_finish(pre_tokenizer *pre);

/* What takes the words: not empty, valid UTF-8 unless a PRE_STEP_SPLIT_BYTES cut it, borrowed for the call. */
typedef tn_status (*pre_word)(void *ctx, const char *word, size_t n, tn_error *err);
/* Cuts n > 0 bytes of valid UTF-8. Stops at the first failure of `word`. */
tn_status pre_tokenizer_run(const pre_tokenizer *pre, pre_scratch *scratch, const char *text, size_t n, pre_word word,
                            void *ctx, tn_error *err);
void pre_scratch_finish(pre_scratch *scratch);

#endif

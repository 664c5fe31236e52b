/* special_text.h: special tokens written out in what a user says are text, not tokens: "<|im_end|>" in a message must
 * not end the message.
 *
 * The template turns messages into one text, in which its own special tokens must be recognised and the user's must
 * not. So the user's are marked before rendering, by noncharacters that no text may hold, and the marked stretches are
 * tokenised apart, without recognition.
 */
#ifndef HTTP_SPECIAL_TEXT_H
#define HTTP_SPECIAL_TEXT_H

#include "byte_buffer.h"
#include "tenon/tokenizer.h"

typedef struct special_text {
    char *text; /* owned; not empty */
    size_t bytes;
    int64_t prefix; /* index of the longest other one that this begins with; -1: none */
} special_text;

typedef struct special_texts {
    special_text *texts; /* [count], in the order of bytes */
    uint32_t count;
    bool starts[256]; /* bytes that begin one */
} special_texts;

/* Reads the texts of all special tokens of the vocabulary. [ctl] */
tn_status special_texts_read(const tn_tokenizer_table *table, const tn_tok *tok, uint32_t vocab,
                             special_texts *ret_specials, tn_error *err);
void special_texts_finish(special_texts *specials);

/* Whether text holds a noncharacter that serves as a mark. */
bool special_text_has_marks(const char *text, size_t n);
/* Appends text to out with marks around the special tokens in it; false, and nothing appended, if there are none. */
bool special_text_mark(const special_texts *specials, const char *text, size_t n, byte_buffer *out);
/* Splits a rendered text: returns the bytes of the next stretch at text[0..n) without marks, whether it was marked,
 * and how many bytes it took with its marks. */
size_t special_text_next(const char *text, size_t n, bool *ret_marked, const char **ret_stretch, size_t *ret_taken);

#endif

/* text_buffer.h: a text being written, and white space. */
#ifndef TOKENIZER_SPM_TEXT_BUFFER_H
#define TOKENIZER_SPM_TEXT_BUFFER_H

#include "tenon/error.h"

/* Zeroed is empty; owns text. */
typedef struct text_buffer {
    char *text; /* [n] */
    size_t n, capacity;
} text_buffer;

/* TN_E_MEMORY; TN_E_ARGUMENT if the text would be longer than 2^30 bytes: short texts can stand for long ones. */
tn_status text_buffer_append(text_buffer *out, const char *text, size_t n, tn_error *err);
/* Appends text with each `from` (not empty) in it replaced by `to`. */
tn_status text_buffer_replace(text_buffer *out, const char *from, size_t from_n, const char *to, size_t to_n,
                              const char *text, size_t n, tn_error *err);

/* Bytes of the white space character that the n > 0 bytes of text begin with; 0 if they do not. */
size_t text_space_width(const char *text, size_t n);

#endif

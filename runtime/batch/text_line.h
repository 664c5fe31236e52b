/* runtime/batch/text_line.h: a file's lines, one after the other, each with a bound on its length. */
#ifndef BATCH_TEXT_LINE_H
#define BATCH_TEXT_LINE_H

#include "tenon/error.h"

#include <stdbool.h>

typedef struct text_line {
    char *bytes; /* owned; count bytes and a NUL */
    size_t count, room;
} text_line;

/* Appends one byte. False: the line has `most` bytes already, or memory is out. */
bool text_line_push(text_line *line, int byte, size_t most);
/* The next line without its '\n'. *ret_whole: it ended in one. *ret_any: false at the end of the file.
 * Errors: TN_E_ARGUMENT (longer than most), TN_E_IO. */
tn_status text_line_read(FILE *file, size_t most, text_line *line, bool *ret_any, bool *ret_whole, tn_error *err);
void text_line_finish(text_line *line);

#endif

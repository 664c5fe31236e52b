/* runtime/batch/text_line.c: see text_line.h. */
#include "batch/text_line.h"

#include <errno.h>
#include <string.h>

enum { ROOM_FIRST = 4096 };

static bool grow(text_line *line)
{
    size_t room = line->room ? line->room * 2 : ROOM_FIRST;
    char *bytes = realloc(line->bytes, room);

    if (!bytes)
        return false;
    line->bytes = bytes;
    line->room = room;
    return true;
}

bool text_line_push(text_line *line, int byte, size_t most)
{
    if (line->count >= most || (line->count + 1 >= line->room && !grow(line)))
        return false;
    line->bytes[line->count++] = (char)byte;
    line->bytes[line->count] = '\0';
    return true;
}

tn_status text_line_read(FILE *file, size_t most, text_line *line, bool *ret_any, bool *ret_whole, tn_error *err)
{
    int byte;

    line->count = 0;
    if (!line->bytes && !grow(line))
        return tn_fail(err, TN_E_MEMORY, "out of memory for a line");
    line->bytes[0] = '\0';
    errno = 0;
    while ((byte = getc_unlocked(file)) != EOF && byte != '\n')
        if (!text_line_push(line, byte, most))
            return tn_fail(err, TN_E_ARGUMENT, "a line is longer than %zu MiB", most >> 20);
    if (ferror(file))
        return tn_fail(err, TN_E_IO, "%s", strerror(errno));
    *ret_whole = byte == '\n';
    *ret_any = *ret_whole || line->count > 0;
    return TN_OK;
}

void text_line_finish(text_line *line)
{
    free(line->bytes);
    *line = (text_line){.bytes = NULL};
}

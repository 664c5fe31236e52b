/* console_files.h: the files of console/, as console/embed.py puts them into the plugin when it is built. */
#ifndef HTTP_CONSOLE_FILES_H
#define HTTP_CONSOLE_FILES_H

#include <stddef.h>

typedef struct console_file {
    const char *name; /* below /admin/ */
    const char *type; /* for Content-Type */
    const char *tag;  /* for ETag, quoted */
    const unsigned char *bytes;
    size_t n_bytes;
} console_file;

extern const console_file console_files[];
extern const size_t console_file_count;

#endif

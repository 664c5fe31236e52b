/* runtime/file/whole_file.h: files that exist under their name only when they are complete and on the disk. */
#ifndef FILE_WHOLE_FILE_H
#define FILE_WHOLE_FILE_H

#include "tenon/error.h"

#include <stdbool.h>

typedef struct whole_file {
    int fd;
    char path[4096], partial[4096 + 16]; /* the name, and the one it is written under */
} whole_file;

/* Of what follows, TN_E_IO comes with the errno in err->native_code. */

/* All of data, at the file's position. False: errno says why. */
bool write_all(int fd, const void *data, uint64_t bytes);
/* `bytes` bytes from `at` on. False: the file ends before, or errno says why. */
bool read_all(int fd, void *data, uint64_t bytes, uint64_t at);
/* Begins directory/name, by way of name.partial; what a killed run left of that is overwritten, and TN_E_AGAIN says
 * that one which still runs is writing it. */
tn_status whole_file_begin(whole_file *file, const char *directory, const char *name, tn_error *err);
tn_status whole_file_write(whole_file *file, const void *data, uint64_t bytes, tn_error *err);
/* Syncs and renames. The file is closed in any case. */
tn_status whole_file_end(whole_file *file, tn_error *err);
/* Closes and removes an unfinished file. */
void whole_file_abandon(whole_file *file);
/* The same of a path that a user gave. */
tn_status whole_file_begin_path(whole_file *file, const char *path, tn_error *err);
/* All of that at once. */
tn_status whole_file_put(const char *directory, const char *name, const void *data, uint64_t bytes, tn_error *err);
/* At once, too, and whole for every reader, but not synced: for what says nothing after the machine has stopped. */
tn_status whole_file_show(const char *path, const void *data, uint64_t bytes, tn_error *err);

#endif

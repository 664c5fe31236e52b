/* runtime/model/file_map.h: a file's bytes, mapped read-only; or bytes that a test or fuzzer brings along. */
#ifndef MODEL_FILE_MAP_H
#define MODEL_FILE_MAP_H

#include "tenon/error.h"

#include <stdbool.h>

typedef struct file_map {
    const uint8_t *bytes; /* never NULL once open, even if size is 0 */
    uint64_t size;
    bool mapped;
} file_map;

/* Maps a regular file. TN_E_NOT_FOUND: no such file; TN_E_IO: it cannot be read, or is no regular file. */
tn_status file_map_open(const char *path, file_map *ret_map, tn_error *err);
/* Wraps borrowed bytes. */
file_map file_map_borrow(const void *bytes, uint64_t size);
void file_map_close(file_map *map); /* a zeroed one is fine */
/* Drops the pages of [data, data + bytes) from our RSS if they lie in this map and it is a file; they can still be
 * read. */
void file_map_release(const file_map *map, const void *data, uint64_t bytes);

#endif

/* runtime/batch/key_set.h: which keys have been seen, on disk beyond a few MiB: as many as there are rows. */
#ifndef BATCH_KEY_SET_H
#define BATCH_KEY_SET_H

#include "tenon/error.h"

#include <sqlite3.h>

typedef struct key_set {
    sqlite3 *db; /* a temporary file that has no name */
    sqlite3_stmt *add, *find;
} key_set;

tn_status key_set_create(key_set *ret_set, tn_error *err);
/* *ret_before: 0, or the place of an equal key that was added before; then nothing is added. */
tn_status key_set_add(key_set *set, const char *key, uint64_t place, uint64_t *ret_before, tn_error *err);
void key_set_destroy(key_set *set); /* half-built ones too */

#endif

/* runtime/auth/token_file.h: the file of [auth] token_file. It is read whole, and replaced whole or not at all. */
#ifndef AUTH_TOKEN_FILE_H
#define AUTH_TOKEN_FILE_H

#include "auth/token.h"

/* What tells one state of the file from the next. */
typedef struct token_file_stamp {
    uint64_t device, inode, bytes;
    int64_t changed_ns;
} token_file_stamp;

/* TN_E_NOT_FOUND: there is no such file. TN_E_ARGUMENT: others could read or write it, or it is not this user's.
 * ret_stamp may be NULL. [any] */
tn_status token_file_read(const char *path, token_list *ret_list, token_file_stamp *ret_stamp, tn_error *err);
/* TN_E_NOT_FOUND, TN_E_IO. [any] */
tn_status token_file_look(const char *path, token_file_stamp *ret_stamp, tn_error *err);

/* Changes the file, which need not exist: begin takes it, for one writer at a time (TN_E_AGAIN for others), and reads
 * the list; end writes what has become of the list, readable for this user only. [any] */
typedef struct token_change token_change;
tn_status token_change_begin(const char *path, token_list *ret_list, token_change **ret_change, tn_error *err);
tn_status token_change_end(token_change *change, const token_list *list, tn_error *err);
void token_change_abandon(token_change *change); /* NULL is fine */

#endif

/* sdk/base/tokenizer/id_list.h: the ids of a text while it is encoded, and the text as encoders want it. */
#ifndef BASE_TOKENIZER_ID_LIST_H
#define BASE_TOKENIZER_ID_LIST_H

#include "tenon/error.h"

enum { ENCODE_TEXT_BYTES_MAX = 1 << 28 };

/* Zeroed is empty; owns id. */
typedef struct id_list {
    int32_t *id; /* [count] */
    uint64_t count, capacity;
} id_list;

/* Room for `more` further ids. TN_E_MEMORY. */
tn_status id_list_reserve(id_list *list, uint64_t more, tn_error *err);
/* Appends; id must not point into the list unless there is room already. TN_E_MEMORY. */
tn_status id_list_append(id_list *list, const int32_t *id, uint64_t count, tn_error *err);
/* Copies what fits into ids and writes how many there are, as tn_tokenizer_table.encode promises. */
tn_status id_list_deliver(const id_list *list, int32_t *ids, uint64_t *n_ids, tn_error *err);
void id_list_finish(id_list *list);

/* The argument checks of tn_tokenizer_table.encode. */
tn_status encode_check(const char *utf8, uint64_t n_bytes, const int32_t *ids, const uint64_t *n_ids, tn_error *err);
/* Replaces ill-formed sequences. *text, *n become a copy where there were any: *ret_copy, freed by the caller, else
 * NULL. TN_E_MEMORY. */
tn_status encode_repair(const char **text, size_t *n, char **ret_copy, tn_error *err);

#endif

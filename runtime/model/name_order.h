/* runtime/model/name_order.h: finds one of many names by binary search, and finds duplicates.
 *
 * Names come from files that may be hostile, so this sorts rather than hashes: n log n whatever the names are, and no
 * secret is needed. The names stay where they are, as one member of the caller's structs.
 */
#ifndef MODEL_NAME_ORDER_H
#define MODEL_NAME_ORDER_H

#include "tenon/error.h"

#define NAME_ORDER_NONE UINT32_MAX

typedef struct name_order {
    const char *const *first; /* the name of element 0, borrowed */
    size_t stride;            /* bytes from one element's name to the next's */
    uint32_t count;
    uint32_t *order; /* owned, [count] */
} name_order;

/* Sorts. *ret_duplicate: an element whose name another one has too, NAME_ORDER_NONE if all differ. TN_E_MEMORY. */
tn_status name_order_init(name_order *names, const char *const *first, size_t stride, uint32_t count,
                          uint32_t *ret_duplicate);
void name_order_finish(name_order *names); /* a zeroed one is fine */
/* Index of the element of this name, NAME_ORDER_NONE if there is none. [any] */
uint32_t name_order_find(const name_order *names, const char *name);

#endif

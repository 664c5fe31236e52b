/* runtime/admin/query.h: what stands behind the '?': NAME=VALUE joined by '&', percent-encoded. */
#ifndef ADMIN_QUERY_H
#define ADMIN_QUERY_H

#include "tenon/error.h"

#include <stdbool.h>

enum { QUERY_BYTES_MAX = 1024, QUERY_PAIRS_MAX = 8 };

typedef struct query {
    char text[QUERY_BYTES_MAX + 1]; /* names and values, decoded, each terminated */
    const char *name[QUERY_PAIRS_MAX], *value[QUERY_PAIRS_MAX];
    uint32_t count;
} query;

/* text may be NULL. Names must be among `known` (NULL-terminated), and each stand once; else TN_E_ARGUMENT, and
 * *ret_param is the name, borrowed from ret_query. [any] */
tn_status query_parse(const char *text, const char *const *known, query *ret_query, const char **ret_param,
                      tn_error *err);
/* NULL: it is not there. */
const char *query_value(const query *query, const char *name);
/* A number of at most `max`; ret_number is left as it is where there is none. [any] */
tn_status query_number(const query *query, const char *name, double max, double *ret_number, tn_error *err);
/* "1" or "true", "0" or "false"; absent is false. [any] */
tn_status query_switch(const query *query, const char *name, bool *ret_on, tn_error *err);

#endif

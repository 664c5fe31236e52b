/* runtime/plugin/adopt.h: a plugin's table becomes the core's own.
 *
 * The plugin's struct may be older (shorter) or newer (longer) than ours. Adoption copies what both know into a zeroed
 * struct of ours, fills optional gaps with default stubs and refuses missing mandatory members, once, at load; no one
 * looks at sizes afterwards. All function-pointer members are listed, so that a table cannot grow past its list unseen.
 */
#ifndef PLUGIN_ADOPT_H
#define PLUGIN_ADOPT_H

#include "tenon/error.h"

#include <stdbool.h>

typedef void (*adopt_function)(void);

/* One function-pointer member. */
typedef struct adopt_member {
    const char *name;
    uint32_t offset;
    bool mandatory;
    adopt_function stub; /* what an optional member becomes when absent; NULL: stays NULL, for users who ask */
} adopt_member;

typedef struct adopt_table {
    const char *id;         /* "tn.backend/0:..." */
    uint32_t struct_size;   /* of our struct */
    uint32_t members_begin; /* offset of the first function pointer; plain data before it is mandatory */
    uint32_t member_count;
    const adopt_member *members; /* ascending offsets, from members_begin to the struct's end */
} adopt_table;

#define ADOPT_MANDATORY(type, m)                    \
    {                                               \
#m, (uint32_t)offsetof(type, m), true, NULL \
    }
#define ADOPT_OPTIONAL(type, m, stub)                                  \
    {                                                                  \
#m, (uint32_t)offsetof(type, m), false, (adopt_function)(stub) \
    }

/* theirs: what get_interface returned, may be NULL. ret_ours: table->struct_size bytes; untouched on failure.
 * path is for messages. */
tn_status adopt(const adopt_table *table, const char *path, const void *theirs, void *ret_ours, tn_error *err);

/* Names of bits in `need`, for refusals. */
typedef struct adopt_need {
    uint32_t bit;
    const char *name;
} adopt_need;

/* TN_E_UNSUPPORTED, naming what is needed, unless `can` covers `need`. who: "backend cpu". */
tn_status adopt_check_need(const char *who, uint32_t need, uint32_t can, const adopt_need *names, uint32_t name_count,
                           tn_error *err);

/* The tables this core adopts. */
extern const adopt_table adopt_backend, adopt_ops, adopt_quant, adopt_tokenizer, adopt_frontend;

#endif

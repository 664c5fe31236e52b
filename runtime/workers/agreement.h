/* runtime/workers/agreement.h: whether the processes of a group run the same model, and on how many KV pages: before a
 * weight is read, through the group's store.
 */
#ifndef WORKERS_AGREEMENT_H
#define WORKERS_AGREEMENT_H

#include "workers/workers.h"

enum { AGREEMENT_TEXT_MAX = 65536, AGREEMENT_GROUPS_MAX = 16 };

/* text: all that must be the same in every process, lines "what: value", each with its end. pages: in, what this
 * process has room for; out, the least that any has. TN_E_ARGUMENT: names the rank that differs from rank 0, and in
 * what; the group is to be ended with that. [ctl] */
tn_status agreement_reach(workers *workers, const char *text, uint64_t *pages, uint32_t group_count, tn_error *err);
/* The model is loaded here: returns once it is everywhere. [ctl] */
tn_status agreement_loaded(workers *workers, tn_error *err);

#endif

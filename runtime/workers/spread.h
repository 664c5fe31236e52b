/* runtime/workers/spread.h: rank 0's backend table over a group: every step goes to the workers as well as to the
 * backend of this process, whose results are the answer.
 */
#ifndef WORKERS_SPREAD_H
#define WORKERS_SPREAD_H

#include "workers/workers.h"

/* Takes over a model that is loaded, sealed and has its KV pages, here and at every worker. *ret_table: borrowed until
 * *ret_model is freed through it, which dismisses the workers and frees the model. Its submit, wait, kv_copy and
 * model_free are the group's, all else is the backend's own. Where a step cannot be begun here the workers have it all
 * the same, so that such a failure is the group's, too; failures carry the group's reason. [ctl] */
tn_status spread_create(workers *workers, const step_shape *shape, const tn_backend *backend, tn_model *model,
                        const tn_backend **ret_table, tn_model **ret_model, tn_error *err);

#endif

/* runtime/workers/worker.h: the life of a worker once its model is loaded. */
#ifndef WORKERS_WORKER_H
#define WORKERS_WORKER_H

#include "workers/workers.h"

/* Makes the calls that rank 0 makes, until it is dismissed: TN_OK, and nothing is in flight. Otherwise the reason for
 * which the group is over; the model is to be freed all the same. Nobody waits for results here: they are rank 0's.
 * [ctl]
 */
tn_status worker_run(workers *workers, const step_shape *shape, const tn_backend *backend, tn_model *model,
                     tn_error *err);

#endif

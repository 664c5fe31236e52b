/* runtime/target/kubernetes/lease.h: versions that the registry keeps for a service: what its pods run, and, while they
 * make way one by one, what those from before run.
 *
 * Where the service was made on another machine there may be no registry here, and nothing to let go. */
#ifndef KUBERNETES_LEASE_H
#define KUBERNETES_LEASE_H

#include "target/kubernetes/workload.h"

/* The cluster remembers what was there before the service was applied. */
tn_status lease_note_before(const kubernetes_options *options, const target_service *service, const workload *old,
                            tn_error *err);
/* Its pods have made way. */
tn_status lease_release_before(const settings *settings, const kubernetes_options *options, const char *name,
                               const workload *workload, tn_error *err);
/* None of its pods runs any more. */
tn_status lease_release(const settings *settings, const char *name, const workload *workload, tn_error *err);

#endif

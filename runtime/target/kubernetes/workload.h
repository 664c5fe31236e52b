/* runtime/target/kubernetes/workload.h: what the cluster remembers of a service: annotations of the Deployment, or of
 * rank 0's StatefulSet. It is outside input, though Tenon wrote it.
 */
#ifndef KUBERNETES_WORKLOAD_H
#define KUBERNETES_WORKLOAD_H

#include "target/kubernetes/kubectl.h"

typedef struct workload {
    json_t *wish;   /* owned: target_service_json, as it was asked for */
    char *extras;   /* owned: kinds of other people's that it has an object of, as kubectl names them; "" for none */
    uint32_t nodes; /* pods of an instance; more than 1: StatefulSets, else a Deployment */
    bool suspended;
    bool deleting; /* kubernetes_remove was asked for it */
    bool ending;   /* Kubernetes deletes the workload itself, whoever asked for that */
    char *before;  /* owned: see ANNOTATION_BEFORE; "" for none */
} workload;

/* item: of kubectl_workloads. False: it is a pod, or a workload without a front end. */
bool workload_is(const json_t *item);
/* TN_E_CORRUPT: the annotations are not Tenon's. */
tn_status workload_read(const json_t *item, workload *ret_workload, tn_error *err);
/* TN_E_NOT_FOUND: there is no such service; nothing else is. */
tn_status workload_find(const kubernetes_options *options, const char *name, workload *ret_workload, tn_error *err);
void workload_finish(workload *workload); /* zeroed is fine */
/* As most commands begin: the options, and the workload that they find. */
tn_status workload_open(const settings *settings, const char *name, kubernetes_options *ret_options,
                        workload *ret_workload, tn_error *err);
/* TN_E_ARGUMENT: it is being deleted. */
tn_status workload_check_stays(const workload *workload, const char *name, tn_error *err);

/* "statefulset" or "deployment"; nodes: pods of an instance. */
const char *workload_kind(uint32_t nodes);
/* Whether a ScaledObject scales it. */
bool workload_has_keda(const workload *workload);

#endif

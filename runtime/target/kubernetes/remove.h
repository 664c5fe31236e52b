/* runtime/target/kubernetes/remove.h: what is left of a service that is to be deleted. */
#ifndef KUBERNETES_REMOVE_H
#define KUBERNETES_REMOVE_H

#include "target/kubernetes/workload.h"

/* What every service has objects of; see also ANNOTATION_EXTRAS. */
#define KUBERNETES_KINDS                                                                                \
    "deployments.apps,statefulsets.apps,horizontalpodautoscalers.autoscaling,services,networkpolicies." \
    "networking.k8s.io,poddisruptionbudgets.policy,configmaps,serviceaccounts"

/* Of one that is being deleted: once no pod runs any more, all its objects go, and the registry keeps its model no
 * longer. */
tn_status workload_forget(const settings *settings, const kubernetes_options *options, const workload *workload,
                          const char *name, tn_error *err);

#endif

/* runtime/target/kubernetes/change.h: how many pods a service has, where more than a command of its own asks for it. */
#ifndef KUBERNETES_CHANGE_H
#define KUBERNETES_CHANGE_H

#include "target/kubernetes/workload.h"

/* No pods, where nothing scales them. */
tn_status workload_rest(const kubernetes_options *options, const workload *workload, const char *name, tn_error *err);
/* As kubernetes_resume, of one that is as the cluster has it now. */
tn_status workload_resume(const kubernetes_options *options, const workload *workload, const char *name, tn_error *err);

#endif

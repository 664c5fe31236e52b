/* runtime/target/kubernetes/change.h: a service that was suspended, running again. */
#ifndef KUBERNETES_CHANGE_H
#define KUBERNETES_CHANGE_H

#include "target/kubernetes/options.h"

/* As kubernetes_resume. */
tn_status workload_resume(const kubernetes_options *options, const char *name, tn_error *err);

#endif

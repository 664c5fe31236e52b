/* runtime/target/kubernetes/kubectl.h: kubectl, with the context and namespace of the options. */
#ifndef KUBERNETES_KUBECTL_H
#define KUBERNETES_KUBECTL_H

#include "target/kubernetes/kubernetes.h"

enum { KUBECTL_WORDS_MAX = 24, KUBECTL_SELECTOR_BYTES = 192 };

/* words: NULL-terminated, without kubectl, at most KUBECTL_WORDS_MAX. As target_run. */
tn_status kubectl_run(const kubernetes_options *options, const char *const *words, char **ret_out, tn_error *err);
/* change: "KEY=VALUE", or "KEY-". */
tn_status kubectl_annotate(const kubernetes_options *options, const char *kind, const char *name, const char *change,
                           tn_error *err);
/* All of a service that is of these kinds, separated by commas; "": none. Waits for none to be gone; a workload is
 * there until its pods have ended. */
tn_status kubectl_delete(const kubernetes_options *options, const char *kinds, const char *name, tn_error *err);
/* Applies objects (an array), and keeps no file. */
tn_status kubectl_apply(const kubernetes_options *options, const target_files *files, tn_error *err);

/* What finds all of a service; name NULL: of all services. Names have passed kubernetes_is_service_name. */
void kubectl_selector(const char *name, char ret_selector[KUBECTL_SELECTOR_BYTES]);

/* The items of the list that `get` answers with; owned. TN_E_CORRUPT: it is none. */
tn_status kubectl_items(const kubernetes_options *options, const char *const *words, json_t **ret_items, tn_error *err);
/* Workloads of a service or of all, and their pods. Owned. */
tn_status kubectl_workloads(const kubernetes_options *options, const char *name, json_t **ret_items, tn_error *err);

#endif

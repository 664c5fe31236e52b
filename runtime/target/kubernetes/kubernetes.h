/* runtime/target/kubernetes/kubernetes.h: services as objects of a Kubernetes cluster, through kubectl.
 *
 * What is remembered of a service is with the cluster: annotations of its workload. Every object carries its name as
 * app.kubernetes.io/instance, and is found and deleted by that.
 */
#ifndef KUBERNETES_KUBERNETES_H
#define KUBERNETES_KUBERNETES_H

#include "target/kubernetes/manifest.h"

extern const target target_kubernetes;

#define KUBERNETES_FILE "kubernetes.yaml"

/* Functions of the table; see target.h. */
tn_status kubernetes_render(const settings *settings, const target_service *service, target_files *ret_files,
                            tn_error *err);
tn_status kubernetes_submit(const settings *settings, const target_service *service, const target_files *files,
                            target_submission how, tn_error *err);
tn_status kubernetes_list(const settings *settings, json_t **ret_services, tn_error *err);
tn_status kubernetes_show(const settings *settings, const char *name, json_t **ret_service, tn_error *err);
tn_status kubernetes_logs(const settings *settings, const char *name, const char *instance, uint64_t since_ms,
                          bool follow, const log_sink *sink, tn_error *err);
tn_status kubernetes_scale(const settings *settings, const char *name, uint32_t min, uint32_t max, tn_error *err);
tn_status kubernetes_suspend(const settings *settings, const char *name, tn_error *err);
tn_status kubernetes_resume(const settings *settings, const char *name, tn_error *err);
tn_status kubernetes_remove(const settings *settings, const char *name, tn_error *err);

#endif

/* runtime/target/kubernetes/manifest.h: the objects of one service, as JSON values of Kubernetes' API.
 *
 *   one process an instance     Deployment
 *   several                     StatefulSet of rank 0, which has the front end, and StatefulSet of the other ranks
 *   always                      ServiceAccount, ConfigMap (the .ini), Service, NetworkPolicy, PodDisruptionBudget
 *   min < max, wake_query       HorizontalPodAutoscaler or KEDA's ScaledObject
 *   monitor=podmonitor          the Prometheus operator's PodMonitor
 *
 * The same service and options give the same bytes. Values are owned by the caller; NULL: out of memory.
 */
#ifndef KUBERNETES_MANIFEST_H
#define KUBERNETES_MANIFEST_H

#include "registry/digest.h"
#include "target/kubernetes/options.h"

enum { HTTP_PORT = 8000, GROUP_PORT = 29400, PRESTOP_SECONDS = 5, GROUP_JOIN_SECONDS = 600 };

#define LABEL_NAME     "app.kubernetes.io/name"
#define LABEL_INSTANCE "app.kubernetes.io/instance"
#define LABEL_MANAGED  "app.kubernetes.io/managed-by"
#define LABEL_ROLE     "tenon/role" /* "serve": has the front end; "worker": another rank */

/* On the workload that has the front end. */
#define ANNOTATION_SERVICE "tenon/service" /* target_service_json, for show() */
#define ANNOTATION_EXTRAS                                                                                              \
    "tenon/extras"                         /* kinds of other people's that this service has an object of; always there \
                                            */
#define ANNOTATION_NODES     "tenon/nodes" /* pods of an instance, where they are several */
#define ANNOTATION_SUSPENDED "tenon/suspended" /* "true", or absent */
#define ANNOTATION_DELETING  "tenon/deleting"  /* "true": all goes as soon as no pod runs; or absent */
#define ANNOTATION_BEFORE                                                                                         \
    "tenon/before-sha256" /* versions that the registry keeps until their pods have made way, with commas between \
                             them; or absent */

/* Where things are in the container. */
#define SETTINGS_FOLDER "/etc/tenon"
#define MODELS_FOLDER   "/models"
#define SECRETS_FOLDER  "/run/secrets/tenon"

typedef struct kubernetes_manifest {
    const target *target;
    const kubernetes_options *options;
    const target_service *service;
    char *root;   /* owned: the folder here that the volume holds */
    char *config; /* owned: the text of the .ini */
    digest config_digest;
} kubernetes_manifest;

/* Takes options and service, which must outlive it, and makes the settings file. TN_E_ARGUMENT: what
 * kubernetes_options_check says, or a path that the volume does not hold. */
tn_status kubernetes_manifest_init(kubernetes_manifest *manifest, const target *target,
                                   const kubernetes_options *options, const target_service *service, tn_error *err);
void kubernetes_manifest_finish(kubernetes_manifest *manifest); /* zeroed is fine */

/* All of them, in the order in which they should be made; an array. */
json_t *kubernetes_objects(const kubernetes_manifest *manifest);

/* ---- parts ---- */

/* {"apiVersion", "kind", "metadata": {"name": NAME and suffix, "namespace", "labels"}}. role: NULL, "serve", "worker".
 */
json_t *kubernetes_object(const kubernetes_options *options, const char *name, const char *suffix, const char *api,
                          const char *kind);
/* Labels that tell the service's pods from all others; role NULL: those of every role. */
json_t *kubernetes_selector(const char *name, const char *role);
/* {"metadata", "spec"} of the pods that have a role. */
json_t *kubernetes_pod(const kubernetes_manifest *manifest, const char *role);
/* That a pod may take to load: to read all that it will hold, and to meet the other ranks. */
uint64_t kubernetes_startup_seconds(const kubernetes_manifest *manifest);

/* The text of ANNOTATION_EXTRAS. */
json_t *kubernetes_extras(bool scaled_object, bool pod_monitor);

/* The HorizontalPodAutoscaler or ScaledObject; JSON null: nothing scales. */
json_t *kubernetes_scaler(const kubernetes_options *options, const char *name, uint32_t min, uint32_t max);
json_t *kubernetes_pod_monitor(const kubernetes_options *options, const char *name);

#endif

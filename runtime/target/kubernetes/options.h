/* runtime/target/kubernetes/options.h: what [target kubernetes] says, checked, and what it comes to for one service.
 *
 * Texts that become names or references in a manifest have passed Kubernetes' own rules for them (RFC 1123 and 1035),
 * so that a refusal comes before anything is rendered and names the key.
 */
#ifndef KUBERNETES_OPTIONS_H
#define KUBERNETES_OPTIONS_H

#include "target/target.h"

/* What scales a service between min and max. */
typedef enum scaler_kind { SCALER_NONE, SCALER_HPA, SCALER_KEDA } scaler_kind;

typedef enum monitor_kind { MONITOR_NONE, MONITOR_ANNOTATIONS, MONITOR_PODMONITOR } monitor_kind;

/* What holds the model. */
typedef enum volume_kind { VOLUME_HOST, VOLUME_CLAIM, VOLUME_NFS } volume_kind;

enum {
    KUBERNETES_NAME_MAX = 44, /* so that pods, and the labels made of their names, have at most 63 */
    LABELS_MAX = 16
};

/* Strings are borrowed from the settings; NULL: unset. */
typedef struct kubernetes_options {
    const char *space, *context; /* namespace, and kubectl's context */
    const char *image, *pull_policy, *pull_secret;
    const char *gpu_resource, *runtime_class;
    struct {
        char key[320], value[64];
    } node_label[LABELS_MAX]; /* that nodes must have */
    uint32_t node_labels;

    volume_kind volume;
    char volume_name[256]; /* the claim, or the NFS server */
    char volume_path[256]; /* what the NFS server exports */
    const char *volume_root;

    const char *api_key_secret, *token_secret, *group_secret, *metrics_secret;

    scaler_kind scaler;
    uint32_t waiting_target;                 /* requests that wait, per instance */
    const char *prometheus_url, *wake_query; /* of KEDA; a wake_query: none while it finds 0 */
    monitor_kind monitor;
    uint64_t memory_bytes; /* 0: as planned */
    uint64_t ephemeral_bytes;
    bool server_side;
} kubernetes_options;

/* TN_E_ARGUMENT. */
tn_status kubernetes_options_read(const settings *settings, kubernetes_options *ret_options, tn_error *err);

/* Whether these options and Kubernetes can have this service at all: TN_E_ARGUMENT says why not. */
tn_status kubernetes_options_check(const kubernetes_options *options, const target_service *service, tn_error *err);

/* The same of the number of instances alone. nodes: pods of one. */
tn_status kubernetes_options_check_instances(const kubernetes_options *options, uint32_t nodes, uint32_t min,
                                             uint32_t max, tn_error *err);

/* Whether something else than these numbers says how many instances there are. */
bool kubernetes_is_scaled(const kubernetes_options *options, uint32_t min, uint32_t max);

/* Whether Kubernetes takes `text` as the name of a service and of all that is named after it. */
bool kubernetes_is_service_name(const char *text);

#endif

/* kubernetes.c: the row of the table of targets. */
#include "target/kubernetes/kubernetes.h"

const target target_kubernetes = {
    .name = "kubernetes",
    .summary = "Deployments and StatefulSets of a Kubernetes cluster, through kubectl",
    .render = kubernetes_render,
    .submit = kubernetes_submit,
    .list = kubernetes_list,
    .show = kubernetes_show,
    .logs = kubernetes_logs,
    .scale = kubernetes_scale,
    .suspend = kubernetes_suspend,
    .resume = kubernetes_resume,
    .remove = kubernetes_remove,
};

/* remove.c: a service taken away: what scales it first, then its pods, then all that they needed.
 *
 * Pods drain for as long as they were made to. Until the last has ended the workload stays, without replicas: it tells
 * which version of the registry they run, and a NetworkPolicy holds as long as what it is about.
 */
#include "target/kubernetes/remove.h"

#include "target/kubernetes/change.h"
#include "target/kubernetes/lease.h"

#include <string.h>

/* What has failed, or was evicted, stays in lists until somebody deletes its owner. */
static bool runs(const json_t *pod)
{
    const char *phase = json_string_value(json_object_get(json_object_get(pod, "status"), "phase"));
    return !phase || (strcmp(phase, "Failed") != 0 && strcmp(phase, "Succeeded") != 0);
}

static tn_status find_running(const kubernetes_options *options, const char *name, bool *ret_running, tn_error *err)
{
    char selector[KUBECTL_SELECTOR_BYTES];
    json_t *items = NULL, *item;
    size_t i;

    kubectl_selector(name, selector);
    const char *const words[] = {"get", "pods", "--selector", selector, NULL};
    tn_status status = kubectl_items(options, words, &items, err);
    *ret_running = false;
    json_array_foreach(items, i, item)
    {
        *ret_running |= runs(item);
    }
    json_decref(items);
    return status;
}

tn_status workload_forget(const settings *settings, const kubernetes_options *options, const workload *w,
                          const char *name, tn_error *err)
{
    bool running = true;
    tn_status status = find_running(options, name, &running, err);
    if (status != TN_OK || running)
        return status;
    status = kubectl_delete(options, KUBERNETES_KINDS, name, err);
    return status == TN_OK ? lease_release(settings, name, w, err) : status;
}

/* Kinds of other people's are named only where there is an object of them: a cluster without them knows no such kind.
 */
tn_status kubernetes_remove(const settings *settings, const char *name, tn_error *err)
{
    kubernetes_options options;
    workload w = {0};

    tn_status status = workload_open(settings, name, &options, &w, err);
    if (status == TN_OK)
        status = kubectl_annotate(&options, workload_kind(w.nodes), name, ANNOTATION_DELETING "=true", err);
    if (status == TN_OK)
        status = kubectl_delete(&options, w.extras, name, err);
    if (status == TN_OK)
        status = kubectl_delete(&options, "horizontalpodautoscalers.autoscaling", name, err);
    if (status == TN_OK)
        status = workload_rest(&options, &w, name, err);
    if (status == TN_OK)
        status = workload_forget(settings, &options, &w, name, err);
    workload_finish(&w);
    return status;
}

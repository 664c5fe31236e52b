/* change.c: how many pods a service has: scaled, suspended, resumed.
 *
 * Suspended is 0 replicas, at which a HorizontalPodAutoscaler stops looking, or KEDA told to pause there; and an
 * annotation, since 0 replicas may be KEDA's own idea.
 */
#include "target/kubernetes/change.h"

#include "target/kubernetes/yaml_writer.h"

#include <stdlib.h>
#include <string.h>

#define PAUSED "autoscaling.keda.sh/paused-replicas"

enum { CHANGE_NAME_BYTES = KUBERNETES_NAME_MAX + sizeof "statefulset/-workers" };

static tn_status set_replicas(const kubernetes_options *options, const char *kind, const char *name, const char *suffix,
                              uint32_t count, tn_error *err)
{
    char object[CHANGE_NAME_BYTES], replicas[32];
    snprintf(object, sizeof object, "%s/%s%s", kind, name, suffix);
    snprintf(replicas, sizeof replicas, "--replicas=%u", (unsigned)count);
    const char *const words[] = {"scale", object, replicas, NULL};
    return kubectl_run(options, words, NULL, err);
}

/* *ret_workload: as of workload_open, but nothing to finish where it fails. */
static tn_status open_to_change(const settings *settings, const char *name, kubernetes_options *ret_options,
                                workload *ret_workload, tn_error *err)
{
    tn_status status = workload_open(settings, name, ret_options, ret_workload, err);
    if (status != TN_OK)
        return status;
    status = workload_check_stays(ret_workload, name, err);
    if (status != TN_OK)
        workload_finish(ret_workload);
    return status;
}

/* ---- scale ---- */

static tn_status apply_scaler(const kubernetes_options *options, json_t *scaler, tn_error *err)
{
    json_t *objects = json_pack("[O]", scaler);
    target_files files = {0};
    char *text = NULL;
    tn_status status = yaml_write_documents(objects, &text, err);
    if (status == TN_OK)
        status = target_files_add(&files, KUBERNETES_FILE, text, false, err);
    if (status == TN_OK)
        status = kubectl_apply(options, &files, err);
    target_files_finish(&files);
    json_decref(objects);
    return status;
}

static tn_status delete_scaler(const kubernetes_options *options, const workload *w, const char *name, tn_error *err)
{
    const char *kind = workload_has_keda(w) ? "scaledobjects.keda.sh" : "horizontalpodautoscalers.autoscaling";
    const char *const words[] = {"delete", kind, name, "--ignore-not-found", NULL};
    return kubectl_run(options, words, NULL, err);
}

static tn_status remember(const kubernetes_options *options, const workload *w, const char *name, tn_error *err)
{
    char *wish = json_dumps(w->wish, JSON_COMPACT | JSON_PRESERVE_ORDER), *change = NULL;
    if (wish && asprintf(&change, ANNOTATION_SERVICE "=%s", wish) < 0)
        change = NULL;
    tn_status status = change ? kubectl_annotate(options, workload_kind(w->nodes), name, change, err)
                              : tn_fail(err, TN_E_MEMORY, "what is wished of a service");
    free(change);
    free(wish);
    return status;
}

/* The extras name a ScaledObject from now on, or no longer. */
static tn_status remember_extras(const kubernetes_options *options, const workload *w, const char *name, bool keda,
                                 tn_error *err)
{
    json_t *extras = kubernetes_extras(keda, strstr(w->extras, "podmonitors") != NULL);
    char change[128];
    snprintf(change, sizeof change, ANNOTATION_EXTRAS "=%s", json_string_value(extras));
    json_decref(extras);
    return kubectl_annotate(options, workload_kind(w->nodes), name, change, err);
}

static tn_status scale(const kubernetes_options *options, const workload *w, const char *name, uint32_t min,
                       uint32_t max, tn_error *err)
{
    const bool scaled = kubernetes_is_scaled(options, min, max), keda = scaled && options->scaler == SCALER_KEDA;
    tn_status status = kubernetes_options_check_instances(options, w->nodes, min, max, err);
    if (status != TN_OK || w->nodes > 1) /* of which there is one, as before */
        return status;
    json_t *scaler = kubernetes_scaler(options, name, min, max);
    if (!scaled || keda != workload_has_keda(w))
        status = delete_scaler(options, w, name, err);
    if (status == TN_OK && scaled)
        status = apply_scaler(options, scaler, err);
    if (status == TN_OK && keda && w->suspended) /* by which it rests, where it did by 0 replicas */
        status = kubectl_annotate(options, "scaledobjects.keda.sh", name, PAUSED "=0", err);
    if (status == TN_OK && !scaled && !w->suspended)
        status = set_replicas(options, "deployment", name, "", min, err);
    if (status == TN_OK && keda != workload_has_keda(w))
        status = remember_extras(options, w, name, keda, err);
    json_decref(scaler);
    return status;
}

static uint32_t wished(const workload *w, const char *key, uint32_t asked)
{
    const json_int_t value = json_integer_value(json_object_get(w->wish, key));
    return asked != SERVICE_UNCHANGED ? asked : value < 1 || value > SERVICE_INSTANCES_MAX ? 1 : (uint32_t)value;
}

tn_status kubernetes_scale(const settings *settings, const char *name, uint32_t min, uint32_t max, tn_error *err)
{
    kubernetes_options options;
    workload w = {0};

    tn_status status = open_to_change(settings, name, &options, &w, err);
    if (status != TN_OK)
        return status;
    min = wished(&w, "min", min);
    max = wished(&w, "max", max);
    if (min > max || max == 0)
        status =
            tn_fail(err, TN_E_ARGUMENT, "kubernetes: min %u and max %u are no range", (unsigned)min, (unsigned)max);
    if (status == TN_OK)
        status = scale(&options, &w, name, min, max, err);
    if (status == TN_OK) {
        json_object_set_new(w.wish, "min", json_integer(min));
        json_object_set_new(w.wish, "max", json_integer(max));
        status = remember(&options, &w, name, err);
    }
    workload_finish(&w);
    return status;
}

/* ---- suspend, resume ---- */

tn_status workload_rest(const kubernetes_options *options, const workload *w, const char *name, tn_error *err)
{
    tn_status status = set_replicas(options, workload_kind(w->nodes), name, "", 0, err);
    return status == TN_OK && w->nodes > 1 ? set_replicas(options, "statefulset", name, "-workers", 0, err) : status;
}

static tn_status stop(const kubernetes_options *options, const workload *w, const char *name, tn_error *err)
{
    return workload_has_keda(w) ? kubectl_annotate(options, "scaledobjects.keda.sh", name, PAUSED "=0", err)
                                : workload_rest(options, w, name, err);
}

static tn_status start(const kubernetes_options *options, const workload *w, const char *name, tn_error *err)
{
    const uint32_t min = wished(w, "min", SERVICE_UNCHANGED);
    if (workload_has_keda(w))
        return kubectl_annotate(options, "scaledobjects.keda.sh", name, PAUSED "-", err);
    if (w->nodes == 1)
        return set_replicas(options, workload_kind(w->nodes), name, "", min, err);
    tn_status status = set_replicas(options, workload_kind(w->nodes), name, "", 1, err);
    return status == TN_OK ? set_replicas(options, "statefulset", name, "-workers", w->nodes - 1, err) : status;
}

tn_status kubernetes_suspend(const settings *settings, const char *name, tn_error *err)
{
    kubernetes_options options;
    workload w = {0};

    tn_status status = open_to_change(settings, name, &options, &w, err);
    if (status == TN_OK)
        status = kubectl_annotate(&options, workload_kind(w.nodes), name, ANNOTATION_SUSPENDED "=true", err);
    if (status == TN_OK)
        status = stop(&options, &w, name, err);
    workload_finish(&w);
    return status;
}

tn_status workload_resume(const kubernetes_options *options, const workload *w, const char *name, tn_error *err)
{
    tn_status status = start(options, w, name, err);
    return status == TN_OK ? kubectl_annotate(options, workload_kind(w->nodes), name, ANNOTATION_SUSPENDED "-", err)
                           : status;
}

tn_status kubernetes_resume(const settings *settings, const char *name, tn_error *err)
{
    kubernetes_options options;
    workload w = {0};

    tn_status status = open_to_change(settings, name, &options, &w, err);
    if (status == TN_OK)
        status = workload_resume(&options, &w, name, err);
    workload_finish(&w);
    return status;
}

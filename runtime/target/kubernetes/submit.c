/* submit.c: a service given to the cluster. */
#include "target/kubernetes/change.h"
#include "target/kubernetes/lease.h"
#include "target/kubernetes/remove.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* What the service had before and has no more: another kind of workload, and what scaled it or looked at it. */
static tn_status delete_leftovers(const kubernetes_options *options, const target_service *service, const workload *old,
                                  tn_error *err)
{
    const bool scaled = kubernetes_is_scaled(options, service->min, service->max),
               keda = scaled && options->scaler == SCALER_KEDA;
    tn_status status = TN_OK;
    if (!scaled || keda)
        status = kubectl_delete(options, "horizontalpodautoscalers.autoscaling", service->name, err);
    if (status == TN_OK && !keda && workload_has_keda(old))
        status = kubectl_delete(options, "scaledobjects.keda.sh", service->name, err);
    if (status == TN_OK && options->monitor != MONITOR_PODMONITOR && strstr(old->extras, "podmonitors"))
        status = kubectl_delete(options, "podmonitors.monitoring.coreos.com", service->name, err);
    if (status == TN_OK && (service->nodes > 1) != (old->nodes > 1))
        status = kubectl_delete(options, old->nodes > 1 ? "statefulsets.apps" : "deployments.apps", service->name, err);
    return status;
}

/* Whether it is of this very service: chat-ranks may be another one's name. */
static bool is_own(const json_t *item, const char *name)
{
    const json_t *labels = json_object_get(json_object_get(item, "metadata"), "labels");
    const char *manager = json_string_value(json_object_get(labels, LABEL_MANAGED)),
               *instance = json_string_value(json_object_get(labels, LABEL_INSTANCE));
    return manager && strcmp(manager, "tenon") == 0 && instance && strcmp(instance, name) == 0;
}

static tn_status check_name(const kubernetes_options *options, const char *kinds, const char *name, const char *suffix,
                            tn_error *err)
{
    char field[32 + KUBERNETES_NAME_MAX];
    json_t *items = NULL, *item;
    size_t i;

    snprintf(field, sizeof field, "metadata.name=%s%s", name, suffix);
    const char *const words[] = {"get", kinds, "--field-selector", field, NULL};
    tn_status status = kubectl_items(options, words, &items, err);
    json_array_foreach(items, i, item)
    {
        const char *kind = json_string_value(json_object_get(item, "kind"));
        if (status == TN_OK && !is_own(item, name))
            status =
                tn_fail(err, TN_E_ARGUMENT,
                        "kubernetes: there is a %.60s \"%s%s\" that is not this service's: choose another name, or "
                        "another namespace",
                        kind ? kind : "object", name, suffix);
    }
    json_decref(items);
    return status;
}

/* Kinds of other people's that it is going to have an object of. Owned; NULL: out of memory. */
static json_t *extras_of(const kubernetes_options *options, const target_service *service)
{
    const bool scaled = kubernetes_is_scaled(options, service->min, service->max);
    return kubernetes_extras(scaled && options->scaler == SCALER_KEDA, options->monitor == MONITOR_PODMONITOR);
}

/* Applied over, what others made under a name of ours would be ours, and would go with the service. A cluster that does
 * not know a kind says so here already. */
static tn_status check_others(const kubernetes_options *options, const target_service *service, tn_error *err)
{
    json_t *extras = extras_of(options, service);
    const char *more = json_string_value(extras);
    tn_status status = more ? check_name(options, KUBERNETES_KINDS, service->name, "", err)
                            : tn_fail(err, TN_E_MEMORY, "the kinds of a service's objects");
    if (status == TN_OK && *more)
        status = check_name(options, more, service->name, "", err);
    if (status == TN_OK && service->nodes > 1)
        status = check_name(options, "services", service->name, "-ranks", err);
    if (status == TN_OK && service->nodes > 1)
        status = check_name(options, "statefulsets.apps", service->name, "-workers", err);
    json_decref(extras);
    return status;
}

/* If it is refused halfway, what was made goes again; the refusal is what is told. */
static tn_status make_workload(const kubernetes_options *options, const target_service *service,
                               const target_files *files, tn_error *err)
{
    tn_error ignored = TN_ERROR_INIT;
    json_t *extras = extras_of(options, service);
    tn_status status = check_others(options, service, err);
    if (status == TN_OK) {
        status = kubectl_apply(options, files, err);
        if (status != TN_OK && extras)
            kubectl_delete(options, json_string_value(extras), service->name, &ignored);
        if (status != TN_OK)
            kubectl_delete(options, KUBERNETES_KINDS, service->name, &ignored);
    }
    json_decref(extras);
    return status;
}

/* One that was suspended runs again. What it is now may be of another kind. */
static tn_status resume_replaced(const kubernetes_options *options, const char *name, tn_error *err)
{
    workload now = {0};
    tn_status status = workload_find(options, name, &now, err);
    if (status == TN_OK)
        status = workload_resume(options, &now, name, err);
    workload_finish(&now);
    return status;
}

/* Pods make way one by one, each when a new one is ready. */
static tn_status replace_workload(const kubernetes_options *options, const target_service *service,
                                  const target_files *files, const workload *old, tn_error *err)
{
    tn_status status = check_others(options, service, err);
    if (status == TN_OK)
        status = kubectl_apply(options, files, err);
    if (status == TN_OK)
        status = lease_note_before(options, service, old, err);
    if (status == TN_OK)
        status = delete_leftovers(options, service, old, err);
    return status == TN_OK && old->suspended ? resume_replaced(options, service->name, err) : status;
}

static tn_status refuse_taken(const workload *old, const char *name, tn_error *err)
{
    if (err)
        err->native_code = EEXIST;
    return tn_fail(err, TN_E_ARGUMENT, "kubernetes: there is a service \"%s\" already%s", name,
                   old->deleting || old->ending ? ", which is being deleted" : "; --replace updates it");
}

static tn_status submit(const kubernetes_options *options, const target_service *service, const target_files *files,
                        target_submission how, tn_error *err)
{
    tn_error absent = TN_ERROR_INIT;
    workload old = {0};
    tn_status status = workload_find(options, service->name, &old, &absent);

    if (status == TN_OK && (how == TARGET_MAKE || old.deleting || old.ending))
        status = refuse_taken(&old, service->name, err);
    else if (status == TN_OK)
        status = replace_workload(options, service, files, &old, err);
    else if (status == TN_E_NOT_FOUND)
        status = make_workload(options, service, files, err);
    else
        status = tn_fail(err, status, "%s", absent.msg);
    workload_finish(&old);
    return status;
}

tn_status kubernetes_submit(const settings *settings, const target_service *service, const target_files *files,
                            target_submission how, tn_error *err)
{
    kubernetes_options options;
    tn_status status = kubernetes_options_read(settings, &options, err);
    return status == TN_OK ? submit(&options, service, files, how, err) : status;
}

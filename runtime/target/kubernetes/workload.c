/* workload.c: see workload.h. */
#include "target/kubernetes/workload.h"

#include <stdlib.h>
#include <string.h>

enum { NODES_MAX = 1024 };

static const char *annotation(const json_t *item, const char *key)
{
    const json_t *all = json_object_get(json_object_get(item, "metadata"), "annotations");
    return json_string_value(json_object_get(all, key));
}

bool workload_is(const json_t *item)
{
    return annotation(item, ANNOTATION_SERVICE) != NULL;
}

const char *workload_kind(uint32_t nodes)
{
    return nodes > 1 ? "statefulset" : "deployment";
}

bool workload_has_keda(const workload *w)
{
    return strstr(w->extras, "scaledobjects") != NULL;
}

void workload_finish(workload *w)
{
    json_decref(w->wish);
    free(w->extras);
    free(w->before);
    *w = (workload){0};
}

/* Kinds go onto a command line: letters, dots and commas. */
static bool are_kinds(const char *text)
{
    return text[strspn(text, "abcdefghijklmnopqrstuvwxyz.,")] == '\0';
}

static bool is_ending(const json_t *item)
{
    return json_is_string(json_object_get(json_object_get(item, "metadata"), "deletionTimestamp"));
}

tn_status workload_read(const json_t *item, workload *ret_workload, tn_error *err)
{
    const char *text = annotation(item, ANNOTATION_SERVICE), *extras = annotation(item, ANNOTATION_EXTRAS),
               *nodes = annotation(item, ANNOTATION_NODES), *before = annotation(item, ANNOTATION_BEFORE);
    const unsigned long count = nodes ? strtoul(nodes, NULL, 10) : 1;
    workload w = {.wish = text ? json_loads(text, JSON_REJECT_DUPLICATES, NULL) : NULL,
                  .extras = strdup(extras ? extras : ""),
                  .nodes = (uint32_t)count,
                  .suspended = annotation(item, ANNOTATION_SUSPENDED) != NULL,
                  .deleting = annotation(item, ANNOTATION_DELETING) != NULL,
                  .ending = is_ending(item),
                  .before = strdup(before ? before : "")};

    if (json_is_object(w.wish) && json_is_string(json_object_get(w.wish, "name")) && w.extras && are_kinds(w.extras) &&
        w.before && count >= 1 && count <= NODES_MAX) {
        *ret_workload = w;
        return TN_OK;
    }
    workload_finish(&w);
    return tn_fail(err, TN_E_CORRUPT,
                   "kubernetes: the annotations of a service are not what Tenon wrote; the one that "
                   "tells what was asked for is " ANNOTATION_SERVICE);
}

tn_status workload_find(const kubernetes_options *options, const char *name, workload *ret_workload, tn_error *err)
{
    json_t *items = NULL, *item;
    size_t i;

    if (!kubernetes_is_service_name(name))
        return tn_fail(err, TN_E_NOT_FOUND, "kubernetes: there is no service \"%.80s\"", name);
    tn_status status = kubectl_workloads(options, name, &items, err);
    if (status != TN_OK)
        return status;
    status = TN_E_NOT_FOUND;
    json_array_foreach(items, i, item)
    {
        if (status == TN_E_NOT_FOUND && workload_is(item))
            status = workload_read(item, ret_workload, err);
    }
    json_decref(items);
    return status == TN_E_NOT_FOUND ? tn_fail(err, status, "kubernetes: there is no service \"%s\"", name) : status;
}

tn_status workload_open(const settings *settings, const char *name, kubernetes_options *ret_options,
                        workload *ret_workload, tn_error *err)
{
    tn_status status = kubernetes_options_read(settings, ret_options, err);
    return status == TN_OK ? workload_find(ret_options, name, ret_workload, err) : status;
}

tn_status workload_check_stays(const workload *w, const char *name, tn_error *err)
{
    return w->deleting || w->ending ? tn_fail(err, TN_E_ARGUMENT, "kubernetes: service %s is being deleted", name)
                                    : TN_OK;
}

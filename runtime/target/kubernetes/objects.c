/* objects.c: everything of a service but what its pods are and what scales it: see manifest.h.
 *
 * Source: Kubernetes' API reference, 1.28 to 1.37. StatefulSets whose ordinals start at 1, and pods labelled with them,
 * are of 1.28.
 */
#include "target/kubernetes/manifest.h"

#include "version.h"

#include <string.h>

/* PROGRESS_SECONDS: to find a node and fetch the image, beside loading. */
enum { KEPT_REVISIONS = 3, PROGRESS_SECONDS = 600 };

/* ---- metadata ---- */

json_t *kubernetes_selector(const char *name, const char *role)
{
    json_t *labels = json_pack("{s:s, s:s}", LABEL_NAME, "tenon", LABEL_INSTANCE, name);
    if (labels && role)
        json_object_set_new(labels, LABEL_ROLE, json_string(role));
    return labels;
}

json_t *kubernetes_object(const kubernetes_options *options, const char *name, const char *suffix, const char *api,
                          const char *kind)
{
    json_t *labels = kubernetes_selector(name, NULL);
    json_t *metadata = json_pack("{s:o}", "name", json_sprintf("%s%s", name, suffix));
    if (!labels || !metadata) {
        json_decref(labels);
        json_decref(metadata);
        return NULL;
    }
    json_object_set_new(labels, "app.kubernetes.io/version", json_string(TENON_VERSION));
    json_object_set_new(labels, LABEL_MANAGED, json_string("tenon"));
    if (options->space)
        json_object_set_new(metadata, "namespace", json_string(options->space));
    json_object_set_new(metadata, "labels", labels);
    return json_pack("{s:s, s:s, s:o}", "apiVersion", api, "kind", kind, "metadata", metadata);
}

static json_t *object_of(const kubernetes_manifest *m, const char *suffix, const char *api, const char *kind)
{
    return kubernetes_object(m->options, m->service->name, suffix, api, kind);
}

/* Moves spec in. */
static json_t *with_spec(json_t *object, json_t *spec)
{
    if (json_object_set_new(object, "spec", spec) == 0)
        return object;
    json_decref(object);
    return NULL;
}

/* ---- what pods need ---- */

static json_t *service_account(const kubernetes_manifest *m)
{
    json_t *object = object_of(m, "", "v1", "ServiceAccount");
    json_object_set_new(object, "automountServiceAccountToken", json_false());
    return object;
}

static json_t *config_map(const kubernetes_manifest *m)
{
    json_t *object = object_of(m, "", "v1", "ConfigMap");
    json_object_set_new(object, "data", json_pack("{s:s}", "tenon.ini", m->config));
    return object;
}

static json_t *service(const kubernetes_manifest *m)
{
    return with_spec(object_of(m, "", "v1", "Service"),
                     json_pack("{s:s, s:[{s:s, s:i, s:s, s:s}], s:o}", "type", "ClusterIP", "ports", "name", "http",
                               "port", HTTP_PORT, "targetPort", "http", "protocol", "TCP", "selector",
                               kubernetes_selector(m->service->name, "serve")));
}

/* Names of the ranks' pods, which meet before they are ready. */
static json_t *rank_service(const kubernetes_manifest *m)
{
    return with_spec(object_of(m, "-ranks", "v1", "Service"),
                     json_pack("{s:s, s:s, s:b, s:[{s:s, s:i, s:s}], s:o}", "type", "ClusterIP", "clusterIP", "None",
                               "publishNotReadyAddresses", 1, "ports", "name", "group", "port", GROUP_PORT, "protocol",
                               "TCP", "selector", kubernetes_selector(m->service->name, NULL)));
}

static json_t *peers(const kubernetes_manifest *m)
{
    return json_pack("{s:{s:o}}", "podSelector", "matchLabels", kubernetes_selector(m->service->name, NULL));
}

/* Ranks find each other by name. */
static json_t *dns_rule(void)
{
    return json_pack("{s:[{s:{s:{s:s}}, s:{s:{s:s}}}], s:[{s:s, s:i}, {s:s, s:i}]}", "to", "namespaceSelector",
                     "matchLabels", "kubernetes.io/metadata.name", "kube-system", "podSelector", "matchLabels",
                     "k8s-app", "kube-dns", "ports", "protocol", "UDP", "port", 53, "protocol", "TCP", "port", 53);
}

/* Nothing goes out; of the front end's pod one port is open, of the others none but to each other. */
static json_t *network_policy(const kubernetes_manifest *m)
{
    const bool many = m->service->nodes > 1;
    json_t *in = json_pack("[{s:[{s:s, s:i}]}]", "ports", "protocol", "TCP", "port", HTTP_PORT), *out = json_array();
    if (many) {
        json_array_append_new(in, json_pack("{s:[o]}", "from", peers(m)));
        json_array_append_new(out, json_pack("{s:[o]}", "to", peers(m)));
        json_array_append_new(out, dns_rule());
    }
    return with_spec(object_of(m, "", "networking.k8s.io/v1", "NetworkPolicy"),
                     json_pack("{s:{s:o}, s:[s, s], s:o, s:o}", "podSelector", "matchLabels",
                               kubernetes_selector(m->service->name, NULL), "policyTypes", "Ingress", "Egress",
                               "ingress", in, "egress", out));
}

/* Nodes are emptied one instance at a time. */
static json_t *disruption_budget(const kubernetes_manifest *m)
{
    return with_spec(object_of(m, "", "policy/v1", "PodDisruptionBudget"),
                     json_pack("{s:i, s:{s:o}}", "maxUnavailable", 1, "selector", "matchLabels",
                               kubernetes_selector(m->service->name, NULL)));
}

/* ---- workloads ---- */

json_t *kubernetes_extras(bool scaled_object, bool pod_monitor)
{
    return json_sprintf("%s%s%s", scaled_object ? "scaledobjects.keda.sh" : "", scaled_object && pod_monitor ? "," : "",
                        pod_monitor ? "podmonitors.monitoring.coreos.com" : "");
}

/* What show() and scale() find again. */
static void annotate(const kubernetes_manifest *m, json_t *object)
{
    json_t *wish = target_service_json(m->target, m->service), *all = json_object();
    char *text = json_dumps(wish, JSON_COMPACT | JSON_PRESERVE_ORDER);
    const bool scaled = m->options->scaler == SCALER_KEDA &&
                        kubernetes_is_scaled(m->options, m->service->min, m->service->max),
               watched = m->options->monitor == MONITOR_PODMONITOR;

    json_object_set_new(all, ANNOTATION_SERVICE, json_string(text));
    json_object_set_new(all, ANNOTATION_EXTRAS, kubernetes_extras(scaled, watched));
    if (m->service->nodes > 1)
        json_object_set_new(all, ANNOTATION_NODES, json_sprintf("%u", (unsigned)m->service->nodes));
    if (m->service->digest)
        json_object_set_new(all, "tenon/model-sha256", json_string(m->service->digest));
    json_object_set_new(json_object_get(object, "metadata"), "annotations", all);
    json_decref(wish);
    free(text);
}

/* Without replicas where something scales, so that applying it again does not undo that. */
static json_t *deployment(const kubernetes_manifest *m)
{
    const target_service *s = m->service;
    json_t *spec = json_object();
    if (!kubernetes_is_scaled(m->options, s->min, s->max))
        json_object_set_new(spec, "replicas", json_integer(s->min));
    json_object_set_new(spec, "revisionHistoryLimit", json_integer(KEPT_REVISIONS));
    json_object_set_new(spec, "progressDeadlineSeconds",
                        json_integer((json_int_t)kubernetes_startup_seconds(m) + PROGRESS_SECONDS));
    json_object_set_new(spec, "selector", json_pack("{s:o}", "matchLabels", kubernetes_selector(s->name, "serve")));
    json_object_set_new(
        spec, "strategy",
        json_pack("{s:s, s:{s:i, s:i}}", "type", "RollingUpdate", "rollingUpdate", "maxUnavailable", 0, "maxSurge", 1));
    json_object_set_new(spec, "template", kubernetes_pod(m, "serve"));
    json_t *object = with_spec(object_of(m, "", "apps/v1", "Deployment"), spec);
    annotate(m, object);
    return object;
}

/* The ranks from `first` on. They start together, since each waits for all. */
static json_t *stateful_set(const kubernetes_manifest *m, const char *suffix, const char *role, uint32_t first,
                            uint32_t count)
{
    json_t *spec =
        json_pack("{s:I, s:o, s:s, s:i, s:{s:o}}", "replicas", (json_int_t)count, "serviceName",
                  json_sprintf("%s-ranks", m->service->name), "podManagementPolicy", "Parallel", "revisionHistoryLimit",
                  KEPT_REVISIONS, "selector", "matchLabels", kubernetes_selector(m->service->name, role));
    if (spec && first)
        json_object_set_new(spec, "ordinals", json_pack("{s:I}", "start", (json_int_t)first));
    json_object_set_new(spec, "template", kubernetes_pod(m, role));
    return with_spec(object_of(m, suffix, "apps/v1", "StatefulSet"), spec);
}

static void add_ranks(const kubernetes_manifest *m, json_t *list)
{
    json_t *first = stateful_set(m, "", "serve", 0, 1);
    annotate(m, first);
    json_array_append_new(list, rank_service(m));
    json_array_append_new(list, first);
    json_array_append_new(list, stateful_set(m, "-workers", "worker", 1, m->service->nodes - 1));
}

/* ---- all ---- */

json_t *kubernetes_objects(const kubernetes_manifest *m)
{
    const target_service *s = m->service;
    json_t *list = json_array(), *scaler = kubernetes_scaler(m->options, s->name, s->min, s->max);

    json_array_append_new(list, service_account(m));
    json_array_append_new(list, config_map(m));
    json_array_append_new(list, network_policy(m));
    json_array_append_new(list, disruption_budget(m));
    json_array_append_new(list, service(m));
    if (s->nodes > 1)
        add_ranks(m, list);
    else
        json_array_append_new(list, deployment(m));
    if (!json_is_null(scaler))
        json_array_append(list, scaler);
    json_decref(scaler);
    if (m->options->monitor == MONITOR_PODMONITOR)
        json_array_append_new(list, kubernetes_pod_monitor(m->options, s->name));
    return list;
}

/* scaling.c: what looks at our metrics and changes the number of pods.
 *
 * tenon:num_requests_waiting is what /metrics says of one instance. Kubernetes' custom metrics have no colon in their
 * names, so prometheus-adapter is told to call it METRIC; README.md has its rule.
 * Source: autoscaling/v2; KEDA's ScaledObject and its prometheus trigger; the Prometheus operator's PodMonitor.
 */
#include "target/kubernetes/manifest.h"

#define SERIES "tenon:num_requests_waiting"
#define METRIC "tenon_num_requests_waiting"

enum { SCALE_DOWN_SECONDS = 300, POLL_SECONDS = 15 };

static json_t *hpa(const kubernetes_options *options, const char *name, uint32_t min, uint32_t max)
{
    json_t *object = kubernetes_object(options, name, "", "autoscaling/v2", "HorizontalPodAutoscaler");
    json_t *metric =
        json_pack("{s:s, s:{s:{s:s}, s:{s:s, s:o}}}", "type", "Pods", "pods", "metric", "name", METRIC, "target",
                  "type", "AverageValue", "averageValue", json_sprintf("%u", (unsigned)options->waiting_target));
    json_t *spec =
        json_pack("{s:{s:s, s:s, s:s}, s:I, s:I, s:[o], s:{s:{s:i}}}", "scaleTargetRef", "apiVersion", "apps/v1",
                  "kind", "Deployment", "name", name, "minReplicas", (json_int_t)min, "maxReplicas", (json_int_t)max,
                  "metrics", metric, "behavior", "scaleDown", "stabilizationWindowSeconds", SCALE_DOWN_SECONDS);
    json_object_set_new(object, "spec", spec);
    return object;
}

/* A query for one number. serverAddress and query go to Prometheus as they are. */
static json_t *trigger(const kubernetes_options *options, json_t *query)
{
    return json_pack("{s:s, s:s, s:{s:s, s:o, s:o}}", "type", "prometheus", "metricType", "AverageValue", "metadata",
                     "serverAddress", options->prometheus_url, "query", query, "threshold",
                     json_sprintf("%u", (unsigned)options->waiting_target));
}

/* Pods of a Deployment are NAME-HASH-RANDOM: those of a service NAME-ELSE are not counted. */
#define POD_OF_NAME "%s-[a-z0-9]{1,10}-[a-z0-9]{5}"

/* Where there is no pod nothing is counted in it: what wakes the service is a second trigger, about what stands in
 * front. The namespace is set: kubernetes_options_check_instances. */
static json_t *scaled_object(const kubernetes_options *options, const char *name, uint32_t min, uint32_t max)
{
    json_t *object = kubernetes_object(options, name, "", "keda.sh/v1alpha1", "ScaledObject");
    json_t *own = json_sprintf("sum(" SERIES "{pod=~\"" POD_OF_NAME "\",namespace=\"%s\"})", name, options->space);
    json_t *triggers = json_pack("[o]", trigger(options, own));
    if (options->wake_query)
        json_array_append_new(triggers, trigger(options, json_string(options->wake_query)));
    json_t *spec =
        json_pack("{s:{s:s, s:s, s:s}, s:I, s:I, s:i, s:i, s:o}", "scaleTargetRef", "apiVersion", "apps/v1", "kind",
                  "Deployment", "name", name, "minReplicaCount", (json_int_t)min, "maxReplicaCount", (json_int_t)max,
                  "pollingInterval", POLL_SECONDS, "cooldownPeriod", SCALE_DOWN_SECONDS, "triggers", triggers);
    if (options->wake_query)
        json_object_set_new(spec, "idleReplicaCount", json_integer(0));
    json_object_set_new(object, "spec", spec);
    return object;
}

json_t *kubernetes_scaler(const kubernetes_options *options, const char *name, uint32_t min, uint32_t max)
{
    if (!kubernetes_is_scaled(options, min, max))
        return json_null();
    return options->scaler == SCALER_KEDA ? scaled_object(options, name, min, max) : hpa(options, name, min, max);
}

json_t *kubernetes_pod_monitor(const kubernetes_options *options, const char *name)
{
    json_t *object = kubernetes_object(options, name, "", "monitoring.coreos.com/v1", "PodMonitor");
    json_t *endpoint = json_pack("{s:s, s:s}", "port", "http", "path", "/metrics");
    if (options->metrics_secret)
        json_object_set_new(
            endpoint, "authorization",
            json_pack("{s:{s:s, s:s}}", "credentials", "name", options->metrics_secret, "key", "token"));
    json_object_set_new(object, "spec",
                        json_pack("{s:{s:o}, s:[o]}", "selector", "matchLabels", kubernetes_selector(name, "serve"),
                                  "podMetricsEndpoints", endpoint));
    return object;
}

/* pod.c: the pods of a service: one container, which needs no right and no writable file but /tmp.
 *
 * Source: Kubernetes' API reference, core/v1 PodTemplateSpec; Pod Security Standards, "restricted".
 */
#include "target/kubernetes/manifest.h"

#include <inttypes.h>
#include <string.h>

enum { USER = 10001, PROBE_SECONDS = 5, LIVENESS_SECONDS = 60, LOAD_SECONDS_MIN = 120 };

/* A model comes over a network at least so fast. */
static const uint64_t load_bytes_per_second = 100 * 1000 * 1000;
/* What ranks of one node may exchange through memory. */
static const uint64_t shared_memory_bytes = 1 << 30;

static json_t *bytes_text(uint64_t bytes)
{
    const uint64_t mib = 1 << 20;
    return json_sprintf("%" PRIu64 "Mi", bytes / mib + (bytes % mib != 0));
}

static bool has_shared_memory(const target_service *service)
{
    return service->gpus > 1;
}

static bool is_worker(const char *role)
{
    return strcmp(role, "worker") == 0;
}

/* ---- resources ---- */

/* The plan is what Tenon takes; the rest is for drivers, libraries, the page cache of a file being read, and the
 * kernel's share. */
static uint64_t memory_bytes(const kubernetes_manifest *m)
{
    const uint64_t planned = m->service->host_bytes;
    if (m->options->memory_bytes)
        return m->options->memory_bytes;
    return planned + planned / 10 + target_beside_bytes(m->service->gpus) +
           (has_shared_memory(m->service) ? shared_memory_bytes : 0);
}

/* Requests are the limits: a pod of the class Guaranteed has its CPUs to itself and is evicted last. */
static json_t *resources(const kubernetes_manifest *m)
{
    json_t *limits =
        json_pack("{s:o, s:o, s:o}", "cpu", json_sprintf("%" PRIu32, m->service->cpus), "memory",
                  bytes_text(memory_bytes(m)), "ephemeral-storage", bytes_text(m->options->ephemeral_bytes));
    if (limits && m->service->gpus)
        json_object_set_new(limits, m->options->gpu_resource, json_sprintf("%" PRIu32, m->service->gpus));
    json_t *requests = json_deep_copy(limits);
    return json_pack("{s:o, s:o}", "requests", requests, "limits", limits);
}

/* ---- volumes ---- */

static json_t *model_volume(const kubernetes_manifest *m)
{
    const kubernetes_options *o = m->options;
    if (o->volume == VOLUME_CLAIM)
        return json_pack("{s:s, s:{s:s, s:b}}", "name", "models", "persistentVolumeClaim", "claimName", o->volume_name,
                         "readOnly", 1);
    if (o->volume == VOLUME_NFS)
        return json_pack("{s:s, s:{s:s, s:s, s:b}}", "name", "models", "nfs", "server", o->volume_name, "path",
                         o->volume_path, "readOnly", 1);
    return json_pack("{s:s, s:{s:s, s:s}}", "name", "models", "hostPath", "path", m->root, "type", "Directory");
}

/* Readable for this user's group alone, which is the pod's fsGroup. */
static json_t *secret_volume(const char *volume, const char *secret)
{
    return json_pack("{s:s, s:{s:s, s:i, s:[{s:s, s:s}]}}", "name", volume, "secret", "secretName", secret,
                     "defaultMode", 0440, "items", "key", volume, "path", volume);
}

static json_t *empty_volume(const char *name, const char *medium, uint64_t bytes)
{
    json_t *empty = json_pack("{s:o}", "sizeLimit", bytes_text(bytes));
    if (empty && medium)
        json_object_set_new(empty, "medium", json_string(medium));
    return json_pack("{s:s, s:o}", "name", name, "emptyDir", empty);
}

static json_t *mount(const char *name, const char *path, bool read_only)
{
    json_t *mount = json_pack("{s:s, s:s}", "name", name, "mountPath", path);
    if (mount && read_only)
        json_object_set_new(mount, "readOnly", json_true());
    return mount;
}

static void add_volume(json_t *volumes, json_t *mounts, json_t *volume, const char *path, bool read_only)
{
    const char *name = json_string_value(json_object_get(volume, "name"));
    json_array_append_new(mounts, name ? mount(name, path, read_only) : NULL);
    json_array_append_new(volumes, volume);
}

static void list_volumes(const kubernetes_manifest *m, const char *role, json_t *volumes, json_t *mounts)
{
    const kubernetes_options *o = m->options;
    add_volume(volumes, mounts, json_pack("{s:s, s:{s:s}}", "name", "settings", "configMap", "name", m->service->name),
               SETTINGS_FOLDER, true);
    add_volume(volumes, mounts, model_volume(m), MODELS_FOLDER, true);
    if (o->api_key_secret && !is_worker(role))
        add_volume(volumes, mounts, secret_volume("api-keys", o->api_key_secret), SECRETS_FOLDER "/api-keys", true);
    if (o->token_secret && !is_worker(role))
        add_volume(volumes, mounts, secret_volume("tokens", o->token_secret), SECRETS_FOLDER "/tokens", true);
    add_volume(volumes, mounts, empty_volume("tmp", NULL, o->ephemeral_bytes / 2), "/tmp", false);
    if (has_shared_memory(m->service))
        add_volume(volumes, mounts, empty_volume("shared-memory", "Memory", shared_memory_bytes), "/dev/shm", false);
}

/* ---- probes ---- */

static json_t *probe(const char *path, int period, uint64_t failures)
{
    return json_pack("{s:{s:s, s:s}, s:i, s:i, s:I}", "httpGet", "path", path, "port", "http", "periodSeconds", period,
                     "timeoutSeconds", PROBE_SECONDS, "failureThreshold", (json_int_t)failures);
}

uint64_t kubernetes_startup_seconds(const kubernetes_manifest *m)
{
    const target_service *s = m->service;
    const uint64_t bytes = s->gpus ? s->device_bytes * s->gpus : s->host_bytes;
    return LOAD_SECONDS_MIN + bytes / load_bytes_per_second + (s->nodes > 1 ? GROUP_JOIN_SECONDS : 0);
}

/* Alive is what the step loop says, too: a server whose device is lost answers /health and is of no use any more. */
static void add_probes(const kubernetes_manifest *m, json_t *container)
{
    json_object_set_new(
        container, "startupProbe",
        probe("/health", PROBE_SECONDS, (kubernetes_startup_seconds(m) + PROBE_SECONDS - 1) / PROBE_SECONDS));
    json_object_set_new(container, "readinessProbe", probe("/ready", PROBE_SECONDS, 2));
    json_object_set_new(container, "livenessProbe",
                        probe("/ready", 2 * PROBE_SECONDS, LIVENESS_SECONDS / (2 * PROBE_SECONDS)));
}

/* ---- the container ---- */

/* Kubernetes replaces $(TENON_RANK). */
static json_t *arguments(const kubernetes_manifest *m, const char *role)
{
    json_t *list = json_pack("[s, s]", "serve", SETTINGS_FOLDER "/tenon.ini");
    if (m->service->nodes > 1) {
        json_array_append_new(list, json_string("--set"));
        json_array_append_new(list, json_string(is_worker(role) ? "group.rank=$(TENON_RANK)" : "group.rank=0"));
    }
    return list;
}

static json_t *environment(const kubernetes_manifest *m, const char *role)
{
    json_t *list =
        json_pack("[{s:s, s:s}]", "name", "HOME", "value", "/tmp"); /* where a driver keeps what it compiles */
    if (m->service->gpus && strncmp(m->options->gpu_resource, "nvidia.com/", 11) == 0)
        json_array_append_new(
            list, json_pack("{s:s, s:s}", "name", "NVIDIA_DRIVER_CAPABILITIES", "value", "compute,utility"));
    if (m->service->nodes > 1)
        json_array_append_new(list, json_pack("{s:s, s:{s:{s:s, s:s}}}", "name", "TENON_GROUP_SECRET", "valueFrom",
                                              "secretKeyRef", "name", m->options->group_secret, "key", "secret"));
    if (is_worker(role))
        json_array_append_new(list, json_pack("{s:s, s:{s:{s:s}}}", "name", "TENON_RANK", "valueFrom", "fieldRef",
                                              "fieldPath", "metadata.labels['apps.kubernetes.io/pod-index']"));
    return list;
}

static json_t *container(const kubernetes_manifest *m, const char *role, json_t *mounts)
{
    json_t *container =
        json_pack("{s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:{s:b, s:b, s:{s:[s]}}}", "name", "tenon", "image",
                  m->options->image, "imagePullPolicy", m->options->pull_policy, "args", arguments(m, role), "env",
                  environment(m, role), "resources", resources(m), "volumeMounts", mounts, "securityContext",
                  "allowPrivilegeEscalation", 0, "readOnlyRootFilesystem", 1, "capabilities", "drop", "ALL");
    if (!container || is_worker(role))
        return container;
    json_object_set_new(container, "ports", json_pack("[{s:s, s:i}]", "name", "http", "containerPort", HTTP_PORT));
    add_probes(m, container);
    /* Requests still come for a moment after a pod is told to end: until then it takes them. */
    json_object_set_new(
        container, "lifecycle",
        json_pack("{s:{s:{s:[s, o]}}}", "preStop", "exec", "command", "sleep", json_sprintf("%d", PRESTOP_SECONDS)));
    return container;
}

/* ---- where pods go ---- */

static void add_placement(const kubernetes_manifest *m, json_t *spec)
{
    const kubernetes_options *o = m->options;
    json_t *all = kubernetes_selector(m->service->name, NULL);

    if (m->service->nodes > 1) /* a rank to a node, as planned */
        json_object_set_new(spec, "affinity",
                            json_pack("{s:{s:[{s:{s:O}, s:s}]}}", "podAntiAffinity",
                                      "requiredDuringSchedulingIgnoredDuringExecution", "labelSelector", "matchLabels",
                                      all, "topologyKey", "kubernetes.io/hostname"));
    else
        json_object_set_new(spec, "topologySpreadConstraints",
                            json_pack("[{s:i, s:s, s:s, s:{s:O}}]", "maxSkew", 1, "topologyKey",
                                      "kubernetes.io/hostname", "whenUnsatisfiable", "ScheduleAnyway", "labelSelector",
                                      "matchLabels", all));
    json_decref(all);
    if (m->service->gpus)
        json_object_set_new(
            spec, "tolerations",
            json_pack("[{s:s, s:s, s:s}]", "key", o->gpu_resource, "operator", "Exists", "effect", "NoSchedule"));
    json_t *labels = o->node_labels ? json_object() : NULL;
    for (uint32_t i = 0; i < o->node_labels; i++)
        json_object_set_new(labels, o->node_label[i].key, json_string(o->node_label[i].value));
    if (labels)
        json_object_set_new(spec, "nodeSelector", labels);
    if (o->runtime_class)
        json_object_set_new(spec, "runtimeClassName", json_string(o->runtime_class));
}

/* ---- the pod ---- */

static json_t *pod_spec(const kubernetes_manifest *m, const char *role)
{
    json_t *volumes = json_array(), *mounts = json_array();
    list_volumes(m, role, volumes, mounts);
    json_t *spec = json_pack(
        "{s:s, s:b, s:b, s:I, s:{s:b, s:i, s:i, s:i, s:s, s:{s:s}}, s:[o], s:o}", "serviceAccountName",
        m->service->name, "automountServiceAccountToken", 0, "enableServiceLinks", 0, "terminationGracePeriodSeconds",
        (json_int_t)m->service->drain_s + PRESTOP_SECONDS + 10, "securityContext", "runAsNonRoot", 1, "runAsUser", USER,
        "runAsGroup", USER, "fsGroup", USER, "fsGroupChangePolicy", "OnRootMismatch", "seccompProfile", "type",
        "RuntimeDefault", "containers", container(m, role, mounts), "volumes", volumes);
    if (!spec)
        return NULL;
    add_placement(m, spec);
    if (m->options->pull_secret)
        json_object_set_new(spec, "imagePullSecrets", json_pack("[{s:s}]", "name", m->options->pull_secret));
    return spec;
}

/* What Prometheus' usual scrape settings look for; they present no key. */
static void add_scrape_annotations(const kubernetes_manifest *m, json_t *annotations)
{
    if (m->options->monitor != MONITOR_ANNOTATIONS)
        return;
    json_object_set_new(annotations, "prometheus.io/scrape", json_string("true"));
    json_object_set_new(annotations, "prometheus.io/port", json_sprintf("%d", HTTP_PORT));
    json_object_set_new(annotations, "prometheus.io/path", json_string("/metrics"));
}

json_t *kubernetes_pod(const kubernetes_manifest *m, const char *role)
{
    json_t *labels = kubernetes_selector(m->service->name, role);
    /* Pods are made anew when the settings that they have read are others. */
    json_t *annotations = json_pack("{s:s}", "tenon/settings-sha256", m->config_digest.hex);
    if (annotations && m->service->digest)
        json_object_set_new(annotations, "tenon/model-sha256", json_string(m->service->digest));
    if (annotations && !is_worker(role))
        add_scrape_annotations(m, annotations);
    if (labels)
        json_object_set_new(labels, LABEL_MANAGED, json_string("tenon"));
    return json_pack("{s:{s:o, s:o}, s:o}", "metadata", "labels", labels, "annotations", annotations, "spec",
                     pod_spec(m, role));
}

/* options.c: see options.h. Keys, types and ranges are in settings/options.c. */
#include "target/kubernetes/options.h"

#include <ctype.h>
#include <string.h>

static const char section[] = "target kubernetes";

static tn_status refuse(const settings *settings, const char *key, const char *reason, tn_error *err)
{
    return settings_fail(settings, section, key, TN_E_ARGUMENT, reason, err);
}

/* ---- names, by Kubernetes' rules ---- */

static bool is_lower(char letter)
{
    return (letter >= 'a' && letter <= 'z') || (letter >= '0' && letter <= '9');
}

/* RFC 1123: letters, digits and '-', neither first nor last. */
static bool is_label(const char *text, size_t bytes)
{
    if (bytes == 0 || bytes > 63 || !is_lower(text[0]) || !is_lower(text[bytes - 1]))
        return false;
    for (size_t i = 0; i < bytes; i++)
        if (!is_lower(text[i]) && text[i] != '-')
            return false;
    return true;
}

/* Labels with dots between them. */
static bool is_subdomain(const char *text, size_t bytes)
{
    for (size_t at = 0; at <= bytes;) {
        const char *dot = memchr(text + at, '.', bytes - at);
        size_t end = dot ? (size_t)(dot - text) : bytes;
        if (!is_label(text + at, end - at))
            return false;
        at = end + 1;
    }
    return bytes <= 253;
}

/* The value of a label, and the part of a key behind its '/'. */
static bool is_qualified(const char *text, size_t bytes)
{
    if (bytes == 0 || bytes > 63 || !isalnum((unsigned char)text[0]) || !isalnum((unsigned char)text[bytes - 1]))
        return false;
    for (size_t i = 0; i < bytes; i++)
        if (!isalnum((unsigned char)text[i]) && !strchr("-_.", text[i]))
            return false;
    return true;
}

/* "nvidia.com/gpu", "disktype". */
static bool is_key(const char *text, size_t bytes)
{
    const char *slash = memchr(text, '/', bytes);
    size_t prefix = slash ? (size_t)(slash - text) : 0;
    if (!slash)
        return is_qualified(text, bytes);
    return is_subdomain(text, prefix) && is_qualified(slash + 1, bytes - prefix - 1);
}

bool kubernetes_is_service_name(const char *text)
{
    size_t bytes = strlen(text);
    return bytes <= KUBERNETES_NAME_MAX && is_label(text, bytes) && !isdigit((unsigned char)*text);
}

/* ---- one key after the other ---- */

/* NULL is fine. */
static tn_status read_name(const settings *settings, const char *key, const char **ret_text, tn_error *err)
{
    const char *text = settings_string(settings, section, key);
    if (text && !is_subdomain(text, strlen(text)))
        return refuse(settings, key,
                      "that is no name to Kubernetes: lower-case letters, digits, '-' and '.', with letters or digits "
                      "at both ends",
                      err);
    *ret_text = text;
    return TN_OK;
}

static tn_status read_names(const settings *settings, kubernetes_options *options, tn_error *err)
{
    const struct {
        const char *key;
        const char **text;
    } names[] = {
        {"namespace", &options->space},
        {"image_pull_secret", &options->pull_secret},
        {"runtime_class", &options->runtime_class},
        {"api_key_secret", &options->api_key_secret},
        {"token_secret", &options->token_secret},
        {"group_secret", &options->group_secret},
        {"metrics_secret", &options->metrics_secret},
    };
    tn_status status = TN_OK;
    for (size_t i = 0; status == TN_OK && i < sizeof names / sizeof *names; i++)
        status = read_name(settings, names[i].key, names[i].text, err);
    if (status == TN_OK && options->space && !is_label(options->space, strlen(options->space)))
        status = refuse(settings, "namespace", "a namespace's name has no dots and at most 63 letters", err);
    return status;
}

/* An image is for the container runtime to judge; what would be two words, or an option, is none. */
static tn_status read_image(const settings *settings, kubernetes_options *options, tn_error *err)
{
    options->image = settings_string(settings, section, "image");
    options->pull_policy = settings_string(settings, section, "image_pull_policy");
    for (const char *at = options->image; *at; at++)
        if (!isgraph((unsigned char)*at) || !isalnum((unsigned char)*options->image))
            return refuse(settings, "image", "that is no image: HOST/NAME:TAG, or HOST/NAME@sha256:DIGEST", err);
    options->gpu_resource = settings_string(settings, section, "gpu_resource");
    if (!strchr(options->gpu_resource, '/') || !is_key(options->gpu_resource, strlen(options->gpu_resource)))
        return refuse(settings, "gpu_resource", "that is no extended resource such as nvidia.com/gpu", err);
    return TN_OK;
}

static tn_status read_node_label(kubernetes_options *options, const char *text, size_t bytes)
{
    const char *equals = memchr(text, '=', bytes);
    size_t key = equals ? (size_t)(equals - text) : 0, value = equals ? bytes - key - 1 : 0;
    if (!equals || options->node_labels == LABELS_MAX || !is_key(text, key) ||
        (value && !is_qualified(equals + 1, value)))
        return TN_E_ARGUMENT;
    memcpy(options->node_label[options->node_labels].key, text, key);
    memcpy(options->node_label[options->node_labels].value, equals + 1, value);
    options->node_labels++;
    return TN_OK;
}

static tn_status read_node_labels(const settings *settings, kubernetes_options *options, tn_error *err)
{
    const char *text = settings_string(settings, section, "node_selector");
    while (text && *text) {
        text += strspn(text, ", \t");
        size_t bytes = strcspn(text, ", \t");
        if (bytes && read_node_label(options, text, bytes) != TN_OK)
            return refuse(settings, "node_selector", "that is no list of at most 16 labels KEY=VALUE", err);
        text += bytes;
    }
    return TN_OK;
}

/* "hostpath", "pvc:CLAIM", "nfs:SERVER:/EXPORT". */
static tn_status parse_volume(const char *text, kubernetes_options *options)
{
    const char *name = strchr(text, ':'), *path = NULL;
    size_t bytes = name ? strlen(++name) : 0;

    if (!name)
        return strcmp(text, "hostpath") == 0 ? TN_OK : TN_E_ARGUMENT;
    options->volume = strncmp(text, "pvc:", 4) == 0 ? VOLUME_CLAIM : VOLUME_NFS;
    if (options->volume == VOLUME_NFS) {
        path = strstr(name, ":/");
        if (strncmp(text, "nfs:", 4) != 0 || !path || strlen(path + 1) >= sizeof options->volume_path)
            return TN_E_ARGUMENT;
        bytes = (size_t)(path - name);
        strcpy(options->volume_path, path + 1);
    }
    if (bytes == 0 || bytes >= sizeof options->volume_name ||
        (options->volume == VOLUME_CLAIM && !is_subdomain(name, bytes)))
        return TN_E_ARGUMENT;
    memcpy(options->volume_name, name, bytes);
    return TN_OK;
}

/* Whether a path has a part "..", which Kubernetes refuses. */
static bool climbs(const char *path)
{
    for (const char *at = strstr(path, "/.."); at; at = strstr(at + 1, "/.."))
        if (at[3] == '\0' || at[3] == '/')
            return true;
    return false;
}

static tn_status read_volume(const settings *settings, kubernetes_options *options, tn_error *err)
{
    options->volume_root = settings_string(settings, section, "volume_root");
    if (parse_volume(settings_string(settings, section, "volume"), options) != TN_OK)
        return refuse(settings, "volume", "that is none of hostpath, pvc:CLAIM and nfs:SERVER:/EXPORT", err);
    if (options->volume_root && climbs(options->volume_root))
        return refuse(settings, "volume_root", "it must not have .. in it", err);
    return TN_OK;
}

static tn_status read_scaling(const settings *settings, kubernetes_options *options, tn_error *err)
{
    const char *scaler = settings_string(settings, section, "scaler"),
               *monitor = settings_string(settings, section, "monitor");
    options->scaler = strcmp(scaler, "hpa") == 0 ? SCALER_HPA : strcmp(scaler, "keda") == 0 ? SCALER_KEDA : SCALER_NONE;
    options->monitor = strcmp(monitor, "podmonitor") == 0    ? MONITOR_PODMONITOR
                       : strcmp(monitor, "annotations") == 0 ? MONITOR_ANNOTATIONS
                                                             : MONITOR_NONE;
    options->waiting_target = (uint32_t)settings_integer(settings, section, "waiting_target");
    options->prometheus_url = settings_string(settings, section, "prometheus_url");
    options->wake_query = settings_string(settings, section, "wake_query");
    if (options->scaler == SCALER_KEDA && !options->prometheus_url)
        return refuse(
            settings, "scaler",
            "keda asks Prometheus, so prometheus_url must say where that is: http://prometheus.monitoring:9090", err);
    if (options->wake_query && options->scaler != SCALER_KEDA)
        return refuse(settings, "wake_query",
                      "a HorizontalPodAutoscaler keeps one instance at least, whatever is asked: use scaler=keda", err);
    return TN_OK;
}

tn_status kubernetes_options_read(const settings *settings, kubernetes_options *ret_options, tn_error *err)
{
    kubernetes_options options = {.context = settings_string(settings, section, "context")};
    tn_status status = read_names(settings, &options, err);
    if (status == TN_OK)
        status = read_image(settings, &options, err);
    if (status == TN_OK)
        status = read_node_labels(settings, &options, err);
    if (status == TN_OK)
        status = read_volume(settings, &options, err);
    if (status == TN_OK)
        status = read_scaling(settings, &options, err);
    if (status != TN_OK)
        return status;
    if (!settings_is_auto(settings, section, "memory"))
        options.memory_bytes = (uint64_t)settings_integer(settings, section, "memory");
    options.ephemeral_bytes = (uint64_t)settings_integer(settings, section, "ephemeral_storage");
    options.server_side = settings_bool(settings, section, "server_side");
    *ret_options = options;
    return TN_OK;
}

/* ---- a service with these options ---- */

bool kubernetes_is_scaled(const kubernetes_options *options, uint32_t min, uint32_t max)
{
    return min < max || options->wake_query;
}

tn_status kubernetes_options_check_instances(const kubernetes_options *options, uint32_t nodes, uint32_t min,
                                             uint32_t max, tn_error *err)
{
    if (nodes > 1 && (max > 1 || min != 1))
        return tn_fail(err, TN_E_ARGUMENT,
                       "kubernetes: an instance over %u nodes is one set of pods that cannot be scaled: use --min 1 "
                       "--max 1, and another service for another instance",
                       nodes);
    if (min == 0)
        return tn_fail(err, TN_E_ARGUMENT,
                       "kubernetes: nothing here wakes a service with --min 0: use --min 1, and to have none while "
                       "nobody asks, scaler=keda with prometheus_url and wake_query");
    if (options->scaler == SCALER_KEDA && kubernetes_is_scaled(options, min, max) && !options->space)
        return tn_fail(
            err, TN_E_ARGUMENT,
            "kubernetes: scaler=keda asks Prometheus, which knows pods of the same name in other namespaces: "
            "set namespace");
    if (min < max && options->scaler == SCALER_NONE)
        return tn_fail(err, TN_E_ARGUMENT, "kubernetes: nothing scales from %u to %u with scaler=none: use hpa or keda",
                       min, max);
    return TN_OK;
}

static tn_status check_monitor(const kubernetes_options *options, tn_error *err)
{
    const bool locked = options->api_key_secret || options->token_secret;
    if (locked && options->monitor == MONITOR_ANNOTATIONS)
        return tn_fail(err, TN_E_ARGUMENT,
                       "kubernetes: /metrics asks for a key, which who follows annotations does not present: use "
                       "monitor=podmonitor with metrics_secret, or monitor=none");
    if (locked && options->monitor == MONITOR_PODMONITOR && !options->metrics_secret)
        return tn_fail(err, TN_E_ARGUMENT,
                       "kubernetes: /metrics asks for a key: metrics_secret must name a Secret with one under the key "
                       "token");
    return TN_OK;
}

/* Texts and files that are here and not there. */
static tn_status check_secrets(const kubernetes_options *options, const target_service *service, tn_error *err)
{
    static const char *const here[] = {"http_frontend.tls_cert", "http_frontend.tls_key"};
    if (engine_settings_value(service->settings, "http_frontend.api_key_file") && !options->api_key_secret)
        return tn_fail(
            err, TN_E_ARGUMENT,
            "kubernetes: http_frontend.api_key_file is a file of this machine: kubectl create secret generic "
            "NAME --from-file=api-keys=FILE, and api_key_secret=NAME");
    if (service->token_file && !options->token_secret)
        return tn_fail(err, TN_E_ARGUMENT,
                       "kubernetes: auth.token_file is a file of this machine: kubectl create secret generic NAME "
                       "--from-file=tokens=%.200s, and token_secret=NAME",
                       service->token_file);
    if (service->nodes > 1 && !options->group_secret)
        return tn_fail(err, TN_E_ARGUMENT,
                       "kubernetes: the processes of an instance over %u nodes prove to each other that they know a "
                       "secret: kubectl create secret generic NAME --from-literal=secret=$(openssl rand -hex 32), and "
                       "group_secret=NAME",
                       service->nodes);
    for (size_t i = 0; i < sizeof here / sizeof *here; i++)
        if (engine_settings_value(service->settings, here[i]))
            return tn_fail(err, TN_E_ARGUMENT,
                           "kubernetes: %s is a file of this machine: TLS ends at the cluster's Ingress or Gateway, so "
                           "take it out of the settings",
                           here[i]);
    return TN_OK;
}

/* Plugins are the image's, by their bare names. */
static tn_status check_plugins(const target_service *service, tn_error *err)
{
    static const char *const keys[] = {"backend.plugin", "quant.plugins", "tokenizer.plugins"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const char *names = engine_settings_value(service->settings, keys[i]);
        if (names && strchr(names, '/'))
            return tn_fail(err, TN_E_ARGUMENT,
                           "kubernetes: %s is a file of this machine, %.200s: put the plugin into the image, and give "
                           "its bare name",
                           keys[i], names);
    }
    return TN_OK;
}

tn_status kubernetes_options_check(const kubernetes_options *options, const target_service *service, tn_error *err)
{
    if (!kubernetes_is_service_name(service->name))
        return tn_fail(err, TN_E_ARGUMENT,
                       "kubernetes: \"%.80s\" can be no Service: at most %d lower-case letters, digits and '-', "
                       "beginning with a letter and ending with a letter or digit",
                       service->name, KUBERNETES_NAME_MAX);
    tn_status status = kubernetes_options_check_instances(options, service->nodes, service->min, service->max, err);
    if (status == TN_OK)
        status = check_plugins(service, err);
    if (status == TN_OK)
        status = check_monitor(options, err);
    return status == TN_OK ? check_secrets(options, service, err) : status;
}

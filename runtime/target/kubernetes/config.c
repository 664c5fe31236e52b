/* config.c: the settings file of a pod: what the service is told, with what is so in a pod put over it: where the model
 * and the secrets are, the address, and how the ranks of an instance meet.
 *
 * Paths here and there: the volume holds a folder of this machine (volume_root) and appears as MODELS_FOLDER.
 */
#include "target/kubernetes/manifest.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- the volume ---- */

/* The folder that a model lies in: for a version of the registry, STORE/views/DIGEST or a file in there, that is the
 * store. Owned; NULL: out of memory. */
static char *folder_of(const target_service *service)
{
    char view[32];
    const char *path = service->path, *end = strrchr(path, '/');

    if (service->digest) {
        snprintf(view, sizeof view, "/views/%.8s", service->digest);
        const char *found = strstr(path, view);
        end = found ? found : end;
    }
    return strndup(path, end ? (size_t)(end - path) : 0);
}

/* The folder that is asked for, or the one that the model lies in. */
static tn_status choose_root(kubernetes_manifest *m, tn_error *err)
{
    const char *asked = m->options->volume_root;
    size_t bytes;

    m->root = asked ? strdup(asked) : folder_of(m->service);
    if (!m->root)
        return tn_fail(err, TN_E_MEMORY, "the folder of a model");
    for (bytes = strlen(m->root); bytes > 1 && m->root[bytes - 1] == '/'; bytes--)
        m->root[bytes - 1] = '\0';
    if (bytes > 1 && !strchr(m->root, ':'))
        return TN_OK;
    return tn_fail(
        err, TN_E_ARGUMENT,
        "kubernetes: %.200s cannot be a volume: put the model into a folder without ':' in its path, or say in "
        "volume_root which folder the volume holds",
        bytes ? m->root : "/");
}

/* Of a file here, where it is in the pod. Owned; NULL: the volume does not hold it, or out of memory. */
static char *path_in_pod(const kubernetes_manifest *m, const char *path)
{
    size_t root = strlen(m->root);
    char *text = NULL;

    if (strncmp(path, m->root, root) != 0 || (path[root] != '/' && path[root] != '\0'))
        return NULL;
    return asprintf(&text, MODELS_FOLDER "%s", path + root) < 0 ? NULL : text;
}

static tn_status put_path(const kubernetes_manifest *m, engine_settings *list, const char *key, const char *path,
                          tn_error *err)
{
    char *there = path_in_pod(m, path);
    tn_status status = there ? engine_settings_put(list, key, there, err)
                             : tn_fail(err, TN_E_ARGUMENT,
                                       "kubernetes: %s is %.200s, which is not in the folder that the volume holds, "
                                       "%.150s: move it there, or set volume_root",
                                       key, path, m->root);
    free(there);
    return status;
}

/* ---- the settings ---- */

static tn_status put_number(engine_settings *list, const char *key, uint64_t value, tn_error *err)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRIu64, value);
    return engine_settings_put(list, key, text, err);
}

static tn_status put_model(const kubernetes_manifest *m, engine_settings *list, tn_error *err)
{
    const char *chat_template = engine_settings_value(list, "model.chat_template");
    tn_status status = put_path(m, list, "model.path", m->service->path, err);
    if (status == TN_OK && chat_template)
        status = put_path(m, list, "model.chat_template", chat_template, err);
    return status;
}

static tn_status put_secrets(const kubernetes_manifest *m, engine_settings *list, tn_error *err)
{
    tn_status status = TN_OK;
    if (m->options->api_key_secret)
        status = engine_settings_put(list, "http_frontend.api_key_file", SECRETS_FOLDER "/api-keys/api-keys", err);
    if (status == TN_OK && m->options->token_secret)
        status = engine_settings_put(list, "auth.token_file", SECRETS_FOLDER "/tokens/tokens", err);
    return status;
}

/* The ranks' own numbers are on their command lines. Rank 0 is the one pod of its StatefulSet. */
static tn_status put_group(const kubernetes_manifest *m, engine_settings *list, tn_error *err)
{
    char store[160];
    snprintf(store, sizeof store, "tcp://%s-0.%s-ranks:%d", m->service->name, m->service->name, GROUP_PORT);
    tn_status status = engine_settings_put(list, "group.launcher", "none", err);
    if (status == TN_OK)
        status = put_number(list, "group.world_size", m->service->nodes, err);
    if (status == TN_OK)
        status = engine_settings_put(list, "group.name", m->service->name, err);
    if (status == TN_OK)
        status = engine_settings_put(list, "group.store", store, err);
    if (status == TN_OK)
        status = put_number(list, "group.join_timeout", GROUP_JOIN_SECONDS, err);
    return status;
}

/* Whether the section [cpu] is one that the engine knows. */
static bool runs_on_cpu(const target_service *service)
{
    const char *backend = engine_settings_value(service->settings, "backend.plugin");
    return service->gpus == 0 && (!backend || strcmp(backend, "cpu") == 0);
}

static tn_status make_config(kubernetes_manifest *m, engine_settings *list, tn_error *err)
{
    char listen[24];
    snprintf(listen, sizeof listen, "0.0.0.0:%d", HTTP_PORT);
    engine_settings_remove(list, "plugins.path"); /* the image has its own */
    tn_status status = put_model(m, list, err);
    if (status == TN_OK)
        status = put_secrets(m, list, err);
    if (status == TN_OK)
        status = engine_settings_put(list, "http_frontend.listen", listen, err);
    if (status == TN_OK && runs_on_cpu(m->service)) /* more threads than the pod has CPUs would wait for each other */
        status = put_number(list, "cpu.threads", m->service->cpus, err);
    if (status == TN_OK && m->service->nodes > 1)
        status = put_group(m, list, err);
    if (status != TN_OK)
        return status;
    m->config = engine_settings_text(list);
    if (!m->config)
        return tn_fail(err, TN_E_MEMORY, "the settings of a pod");
    m->config_digest = digest_of_bytes(m->config, strlen(m->config));
    return TN_OK;
}

tn_status kubernetes_manifest_init(kubernetes_manifest *m, const target *target, const kubernetes_options *options,
                                   const target_service *service, tn_error *err)
{
    engine_settings list = {0};

    *m = (kubernetes_manifest){.target = target, .options = options, .service = service};
    tn_status status = kubernetes_options_check(options, service, err);
    if (status == TN_OK)
        status = choose_root(m, err);
    if (status == TN_OK)
        status = engine_settings_copy(service->settings, &list, err);
    if (status == TN_OK)
        status = make_config(m, &list, err);
    engine_settings_finish(&list);
    if (status != TN_OK)
        kubernetes_manifest_finish(m);
    return status;
}

void kubernetes_manifest_finish(kubernetes_manifest *m)
{
    free(m->root);
    free(m->config);
    *m = (kubernetes_manifest){0};
}

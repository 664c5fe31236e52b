/* kubernetes_driver.c: the Kubernetes target without a plan: services whose plans are written here, so that what is
 * rendered follows from this file and the settings alone.
 *
 *   kubernetes_driver render|submit|replace CASE [section.key=value ...]
 *   kubernetes_driver show|list|logs|suspend|resume|remove|scale NAME ... (scale: to DRIVER_MIN and DRIVER_MAX)
 *
 * Cases: cpu, gpu, ranks; hostile takes its model's path and served name from the environment (HOSTILE_PATH,
 * HOSTILE_NAME).
 */
#include "target/kubernetes/kubernetes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GIB (UINT64_C(1) << 30)

static const char digest_hex[] = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
static const char *const no_sets[] = {"model.max_model_len=8192", NULL};

static const target_service cases[] = {
    {.name = "tiny",
     .model = "/srv/models/tiny.gguf",
     .path = "/srv/models/tiny.gguf",
     .pool = "ram",
     .min = 1,
     .max = 1,
     .sets = no_sets,
     .drain_s = 30,
     .nodes = 1,
     .host_bytes = 3 * GIB,
     .device_bytes = 3 * GIB,
     .cpus = 8},
    {.name = "chat",
     .model = "llama3-8b:prod",
     .path = "/var/lib/tenon/registry/views/9f86d081",
     .digest = digest_hex,
     .pool = "GPU_NV_S",
     .min = 1,
     .max = 4,
     .sets = no_sets,
     .drain_s = 30,
     .nodes = 1,
     .gpus = 1,
     .host_bytes = 2 * GIB,
     .device_bytes = 20 * GIB,
     .cpus = 6},
    {.name = "large",
     .model = "/srv/models/llama3-70b",
     .path = "/srv/models/llama3-70b",
     .pool = "racks",
     .min = 1,
     .max = 1,
     .sets = no_sets,
     .drain_s = 60,
     .nodes = 2,
     .gpus = 4,
     .host_bytes = 8 * GIB,
     .device_bytes = 70 * GIB,
     .cpus = 12},
};

static int fail(const tn_error *err)
{
    fprintf(stderr, "%s\n", err->msg);
    return 1;
}

static tn_status fill_settings(target_service *s, const char *name, engine_settings *list, tn_error *err)
{
    char world[16];
    const char *more = getenv("DRIVER_SET"); /* section.key=value */
    char key[80];
    snprintf(world, sizeof world, "%u", s->gpus * s->nodes);
    tn_status status = engine_settings_put(list, "model.path", s->path, err);
    if (status == TN_OK)
        status = engine_settings_put(list, "model.max_model_len", "8192", err);
    if (status == TN_OK)
        status = engine_settings_put(list, "model.served_model_name", name, err);
    if (status == TN_OK && s->gpus)
        status = engine_settings_put(list, "backend.plugin", "cuda_tp", err);
    if (status == TN_OK && s->gpus)
        status = engine_settings_put(list, "backend.tensor_parallel_size", world, err);
    if (status == TN_OK)
        status = engine_settings_put(list, "frontend.plugins", "http_frontend", err);
    if (status == TN_OK && more) {
        snprintf(key, sizeof key, "%.*s", (int)strcspn(more, "="), more);
        status = engine_settings_put(list, key, strchr(more, '=') + 1, err);
    }
    s->token_file = getenv("DRIVER_TOKEN_FILE");
    s->settings = list;
    return status;
}

static bool find_case(const char *name, target_service *ret_service)
{
    const char *path = getenv("HOSTILE_PATH"), *service_name = getenv("DRIVER_NAME");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (strcmp(cases[i].name, name) != 0)
            continue;
        *ret_service = cases[i];
        if (path)
            ret_service->path = ret_service->model = path;
        if (service_name)
            ret_service->name = service_name;
        if (getenv("DRIVER_MIN"))
            ret_service->min = (uint32_t)atoi(getenv("DRIVER_MIN"));
        if (getenv("DRIVER_MAX"))
            ret_service->max = (uint32_t)atoi(getenv("DRIVER_MAX"));
        return true;
    }
    return false;
}

static tn_status make(const char *verb, const char *name, const settings *settings, tn_error *err)
{
    target_service service;
    target_files files = {0};
    engine_settings list = {0};
    const char *served = getenv("HOSTILE_NAME");

    if (!find_case(name, &service))
        return tn_fail(err, TN_E_NOT_FOUND, "there is no case %s", name);
    tn_status status = fill_settings(&service, served ? served : name, &list, err);
    if (status == TN_OK)
        status = target_kubernetes.render(settings, &service, &files, err);
    if (status == TN_OK && strcmp(verb, "render") == 0)
        fputs(files.at[0].text, stdout);
    else if (status == TN_OK)
        status = target_kubernetes.submit(
            settings, &service, &files, strcmp(verb, "replace") == 0 ? TARGET_REPLACE : TARGET_MAKE, err);
    target_files_finish(&files);
    engine_settings_finish(&list);
    return status;
}

/* Enough after as many lines as FOLLOW says. */
static bool print_line(void *ctx, const char *instance, uint64_t time_ms, const char *text, size_t bytes)
{
    int *left = ctx;
    if (!instance)
        return true;
    printf("%s %llu %.*s\n", instance, (unsigned long long)time_ms, (int)bytes, text);
    return fflush(stdout) == 0 && --*left != 0;
}

static tn_status ask(const char *verb, const char *name, const settings *settings, tn_error *err)
{
    const char *follow = getenv("FOLLOW");
    int left = follow ? atoi(follow) : 0;
    const log_sink sink = {.ctx = &left, .line = print_line};
    json_t *json = NULL;
    tn_status status = TN_E_ARGUMENT;

    if (strcmp(verb, "show") == 0)
        status = target_kubernetes.show(settings, name, &json, err);
    else if (strcmp(verb, "list") == 0)
        status = target_kubernetes.list(settings, &json, err);
    else if (strcmp(verb, "logs") == 0)
        status = target_kubernetes.logs(settings, name, getenv("INSTANCE"), 0, follow != NULL, &sink, err);
    else if (strcmp(verb, "suspend") == 0)
        status = target_kubernetes.suspend(settings, name, err);
    else if (strcmp(verb, "resume") == 0)
        status = target_kubernetes.resume(settings, name, err);
    else if (strcmp(verb, "remove") == 0)
        status = target_kubernetes.remove(settings, name, err);
    else if (strcmp(verb, "scale") == 0)
        status = target_kubernetes.scale(settings, name, (uint32_t)atoi(getenv("DRIVER_MIN")),
                                         (uint32_t)atoi(getenv("DRIVER_MAX")), err);
    if (json)
        json_dumpf(json, stdout, JSON_PRESERVE_ORDER);
    json_decref(json);
    return status;
}

int main(int argc, char **argv)
{
    settings *settings = NULL;
    tn_error err = TN_ERROR_INIT;

    if (argc < 3)
        return 2;
    const bool makes =
        strcmp(argv[1], "render") == 0 || strcmp(argv[1], "submit") == 0 || strcmp(argv[1], "replace") == 0;
    tn_status status = settings_read(NULL, (const char *const *)(argv + 3), &settings, &err);
    if (status == TN_OK)
        status = makes ? make(argv[1], argv[2], settings, &err) : ask(argv[1], argv[2], settings, &err);
    settings_destroy(settings);
    return status == TN_OK ? 0 : fail(&err);
}

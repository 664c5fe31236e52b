/* wish_model.c: see wish_model.h. */
#include "service/wish_model.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *without_prefix(const char *model)
{
    return strncmp(model, SETTINGS_REGISTRY, strlen(SETTINGS_REGISTRY)) == 0 ? model + strlen(SETTINGS_REGISTRY)
                                                                             : model;
}

static tn_status find_path(wish *wish, tn_error *err)
{
    if (access(wish->model, R_OK) != 0)
        return tn_fail(err, TN_E_NOT_FOUND, "model: %.300s: %s", wish->model, strerror(errno));
    char *path = strdup(wish->model);
    if (!path)
        return tn_fail(err, TN_E_MEMORY, "the model's path");
    free(wish->path);
    wish->path = path;
    wish->digest = (digest){{0}};
    return TN_OK;
}

tn_status wish_find_model(const settings *settings, wish *wish, tn_error *err)
{
    char root[PATH_MAX], path[PATH_MAX];
    registered found;
    if (wish->model[0] == '/')
        return find_path(wish, err);
    if (strchr(wish->model, '/'))
        return tn_fail(err, TN_E_ARGUMENT, "model: %.200s is relative to who knows what; give an absolute path",
                       wish->model);
    tn_status status = registry_root(settings_string(settings, "registry", "path"), root, err);
    if (status == TN_OK)
        status = registry_resolve(root, without_prefix(wish->model), path, &found, err);
    if (status != TN_OK)
        return status;
    char *copy = strdup(path);
    if (!copy)
        return tn_fail(err, TN_E_MEMORY, "the model's path");
    free(wish->path);
    wish->path = copy;
    wish->digest = found.digest;
    return TN_OK;
}

static tn_status open_registry(const settings *settings, registry **ret_registry, tn_error *err)
{
    char root[PATH_MAX];
    tn_status status = registry_root(settings_string(settings, "registry", "path"), root, err);
    return status == TN_OK ? registry_open(root, false, ret_registry, err) : status;
}

tn_status wish_lease(const settings *settings, const wish *wish, const char *holder, bool take, tn_error *err)
{
    registry *registry = NULL;
    if (!wish->digest.hex[0])
        return TN_OK;
    tn_status status = open_registry(settings, &registry, err);
    if (status == TN_OK)
        status = (take ? registry_lease : registry_release)(registry, holder, &wish->digest, err);
    registry_close(registry);
    return status;
}

tn_status wish_release_gone(const settings *settings, lease_is_gone is_gone, void *ctx, tn_error *err)
{
    registry *registry = NULL;
    tn_status status = open_registry(settings, &registry, err);
    if (status == TN_OK)
        status = registry_release_gone(registry, is_gone, ctx, err);
    registry_close(registry);
    return status == TN_E_NOT_FOUND ? TN_OK : status;
}

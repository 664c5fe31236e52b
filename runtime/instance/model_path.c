/* runtime/instance/model_path.c: see model_path.h. */
#include "instance/model_path.h"

#include "registry/registry.h"

#include <stdlib.h>
#include <string.h>

static tn_status find_registered(const settings *settings, const char *reference, char path[PATH_MAX],
                                 registered *ret_registered, tn_error *err)
{
    char root[PATH_MAX];
    tn_status status = registry_root(settings_string(settings, "registry", "path"), root, err);
    return status == TN_OK ? registry_resolve(root, reference, path, ret_registered, err) : status;
}

tn_status model_path_find(const settings *settings, const char *text, char **ret_path, char **ret_name, tn_error *err)
{
    char path[PATH_MAX], *name = NULL;
    registered found;
    bool is_registered = strncmp(text, SETTINGS_REGISTRY, strlen(SETTINGS_REGISTRY)) == 0;

    if (is_registered) {
        tn_status status = find_registered(settings, text + strlen(SETTINGS_REGISTRY), path, &found, err);
        if (status != TN_OK)
            return status;
        name = strdup(found.model);
    }
    char *copy = strdup(is_registered ? path : text);
    if (!copy || (is_registered && !name)) {
        free(copy);
        free(name);
        return tn_fail(err, TN_E_MEMORY, "out of memory for the model's path");
    }
    *ret_path = copy;
    *ret_name = name;
    return TN_OK;
}

/* section.c: the spec that a section [service NAME] of a settings file asks for. */
#include "service/services.h"

#include <stdlib.h>
#include <string.h>

static bool is_own_key(const char *key)
{
    static const char *const own[] = {"model", "pool", "gpus", "min", "max", "autosuspend", "target"};
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        if (strcmp(own[i], key) == 0)
            return true;
    return false;
}

/* One block: the list, and its texts after it. */
static tn_status list_sets(const settings *settings, const char *section, const char ***ret_sets, tn_error *err)
{
    settings_given given;
    size_t bytes = (SERVICE_SETS_MAX + 1) * sizeof(char *), count = 0;
    for (uint32_t i = 0; settings_given_at(settings, i, &given); i++)
        if (strcmp(given.section, section) == 0 && !is_own_key(given.key))
            bytes += strlen(given.key) + strlen(given.text) + 2;
    const char **sets = calloc(1, bytes);
    if (!sets)
        return tn_fail(err, TN_E_MEMORY, "a service's settings");
    char *at = (char *)(sets + SERVICE_SETS_MAX + 1);
    for (uint32_t i = 0; settings_given_at(settings, i, &given); i++) {
        if (strcmp(given.section, section) != 0 || is_own_key(given.key) || count == SERVICE_SETS_MAX)
            continue;
        sets[count++] = at;
        at += sprintf(at, "%s=%s", given.key, given.text) + 1;
    }
    *ret_sets = sets;
    return TN_OK;
}

tn_status service_spec_of_section(const settings *settings, const char *section, service_spec *ret_spec,
                                  const char ***ret_sets, tn_error *err)
{
    TN_ASSERT(strncmp(section, "service ", 8) == 0);
    service_spec spec = {
        .name = section + 8,
        .model = settings_string(settings, section, "model"),
        .pool = settings_string(settings, section, "pool"),
        .gpus = (uint32_t)settings_integer(settings, section, "gpus"),
        .min_instances = (uint32_t)settings_integer(settings, section, "min"),
        .max_instances = (uint32_t)settings_integer(settings, section, "max"),
        .autosuspend_s = (uint32_t)settings_integer(settings, section, "autosuspend"),
    };
    tn_status status = list_sets(settings, section, ret_sets, err);
    spec.sets = status == TN_OK ? *ret_sets : NULL;
    if (status == TN_OK)
        *ret_spec = spec;
    return status;
}

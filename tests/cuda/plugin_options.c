/* plugin_options.c: see plugin_options.h. */
#include "plugin_options.h"

#include "options.h"

#include <string.h>

static const char *set_key, *set_value;

static const char *config(const tn_host *host, const char *key)
{
    (void)host;
    return strcmp(key, set_key) == 0 ? set_value : NULL;
}

tn_status plugin_option_set(const char *key, const char *value, tn_error *err)
{
    const tn_host host = {.struct_size = sizeof host, .config = config};

    set_key = key;
    set_value = value;
    return options_read(&host, err);
}

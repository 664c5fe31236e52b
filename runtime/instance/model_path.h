/* runtime/instance/model_path.h: where the model lies that a setting or an argument names. */
#ifndef INSTANCE_MODEL_PATH_H
#define INSTANCE_MODEL_PATH_H

#include "settings/settings.h"

/* text: a path, which is taken as it is, or registry:REFERENCE, looked up in the registry of registry.path. *ret_name:
 * what the registry calls it; NULL for a path. Both are owned by the caller. */
tn_status model_path_find(const settings *settings, const char *text, char **ret_path, char **ret_name, tn_error *err);

#endif

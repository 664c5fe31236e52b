/* runtime/service/engine_settings.h: the settings file of one engine process: the daemon's own settings as far as they
 * concern engines, what the service sets over them, and what the plan came to, so that the engine takes just that.
 */
#ifndef SERVICE_ENGINE_SETTINGS_H
#define SERVICE_ENGINE_SETTINGS_H

#include "service/wish.h"

typedef struct engine_settings {
    char **at; /* owned, NULL-terminated: "section.key=value" */
    uint32_t count;
} engine_settings;

typedef enum engine_purpose {
    ENGINE_PLAN,  /* as `tenon plan` is asked: with the pool, without the numbers that it is to find */
    ENGINE_ROUTE, /* what the gateway reads */
    ENGINE_SERVE, /* what `tenon serve` reads, with its socket */
    ENGINE_TARGET /* what `tenon serve` reads on a cluster (runtime/target): http_frontend, and who may use it */
} engine_purpose;

/* base: the daemon's. socket: of ENGINE_SERVE. TN_E_ARGUMENT: values that no settings file can hold. */
tn_status engine_settings_make(const settings *base, const wish *wish, const pool *pool, engine_purpose purpose,
                               const char *socket, engine_settings *ret_list, tn_error *err);
void engine_settings_finish(engine_settings *list); /* zeroed is fine */
tn_status engine_settings_copy(const engine_settings *list, engine_settings *ret_list, tn_error *err);
/* key: "section.key", one that stands in the list or a new one. TN_E_ARGUMENT: value is more than an .ini's line holds.
 */
tn_status engine_settings_put(engine_settings *list, const char *key, const char *value, tn_error *err);
/* One that is not there is fine. */
void engine_settings_remove(engine_settings *list, const char *key);
/* NULL: it is not in the list. Borrowed. */
const char *engine_settings_value(const engine_settings *list, const char *key);
/* As the text of an .ini file; owned; NULL: out of memory. */
char *engine_settings_text(const engine_settings *list);
/* As an .ini file. */
tn_status engine_settings_write(const engine_settings *list, const char *path, tn_error *err);

#endif

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
    ENGINE_SERVE  /* what `tenon serve` reads, with its socket */
} engine_purpose;

/* base: the daemon's. socket: of ENGINE_SERVE. TN_E_ARGUMENT: values that no settings file can hold. */
tn_status engine_settings_make(const settings *base, const wish *wish, const pool *pool, engine_purpose purpose,
                               const char *socket, engine_settings *ret_list, tn_error *err);
void engine_settings_finish(engine_settings *list); /* zeroed is fine */
/* As an .ini file. */
tn_status engine_settings_write(const engine_settings *list, const char *path, tn_error *err);

#endif

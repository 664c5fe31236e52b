/* runtime/service/planner.h: whether a service fits its pool, as `tenon plan` says.
 *
 * It is asked in a process of its own: the sizing function opens the model's files, which others wrote, and loads the
 * backend, whose driver may keep memory; neither is to stay in the daemon, or to end it.
 */
#ifndef SERVICE_PLANNER_H
#define SERVICE_PLANNER_H

#include "service/wish.h"

/* Whether the pool can have services: its gpus are ordinals. *ret_devices: how many it says it
 * has; 0: what is here. ordinals: PLANNER_DEVICES_MAX. */
enum { PLANNER_DEVICES_MAX = 64 };
tn_status planner_pool(const settings *settings, const char *name, pool *ret_pool, uint32_t *ordinals,
                       uint32_t *ret_devices, tn_error *err);

/* folder: for the settings file, which is removed. *ret_json (owned, may be NULL on failure): all that the plan says.
 * TN_E_MEMORY: it does not fit, ever. Other errors: of the model or the settings. */
tn_status planner_ask(const settings *settings, const char *program, const char *folder, const wish *wish,
                      engine_plan *ret_plan, json_t **ret_json, tn_error *err);

#endif

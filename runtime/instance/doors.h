/* runtime/instance/doors.h: the front ends of a process, open. */
#ifndef INSTANCE_DOORS_H
#define INSTANCE_DOORS_H

#include "instance/instance.h"

typedef struct door {
    const char *id; /* the plugin's, borrowed */
    const tn_frontend_table *table;
    tn_front *front;
} door;
typedef struct doors {
    door at[INSTANCE_PLUGINS_MAX];
    uint32_t count;
} doors;

/* Opens each of `frontends` with args, whose host is filled in. On failure those that are open stay so. [ctl] */
tn_status doors_open(const plugin_list *frontends, const tn_frontend_args *args, doors *ret_doors, tn_error *err);
/* Lets what runs finish, up to drain_ms. A door where some remains is the status; the others are drained all the same.
 * [ctl] */
tn_status doors_drain(doors *doors, uint32_t drain_ms, tn_error *err);
void doors_stop(doors *doors); /* [ctl] */

#endif

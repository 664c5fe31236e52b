/* doors.c: see doors.h. */
#include "instance/doors.h"

tn_status doors_open(const plugin_list *frontends, const tn_frontend_args *args, doors *ret_doors, tn_error *err)
{
    for (uint32_t i = 0; i < frontends->count; i++) {
        const plugin *plugin = frontends->at[i];
        door *door = &ret_doors->at[ret_doors->count];
        tn_frontend_args own = *args;
        own.host = plugin_host(plugin);
        tn_status status = plugin_frontend(plugin, &door->table, err);
        if (status == TN_OK)
            status = door->table->start(&own, &door->front, err);
        if (status != TN_OK)
            return status;
        door->id = plugin_descriptor(plugin)->id;
        ret_doors->count++;
    }
    return TN_OK;
}

tn_status doors_drain(doors *doors, uint32_t drain_ms, tn_error *err)
{
    tn_status status = TN_OK;

    for (uint32_t i = 0; i < doors->count; i++) {
        tn_status one = doors->at[i].table->drain(doors->at[i].front, drain_ms, err);
        if (one != TN_OK)
            status = one;
    }
    return status;
}

void doors_stop(doors *doors)
{
    for (uint32_t i = 0; i < doors->count; i++)
        doors->at[i].table->stop(doors->at[i].front);
    doors->count = 0;
}

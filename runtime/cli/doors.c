/* doors.c: the front ends of a program that serves, and the signals that end it. */
#include "cli/command.h"

#include <pthread.h>

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
        ret_doors->count++;
        fprintf(stderr, "%s: %s\n", plugin_descriptor(plugin)->id, door->table->address(door->front));
    }
    return TN_OK;
}

void doors_drain(doors *doors, uint32_t drain_ms)
{
    tn_error err = TN_ERROR_INIT;
    for (uint32_t i = 0; i < doors->count; i++)
        if (doors->at[i].table->drain(doors->at[i].front, drain_ms, &err) != TN_OK)
            fprintf(stderr, "warning: %s\n", err.msg);
}

void doors_stop(doors *doors)
{
    for (uint32_t i = 0; i < doors->count; i++)
        doors->at[i].table->stop(doors->at[i].front);
    doors->count = 0;
}

void block_signals(sigset_t *ret_set)
{
    sigemptyset(ret_set);
    sigaddset(ret_set, SIGINT);
    sigaddset(ret_set, SIGTERM);
    sigaddset(ret_set, SIGHUP);
    pthread_sigmask(SIG_BLOCK, ret_set, NULL);
}

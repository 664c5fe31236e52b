/* doors.c: the front ends of a program that serves, and the signals that end it. */
#include "cli/command.h"

#include <pthread.h>

tn_status open_doors(const plugin_list *frontends, const tn_frontend_args *args, doors *ret_doors, tn_error *err)
{
    tn_status status = doors_open(frontends, args, ret_doors, err);

    for (uint32_t i = 0; i < ret_doors->count; i++) {
        const door *door = &ret_doors->at[i];
        fprintf(stderr, "%s: %s\n", door->id, door->table->address(door->front));
    }
    return status;
}

void drain_doors(doors *doors, uint32_t drain_ms)
{
    tn_error err = TN_ERROR_INIT;
    if (doors_drain(doors, drain_ms, &err) != TN_OK)
        fprintf(stderr, "warning: %s\n", err.msg);
}

void block_signals(sigset_t *ret_set)
{
    sigemptyset(ret_set);
    sigaddset(ret_set, SIGINT);
    sigaddset(ret_set, SIGTERM);
    sigaddset(ret_set, SIGHUP);
    pthread_sigmask(SIG_BLOCK, ret_set, NULL);
}

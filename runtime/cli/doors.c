/* doors.c: what a program that serves says of its doors (instance/doors.h), and the signals that end it. */
#include "cli/command.h"

#include <pthread.h>

void doors_announce(const doors *doors)
{
    for (uint32_t i = 0; i < doors->count; i++) {
        const door *door = &doors->at[i];
        fprintf(stderr, "%s: %s\n", door->id, door->table->address(door->front));
    }
}

void doors_drain_or_warn(doors *doors, uint32_t drain_ms)
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

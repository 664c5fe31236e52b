/* runtime/admin/admin.h: tn.admin: registry, plans, pools, services and jobs of a daemon as resources told in JSON.
 *
 * route.c is the table of them, README.md shows what they take and answer. Any number of threads may call at once; no
 * lock is held while the registry, a program or a service is waited for.
 */
#ifndef ADMIN_ADMIN_H
#define ADMIN_ADMIN_H

#include "service/services.h"
#include "settings/settings.h"
#include "tenon/admin.h"

/* All borrowed until admin_close. */
typedef struct admin_options {
    const settings *settings; /* [registry] */
    /* What the daemon itself was given, for the programs that it runs. */
    const char *ini;         /* NULL: none */
    const char *const *sets; /* NULL-terminated; NULL: none */
    const char *program;     /* `tenon`; NULL: the program that runs */
    services *services;
    const char *store;                  /* the daemon's folder, for files and jobs */
    void (*tell)(const char *sentence); /* as services_options.tell */
} admin_options;

tn_status admin_open(const admin_options *options, tn_admin **ret_admin, tn_error *err);
/* The doors are open: jobs may run, which come in by them. */
void admin_start(tn_admin *admin);
/* Removes files and jobs that have expired. For a daemon that is asked nothing: its calls do so too. [any] */
void admin_sweep(tn_admin *admin);
/* From now on calls are refused, and those that run come to an end: waits, followed logs, programs. Before the front
 * ends stop, since they wait for their calls. [any] */
void admin_stop(tn_admin *admin);
/* After the last call has returned. NULL is fine. */
void admin_close(tn_admin *admin);

extern const tn_admin_table admin_table;

#endif

/* runtime/group/identity.h: which process of which group this one is, by its settings or by the launcher that started
 * it.
 *
 * [group] rank and world_size win; else the launcher that [group] launcher names is asked: Slurm and Open MPI say it in
 * the environment of the processes they start. A launcher is never asked uninvited, since a shell within a Slurm
 * allocation has half of those variables too. Values that contradict each other, or come alone, are refused with the
 * name of the variable or key.
 */
#ifndef GROUP_IDENTITY_H
#define GROUP_IDENTITY_H

#include "group/store.h"
#include "settings/settings.h"

enum { GROUP_NAME_MAX = 100, GROUP_STORE_MAX = 1024 };
#define GROUP_LOCAL_RANK_UNKNOWN UINT32_MAX

typedef struct group_identity {
    const char *source;              /* "[group] rank and world_size", "Slurm", "Open MPI"; static */
    uint32_t rank, world;            /* world 0: the settings name no group */
    uint32_t local_rank;             /* or GROUP_LOCAL_RANK_UNKNOWN: nobody said */
    uint32_t host_count;             /* 0: nobody said */
    char name[GROUP_NAME_MAX + 1];   /* letters, digits, "._-": unique among groups that run, also a folder's name */
    char store[GROUP_STORE_MAX + 1]; /* "file:/path" or "tcp://host:port" */
} group_identity;

/* The value of an environment variable, or NULL. */
typedef const char *(*group_variable)(const char *name);
const char *group_environment(const char *name); /* this process's */

/* variable: how the environment is read. TN_E_ARGUMENT: what is missing or contradictory, and what to set. [ctl] */
tn_status group_identity_find(const settings *settings, group_variable variable, group_identity *ret_identity,
                              tn_error *err);

#endif

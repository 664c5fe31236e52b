/* tenon/rendezvous.h: "tn.rendezvous", a service of the core (tn_host.get_interface): the processes that serve one
 * model together find each other and exchange small values, such as addresses and the id of a communicator.
 *
 * A process is one member of a group, by the launcher that started it or by its settings ([group]). Values live in a
 * store that all members reach: a shared folder, or a TCP server in the process of rank 0. Nothing here is on the path
 * of a step: what members say to each other while they run is the backend's own.
 */
#ifndef TENON_RENDEZVOUS_H
#define TENON_RENDEZVOUS_H

#include "tenon/plugin.h"

TN_BEGIN_DECLS

#define TN_RENDEZVOUS_ID "tn.rendezvous/1"

/* Bytes of a key: letters, digits and "._-:/", not beginning with "tn/", which is the core's. Bytes of a value. */
enum { TN_RENDEZVOUS_KEY_MAX = 128, TN_RENDEZVOUS_VALUE_MAX = 1048576 };

/* This process in its group. Ranks are processes here, each of which may drive several devices. */
typedef struct tn_group {
    uint32_t struct_size;
    uint32_t rank, world;             /* of processes; world >= 1 */
    uint32_t local_rank, local_world; /* of this host; as the launcher says, else counted */
    uint32_t host_count;
    char name[104]; /* of the group, unique among those that run: what tn_open.group_id is */
} tn_group;
TN_SEALED(tn_group, name);

/* Every function fails with TN_E_NOT_FOUND in a process that is in no group, with TN_E_CANCELLED once a member has
 * aborted, and with TN_E_DEVICE_LOST once a member or the store is known to be gone; the message says who and why. A
 * TCP store knows of a lost member at once, a shared folder by what does not arrive in time. */
typedef struct tn_rendezvous_table {
    uint32_t struct_size, flags;
    tn_status (*group)(const tn_host *host, tn_group *ret_group, tn_error *err); /* Never waits. [any] */
    /* Puts a value under a key, once: TN_E_ARGUMENT if the key has one. Copied. May wait for the network. [any] */
    tn_status (*put)(const tn_host *host, const char *key, const void *value, uint64_t n_value, tn_error *err);
    /* Waits until some member has put the key, at most timeout_ms, then TN_E_NOT_FOUND. *n_value: in, capacity; out,
     * bytes of the value. TN_E_MEMORY, with the bytes needed, when it does not fit. [any] */
    tn_status (*get)(const tn_host *host, const char *key, void *value, uint64_t *n_value, uint32_t timeout_ms,
                     tn_error *err);
    /* Ends the group: wakes whoever waits in get, in every process; they and all later calls fail with TN_E_CANCELLED
     * and the reason, a sentence. The first reason stands. Nothing happens in a process that is in no group. [any] */
    void (*abort)(const tn_host *host, const char *reason);
} tn_rendezvous_table;
TN_SEALED(tn_rendezvous_table, abort);

TN_END_DECLS
#endif

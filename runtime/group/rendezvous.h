/* runtime/group/rendezvous.h: this process as a member of a group, and the tn.rendezvous table over its store.
 *
 * A process is one member of one group at a time, whatever it runs: state is the process's, as that of plugins is.
 */
#ifndef GROUP_RENDEZVOUS_H
#define GROUP_RENDEZVOUS_H

#include "group/identity.h"
#include "group/secret.h"

/* Joins, and returns once every member is there, within [group] join_timeout. TN_E_ARGUMENT: this process is in a group
 * already. identity: of group_identity_find, with a world of at least 1. [any] */
tn_status rendezvous_open(const settings *settings, const group_identity *identity, tn_group *ret_group, tn_error *err);
/* Leaves, once no call of the table is in progress; rank 0 waits a few seconds for the others to leave as well. Nothing
 * happens in a process that is in no group. [any] */
void rendezvous_close(void);
/* The name of a member's host, terminated. TN_E_NOT_FOUND: no such rank, or no group. [any] */
tn_status rendezvous_host(uint32_t rank, char ret_host[STORE_HOST_MAX + 1], tn_error *err);

/* As those of the table, for keys of the core's own, which begin with "tn/". [any] */
tn_status rendezvous_put(const char *key, const void *value, uint64_t n_value, tn_error *err);
tn_status rendezvous_get(const char *key, void *value, uint64_t *n_value, uint32_t timeout_ms, tn_error *err);
/* The secret that a TCP store was joined with; empty: the store is a folder, and whoever reads it is a member.
 * TN_E_NOT_FOUND: no group. [any] */
tn_status rendezvous_secret(group_secret *ret_secret, tn_error *err);

extern const tn_rendezvous_table rendezvous_table;

#endif

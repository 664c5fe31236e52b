/* runtime/group/store_connection.h: a TCP connection between two members of a group, each of which has shown the other
 * that it knows the secret: to the store, or between rank 0 and a worker (runtime/workers).
 */
#ifndef GROUP_STORE_CONNECTION_H
#define GROUP_STORE_CONNECTION_H

#include "group/store.h"
#include "group/store_message.h"

/* member: who we are, and what the connection is for, since group is part of the proof: the group's name, with "/steps"
 * behind it for those of runtime/workers. Start with fd = -1, or for accept with the fresh socket. */
typedef struct store_connection {
    store_member member;
    int fd;          /* blocks */
    wire_buffer in; /* what has come and not been taken */
} store_connection;

/* Connects, as often as it takes, and greets. TN_E_NOT_FOUND: nobody there by deadline_ms (of clock_ms);
 * TN_E_ARGUMENT: refused, or the other side does not know the secret. [any] */
tn_status store_connection_open(store_connection *connection, const tcp_store_args *args, uint64_t deadline_ms,
                                tn_error *err);
/* The other side of a greeting. *ret_rank: who it is, 1 to world - 1. A failure is of a stranger. [any] */
tn_status store_connection_accept(store_connection *connection, const tcp_store_args *args, uint64_t deadline_ms,
                                  uint32_t *ret_rank, tn_error *err);
/* All that is in `out`. TN_E_DEVICE_LOST: the connection has ended. [any] */
tn_status store_connection_send(const store_connection *connection, wire_buffer *out, tn_error *err);
/* The next message, until deadline_ms (UINT64_MAX: however long it takes), of at most `limit` bytes. Borrowed until the
 * next one. [any] */
tn_status store_connection_receive(store_connection *connection, size_t limit, uint64_t deadline_ms,
                                   store_message *ret_message, tn_error *err);
void store_connection_close(store_connection *connection); /* accepts one that was never open */

#endif

/* channel.h: one tn_client of the engine's, opened for a peer: its events become frames as long as it has credit. */
#ifndef SOCKET_CHANNEL_H
#define SOCKET_CHANNEL_H

#include "front.h"

typedef struct socket_channel {
    watch_kind watch;
    struct socket_channel *next;
    struct socket_peer *peer;
    uint32_t number;
    uint32_t credit, queue_cap; /* credit <= queue_cap */
    tn_client *client;          /* NULL: there was no memory; what is submitted is refused with */
    tn_error error;             /* this */
    uint64_t live_count;
    bool watched, closed; /* closed: freed at the end of the round */
} socket_channel;

/* A channel without a client still answers. NULL: not even for that was there memory. */
socket_channel *channel_open(struct socket_peer *peer, uint32_t number, uint32_t queue_cap);
void channel_close(socket_channel *channel); /* cancels what is left; the struct stays until channel_destroy */
void channel_destroy(socket_channel *channel);
/* Takes a request, and appends TAKEN or REFUSED to out. TN_E_MEMORY: nothing could be appended. */
tn_status channel_submit(socket_channel *channel, frame_request *read, wire_buffer *out, tn_error *err);
void channel_cancel(socket_channel *channel, uint64_t request);
/* TN_E_CORRUPT: more than the queue's size together. */
tn_status channel_add_credit(socket_channel *channel, uint64_t events, tn_error *err);
/* Moves some of the engine's events to out. TN_E_MEMORY: events are lost, and with them the peer. */
tn_status channel_pump(socket_channel *channel, wire_buffer *out, tn_error *err);
/* Listens for the engine's events while there is credit, and `wanted`. */
void channel_watch(socket_channel *channel, bool wanted);

#endif

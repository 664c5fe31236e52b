/* peer.h: one connection: bytes in to frames, frames out to bytes, and its channels. The socket thread only. */
#ifndef SOCKET_PEER_H
#define SOCKET_PEER_H

#include "channel.h"

typedef struct socket_peer {
    watch_kind watch;
    struct socket_peer *next;
    tn_front *front;
    int fd;
    uint32_t watched; /* EPOLL* that are waited for */
    bool greeted;
    bool leaving; /* what is written is still sent, nothing more is read */
    bool broken;  /* closed at the end of the round */
    wire_buffer in, out;
    socket_channel *channels;
    uint32_t channel_count;
} socket_peer;

/* Takes fd over. NULL without memory, fd then closed. */
socket_peer *peer_create(tn_front *front, int fd);
/* Reads and answers what has come. */
void peer_receive(socket_peer *peer);
/* Turns events of a channel into frames. */
void peer_pump(socket_peer *peer, socket_channel *channel);
/* The end of a round: sends, and decides what is waited for from here on. */
void peer_settle(socket_peer *peer);
void peer_destroy(socket_peer *peer); /* cancels what it had running */

#endif

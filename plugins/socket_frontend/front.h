/* front.h: the socket front end as a whole: one engine, one listening socket, its peers, and the thread that owns them.
 *
 * Everything below `thread line` belongs to that thread. Others set flags and wake it.
 */
#ifndef SOCKET_FRONT_H
#define SOCKET_FRONT_H

#include "base/wire/engine_frame.h"
#include "tenon/frontend.h"

#include <pthread.h>
#include <stdatomic.h>

enum { SOCKET_PEERS_MAX = 16, SOCKET_CHANNELS_MAX = 64 /* of a peer */ };

struct socket_peer;

/* What an epoll event belongs to: the first member of whatever is watched. */
typedef enum watch_kind { WATCH_LISTENER, WATCH_WAKE, WATCH_PEER, WATCH_CHANNEL } watch_kind;

struct tn_front {
    const tn_host *host;
    tn_engine *engine;
    const tn_engine_table *engine_api;
    const tn_stats_table *stats;
    tn_engine_info info;
    uint64_t identity, frame_max; /* of what a greeted peer may send */
    char path[UINT8_MAX], address[UINT8_MAX + 8];
    int listen_fd, wake_fd, epoll_fd;
    pthread_t thread;
    bool thread_runs;
    atomic_bool draining, stopping;

    pthread_mutex_t lock; /* guards live_count */
    pthread_cond_t idle;  /* live_count became 0 */
    uint64_t live_count;  /* requests whose DONE event is not on its way */

    /* thread line */
    watch_kind listener_watch, wake_watch;
    struct socket_peer *peers;
    uint32_t peer_count;
    bool deaf; /* no descriptor was left for who wants in; it listens again in a moment */
};

/* Counts requests that were taken, or (negative) that ended. [any] */
void front_count_live(tn_front *front, int64_t change);
void front_log(const tn_front *front, uint32_t level, const char *format, ...) TN_PRINTF(3, 4);

extern const tn_frontend_table socket_frontend_table;

#endif

/* gateway.c: the gateway itself, its lock, and its end. */
#include "gateway/state.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

void gateway_lock(gateway *g)
{
    pthread_mutex_lock(&g->lock);
}

void gateway_unlock(gateway *g)
{
    pthread_mutex_unlock(&g->lock);
}

void gateway_kick(gateway *g)
{
    const uint64_t one = 1;
    ssize_t put = write(g->wake_fd, &one, sizeof one);
    TN_ASSERT(put == (ssize_t)sizeof one || errno == EAGAIN);
}

tn_status gateway_create(gateway **ret_gateway, tn_error *err)
{
    gateway *g = calloc(1, sizeof *g);
    if (!g)
        return tn_fail(err, TN_E_MEMORY, "out of memory for a gateway");
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&g->heard, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_mutex_init(&g->lock, NULL);
    g->next_link = g->next_channel = g->next_request = 1;
    tn_status status = io_start(g, err);
    if (status != TN_OK) {
        gateway_destroy(g);
        return status;
    }
    *ret_gateway = g;
    return TN_OK;
}

void gateway_destroy(gateway *g)
{
    if (!g)
        return;
    TN_ASSERT(!g->routes);
    io_stop(g);
    free(g->slots);
    pthread_cond_destroy(&g->heard);
    pthread_mutex_destroy(&g->lock);
    free(g);
}

/* client.c: singly linked queues under one mutex, held for a few pointer moves only. */
#include "engine/client.h"

#include "engine/carve.h"
#include "engine/request.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* Cuts client and nodes out of memory; counts only while memory has no base. */
static void client_layout(uint32_t queue_cap, uint32_t text_bytes, uint32_t top_count, carve *memory)
{
    tn_client *client = carve_array(memory, 1, sizeof *client);
    uint64_t count = 2 * (uint64_t)queue_cap;
    event_node *nodes = carve_array(memory, count, sizeof *nodes);
    char *text = carve_array(memory, count, text_bytes);
    int32_t *top_id = carve_array(memory, count * top_count, sizeof *top_id);
    float *top_logprob = carve_array(memory, count * top_count, sizeof *top_logprob);

    if (!memory->base)
        return;
    for (uint64_t i = 0; i < count; i++) {
        nodes[i].pooled = true;
        nodes[i].text = text + i * text_bytes;
        nodes[i].top_id = top_id + i * top_count;
        nodes[i].top_logprob = top_logprob + i * top_count;
        nodes[i].next = client->free;
        client->free = &nodes[i];
    }
    client->queue_cap = queue_cap;
}

tn_status client_create(tn_engine *engine, uint32_t queue_cap, uint32_t text_bytes, uint32_t top_count,
                        tn_client **ret_client, tn_error *err)
{
    carve memory = {0};
    if (queue_cap == 0)
        return tn_fail(err, TN_E_ARGUMENT, "queue_cap is 0; a client needs room for at least one event");
    client_layout(queue_cap, text_bytes, top_count, &memory);
    memory.base = memory.overflow ? NULL : calloc(1, memory.used);
    if (!memory.base)
        return tn_fail(err, TN_E_MEMORY, "no memory for a client with an event queue of %u", queue_cap);

    tn_client *client = (tn_client *)memory.base;
    memory.used = 0;
    client_layout(queue_cap, text_bytes, top_count, &memory);
    client->engine = engine;
    client->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (client->fd < 0) {
        int code = errno;
        free(client);
        return tn_fail(err, TN_E_IO, "cannot make an eventfd for a client: %s", strerror(code));
    }
    pthread_mutex_init(&client->mutex, NULL);
    pthread_cond_init(&client->empty, NULL);
    *ret_client = client;
    return TN_OK;
}

/* Gives back nodes that were delivered; frees requests whose end was. */
static void recycle(tn_client *client, event_node **list)
{
    while (*list) {
        event_node *node = *list;
        *list = node->next;
        if (node->pooled) {
            node->next = client->free;
            client->free = node;
        } else if (node->done) {
            request_destroy(node->done);
        }
    }
}

void client_destroy(tn_client *client)
{
    if (!client)
        return;
    TN_ASSERT(client->live_count == 0);
    recycle(client, &client->polled);
    recycle(client, &client->head);
    close(client->fd);
    pthread_cond_destroy(&client->empty);
    pthread_mutex_destroy(&client->mutex);
    free(client);
}

void client_enter(tn_client *client, request *request)
{
    pthread_mutex_lock(&client->mutex);
    request->client_prev = NULL;
    request->client_next = client->live;
    if (client->live)
        client->live->client_prev = request;
    client->live = request;
    client->live_count++;
    pthread_mutex_unlock(&client->mutex);
}

/* Under the mutex. */
static void unlink_live(tn_client *client, request *request)
{
    *(request->client_prev ? &request->client_prev->client_next : &client->live) = request->client_next;
    if (request->client_next)
        request->client_next->client_prev = request->client_prev;
    if (--client->live_count == 0)
        pthread_cond_broadcast(&client->empty);
}

void client_leave(tn_client *client, request *request)
{
    pthread_mutex_lock(&client->mutex);
    unlink_live(client, request);
    pthread_mutex_unlock(&client->mutex);
}

bool client_cancel(tn_client *client, uint64_t id)
{
    bool found = false;
    pthread_mutex_lock(&client->mutex);
    for (request *at = client->live; at; at = at->client_next) {
        if (id != 0 && at->id != id)
            continue;
        atomic_store(&at->cancelled, true);
        found = true;
    }
    pthread_mutex_unlock(&client->mutex);
    return found;
}

void client_wait_empty(tn_client *client)
{
    pthread_mutex_lock(&client->mutex);
    while (client->live_count > 0)
        pthread_cond_wait(&client->empty, &client->mutex);
    pthread_mutex_unlock(&client->mutex);
}

/* Under the mutex. */
static void clear_signal(tn_client *client)
{
    uint64_t count;
    if (client->head || !client->signalled)
        return;
    /* Cannot fail: signalled says that the counter is not 0. */
    ssize_t got = read(client->fd, &count, sizeof count);
    TN_ASSERT(got == sizeof count);
    client->signalled = false;
}

uint32_t client_poll(tn_client *client, tn_event *out, uint32_t stride, uint32_t cap, bool *ret_wake)
{
    uint32_t size = cap > 0 ? out->struct_size : 0;
    uint32_t count = 0, pooled = 0;
    event_node **end;

    if (size > sizeof(tn_event))
        size = sizeof(tn_event);
    if (size > stride)
        size = stride;
    pthread_mutex_lock(&client->mutex);
    recycle(client, &client->polled);
    for (end = &client->polled; count < cap && client->head; count++) {
        event_node *node = client->head;
        tn_event *to = (tn_event *)((char *)out + (size_t)count * stride);

        memcpy(to, &node->event, size);
        to->struct_size = size;
        client->head = node->next;
        node->next = NULL;
        *end = node;
        end = &node->next;
        pooled += node->pooled;
    }
    atomic_fetch_sub(&client->queued_count, pooled);
    clear_signal(client);
    pthread_mutex_unlock(&client->mutex);
    *ret_wake = atomic_exchange(&client->stalled, false);
    return count;
}

uint32_t client_room(const tn_client *client)
{
    uint32_t taken = atomic_load(&client->queued_count) + client->reserved;
    TN_ASSERT(taken <= client->queue_cap);
    return client->queue_cap - taken;
}

event_node *client_take_node(tn_client *client)
{
    TN_ASSERT(client->reserved > 0);
    client->reserved--;
    pthread_mutex_lock(&client->mutex);
    event_node *node = client->free;
    TN_ASSERT(node != NULL);
    client->free = node->next;
    atomic_fetch_add(&client->queued_count, 1);
    pthread_mutex_unlock(&client->mutex);
    return node;
}

void client_push(tn_client *client, event_node *node)
{
    static const uint64_t one = 1;

    node->next = NULL;
    node->event.struct_size = sizeof node->event;
    pthread_mutex_lock(&client->mutex);
    if (client->head)
        client->tail->next = node;
    else
        client->head = node;
    client->tail = node;
    if (!client->signalled) {
        ssize_t put = write(client->fd, &one, sizeof one);
        TN_ASSERT(put == sizeof one);
        client->signalled = true;
    }
    if (node->done)
        unlink_live(client, node->done);
    pthread_mutex_unlock(&client->mutex);
}

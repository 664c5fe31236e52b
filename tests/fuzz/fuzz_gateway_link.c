/* fuzz_gateway_link.c: the input is what an instance sends to runtime/gateway, after its welcome (first byte 'w': the
 * welcome itself). Two requests are under way there, on channel 1, with the tags 2^33 and 2^33 + 1.
 *
 * Whatever comes, each request has one end, and its events are such as a front end may look at.
 */
#include "base/utf8.h"
#include "gateway/state.h"

#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum { INPUT_MAX = 60000, QUEUE_CAP = 64 };

static void welcome(const uint8_t *bytes, size_t n)
{
    frame_info info;
    tn_error err = TN_ERROR_INIT;
    if (frame_info_read(bytes, n, &info, &err) != TN_OK) {
        TN_ASSERT(err.msg[0]);
        return;
    }
    void *storage = malloc(frame_info_bytes(&info));
    TN_ASSERT(storage);
    frame_info_place(&info, storage);
    TN_ASSERT(info.info.served_names[0] && !info.info.served_names[info.name_count]);
    TN_ASSERT(frame_request_max(&info.info) > 0);
    free(storage);
}

static gateway_link *make_link(gateway_route *route, int fd)
{
    gateway_link *link = calloc(1, sizeof *link);
    TN_ASSERT(link);
    *link = (gateway_link){.route = route,
                           .name = "a",
                           .number = 1,
                           .bit = 1,
                           .fd = fd,
                           .reason = TN_ERROR_INIT,
                           .health = {.ready = 1},
                           .heard_ms = (int64_t)clock_ms()};
    route->links = link;
    route->link_bits = 1;
    return link;
}

/* Events as a front end takes them. */
static void look(tn_client *client, uint32_t *done)
{
    tn_event events[16];
    uint32_t count;
    events[0].struct_size = sizeof *events;
    while ((count = gateway_engine_table.poll(client, events, sizeof *events, 16)) > 0)
        for (uint32_t i = 0; i < count; i++) {
            const tn_event *event = &events[i];
            TN_ASSERT(event->kind >= TN_EVENT_ACCEPTED && event->kind <= TN_EVENT_DONE && event->choice < 2);
            TN_ASSERT(utf8_is_valid(event->text, event->text_bytes) && event->text[event->text_bytes] == '\0');
            for (uint32_t t = 0; t < event->top_count; t++)
                TN_ASSERT(event->top_id[t] >= 0 && event->top_id[t] < 100);
            TN_ASSERT(!event->stop || strlen(event->stop) <= 32);
            *done += event->kind == TN_EVENT_DONE;
        }
}

static void play(gateway *g, gateway_route *route, const uint8_t *bytes, size_t n)
{
    static const int32_t prompt[] = {1, 2, 3};
    tn_request request = {.struct_size = sizeof request, .token = prompt, .token_count = 3, .max_new = 4, .n_choices = 2};
    tn_client *client;
    uint64_t id;
    uint32_t done = 0;
    int ends[2];

    TN_ASSERT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0);
    gateway_link *link = make_link(route, ends[0]);
    g->next_channel = 1;
    TN_ASSERT(gateway_engine_table.client_open(route_engine(route), QUEUE_CAP, &client, NULL) == TN_OK);
    for (int i = 0; i < 2; i++)
        TN_ASSERT(gateway_engine_table.submit(client, &request, &id, NULL) == TN_OK);
    TN_ASSERT(write(ends[1], bytes, n) == (ssize_t)n);
    for (int round = 0; round < 4 && !link->broken; round++) {
        link_receive(link);
        look(client, &done);
    }
    route->note_status = TN_E_MEMORY; /* what would move ends */
    link_break(link, "the input is over");
    link_lose(link);
    link_free(link);
    look(client, &done);
    TN_ASSERT(done == 2 && route->running_count == 0 && route->waiting_count == 0);
    gateway_engine_table.client_close(client);
    close(ends[1]);
    route->note_status = TN_E_AGAIN;
    for (uint32_t i = 0; i < g->slot_count; i++)
        g->slots[i].generation = 0;
    stats_free(route);
    route->series = NULL;
    route->series_count = 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static gateway g;
    static gateway_route route;
    if (size < 2 || size > INPUT_MAX)
        return 0;
    if (!route.gateway) {
        pthread_mutex_init(&g.lock, NULL);
        pthread_cond_init(&g.heard, NULL);
        g.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
        g.wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        g.next_request = 1;
        route = (gateway_route){.gateway = &g, .known = true, .queue_max = 8, .note_status = TN_E_AGAIN};
        route.service = (char *)(uintptr_t)"m";
        route.info.info = (tn_engine_info){.struct_size = sizeof route.info.info,
                                           .vocab_size = 100,
                                           .max_model_len = 4096,
                                           .max_choices = 4,
                                           .max_top_logprobs = 4,
                                           .max_stop = 4,
                                           .max_stop_bytes = 32};
    }
    if (data[0] == 'w')
        welcome(data + 1, size - 1);
    else
        play(&g, &route, data + 1, size - 1);
    return 0;
}

/* engine_client.c: see engine_client.h. */
#include "engine_client.h"

#include <poll.h>
#include <stdlib.h>
#include <time.h>

enum { QUEUE = 1 << 16, EVENTS = 256 };

double clock_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void give_up(const char *message)
{
    fprintf(stderr, "bench: %s\n", message);
    exit(1);
}

void engine_client_open(engine_client *c, const char *const *overrides)
{
    tn_error err = TN_ERROR_INIT;
    tn_engine_info info = {.struct_size = sizeof info};

    *c = (engine_client){.random = 20261123};
    if (tn_runtime_open(NULL, overrides, &c->runtime, &err) != TN_OK)
        give_up(err.msg);
    c->api = tn_runtime_interface(c->runtime, TN_ENGINE_ID);
    c->api->info(tn_runtime_engine(c->runtime), &info);
    c->vocab = info.vocab_size;
    if (c->api->client_open(tn_runtime_engine(c->runtime), QUEUE, &c->client, &err) != TN_OK)
        give_up(err.msg);
}

void engine_client_close(engine_client *c)
{
    c->api->client_close(c->client);
    tn_runtime_close(c->runtime);
}

void engine_client_random(engine_client *c, int32_t *ids, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        c->random = c->random * 6364136223846793005ull + 1442695040888963407ull;
        ids[i] = (int32_t)((c->random >> 33) % c->vocab);
    }
}

void engine_client_submit(engine_client *c, const int32_t *ids, uint32_t count, uint32_t max_new)
{
    tn_error err = TN_ERROR_INIT;
    uint64_t id;
    tn_request request = {.struct_size = sizeof request,
                          .flags = TN_REQ_IGNORE_EOS,
                          .token = ids,
                          .token_count = count,
                          .max_new = max_new};
    if (c->api->submit(c->client, &request, &id, &err) != TN_OK)
        give_up(err.msg);
}

engine_progress engine_client_drain(engine_client *c, uint32_t requests)
{
    tn_event events[EVENTS];
    uint32_t done = 0, begun = 0;
    engine_progress p = {0};
    struct pollfd wait = {.fd = c->api->event_fd(c->client), .events = POLLIN};

    while (done < requests) {
        poll(&wait, 1, -1);
        events[0].struct_size = sizeof *events;
        uint32_t count = c->api->poll(c->client, events, sizeof *events, EVENTS);
        for (uint32_t i = 0; i < count; i++) {
            const tn_event *e = &events[i];
            p.steady_tokens += e->kind == TN_EVENT_TOKEN && begun == requests && done == 0;
            if (e->kind == TN_EVENT_TOKEN && e->index == 0 && ++begun == requests)
                p.first = clock_now();
            if (e->kind != TN_EVENT_DONE)
                continue;
            if (e->status != TN_OK)
                give_up(e->text);
            if (done++ == 0)
                p.done_first = clock_now();
        }
    }
    p.last = clock_now();
    return p;
}

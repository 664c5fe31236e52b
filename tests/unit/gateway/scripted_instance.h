/* scripted_instance.h: the engine's side of the socket, spoken by the test itself: frames are read and written one by
 * one, true or false.
 */
#ifndef TESTS_SCRIPTED_INSTANCE_H
#define TESTS_SCRIPTED_INSTANCE_H

#include "base/wire/engine_frame.h"
#include "tiny_engine.h"

#include <pthread.h>

typedef struct scripted_instance {
    char path[96], name[16];
    int listen_fd, fd; /* fd: -1: closed */
    pthread_t greeter;
    wire_buffer in;
    /* What it says of itself. */
    uint64_t identity;
    tn_engine_info info;
    uint32_t version;
    bool silent_on_health; /* questions about health go unanswered */
    tn_health health;
    const tn_stats_table *stats; /* answers questions about statistics; NULL: none */
} scripted_instance;

/* A request as it arrived. */
typedef struct scripted_request {
    uint32_t channel;
    uint64_t tag;
    uint32_t flags, token_count;
    uint64_t seed;
} scripted_request;

void scripted_open(scripted_instance *instance, const scratch_directory *folder, const char *name, uint64_t identity);
/* gateway_attach, with this instance at the other end. */
tn_status scripted_attach(scripted_instance *instance, gateway_route *route, tn_error *err);
void scripted_close(scripted_instance *instance);
void scripted_hang_up(scripted_instance *instance); /* as a process that dies */

/* The next frame of that kind; others but questions about health and statistics fail the test. Borrowed until the next
 * one. */
const uint8_t *scripted_expect(scripted_instance *instance, uint32_t kind, size_t *ret_n);
frame_note scripted_expect_note(scripted_instance *instance, uint32_t kind);
scripted_request scripted_expect_request(scripted_instance *instance);
/* Answers questions only, for so long; anything else fails the test. */
void scripted_expect_nothing(scripted_instance *instance, int ms);

void scripted_send(scripted_instance *instance, wire_buffer *frames); /* and empties them */
void scripted_take(scripted_instance *instance, const scripted_request *request, uint64_t id);
void scripted_refuse(scripted_instance *instance, const scripted_request *request, tn_status status, const char *text);
/* An event of the request; text is "x" for tokens. */
void scripted_event(scripted_instance *instance, const scripted_request *request, uint32_t kind, uint32_t index);
void scripted_finish(scripted_instance *instance, const scripted_request *request, tn_status status, const char *text);

#endif

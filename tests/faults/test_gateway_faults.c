/* test_gateway_faults.c: frames and remote requests while memory runs out, at every allocation in turn. */
#include "fail_nth.h"
#include "unit/cmocka_test.h"

#include "gateway/state.h"

#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

static const int32_t prompt[600] = {1, 2, 3};
static const char *const stops[] = {"stop", "x"};
static const char *const names[] = {"m", NULL};

static tn_engine_info make_info(void)
{
    return (tn_engine_info){.struct_size = sizeof(tn_engine_info),
                            .vocab_size = 100,
                            .max_model_len = 4096,
                            .max_choices = 4,
                            .max_stop = 4,
                            .max_stop_bytes = 32,
                            .served_names = names,
                            .model_path = "/m.gguf",
                            .architecture = "llama"};
}

static tn_request make_request(void)
{
    return (tn_request){.struct_size = sizeof(tn_request),
                        .token = prompt,
                        .token_count = 600,
                        .max_new = 4,
                        .n_choices = 2,
                        .stop = stops,
                        .stop_count = 2};
}

/* One frame of each kind into one buffer; a failed one leaves what was before. */
static tn_status write_frames(tn_error *err)
{
    wire_buffer out = {0}, part = {0};
    tn_engine_info info = make_info();
    tn_request request = make_request();
    tn_health health = {.struct_size = sizeof health, .reason = "fine"};
    frame_note note = {.kind = FRAME_HELLO, .text = {"text", 4}};
    char text[2000];
    memset(text, 'x', sizeof text);
    tn_event event = {.struct_size = sizeof event, .kind = TN_EVENT_TOKEN, .text = text, .text_bytes = sizeof text};

    tn_status status = frame_note_write(&out, &note, err);
    if (status == TN_OK)
        status = frame_info_write(&out, &info, 7, err);
    if (status == TN_OK)
        status = frame_request_write_part(&part, &request, &info, err);
    if (status == TN_OK)
        status = frame_request_write(&out, 1, 2, NULL, &part, err);
    if (status == TN_OK)
        status = frame_event_write(&out, 1, &event, err);
    if (status == TN_OK)
        status = frame_health_write(&out, &health, 1, err);
    const uint8_t *frame;
    size_t n;
    while (wire_buffer_take_frame(&out, 1 << 20, &frame, &n, NULL) == TN_OK)
        ;
    assert_int_equal(wire_buffer_count(&out), 0); /* whole frames only */
    wire_buffer_finish(&out);
    wire_buffer_finish(&part);
    return status;
}

/* A client of a route with one instance, which never answers. */
static tn_status submit(tn_error *err)
{
    static gateway g;
    static gateway_route route;
    gateway_link link = {
        .route = &route, .name = "a", .number = 1, .bit = 1, .reason = TN_ERROR_INIT, .heard_ms = (int64_t)clock_ms()};
    tn_request request = make_request();
    tn_client *client = NULL;
    uint64_t id;
    int ends[2];

    g = (gateway){.next_channel = 1,
                  .next_request = 1,
                  .epoll_fd = epoll_create1(EPOLL_CLOEXEC),
                  .wake_fd = eventfd(0, EFD_NONBLOCK)};
    pthread_mutex_init(&g.lock, NULL);
    pthread_cond_init(&g.heard, NULL);
    route = (gateway_route){.gateway = &g, .known = true, .queue_max = 8, .links = &link, .link_bits = 1};
    route.service = (char *)(uintptr_t) "m";
    route.info.info = make_info();
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
    link.fd = ends[0];
    tn_status status = gateway_engine_table.client_open(route_engine(&route), 8, &client, err);
    if (status == TN_OK)
        status = gateway_engine_table.submit(client, &request, &id, err);
    gateway_engine_table.client_close(client);
    assert_int_equal(route.running_count + route.waiting_count + link.running, 0);
    link_lose(&link);
    free(g.slots);
    close(ends[1]);
    close(g.epoll_fd);
    close(g.wake_fd);
    return status;
}

static void test_frames_are_whole_or_not_there(void **state)
{
    (void)state;
    assert_true(fail_every_allocation(write_frames, true) >= 4);
}

static void test_a_submit_fails_whole(void **state)
{
    (void)state;
    assert_true(fail_every_allocation(submit, true) >= 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_frames_are_whole_or_not_there),
        cmocka_unit_test(test_a_submit_fails_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

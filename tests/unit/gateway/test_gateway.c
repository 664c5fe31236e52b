/* test_gateway.c: which instance gets a request, and what becomes of it when that one is lost, drained, full or lies.
 */
#include "scripted_instance.h"

#include <poll.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PATIENCE = 6000 /* times 10 ms: what comes at once may be late on a machine that is busy */ };

typedef struct rig {
    scratch_directory folder;
    settings *settings;
    uint64_t identity;
    gateway *gateway;
    gateway_route *route;
    tn_engine *engine;
    tn_client *client;
    scripted_instance a, b;
    atomic_uint woken;
    event_log log;
} rig;

static void wake(void *ctx, gateway_route *route)
{
    rig *r = ctx;
    (void)route;
    atomic_fetch_add(&r->woken, 1);
}

static void expect_woken(rig *r, uint32_t times)
{
    for (int i = 0; i < PATIENCE && atomic_load(&r->woken) < times; i++)
        usleep(10000);
    assert_int_equal(atomic_load(&r->woken), times);
}

static uint64_t identity_of(settings *settings)
{
    instance in;
    tn_error err = TN_ERROR_INIT;
    instance_init(&in, settings);
    if (instance_load_tokenizers(&in, &err) != TN_OK || instance_open_tokenizer(&in, &err) != TN_OK)
        fail_msg("%s", err.msg);
    uint64_t identity = frame_identity(in.tokenizer, in.tok, in.tokenizer->vocab_size(in.tok));
    instance_close(&in);
    return identity;
}

static void attach(rig *r, scripted_instance *instance)
{
    tn_error err = TN_ERROR_INIT;
    if (scripted_attach(instance, r->route, &err) != TN_OK)
        fail_msg("%s", err.msg);
}

/* A route with instance "a" attached and a client; "b" is there to be attached. */
static rig *rig_start(uint32_t timeout_ms)
{
    rig *r = calloc(1, sizeof *r);
    tn_error err = TN_ERROR_INIT;
    r->folder = scratch_create();
    r->settings = tiny_settings("chat");
    r->identity = identity_of(r->settings);
    gateway_route_options options = {.service = "chat",
                                     .settings = r->settings,
                                     .queue_max = 3,
                                     .wake_timeout_ms = timeout_ms,
                                     .wake = wake,
                                     .ctx = r};
    tn_status status = gateway_create(&r->gateway, &err);
    if (status == TN_OK)
        status = gateway_route_add(r->gateway, &options, &r->route, &err);
    if (status != TN_OK)
        fail_msg("%s", err.msg);
    scripted_open(&r->a, &r->folder, "a", r->identity);
    scripted_open(&r->b, &r->folder, "b", r->identity);
    attach(r, &r->a);
    assert_int_equal(gateway_models_table.find(gateway_models(r->gateway), "chat", &r->engine, &err), TN_OK);
    assert_int_equal(gateway_engine_table.client_open(r->engine, 8, &r->client, &err), TN_OK);
    return r;
}

static void rig_stop(rig *r)
{
    gateway_engine_table.client_close(r->client);
    if (r->route)
        gateway_route_remove(r->route);
    gateway_models_table.release(gateway_models(r->gateway), r->engine);
    gateway_destroy(r->gateway);
    scripted_close(&r->a);
    scripted_close(&r->b);
    scratch_destroy(&r->folder);
    event_log_finish(&r->log);
    free(r);
}

static uint64_t submit(rig *r, uint64_t user)
{
    tn_request request = tiny_request(tiny_prompt, 12, 4);
    tn_error err = TN_ERROR_INIT;
    uint64_t id;
    request.flags = 0; /* the engine draws a seed */
    request.user = user;
    if (gateway_engine_table.submit(r->client, &request, &id, &err) != TN_OK)
        fail_msg("%s", err.msg);
    return id;
}

/* Until `done` requests are over. */
static void collect(rig *r, uint32_t done)
{
    event_log_collect(&r->log, &gateway_engine_table, r->client, done, 64);
}

static void serve(scripted_instance *instance, const scripted_request *request)
{
    scripted_take(instance, request, 77);
    scripted_event(instance, request, TN_EVENT_ACCEPTED, 0);
    scripted_event(instance, request, TN_EVENT_TOKEN, 0);
    scripted_finish(instance, request, TN_OK, "");
}

static void test_a_request_goes_and_comes_back(void **state)
{
    (void)state;
    rig *r = rig_start(30000);
    submit(r, 5);
    scripted_request asked = scripted_expect_request(&r->a);
    assert_int_equal(asked.token_count, 12);
    serve(&r->a, &asked);
    collect(r, 1);
    assert_int_equal(r->log.status, TN_OK);
    assert_int_equal(r->log.tokens, 1);
    assert_non_null(strstr(r->log.text, "user 5 "));
    rig_stop(r);
}

static void test_the_least_busy_instance_gets_it(void **state)
{
    (void)state;
    rig *r = rig_start(30000);
    attach(r, &r->b);
    submit(r, 1);
    submit(r, 2);
    scripted_request first = scripted_expect_request(&r->a), second = scripted_expect_request(&r->b);
    serve(&r->b, &second);
    collect(r, 1);
    submit(r, 3);
    scripted_request third = scripted_expect_request(&r->b);
    serve(&r->a, &first);
    serve(&r->b, &third);
    collect(r, 3);
    rig_stop(r);
}

/* The seed that was told must hold, and nothing is told twice. */
static void test_what_produced_nothing_moves_with_its_seed(void **state)
{
    (void)state;
    rig *r = rig_start(30000);
    submit(r, 1);
    scripted_request asked = scripted_expect_request(&r->a);
    assert_int_equal(asked.flags & TN_REQ_SEED, 0);
    scripted_take(&r->a, &asked, 1);
    scripted_event(&r->a, &asked, TN_EVENT_ACCEPTED, 0);
    while (r->log.accepted == 0) {
        tn_event event = {.struct_size = sizeof event};
        if (gateway_engine_table.poll(r->client, &event, sizeof event, 1))
            event_log_take(&r->log, &event);
    }
    attach(r, &r->b);
    scripted_hang_up(&r->a);
    scripted_request again = scripted_expect_request(&r->b);
    assert_true(again.flags & TN_REQ_SEED);
    assert_int_equal(again.seed, 1234);
    assert_int_not_equal(again.tag, asked.tag);
    serve(&r->b, &again);
    collect(r, 1);
    assert_int_equal(r->log.status, TN_OK);
    assert_int_equal(r->log.accepted, 1);
    rig_stop(r);
}

static void test_what_has_produced_ends_and_says_where(void **state)
{
    (void)state;
    rig *r = rig_start(30000);
    attach(r, &r->b);
    submit(r, 1);
    scripted_request asked = scripted_expect_request(&r->a);
    scripted_take(&r->a, &asked, 1);
    scripted_event(&r->a, &asked, TN_EVENT_ACCEPTED, 0);
    scripted_event(&r->a, &asked, TN_EVENT_TOKEN, 0);
    scripted_hang_up(&r->a);
    collect(r, 1);
    assert_int_equal(r->log.status, TN_E_DEVICE_LOST);
    assert_non_null(strstr(r->log.words, "the instance a of chat was lost"));
    assert_non_null(strstr(r->log.text, "finish 4 stop -1 '' text 1+0"));
    tn_health health;
    tn_error err = TN_ERROR_INIT;
    assert_int_equal(gateway_health(r->route, "a", &health, &err), TN_E_DEVICE_LOST);
    assert_int_equal(gateway_health(r->route, "c", &health, &err), TN_E_NOT_FOUND);
    assert_int_equal(gateway_health(r->route, "b", &health, &err), TN_OK);
    rig_stop(r);
}

static void test_an_engine_that_fails_hands_on_what_has_not_begun(void **state)
{
    (void)state;
    rig *r = rig_start(30000);
    attach(r, &r->b);
    submit(r, 1);
    scripted_request asked = scripted_expect_request(&r->a);
    scripted_take(&r->a, &asked, 1);
    scripted_finish(&r->a, &asked, TN_E_DEVICE_LOST, "the device is gone");
    scripted_request again = scripted_expect_request(&r->b);
    scripted_take(&r->b, &again, 1);
    scripted_finish(&r->b, &again, TN_E_DEVICE_LOST, "this one, too");
    collect(r, 1);
    assert_int_equal(r->log.status, TN_E_DEVICE_LOST);
    assert_string_equal(r->log.words, "this one, too");
    rig_stop(r);
}

static void test_without_an_instance_requests_wait_in_order(void **state)
{
    (void)state;
    rig *r = rig_start(30000);
    gateway_activity activity;
    gateway_detach(r->route, "a");
    scripted_hang_up(&r->a);
    for (uint64_t i = 1; i <= 3; i++)
        submit(r, i);
    expect_woken(r, 1);
    gateway_route_activity(r->route, &activity);
    assert_int_equal(activity.waiting, 3);
    assert_int_equal(activity.instances, 0);
    assert_int_equal(activity.idle_ms, 0);
    tn_request request = tiny_request(tiny_prompt, 12, 4);
    tn_error err = TN_ERROR_INIT;
    uint64_t id;
    assert_int_equal(gateway_engine_table.submit(r->client, &request, &id, &err), TN_E_AGAIN);
    assert_non_null(strstr(err.msg, "3 requests wait for an instance of chat"));
    attach(r, &r->b);
    for (uint32_t i = 0; i < 3; i++) {
        scripted_request asked = scripted_expect_request(&r->b);
        serve(&r->b, &asked);
        collect(r, i + 1); /* makes room for the next one's events */
    }
    const char *first = strstr(r->log.text, "user 1 "), *second = strstr(r->log.text, "user 2 "),
               *third = strstr(r->log.text, "user 3 ");
    assert_true(first < second && second < third);
    gateway_route_activity(r->route, &activity);
    assert_int_equal(activity.requests, 3);
    assert_int_equal(activity.tokens, 3);
    rig_stop(r);
}

static void test_what_moves_back_is_ahead_of_what_came_later(void **state)
{
    (void)state;
    rig *r = rig_start(30000);
    uint32_t running;
    submit(r, 1);
    scripted_expect_request(&r->a);
    assert_int_equal(gateway_drain(r->route, "a", &running), TN_OK);
    submit(r, 2);
    scripted_hang_up(&r->a);
    gateway_activity activity = {0};
    for (int i = 0; i < PATIENCE && activity.waiting < 2; i++) {
        usleep(10000);
        gateway_route_activity(r->route, &activity);
    }
    attach(r, &r->b);
    for (uint32_t i = 0; i < 2; i++) {
        scripted_request asked = scripted_expect_request(&r->b);
        serve(&r->b, &asked);
        collect(r, i + 1);
    }
    assert_true(strstr(r->log.text, "user 1 ") < strstr(r->log.text, "user 2 "));
    rig_stop(r);
}

static void test_a_wait_in_vain_ends_with_the_note(void **state)
{
    (void)state;
    rig *r = rig_start(200);
    gateway_detach(r->route, "a");
    gateway_route_note(r->route, TN_E_AGAIN, "chat is LOADING, 42 %");
    submit(r, 1);
    collect(r, 1);
    assert_int_equal(r->log.status, TN_E_DEVICE_LOST);
    assert_non_null(strstr(r->log.words, "no instance of chat became ready within 0.2 s: chat is LOADING, 42 %"));
    submit(r, 2); /* wakes again */
    expect_woken(r, 2);
    collect(r, 2);
    rig_stop(r);
}

static void test_a_wait_ends_when_the_service_has_failed(void **state)
{
    (void)state;
    rig *r = rig_start(30000);
    gateway_detach(r->route, "a");
    submit(r, 1);
    gateway_route_note(r->route, TN_E_MEMORY, "chat has FAILED: it needs 9 GiB");
    collect(r, 1);
    assert_string_equal(r->log.words, "chat has FAILED: it needs 9 GiB");
    tn_request request = tiny_request(tiny_prompt, 12, 4);
    tn_error err = TN_ERROR_INIT;
    uint64_t id;
    assert_int_equal(gateway_engine_table.submit(r->client, &request, &id, &err), TN_E_MEMORY);
    rig_stop(r);
}

static void test_a_full_instance_has_a_neighbour(void **state)
{
    (void)state;
    rig *r = rig_start(30000);
    attach(r, &r->b);
    submit(r, 1);
    scripted_request asked = scripted_expect_request(&r->a);
    scripted_refuse(&r->a, &asked, TN_E_AGAIN, "full");
    asked = scripted_expect_request(&r->b);
    scripted_refuse(&r->b, &asked, TN_E_AGAIN, "full as well");
    collect(r, 1);
    assert_int_equal(r->log.status, TN_E_AGAIN);
    assert_string_equal(r->log.words, "full as well");
    submit(r, 2);
    asked = scripted_expect_request(&r->a);
    scripted_refuse(&r->a, &asked, TN_E_ARGUMENT, "token[0] is none");
    collect(r, 2);
    assert_int_equal(r->log.status, TN_E_ARGUMENT);
    rig_stop(r);
}

static void test_a_cancel_overtakes_nothing(void **state)
{
    (void)state;
    rig *r = rig_start(30000);
    uint64_t id = submit(r, 1);
    scripted_request asked = scripted_expect_request(&r->a);
    assert_int_equal(gateway_engine_table.cancel(r->client, id), TN_OK);
    assert_int_equal(gateway_engine_table.cancel(r->client, id), TN_OK);
    scripted_take(&r->a, &asked, 99);
    assert_int_equal(scripted_expect_note(&r->a, FRAME_CANCEL).number, 99);
    scripted_finish(&r->a, &asked, TN_E_CANCELLED, "cancelled");
    collect(r, 1);
    assert_int_equal(r->log.status, TN_E_CANCELLED);
    assert_int_equal(gateway_engine_table.cancel(r->client, id), TN_E_NOT_FOUND);

    gateway_detach(r->route, "a");
    id = submit(r, 2);
    assert_int_equal(gateway_engine_table.cancel(r->client, id), TN_OK);
    collect(r, 2);
    assert_int_equal(r->log.status, TN_E_CANCELLED);
    assert_string_equal(r->log.words, "cancelled");
    rig_stop(r);
}

static void test_a_draining_instance_gets_nothing_new(void **state)
{
    (void)state;
    rig *r = rig_start(30000);
    uint32_t running = 7;
    attach(r, &r->b);
    submit(r, 1);
    scripted_request asked = scripted_expect_request(&r->a);
    assert_int_equal(gateway_drain(r->route, "a", &running), TN_OK);
    assert_int_equal(running, 1);
    submit(r, 2);
    submit(r, 3);
    scripted_request second = scripted_expect_request(&r->b), third = scripted_expect_request(&r->b);
    serve(&r->a, &asked);
    collect(r, 1);
    serve(&r->b, &second);
    collect(r, 2);
    serve(&r->b, &third);
    collect(r, 3);
    assert_int_equal(gateway_drain(r->route, "a", &running), TN_OK);
    assert_int_equal(running, 0);
    assert_int_equal(gateway_drain(r->route, "c", &running), TN_E_NOT_FOUND);
    rig_stop(r);
}

/* queue_cap is 8: more than that is never on its way, and room that a poll makes is told. */
static void test_credit_is_given_back(void **state)
{
    (void)state;
    rig *r = rig_start(30000);
    submit(r, 1);
    scripted_request asked = scripted_expect_request(&r->a);
    scripted_take(&r->a, &asked, 1);
    for (uint32_t i = 0; i < 8; i++)
        scripted_event(&r->a, &asked, i ? TN_EVENT_TOKEN : TN_EVENT_ACCEPTED, i);
    for (int i = 0; i < 5; i++) {
        tn_event event = {.struct_size = sizeof event};
        while (!gateway_engine_table.poll(r->client, &event, sizeof event, 1))
            usleep(1000);
        event_log_take(&r->log, &event);
    }
    assert_int_equal(scripted_expect_note(&r->a, FRAME_CREDIT).number, 4);
    scripted_finish(&r->a, &asked, TN_OK, "");
    collect(r, 1);
    assert_int_equal(r->log.tokens, 7);
    rig_stop(r);
}

static void expect_lost(rig *r, scripted_instance *instance, const char *words)
{
    tn_health health;
    tn_error err = TN_ERROR_INIT;
    tn_status status = TN_OK;
    for (int i = 0; i < PATIENCE && status == TN_OK; i++) {
        usleep(10000);
        status = gateway_health(r->route, instance->name, &health, &err);
    }
    assert_int_equal(status, TN_E_DEVICE_LOST);
    if (!strstr(err.msg, words))
        fail_msg("'%s' lacks '%s'", err.msg, words);
}

static void test_an_instance_that_lies_is_lost(void **state)
{
    (void)state;
    static const char *const words[] = {"without credit", "outside the vocabulary", "choice 3 of 1",
                                        "not UTF-8",      "the client's to send",   "1 to"};
    for (int lie = 0; lie < 6; lie++) {
        rig *r = rig_start(30000);
        wire_buffer out = {0};
        tn_event event = {
            .struct_size = sizeof event, .kind = TN_EVENT_TOKEN, .token = 1, .stop_token = -1, .text = ""};
        submit(r, 1);
        scripted_request asked = scripted_expect_request(&r->a);
        event.user = asked.tag;
        frame_note note = {.kind = FRAME_SUBMIT + 1, .channel = 1};
        if (lie == 0)
            for (int i = 0; i < 9; i++)
                frame_event_write(&out, asked.channel, &event, NULL);
        if (lie == 1)
            event.token = 100000;
        if (lie == 2)
            event.choice = 3;
        if (lie == 3) {
            event.text = "\xff";
            event.text_bytes = 1;
        }
        if (lie >= 1 && lie <= 3)
            frame_event_write(&out, asked.channel, &event, NULL);
        if (lie == 4)
            frame_note_write(&out, &note, NULL);
        if (lie == 5)
            assert_int_equal(wire_buffer_append(&out, "\xff\xff\xff\xff????", 8, NULL), TN_OK);
        scripted_send(&r->a, &out);
        expect_lost(r, &r->a, words[lie]);
        rig_stop(r);
    }
}

static void test_a_removed_route_ends_everything_but_the_engine(void **state)
{
    (void)state;
    rig *r = rig_start(30000);
    tn_error err = TN_ERROR_INIT;
    tn_engine *engine;
    uint64_t id, before = gateway_models_table.generation(gateway_models(r->gateway));
    submit(r, 1);
    scripted_expect_request(&r->a);
    gateway_route_remove(r->route);
    r->route = NULL;
    collect(r, 1);
    assert_int_equal(r->log.status, TN_E_CANCELLED);
    assert_string_equal(r->log.words, "the service chat was removed");
    assert_int_not_equal(gateway_models_table.generation(gateway_models(r->gateway)), before);
    assert_int_equal(gateway_models_table.find(gateway_models(r->gateway), "chat", &engine, &err), TN_E_NOT_FOUND);
    tn_request request = tiny_request(tiny_prompt, 12, 4);
    assert_int_equal(gateway_engine_table.submit(r->client, &request, &id, &err), TN_E_CANCELLED);
    tn_engine_info info = {.struct_size = sizeof info};
    assert_int_equal(gateway_engine_table.info(r->engine, &info), TN_OK);
    assert_string_equal(info.served_names[0], "chat");
    rig_stop(r);
}

static void test_instances_that_do_not_fit_are_turned_away(void **state)
{
    (void)state;
    rig *r = rig_start(30000);
    tn_error err = TN_ERROR_INIT;
    r->b.info.max_model_len = 256;
    assert_int_equal(scripted_attach(&r->b, r->route, &err), TN_E_ARGUMENT);
    assert_non_null(strstr(err.msg, "max_model_len 256"));
    scripted_hang_up(&r->b);
    r->b.info.max_model_len = 512;
    r->b.identity++;
    assert_int_equal(scripted_attach(&r->b, r->route, &err), TN_E_ARGUMENT);
    assert_non_null(strstr(err.msg, "tokenizer"));
    scripted_hang_up(&r->b);
    r->b.identity--;
    r->b.version = 9;
    assert_int_equal(scripted_attach(&r->b, r->route, &err), TN_E_UNSUPPORTED);
    assert_non_null(strstr(err.msg, "version 9"));
    scripted_hang_up(&r->b);
    r->b.version = ENGINE_FRAME_VERSION;
    strcpy(r->b.name, "a");
    assert_int_equal(scripted_attach(&r->b, r->route, &err), TN_E_ARGUMENT);
    assert_non_null(strstr(err.msg, "attached already"));
    scripted_hang_up(&r->b);
    assert_int_equal(gateway_attach(r->route, "c", "/nowhere/c.sock", &err), TN_E_IO);
    rig_stop(r);
}

typedef struct dying {
    pthread_t thread;
    int listen_fd;
    atomic_bool stops;
} dying;

static void *die_at_once(void *argument)
{
    dying *d = argument;
    struct pollfd ready = {.fd = d->listen_fd, .events = POLLIN};
    while (!atomic_load(&d->stops)) {
        poll(&ready, 1, 100);
        int fd = accept(d->listen_fd, NULL, NULL);
        if (fd >= 0)
            close(fd);
    }
    return NULL;
}

/* One that dies before it is greeted costs an error, not this process (SIGPIPE). */
static void test_an_instance_that_dies_at_the_door_is_an_error(void **state)
{
    (void)state;
    rig *r = rig_start(30000);
    tn_error err = TN_ERROR_INIT;
    dying d = {.listen_fd = r->b.listen_fd};
    assert_int_equal(pthread_create(&d.thread, NULL, die_at_once, &d), 0);
    for (int i = 0; i < 2000; i++)
        assert_int_equal(gateway_attach(r->route, "b", r->b.path, &err), TN_E_IO);
    atomic_store(&d.stops, true);
    pthread_join(d.thread, NULL);
    rig_stop(r);
}

static void test_a_service_that_never_ran_says_how_far_it_is(void **state)
{
    (void)state;
    rig *r = rig_start(30000);
    settings *settings = tiny_settings("next,alias");
    gateway_route_options options = {.service = "next", .settings = settings, .wake = wake, .ctx = r};
    gateway_route *route;
    tn_engine *engine;
    tn_error err = TN_ERROR_INIT;
    assert_int_equal(gateway_route_add(r->gateway, &options, &route, &err), TN_OK);
    gateway_route_note(route, TN_E_AGAIN, "next is LOADING");
    assert_int_equal(gateway_models_table.find(gateway_models(r->gateway), "alias", &engine, &err), TN_E_AGAIN);
    assert_string_equal(err.msg, "next is LOADING");
    expect_woken(r, 1);
    gateway_route_note(route, TN_E_MEMORY, "next has FAILED");
    assert_int_equal(gateway_models_table.find(gateway_models(r->gateway), "next", &engine, &err), TN_E_MEMORY);
    assert_int_equal(gateway_models_table.at(gateway_models(r->gateway), 1, &engine), TN_E_NOT_FOUND);
    gateway_route *twin;
    options.settings = tiny_settings("next");
    assert_int_equal(gateway_route_add(r->gateway, &options, &twin, &err), TN_E_ARGUMENT);
    assert_non_null(strstr(err.msg, "the name next is taken"));
    settings_destroy(options.settings); /* still ours */
    gateway_route_remove(route);
    rig_stop(r);
}

/* ---- statistics and health ---- */

static double scripted_value(const scripted_instance *instance)
{
    return instance->name[0] == 'a' ? 10 : 32;
}

static tn_status scripted_stat(tn_engine *engine, uint32_t index, tn_stat *ret_stat)
{
    static const double bound[] = {1, 5};
    static const uint64_t bucket[] = {2, 3};
    double value = scripted_value((scripted_instance *)(void *)engine);
    const tn_stat all[] = {
        {.kind = TN_STAT_COUNTER, .name = "tokens", .help = "Tokens.", .value = value},
        {.kind = TN_STAT_GAUGE, .name = "kv_cache_usage_perc", .help = "Share.", .value = value / 100},
        {.kind = TN_STAT_HISTOGRAM,
         .name = "latency",
         .help = "L.",
         .value = value,
         .count = 4,
         .bound = bound,
         .bucket = bucket,
         .bucket_count = 2},
    };
    if (index >= 3)
        return TN_E_NOT_FOUND;
    *ret_stat = all[index];
    ret_stat->struct_size = sizeof *ret_stat;
    return TN_OK;
}

typedef struct watcher {
    pthread_t thread;
    rig *rig;
    tn_stat stat[3];
    uint64_t bucket[2];
    uint32_t count;
    atomic_bool over;
} watcher;

static void *watch(void *argument)
{
    watcher *w = argument;
    for (w->count = 0; w->count < 3; w->count++) {
        tn_stat *stat = &w->stat[w->count];
        stat->struct_size = sizeof *stat;
        if (gateway_stats_table.stat(w->rig->engine, w->count, stat) != TN_OK)
            break;
        for (uint32_t i = 0; i < stat->bucket_count; i++)
            w->bucket[i] = stat->bucket[i];
    }
    atomic_store(&w->over, true);
    return NULL;
}

/* While the instances answer. */
static watcher watch_stats(rig *r, scripted_instance *const *instances, uint32_t count)
{
    watcher w = {.rig = r};
    assert_int_equal(pthread_create(&w.thread, NULL, watch, &w), 0);
    while (!atomic_load(&w.over))
        for (uint32_t i = 0; i < count; i++)
            scripted_expect_nothing(instances[i], 10);
    pthread_join(w.thread, NULL);
    return w;
}

static void test_statistics_are_sums_that_do_not_fall(void **state)
{
    (void)state;
    static const tn_stats_table table = {.struct_size = sizeof table, .stat = scripted_stat};
    rig *r = rig_start(30000);
    scripted_instance *both[] = {&r->a, &r->b};
    r->a.stats = r->b.stats = &table;
    attach(r, &r->b);
    watcher w = watch_stats(r, both, 2);
    for (int i = 0; i < PATIENCE && w.stat[0].value != 42; i++) /* an answer that is late is there the next time */
        w = watch_stats(r, both, 2);
    assert_int_equal(w.count, 3);
    assert_true(w.stat[0].value == 42);
    assert_true(w.stat[1].value > 0.2099 && w.stat[1].value < 0.2101); /* a mean */
    assert_true(w.stat[2].value == 42 && w.stat[2].count == 8);
    assert_true(w.bucket[0] == 4 && w.bucket[1] == 6);
    gateway_detach(r->route, "b");
    w = watch_stats(r, both, 1);
    assert_true(w.stat[0].value == 42);
    assert_true(w.stat[1].value == 0.1);
    rig_stop(r);
}

/* Until it says so, and that it is not ready. */
static void expect_health(rig *r, const char *reason)
{
    tn_health health = {.struct_size = sizeof health};
    tn_error err = TN_ERROR_INIT;
    for (int i = 0; i < PATIENCE && !strstr(health.reason, reason); i++) {
        scripted_expect_nothing(&r->a, 10);
        assert_int_equal(gateway_health(r->route, "a", &health, &err), TN_OK);
    }
    assert_non_null(strstr(health.reason, reason));
    assert_int_equal(health.ready, 0);
}

static void test_health_is_what_was_heard_lately(void **state)
{
    (void)state;
    rig *r = rig_start(30000);
    tn_health health;
    r->a.health.ready = 0;
    strcpy(r->a.health.reason, "the loop is silent");
    expect_health(r, "the loop is silent");
    health = (tn_health){.struct_size = sizeof health, .ready = 1};
    assert_int_equal(gateway_stats_table.health(r->engine, &health), TN_OK);
    assert_int_equal(health.ready, 0);
    r->a.health.ready = 1;
    r->a.silent_on_health = true;
    expect_health(r, "has not answered for");
    rig_stop(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_request_goes_and_comes_back),
        cmocka_unit_test(test_the_least_busy_instance_gets_it),
        cmocka_unit_test(test_what_produced_nothing_moves_with_its_seed),
        cmocka_unit_test(test_what_has_produced_ends_and_says_where),
        cmocka_unit_test(test_an_engine_that_fails_hands_on_what_has_not_begun),
        cmocka_unit_test(test_without_an_instance_requests_wait_in_order),
        cmocka_unit_test(test_what_moves_back_is_ahead_of_what_came_later),
        cmocka_unit_test(test_a_wait_in_vain_ends_with_the_note),
        cmocka_unit_test(test_a_wait_ends_when_the_service_has_failed),
        cmocka_unit_test(test_a_full_instance_has_a_neighbour),
        cmocka_unit_test(test_a_cancel_overtakes_nothing),
        cmocka_unit_test(test_a_draining_instance_gets_nothing_new),
        cmocka_unit_test(test_credit_is_given_back),
        cmocka_unit_test(test_an_instance_that_lies_is_lost),
        cmocka_unit_test(test_a_removed_route_ends_everything_but_the_engine),
        cmocka_unit_test(test_instances_that_do_not_fit_are_turned_away),
        cmocka_unit_test(test_an_instance_that_dies_at_the_door_is_an_error),
        cmocka_unit_test(test_a_service_that_never_ran_says_how_far_it_is),
        cmocka_unit_test(test_statistics_are_sums_that_do_not_fall),
        cmocka_unit_test(test_health_is_what_was_heard_lately),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

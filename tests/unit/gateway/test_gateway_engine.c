/* test_gateway_engine.c: an engine through socket and gateway is the engine itself, event by event. */
#include "tiny_engine.h"

#include "base/unix_socket.h"
#include "base/wire/engine_frame.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

typedef struct pair {
    scratch_directory folder;
    tiny_engine tiny;
    settings *settings;
    gateway *gateway;
    gateway_route *route;
    tn_engine *remote;
} pair;

static int set_up(void **state)
{
    pair *p = calloc(1, sizeof *p);
    tn_error err = TN_ERROR_INIT;
    char path[96];

    p->folder = scratch_create();
    snprintf(path, sizeof path, "%s/a.sock", p->folder.path);
    tiny_engine_start(&p->tiny, path, NULL);
    p->settings = tiny_settings("tiny,other");
    gateway_route_options options = {
        .service = "tiny", .settings = p->settings, .queue_max = 64, .wake_timeout_ms = 10000};
    tn_status status = gateway_create(&p->gateway, &err);
    if (status == TN_OK)
        status = gateway_route_add(p->gateway, &options, &p->route, &err);
    if (status == TN_OK)
        status = gateway_attach(p->route, "a", path, &err);
    if (status == TN_OK)
        status = gateway_models_table.find(gateway_models(p->gateway), "other", &p->remote, &err);
    if (status != TN_OK)
        fail_msg("%s", err.msg);
    *state = p;
    return 0;
}

static int tear_down(void **state)
{
    pair *p = *state;
    gateway_route_remove(p->route);
    gateway_models_table.release(gateway_models(p->gateway), p->remote);
    gateway_destroy(p->gateway);
    tiny_engine_stop(&p->tiny);
    scratch_destroy(&p->folder);
    free(p);
    return 0;
}

/* The same request, here and there. */
static event_log expect_same(pair *p, const tn_request *request, uint32_t queue_cap)
{
    event_log direct = event_log_run(&engine_table, p->tiny.instance.engine, request, queue_cap);
    event_log remote = event_log_run(&gateway_engine_table, p->remote, request, queue_cap);
    if (direct.text || remote.text)
        assert_string_equal(direct.text ? direct.text : "", remote.text ? remote.text : "");
    assert_int_equal(direct.status, remote.status);
    assert_string_equal(direct.words, remote.words);
    event_log_finish(&remote);
    return direct;
}

static void test_info_is_the_engines_but_for_the_names(void **state)
{
    pair *p = *state;
    tn_engine_info there = {.struct_size = sizeof there}, here = {.struct_size = sizeof here};
    assert_int_equal(engine_table.info(p->tiny.instance.engine, &there), TN_OK);
    assert_int_equal(gateway_engine_table.info(p->remote, &here), TN_OK);
    assert_string_equal(here.served_names[0], "tiny");
    assert_string_equal(here.served_names[1], "other");
    assert_null(here.served_names[2]);
    assert_string_equal(here.model_path, there.model_path);
    assert_string_equal(here.architecture, there.architecture);
    here.served_names = there.served_names;
    here.model_path = there.model_path;
    here.architecture = there.architecture;
    assert_memory_equal(&here, &there, sizeof here);
}

static void test_one_request_gives_the_same_events(void **state)
{
    tn_request request = tiny_request(tiny_prompt, 12, 40);
    event_log log = expect_same(*state, &request, 64);
    assert_int_equal(log.tokens, 40);
    assert_int_equal(log.status, TN_OK);
    event_log_finish(&log);
}

static void test_log_probs_and_choices_are_the_same(void **state)
{
    tn_request request = tiny_request(tiny_prompt, 12, 20);
    request.flags |= TN_REQ_LOGPROBS | TN_REQ_PROMPT_LOGPROBS;
    request.top_logprobs = 5;
    request.n_choices = 3;
    request.temperature = 1.1f;
    request.top_p = 0.9f;
    request.repetition = 1.2f;
    event_log log = expect_same(*state, &request, 256);
    assert_int_equal(log.tokens, 60);
    event_log_finish(&log);
}

static void test_stop_strings_biases_and_masks_are_the_same(void **state)
{
    pair *p = *state;
    static const int32_t stop_token[] = {77}, allowed[] = {10, 11, 12, 13, 77, 90};
    static const tn_bias bias[] = {{10, 2.5f}, {11, -1.0f}};
    tn_request request = tiny_request(tiny_prompt, 6, 60);
    request.temperature = 2;
    request.stop_token = stop_token;
    request.stop_token_count = 1;
    request.allowed = allowed;
    request.allowed_count = 6;
    request.bias = bias;
    request.bias_count = 2;
    request.min_new = 3;
    request.cache_salt = "salt";
    event_log log = expect_same(p, &request, 64);
    event_log_finish(&log);

    request = tiny_request(tiny_prompt, 12, 60);
    event_log plain = expect_same(p, &request, 64);
    const char *stop[] = {"zzzzz", "e"};
    request.stop = stop;
    request.stop_count = 2;
    for (uint32_t keep = 0; keep < 2; keep++) {
        request.flags = keep ? request.flags | TN_REQ_KEEP_STOP : request.flags;
        log = expect_same(p, &request, 64);
        event_log_finish(&log);
    }
    event_log_finish(&plain);
}

static void test_grammars_are_the_same(void **state)
{
    static const char schema[] = "{\"enum\":[true,[1,2],\"three\"]}", refused[] = "{\"not\":{}}";
    tn_request request = tiny_request(tiny_prompt, 12, 30);
    request.temperature = 2;
    request.n_choices = 2;
    request.grammar_kind = TN_GRAMMAR_JSON_SCHEMA;
    request.grammar = schema;
    request.grammar_bytes = sizeof schema - 1;
    event_log log = expect_same(*state, &request, 64);
    assert_true(log.tokens >= 2);
    event_log_finish(&log);
    request.grammar = refused;
    request.grammar_bytes = sizeof refused - 1;
    log = expect_same(*state, &request, 64);
    assert_int_equal(log.tokens, 0);
    event_log_finish(&log);
}

static void test_refusals_have_the_same_words(void **state)
{
    pair *p = *state;
    static const int32_t outside[] = {5, 1 << 20};
    tn_request request = tiny_request(outside, 2, 5);
    event_log direct = event_log_run(&engine_table, p->tiny.instance.engine, &request, 8);
    event_log log = event_log_run(&gateway_engine_table, p->remote, &request, 8);
    assert_int_equal(direct.status, TN_E_ARGUMENT);
    assert_int_equal(log.status, TN_E_ARGUMENT);
    assert_string_equal(log.words, direct.words);
    event_log_finish(&direct);
    event_log_finish(&log);
    request = tiny_request(tiny_prompt, 12, 5);
    request.min_new = 6;
    log = event_log_run(&gateway_engine_table, p->remote, &request, 8);
    assert_int_equal(log.status, TN_E_ARGUMENT);
    assert_non_null(strstr(log.words, "min_new is 6"));
    event_log_finish(&log);
    request = tiny_request(tiny_prompt, 12, 5);
    request.n_choices = 100000;
    log = event_log_run(&gateway_engine_table, p->remote, &request, 8);
    assert_int_equal(log.status, TN_E_ARGUMENT);
    assert_non_null(strstr(log.words, "n_choices is 100000"));
    event_log_finish(&log);
}

/* A queue of two, read one event at a time. */
static void test_a_slow_reader_gets_everything(void **state)
{
    pair *p = *state;
    tn_request request = tiny_request(tiny_prompt, 12, 100);
    event_log direct = event_log_run(&engine_table, p->tiny.instance.engine, &request, 64), slow = {0};
    tn_error err = TN_ERROR_INIT;
    tn_client *client;
    uint64_t id;

    assert_int_equal(gateway_engine_table.client_open(p->remote, 2, &client, &err), TN_OK);
    assert_int_equal(gateway_engine_table.submit(client, &request, &id, &err), TN_OK);
    event_log_collect(&slow, &gateway_engine_table, client, 1, 1);
    assert_string_equal(slow.text, direct.text);
    gateway_engine_table.client_close(client);
    event_log_finish(&slow);
    event_log_finish(&direct);
}

/* Of all threads of this process. */
static double cpu_seconds(void)
{
    struct timespec used;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return (double)used.tv_sec + (double)used.tv_nsec * 1e-9;
}

static void test_a_client_that_does_not_read_holds_up_nobody(void **state)
{
    pair *p = *state;
    tn_request request = tiny_request(tiny_prompt, 12, 400);
    tn_error err = TN_ERROR_INIT;
    tn_client *stuck;
    gateway_activity activity;
    uint64_t id;

    assert_int_equal(gateway_engine_table.client_open(p->remote, 4, &stuck, &err), TN_OK);
    for (int i = 0; i < 4; i++)
        assert_int_equal(gateway_engine_table.submit(stuck, &request, &id, &err), TN_OK);
    request.max_new = 50;
    event_log log = expect_same(p, &request, 64);
    assert_int_equal(log.tokens, 50);
    event_log_finish(&log);
    gateway_route_activity(p->route, &activity);
    assert_int_equal(activity.running, 4);
    double before = cpu_seconds(); /* everything waits for room: nobody may spin */
    usleep(500000);
    assert_true(cpu_seconds() - before < 0.2);
    gateway_engine_table.client_close(stuck); /* which cancels them */
    gateway_route_activity(p->route, &activity);
    assert_int_equal(activity.running, 0);
}

static void test_a_cancelled_request_ends_the_same(void **state)
{
    pair *p = *state;
    const tn_engine_table *api[] = {&engine_table, &gateway_engine_table};
    tn_engine *engine[] = {p->tiny.instance.engine, p->remote};
    tn_request request = tiny_request(tiny_prompt, 12, 400);
    char ends[2][4096] = {0};

    request.n_choices = 2;
    for (int i = 0; i < 2; i++) {
        tn_error err = TN_ERROR_INIT;
        tn_client *client;
        event_log log = {0};
        uint64_t id;
        assert_int_equal(api[i]->client_open(engine[i], 4, &client, &err), TN_OK);
        assert_int_equal(api[i]->submit(client, &request, &id, &err), TN_OK);
        while (log.tokens == 0) {
            tn_event event = {.struct_size = sizeof event};
            if (api[i]->poll(client, &event, sizeof event, 1))
                event_log_take(&log, &event);
        }
        assert_int_equal(api[i]->cancel(client, id), TN_OK);
        event_log_collect(&log, api[i], client, 1, 64);
        assert_int_equal(api[i]->cancel(client, id), TN_E_NOT_FOUND);
        assert_int_equal(log.status, TN_E_CANCELLED);
        assert_string_equal(log.words, "cancelled");
        for (const char *at = strstr(log.text, " finish 3 "); at; at = strstr(at + 1, " finish 3 "))
            strncat(ends[i], "choice cancelled\n", sizeof ends[i] - strlen(ends[i]) - 1);
        api[i]->client_close(client);
        event_log_finish(&log);
    }
    assert_string_equal(ends[0], "choice cancelled\nchoice cancelled\n");
    assert_string_equal(ends[1], ends[0]);
}

static bool same_text(const char *a, const char *b)
{
    return strcmp(a ? a : "", b ? b : "") == 0;
}

static bool same_stat(const tn_stat *a, const tn_stat *b)
{
    bool same = same_text(a->name, b->name) && same_text(a->help, b->help) && same_text(a->label, b->label) &&
                same_text(a->label_value, b->label_value) && a->kind == b->kind && a->count == b->count &&
                a->value == b->value && a->bucket_count == b->bucket_count;
    for (uint32_t i = 0; same && i < a->bucket_count; i++)
        same = a->bound[i] == b->bound[i] && a->bucket[i] == b->bucket[i];
    return same;
}

/* Number of series that are the same here and there, UINT32_MAX if one is not. */
static uint32_t count_same_stats(const pair *p)
{
    for (uint32_t count = 0;; count++) {
        tn_stat there = {.struct_size = sizeof there}, here = {.struct_size = sizeof here};
        tn_status status = gateway_stats_table.stat(p->remote, count, &here);
        if (engine_stats_table.stat(p->tiny.instance.engine, count, &there) != status)
            return UINT32_MAX;
        if (status != TN_OK)
            return count;
        if (!same_stat(&here, &there))
            return UINT32_MAX;
    }
}

static void test_statistics_and_health_are_the_engines(void **state)
{
    pair *p = *state;
    uint32_t count = UINT32_MAX;
    for (int i = 0; i < 3000 && count == UINT32_MAX; i++) { /* what was cancelled before may still be on its way out */
        count = count_same_stats(p);
        usleep(10000);
    }
    assert_true(count > 20 && count < UINT32_MAX);
    tn_health health = {.struct_size = sizeof health};
    for (int i = 0; i < 3000 && !health.ready; i++) { /* it is asked twice a second */
        assert_int_equal(gateway_stats_table.health(p->remote, &health), TN_OK);
        usleep(10000);
    }
    assert_int_equal(health.ready, 1);
}

/* ---- the socket itself ---- */

static int greeted(const pair *p, bool hello)
{
    tn_error err = TN_ERROR_INIT;
    frame_note note = {.kind = FRAME_HELLO, .tag = ENGINE_FRAME_MAGIC, .number = ENGINE_FRAME_VERSION};
    wire_buffer out = {0};
    struct timeval patience = {.tv_sec = 10};
    int fd;
    if (unix_socket_connect(p->tiny.socket, &fd, &err) != TN_OK)
        fail_msg("%s", err.msg);
    assert_int_equal(fcntl(fd, F_SETFL, 0), 0); /* blocking */
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    assert_int_equal(frame_note_write(&out, &note, NULL), TN_OK);
    if (hello)
        assert_int_equal(write(fd, out.bytes, wire_buffer_count(&out)), wire_buffer_count(&out));
    wire_buffer_finish(&out);
    return fd;
}

/* Reads to the end of the connection; the last frame must be a GOODBYE with these words. */
static void expect_goodbye(int fd, const char *words)
{
    wire_buffer in = {0};
    const uint8_t *frame;
    frame_note note = {0};
    char text[FRAME_TEXT_MAX + 1] = "";
    size_t n;
    ssize_t got;
    do {
        assert_int_equal(wire_buffer_reserve(&in, 65536, NULL), TN_OK);
        got = read(fd, in.bytes + in.end, 65536);
        assert_true(got >= 0);
        in.end += (size_t)got;
    } while (got > 0);
    while (wire_buffer_take_frame(&in, 1 << 20, &frame, &n, NULL) == TN_OK)
        if (frame[0] == FRAME_GOODBYE && frame_note_read(frame, n, &note, NULL) == TN_OK)
            frame_note_text(&note, text);
    if (!strstr(text, words))
        fail_msg("'%s' lacks '%s'", text, words);
    wire_buffer_finish(&in);
    close(fd);
}

static void test_peers_that_break_the_rules_are_told_and_cut_off(void **state)
{
    const pair *p = *state;
    static const struct {
        bool hello;
        frame_note note;
        const char *words;
    } cases[] = {
        {false, {.kind = FRAME_ASK, .number = 1}, "where a greeting was expected"},
        {false, {.kind = FRAME_HELLO, .tag = ENGINE_FRAME_MAGIC, .number = 9}, "version 9"},
        {true, {.kind = FRAME_CREDIT, .channel = 3, .number = 1}, "channel 3 is not open"},
        {true, {.kind = FRAME_OPEN, .channel = 3, .number = 0}, "a queue of 0 events"},
        {true, {.kind = FRAME_OPEN, .channel = 3, .number = 1 << 20}, "a queue of 1048576 events"},
        {true, {.kind = FRAME_ASK, .number = 8}, "a question of kind 8"},
        {true, {.kind = FRAME_TAKEN, .channel = 3}, "channel 3 is not open"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        wire_buffer out = {0};
        int fd = greeted(p, cases[i].hello);
        assert_int_equal(frame_note_write(&out, &cases[i].note, NULL), TN_OK);
        assert_int_equal(write(fd, out.bytes, wire_buffer_count(&out)), wire_buffer_count(&out));
        wire_buffer_finish(&out);
        expect_goodbye(fd, cases[i].words);
    }
    int fd = greeted(p, true);
    assert_int_equal(write(fd, "\xff\xff\xff\xff", 4), 4);
    expect_goodbye(fd, "the other side is no Tenon");
}

static void test_the_socket_file_is_its_owners_alone(void **state)
{
    const pair *p = *state;
    struct stat info;
    assert_int_equal(stat(p->tiny.socket, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
    int fd;
    tn_error err = TN_ERROR_INIT;
    assert_int_equal(unix_socket_listen(p->tiny.socket, 0600, &fd, &err), TN_E_IO); /* it is answered */
    assert_non_null(strstr(err.msg, "another program listens there"));
}

/* A peer that asks and asks and reads nothing: the engine goes on, and what waits for it stays small. */
static void test_a_peer_that_does_not_read_is_not_written_for(void **state)
{
    pair *p = *state;
    frame_note ask = {.kind = FRAME_ASK, .number = FRAME_ASK_STATS};
    wire_buffer out = {0};
    int fd = greeted(p, true);
    size_t sent = 0;
    struct timeval patience = {.tv_usec = 300000};
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(frame_note_write(&out, &ask, NULL), TN_OK);
    for (ssize_t n = 1; n > 0 && sent < 16u << 20;) { /* answers would be some hundred times as long */
        n = write(fd, out.bytes, wire_buffer_count(&out));
        sent += n > 0 ? (size_t)n : 0;
    }
    assert_true(sent < 8u << 20);
    tn_request request = tiny_request(tiny_prompt, 12, 20);
    event_log log = expect_same(p, &request, 64);
    event_log_finish(&log);
    wire_buffer_finish(&out);
    close(fd);
}

/* ---- coming and going ---- */

static uint32_t count_descriptors(void)
{
    uint32_t count = 0;
    DIR *folder = opendir("/proc/self/fd");
    while (readdir(folder))
        count++;
    closedir(folder);
    return count;
}

static void test_two_hundred_attachments_leave_nothing(void **state)
{
    pair *p = *state;
    tn_error err = TN_ERROR_INIT;
    tn_request request = tiny_request(tiny_prompt, 12, 3);
    uint32_t before = count_descriptors(), after = 0;
    for (int i = 0; i < 200; i++) {
        gateway_detach(p->route, "a");
        if (gateway_attach(p->route, "a", p->tiny.socket, &err) != TN_OK)
            fail_msg("%d: %s", i, err.msg);
        if (i % 20 == 0) {
            event_log log = event_log_run(&gateway_engine_table, p->remote, &request, 8);
            assert_int_equal(log.status, TN_OK);
            event_log_finish(&log);
        }
    }
    for (int i = 0; i < 3000 && (after = count_descriptors()) > before; i++)
        usleep(10000);            /* the other side closes when it notices */
    assert_true(after <= before); /* fewer: it had not noticed the end of an earlier test's */
}

typedef struct load {
    pair *pair;
    pthread_t thread;
    uint32_t seed;
    event_log log;
} load;

static void *run_load(void *argument)
{
    load *l = argument;
    tn_error err = TN_ERROR_INIT;
    tn_client *client;
    uint64_t id;
    if (gateway_engine_table.client_open(l->pair->remote, 16, &client, &err) != TN_OK)
        fail_msg("%s", err.msg);
    for (uint32_t i = 0; i < 40; i++) {
        tn_request request = tiny_request(tiny_prompt, 4 + (l->seed + i) % 8, 3 + i % 20);
        request.seed = l->seed + i;
        if (gateway_engine_table.submit(client, &request, &id, &err) != TN_OK)
            fail_msg("%s", err.msg);
        if (i % 7 == 3)
            gateway_engine_table.cancel(client, id);
        if (i % 4 == 3)
            event_log_collect(&l->log, &gateway_engine_table, client, i, 64);
    }
    event_log_collect(&l->log, &gateway_engine_table, client, 40, 64);
    gateway_engine_table.client_close(client);
    return NULL;
}

/* Four clients, while an instance comes and goes beside the one that stays: every request has an end. */
static void test_every_request_ends_while_instances_come_and_go(void **state)
{
    pair *p = *state;
    tiny_engine second;
    char path[96];
    tn_error err = TN_ERROR_INIT;
    load loads[4] = {0};

    snprintf(path, sizeof path, "%s/b.sock", p->folder.path);
    tiny_engine_start(&second, path, NULL);
    assert_int_equal(gateway_attach(p->route, "b", path, &err), TN_OK);
    for (uint32_t i = 0; i < 4; i++) {
        loads[i].pair = p;
        loads[i].seed = 100 * i;
        assert_int_equal(pthread_create(&loads[i].thread, NULL, run_load, &loads[i]), 0);
    }
    for (int i = 0; i < 20; i++) {
        usleep(20000);
        gateway_detach(p->route, "b");
        if (gateway_attach(p->route, "b", path, &err) != TN_OK)
            fail_msg("%s", err.msg);
    }
    for (uint32_t i = 0; i < 4; i++) {
        pthread_join(loads[i].thread, NULL);
        assert_int_equal(loads[i].log.done, 40);
        event_log_finish(&loads[i].log);
    }
    gateway_detach(p->route, "b");
    tiny_engine_stop(&second);
    gateway_activity activity;
    gateway_route_activity(p->route, &activity);
    assert_int_equal(activity.running + activity.waiting, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_info_is_the_engines_but_for_the_names),
        cmocka_unit_test(test_one_request_gives_the_same_events),
        cmocka_unit_test(test_log_probs_and_choices_are_the_same),
        cmocka_unit_test(test_stop_strings_biases_and_masks_are_the_same),
        cmocka_unit_test(test_grammars_are_the_same),
        cmocka_unit_test(test_refusals_have_the_same_words),
        cmocka_unit_test(test_a_slow_reader_gets_everything),
        cmocka_unit_test(test_a_client_that_does_not_read_holds_up_nobody),
        cmocka_unit_test(test_a_cancelled_request_ends_the_same),
        cmocka_unit_test(test_statistics_and_health_are_the_engines),
        cmocka_unit_test(test_peers_that_break_the_rules_are_told_and_cut_off),
        cmocka_unit_test(test_the_socket_file_is_its_owners_alone),
        cmocka_unit_test(test_a_peer_that_does_not_read_is_not_written_for),
        cmocka_unit_test(test_two_hundred_attachments_leave_nothing),
        cmocka_unit_test(test_every_request_ends_while_instances_come_and_go),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

/* test_gateway_engine.c: an engine through socket and gateway is the engine itself, event by event. */
#include "tiny_engine.h"

#include <string.h>
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
    settings_destroy(p->settings);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_info_is_the_engines_but_for_the_names),
        cmocka_unit_test(test_one_request_gives_the_same_events),
        cmocka_unit_test(test_log_probs_and_choices_are_the_same),
        cmocka_unit_test(test_stop_strings_biases_and_masks_are_the_same),
        cmocka_unit_test(test_refusals_have_the_same_words),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

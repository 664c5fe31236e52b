/* test_store_hub.c: the TCP store without TCP: frames, greetings, keys that are waited for, members that vanish, and
 * strangers.
 */
#include "cmocka_test.h"

#include "group/store.h"
#include "group/store_hub.h"

static const uint8_t secret[] = "sixteen bytes, or more";

/* ---- the test's side of a connection ---- */

typedef struct line {
    store_hub *hub;
    store_peer *peer;
    uint8_t challenge[STORE_DIGEST_BYTES];
    wire_buffer sent; /* what the hub has said, taken over */
} line;

static void deliver(line *line, const void *bytes, size_t n, uint64_t now_ms)
{
    const uint8_t *at = bytes;
    while (n && !store_hub_is_over(line->peer)) {
        size_t room;
        uint8_t *to = store_hub_room(line->peer, &room);
        assert_non_null(to);
        size_t part = n < room ? n : room;
        memcpy(to, at, part);
        store_hub_received(line->hub, line->peer, part, now_ms);
        at += part;
        n -= part;
    }
}

static void say(line *line, const store_message *message)
{
    wire_buffer out = {0};
    assert_int_equal(store_message_write(&out, message, NULL), TN_OK);
    deliver(line, out.bytes, out.end, 0);
    wire_buffer_finish(&out);
}

/* The hub's next message. False: it has said nothing more. */
static bool hear(line *line, store_message *ret_message)
{
    size_t n;
    const uint8_t *frame, *pending = store_hub_pending(line->peer, &n);
    if (n) {
        assert_int_equal(wire_buffer_reserve(&line->sent, n, NULL), TN_OK);
        memcpy(line->sent.bytes + line->sent.end, pending, n);
        line->sent.end += n;
        store_hub_sent(line->peer, n);
    }
    if (wire_buffer_take_frame(&line->sent, STORE_FRAME_MAX, &frame, &n, NULL) != TN_OK)
        return false;
    assert_int_equal(store_message_parse(frame, n, ret_message, NULL), TN_OK);
    return true;
}

static void must_hear(line *line, uint32_t kind, store_message *ret_message)
{
    if (!hear(line, ret_message))
        fail_msg("expected a message of kind %u", kind);
    assert_int_equal(ret_message->kind, kind);
}

static void must_hear_reply(line *line, uint32_t id, tn_status status, const char *words)
{
    store_message message;
    must_hear(line, STORE_REPLY, &message);
    assert_int_equal(message.number[0], id);
    assert_int_equal((tn_status)message.number[1], status);
    if (!memmem(message.blob[0].bytes, message.blob[0].n, words, strlen(words)))
        fail_msg("\"%s\" is not in: %.*s", words, (int)message.blob[0].n, message.blob[0].bytes);
}

static line connect_line(store_hub *hub, uint64_t now_ms)
{
    static uint8_t fresh;
    line line = {.hub = hub};
    uint8_t nonce[STORE_DIGEST_BYTES] = {++fresh};
    store_message message;
    assert_int_equal(store_hub_connect(hub, nonce, now_ms, &line.peer, NULL), TN_OK);
    must_hear(&line, STORE_CHALLENGE, &message);
    memcpy(line.challenge, message.digest[0], sizeof line.challenge);
    return line;
}

static wire_blob text(const char *text)
{
    return (wire_blob){text, (uint32_t)strlen(text)};
}

static void greet(line *line, const char *group, uint32_t rank, uint32_t world, const char *with)
{
    store_message hello = {.kind = STORE_HELLO,
                           .number = {STORE_VERSION, rank, world},
                           .digest = {{7}},
                           .blob = {text(group), text("host")}};
    store_message_prove((const uint8_t *)with, strlen(with), STORE_PROOF_MEMBER, line->challenge, &hello,
                        hello.digest[1]);
    say(line, &hello);
}

static void must_be_refused(line *line, const char *words)
{
    store_message message;
    must_hear(line, STORE_REFUSED, &message);
    if (!memmem(message.blob[0].bytes, message.blob[0].n, words, strlen(words)))
        fail_msg("\"%s\" is not in: %.*s", words, (int)message.blob[0].n, message.blob[0].bytes);
    assert_true(store_hub_is_over(line->peer));
}

static line join(store_hub *hub, uint32_t rank, uint32_t world)
{
    store_message message;
    line line = connect_line(hub, 0);
    greet(&line, "g", rank, world, (const char *)secret);
    must_hear(&line, STORE_WELCOME, &message);
    return line;
}

static void hang_up(line *line)
{
    store_hub_disconnect(line->hub, line->peer);
    wire_buffer_finish(&line->sent);
}

static store_hub *create(uint32_t world)
{
    store_hub *hub;
    assert_int_equal(store_hub_create("g", world, secret, sizeof secret - 1, &hub, NULL), TN_OK);
    return hub;
}

static void put(line *line, uint32_t id, const char *key, const char *value)
{
    say(line, &(store_message){.kind = STORE_PUT, .number = {id}, .blob = {text(key), text(value)}});
}

static void get(line *line, uint32_t id, const char *key, uint32_t timeout_ms)
{
    say(line, &(store_message){.kind = STORE_GET, .number = {id, timeout_ms}, .blob = {text(key)}});
}

/* ---- messages ---- */

static void test_messages_come_back_as_they_were_written(void **state)
{
    (void)state;
    store_message back;
    wire_buffer buffer = {0};
    const uint8_t *frame;
    size_t n;
    const store_message message = {.kind = STORE_PUT, .number = {0x01020304}, .blob = {text("key"), {"v\0w", 3}}};
    assert_int_equal(store_message_write(&buffer, &message, NULL), TN_OK);
    assert_int_equal(wire_buffer_take_frame(&buffer, STORE_FRAME_MAX, &frame, &n, NULL), TN_OK);
    assert_int_equal(store_message_parse(frame, n, &back, NULL), TN_OK);
    assert_int_equal(back.number[0], 0x01020304);
    assert_int_equal(back.blob[1].n, 3);
    assert_memory_equal(back.blob[1].bytes, "v\0w", 3);
    for (size_t cut = 0; cut < n; cut++) /* every shorter one is refused */
        assert_int_equal(store_message_parse(frame, cut, &back, NULL), TN_E_CORRUPT);
    wire_buffer_finish(&buffer);
}

static void test_messages_that_lie_are_refused(void **state)
{
    (void)state;
    tn_error err = TN_ERROR_INIT;
    store_message back;
    const uint8_t unknown[] = {99}, longer[] = {STORE_LEAVE, 0};
    const uint8_t key_of_4g[] = {STORE_GET, 1, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 'k'};
    const uint8_t key_beyond[] = {STORE_GET, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 'k'};
    assert_int_equal(store_message_parse(unknown, 1, &back, &err), TN_E_CORRUPT);
    assert_non_null(strstr(err.msg, "unknown kind, 99"));
    assert_int_equal(store_message_parse(unknown, 0, &back, &err), TN_E_CORRUPT);
    assert_int_equal(store_message_parse(longer, sizeof longer, &back, &err), TN_E_CORRUPT);
    assert_int_equal(store_message_parse(key_of_4g, sizeof key_of_4g, &back, &err), TN_E_CORRUPT);
    assert_non_null(strstr(err.msg, "4294967295 bytes where 128"));
    assert_int_equal(store_message_parse(key_beyond, sizeof key_beyond, &back, &err), TN_E_CORRUPT);
}

/* ---- joining ---- */

static void test_a_wrong_secret_is_refused(void **state)
{
    (void)state;
    store_hub *hub = create(2);
    line line = connect_line(hub, 0);
    greet(&line, "g", 1, 2, "another secret here");
    must_be_refused(&line, "the secret differs");
    hang_up(&line);
    line = join(hub, 1, 2); /* and harms nobody */
    hang_up(&line);
    store_hub_destroy(hub);
}

static void test_a_proof_is_good_for_one_connection(void **state)
{
    (void)state;
    store_hub *hub = create(2);
    line first = connect_line(hub, 0), second = connect_line(hub, 0);
    memcpy(second.challenge, first.challenge, sizeof second.challenge); /* what was overheard there is said here */
    greet(&second, "g", 1, 2, (const char *)secret);
    must_be_refused(&second, "the secret differs");
    hang_up(&first);
    hang_up(&second);
    store_hub_destroy(hub);
}

static void test_a_rank_is_taken_once(void **state)
{
    (void)state;
    store_hub *hub = create(3);
    line first = join(hub, 1, 3), second = connect_line(hub, 0);
    greet(&second, "g", 1, 3, (const char *)secret);
    must_be_refused(&second, "a process on host is rank 1 of group g already");
    hang_up(&second);
    put(&first, 1, "k", "v");
    must_hear_reply(&first, 1, TN_OK, "");
    hang_up(&first);
    store_hub_destroy(hub);
}

static void test_another_world_size_ends_a_group_that_is_not_complete(void **state)
{
    (void)state;
    store_message message;
    store_hub *hub = create(2);
    line first = join(hub, 0, 2), second = connect_line(hub, 0);
    greet(&second, "g", 1, 3, (const char *)secret);
    must_be_refused(&second, "rank 1 on host has world size 3, rank 0 has 2");
    must_hear(&first, STORE_ABORT, &message);
    hang_up(&first);
    hang_up(&second);
    store_hub_destroy(hub);

    hub = create(1);
    first = join(hub, 0, 1);
    second = connect_line(hub, 0);
    greet(&second, "g", 0, 2, (const char *)secret);
    must_be_refused(&second, "world size 2");
    assert_false(hear(&first, &message));
    hang_up(&first);
    hang_up(&second);
    store_hub_destroy(hub);
}

static void test_other_groups_ranks_and_versions_are_refused(void **state)
{
    (void)state;
    store_hub *hub = create(2);
    line line = connect_line(hub, 0);
    greet(&line, "other", 1, 2, (const char *)secret);
    must_be_refused(&line, "two jobs share an address");
    hang_up(&line);
    line = connect_line(hub, 0);
    greet(&line, "g", 2, 2, (const char *)secret);
    must_be_refused(&line, "rank 2 is outside of the group's 2");
    hang_up(&line);
    line = connect_line(hub, 0);
    say(&line,
        &(store_message){.kind = STORE_HELLO, .number = {STORE_VERSION + 1, 1, 2}, .blob = {text("g"), text("h")}});
    must_be_refused(&line, "another version");
    hang_up(&line);
    store_hub_destroy(hub);
}

static void test_strangers_are_few_short_and_brief(void **state)
{
    (void)state;
    store_hub *hub = create(2);
    store_peer *peers[STORE_HUB_STRANGERS], *more;
    const uint8_t nonce[STORE_DIGEST_BYTES] = {0}, long_frame[] = {1, 4, 0, 0}; /* 1,025 bytes */
    for (int i = 0; i < STORE_HUB_STRANGERS; i++) {
        assert_true(store_hub_has_room(hub));
        assert_int_equal(store_hub_connect(hub, nonce, 5, &peers[i], NULL), TN_OK);
    }
    assert_false(store_hub_has_room(hub));
    assert_int_equal(store_hub_connect(hub, nonce, 5, &more, NULL), TN_E_AGAIN);
    assert_false(store_hub_is_over(peers[0]));
    deliver(&(line){.hub = hub, .peer = peers[0]}, long_frame, sizeof long_frame, 5);
    assert_true(store_hub_is_over(peers[0]));
    store_hub_disconnect(hub, peers[0]);
    assert_int_equal(store_hub_tick(hub, 5), 5 + STORE_GREETING_MS);
    store_hub_tick(hub, 5 + STORE_GREETING_MS);
    for (int i = 1; i < STORE_HUB_STRANGERS; i++)
        assert_true(store_hub_is_over(peers[i]));
    store_hub_destroy(hub);
}

static void test_a_crowd_of_strangers_makes_room(void **state)
{
    (void)state;
    store_hub *hub = create(2);
    store_peer *peers[STORE_HUB_STRANGERS];
    const uint8_t nonce[STORE_DIGEST_BYTES] = {0};
    for (int i = 0; i < STORE_HUB_STRANGERS; i++)
        assert_int_equal(store_hub_connect(hub, nonce, i < 10 ? 5 : 500, &peers[i], NULL), TN_OK);
    assert_int_equal(store_hub_tick(hub, 500), 5 + STORE_GREETING_CROWDED_MS);
    store_hub_tick(hub, 5 + STORE_GREETING_CROWDED_MS);
    for (int i = 0; i < STORE_HUB_STRANGERS; i++)
        assert_int_equal(store_hub_is_over(peers[i]), i < 10);
    for (int i = 0; i < 10; i++)
        store_hub_disconnect(hub, peers[i]);
    line member = join(hub, 1, 2);
    hang_up(&member);
    store_hub_destroy(hub);
}

/* ---- keys ---- */

static void test_a_get_waits_for_the_put(void **state)
{
    (void)state;
    store_message message;
    store_hub *hub = create(2);
    line a = join(hub, 0, 2), b = join(hub, 1, 2);
    get(&a, 7, "k", 1000);
    get(&a, 8, "other", 1000);
    assert_false(hear(&a, &message));
    put(&b, 1, "k", "value");
    must_hear_reply(&b, 1, TN_OK, "");
    must_hear_reply(&a, 7, TN_OK, "value");
    assert_false(hear(&a, &message));
    get(&b, 2, "k", 0);
    must_hear_reply(&b, 2, TN_OK, "value");
    put(&b, 3, "k", "again");
    must_hear_reply(&b, 3, TN_E_ARGUMENT, "a key is put once");
    hang_up(&a);
    hang_up(&b);
    store_hub_destroy(hub);
}

static void test_a_get_times_out(void **state)
{
    (void)state;
    store_message message;
    store_hub *hub = create(2);
    line a = join(hub, 0, 2);
    get(&a, 7, "k", 1000);
    get(&a, 8, "l", 2000);
    assert_int_equal(store_hub_tick(hub, 999), 1000);
    assert_false(hear(&a, &message));
    assert_int_equal(store_hub_tick(hub, 1000), 2000);
    must_hear_reply(&a, 7, TN_E_NOT_FOUND, "no member put k within 1000 ms; 1 of 2 have joined group g");
    assert_int_equal(store_hub_tick(hub, 2000), UINT64_MAX);
    hang_up(&a);
    store_hub_destroy(hub);
}

static void test_gets_of_one_member_are_bounded(void **state)
{
    (void)state;
    store_hub *hub = create(1);
    line a = join(hub, 0, 1);
    for (uint32_t i = 0; i < STORE_CALLS_MAX; i++)
        get(&a, i, "k", 1000);
    get(&a, 99, "k", 1000);
    must_hear_reply(&a, 99, TN_E_AGAIN, "too many threads");
    put(&a, 100, "k", "v");
    must_hear_reply(&a, 100, TN_OK, "");
    for (uint32_t i = 0; i < STORE_CALLS_MAX; i++) {
        store_message message;
        must_hear(&a, STORE_REPLY, &message);
    }
    hang_up(&a);
    store_hub_destroy(hub);
}

static void test_the_store_is_bounded(void **state)
{
    (void)state;
    store_hub *hub = create(1);
    line a = join(hub, 0, 1);
    char key[32], *value = calloc(1, TN_RENDEZVOUS_VALUE_MAX);
    tn_status status = TN_OK;
    uint32_t put_count = 0;
    for (; status == TN_OK && put_count < 100; put_count++) {
        store_message message;
        snprintf(key, sizeof key, "k%u", put_count);
        say(&a, &(store_message){.kind = STORE_PUT, .blob = {text(key), {value, TN_RENDEZVOUS_VALUE_MAX}}});
        must_hear(&a, STORE_REPLY, &message);
        status = (tn_status)message.number[1];
    }
    assert_int_equal(status, TN_E_MEMORY);
    assert_int_equal(put_count, 64); /* 63 values of 1 MiB, with their keys */
    free(value);
    hang_up(&a);
    store_hub_destroy(hub);
}

/* ---- the end ---- */

static void test_a_member_that_vanishes_ends_the_group(void **state)
{
    (void)state;
    store_message message;
    store_hub *hub = create(2);
    line a = join(hub, 0, 2), b = join(hub, 1, 2);
    get(&a, 7, "k", 1000);
    hang_up(&b);
    must_hear(&a, STORE_ABORT, &message);
    assert_int_equal((tn_status)message.number[0], TN_E_DEVICE_LOST);
    assert_non_null(memmem(message.blob[0].bytes, message.blob[0].n, "rank 1 on host is gone", 22));
    assert_int_equal(store_hub_tick(hub, 5000), UINT64_MAX); /* nobody waits any more */
    put(&a, 8, "k", "v");
    must_hear_reply(&a, 8, TN_E_DEVICE_LOST, "rank 1 on host is gone");
    b = connect_line(hub, 0);
    greet(&b, "g", 1, 2, (const char *)secret);
    must_be_refused(&b, "rank 1 on host is gone");
    hang_up(&a);
    hang_up(&b);
    store_hub_destroy(hub);
}

static void test_a_member_that_leaves_is_not_missed(void **state)
{
    (void)state;
    store_message message;
    store_hub *hub = create(2);
    line a = join(hub, 0, 2), b = join(hub, 1, 2);
    assert_int_equal(store_hub_present(hub), 2);
    say(&b, &(store_message){.kind = STORE_LEAVE});
    assert_true(store_hub_is_over(b.peer));
    hang_up(&b);
    assert_int_equal(store_hub_present(hub), 1);
    assert_false(hear(&a, &message));
    hang_up(&a);
    store_hub_destroy(hub);
}

static void test_an_abort_wakes_all_and_the_first_reason_stands(void **state)
{
    (void)state;
    store_message message;
    store_hub *hub = create(3);
    line a = join(hub, 0, 3), b = join(hub, 1, 3), c = join(hub, 2, 3);
    say(&b, &(store_message){.kind = STORE_ABORT, .blob = {text("first")}});
    say(&c, &(store_message){.kind = STORE_ABORT, .blob = {text("second")}});
    line *lines[] = {&a, &b, &c};
    for (int i = 0; i < 3; i++) {
        must_hear(lines[i], STORE_ABORT, &message);
        assert_int_equal((tn_status)message.number[0], TN_E_CANCELLED);
        assert_memory_equal(message.blob[0].bytes, "first", 5);
        assert_false(hear(lines[i], &message));
    }
    get(&a, 1, "k", 1000);
    must_hear_reply(&a, 1, TN_E_CANCELLED, "first");
    for (int i = 0; i < 3; i++)
        hang_up(lines[i]);
    store_hub_destroy(hub);
}

static void test_a_member_that_breaks_the_protocol_is_cut_off(void **state)
{
    (void)state;
    static const char *const keys[] = {"", "with blank", "nul\1"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        store_hub *hub = create(2);
        line a = join(hub, 0, 2);
        get(&a, 1, keys[i], 10);
        assert_true(store_hub_is_over(a.peer));
        hang_up(&a);
        store_hub_destroy(hub);
    }
    store_hub *hub = create(2);
    line a = join(hub, 0, 2);
    greet(&a, "g", 0, 2, (const char *)secret); /* once is enough */
    assert_true(store_hub_is_over(a.peer));
    hang_up(&a);
    store_hub_destroy(hub);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_messages_come_back_as_they_were_written),
        cmocka_unit_test(test_messages_that_lie_are_refused),
        cmocka_unit_test(test_a_wrong_secret_is_refused),
        cmocka_unit_test(test_a_proof_is_good_for_one_connection),
        cmocka_unit_test(test_a_rank_is_taken_once),
        cmocka_unit_test(test_another_world_size_ends_a_group_that_is_not_complete),
        cmocka_unit_test(test_other_groups_ranks_and_versions_are_refused),
        cmocka_unit_test(test_strangers_are_few_short_and_brief),
        cmocka_unit_test(test_a_crowd_of_strangers_makes_room),
        cmocka_unit_test(test_a_get_waits_for_the_put),
        cmocka_unit_test(test_a_get_times_out),
        cmocka_unit_test(test_gets_of_one_member_are_bounded),
        cmocka_unit_test(test_the_store_is_bounded),
        cmocka_unit_test(test_a_member_that_vanishes_ends_the_group),
        cmocka_unit_test(test_a_member_that_leaves_is_not_missed),
        cmocka_unit_test(test_an_abort_wakes_all_and_the_first_reason_stands),
        cmocka_unit_test(test_a_member_that_breaks_the_protocol_is_cut_off),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* test_store_connection.c: who is let in by store_connection_accept, which no hub stands behind: over a socket pair,
 * with the other side of the greeting made by hand.
 */
#include "cmocka_test.h"

#include "group/store_connection.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { WORLD = 3, SOON_MS = 300, LATER_MS = 20000 };

static const char secret[] = "a secret of the tests", other[] = "another secret, as long";

static tcp_store_args args_of(const char *text)
{
    return (tcp_store_args){.secret = (const uint8_t *)text, .n_secret = strlen(text)};
}

/* ---- the side under test ---- */

typedef struct door {
    store_connection connection;
    uint32_t timeout_ms, rank;
    tn_status status;
    tn_error err;
    pthread_t thread;
    store_connection visitor; /* the test's end of the pair */
} door;

static void *answer(void *argument)
{
    door *d = argument;
    const tcp_store_args args = args_of(secret);
    d->status = store_connection_accept(&d->connection, &args, clock_ms() + d->timeout_ms, &d->rank, &d->err);
    return NULL;
}

static void open_door(door *d, uint32_t timeout_ms)
{
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    *d = (door){.connection = {.member = {"g/steps", "h", 0, WORLD}, .fd = pair[0]},
                .timeout_ms = timeout_ms,
                .rank = UINT32_MAX,
                .err = TN_ERROR_INIT,
                .visitor = {.member = {"g/steps", "v", 1, WORLD}, .fd = pair[1]}};
    assert_int_equal(pthread_create(&d->thread, NULL, answer, d), 0);
}

static tn_status close_door(door *d)
{
    pthread_join(d->thread, NULL);
    store_connection_close(&d->connection);
    store_connection_close(&d->visitor);
    return d->status;
}

/* ---- the visitor ---- */

static void say(const store_connection *visitor, const store_message *message)
{
    wire_buffer out = {0};
    assert_int_equal(store_message_write(&out, message, NULL), TN_OK);
    assert_int_equal(store_connection_send(visitor, &out, NULL), TN_OK);
    wire_buffer_finish(&out);
}

static store_message make_hello(uint32_t rank, uint32_t world, const char *group)
{
    return (store_message){.kind = STORE_HELLO,
                           .number = {STORE_VERSION, rank, world},
                           .digest = {{1, 2, 3}},
                           .blob = {{group, (uint32_t)strlen(group)}, {"v", 1}}};
}

/* Answers the challenge under a secret. Returns the challenge's nonce. */
static void greet(store_connection *visitor, store_message *hello, const char *under,
                  uint8_t ret_challenge[STORE_DIGEST_BYTES])
{
    store_message challenge;
    assert_int_equal(
        store_connection_receive(visitor, STORE_GREETING_MAX, clock_ms() + LATER_MS, &challenge, NULL), TN_OK);
    assert_int_equal(challenge.kind, STORE_CHALLENGE);
    memcpy(ret_challenge, challenge.digest[0], STORE_DIGEST_BYTES);
    store_message_prove((const uint8_t *)under, strlen(under), STORE_PROOF_MEMBER, challenge.digest[0], hello,
                        hello->digest[1]);
    say(visitor, hello);
}

static void test_a_member_is_let_in(void **state)
{
    uint8_t challenge[STORE_DIGEST_BYTES], proof[STORE_DIGEST_BYTES];
    store_message hello = make_hello(2, WORLD, "g/steps"), welcome;
    door d;

    (void)state;
    open_door(&d, LATER_MS);
    greet(&d.visitor, &hello, secret, challenge);
    assert_int_equal(
        store_connection_receive(&d.visitor, STORE_GREETING_MAX, clock_ms() + LATER_MS, &welcome, NULL), TN_OK);
    assert_int_equal(welcome.kind, STORE_WELCOME);
    store_message_prove((const uint8_t *)secret, strlen(secret), STORE_PROOF_STORE, challenge, &hello, proof);
    assert_true(store_message_same_digest(proof, welcome.digest[0]));
    assert_int_equal(close_door(&d), TN_OK);
    assert_int_equal(d.rank, 2);
}

static void refuse(store_message hello, const char *under, const char *why)
{
    uint8_t challenge[STORE_DIGEST_BYTES];
    door d;
    open_door(&d, LATER_MS);
    greet(&d.visitor, &hello, under, challenge);
    assert_int_equal(close_door(&d), TN_E_ARGUMENT);
    assert_int_equal(d.rank, UINT32_MAX);
    if (!strstr(d.err.msg, why))
        fail_msg("\"%s\" does not say \"%s\"", d.err.msg, why);
}

static void test_others_are_not(void **state)
{
    store_message old = make_hello(1, WORLD, "g/steps");

    (void)state;
    old.number[0]++;
    refuse(make_hello(1, WORLD, "g/steps"), other, "the secret differs");
    refuse(make_hello(1, WORLD, "g"), secret, "this is group g/steps, not g");
    refuse(make_hello(1, WORLD, "g/steps2"), secret, "this is group g/steps, not g/steps2");
    refuse(make_hello(0, WORLD, "g/steps"), secret, "no rank 0 of 3");
    refuse(make_hello(WORLD, WORLD, "g/steps"), secret, "no rank 3 of 3");
    refuse(make_hello(1, WORLD + 1, "g/steps"), secret, "no rank 1 of 4");
    refuse(old, secret, "another version");
}

/* What was said once to one challenge does not answer the next. */
static void test_a_greeting_is_good_once(void **state)
{
    uint8_t challenge[STORE_DIGEST_BYTES];
    store_message hello = make_hello(1, WORLD, "g/steps");
    door d;

    (void)state;
    open_door(&d, LATER_MS);
    greet(&d.visitor, &hello, secret, challenge);
    assert_int_equal(close_door(&d), TN_OK);
    open_door(&d, LATER_MS);
    say(&d.visitor, &hello);
    assert_int_equal(close_door(&d), TN_E_ARGUMENT);
    assert_non_null(strstr(d.err.msg, "the secret differs"));
}

static void test_silence_and_noise_end(void **state)
{
    wire_buffer noise = {0};
    door d;

    (void)state;
    open_door(&d, SOON_MS);
    assert_int_equal(close_door(&d), TN_E_NOT_FOUND);
    open_door(&d, LATER_MS);
    shutdown(d.visitor.fd, SHUT_RDWR);
    assert_int_equal(close_door(&d), TN_E_DEVICE_LOST);
    open_door(&d, LATER_MS);
    assert_int_equal(wire_buffer_reserve(&noise, 18, NULL), TN_OK);
    memcpy(noise.bytes, "GET / HTTP/1.1\r\n\r\n", 18);
    noise.end = 18;
    assert_int_equal(store_connection_send(&d.visitor, &noise, NULL), TN_OK);
    assert_int_equal(close_door(&d), TN_E_CORRUPT);
    wire_buffer_finish(&noise);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_member_is_let_in),
        cmocka_unit_test(test_others_are_not),
        cmocka_unit_test(test_a_greeting_is_good_once),
        cmocka_unit_test(test_silence_and_noise_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

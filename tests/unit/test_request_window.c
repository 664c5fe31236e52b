/* test_request_window.c: what libcurl's own threads are allowed. The program has a getaddrinfo of its own, which
 * libcurl finds first: it notes the caller, and knows no name. */
#include "cmocka_test.h"

#include "client/request_window.h"

#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

static pthread_t host_thread;
static sigset_t resolver_mask; /* before resolver_ran */
static atomic_bool resolver_ran;

__attribute__((visibility("default"))) int getaddrinfo(const char *name, const char *service,
                                                       const struct addrinfo *hints, struct addrinfo **ret_list)
{
    (void)name;
    (void)service;
    (void)hints;
    (void)ret_list;
    if (!pthread_equal(pthread_self(), host_thread)) {
        pthread_sigmask(SIG_SETMASK, NULL, &resolver_mask);
        atomic_store(&resolver_ran, true);
    }
    return EAI_NONAME;
}

static client_reply reply_of(request_window *window)
{
    client_reply reply;
    uint32_t slot;

    request_window_add(window, (client_request){"/v1/models", NULL});
    while (!request_window_take(window, &slot, &reply)) {
        struct pollfd ready = {.fd = request_window_fd(window), .events = POLLIN};
        poll(&ready, 1, (int)request_window_timeout_ms(window));
        request_window_step(window);
    }
    return reply;
}

/* A database's handlers expect its own thread: what SIGTERM or a timer finds in another one is not theirs. */
static void test_a_resolver_takes_no_signals(void **state)
{
    static const int signals[] = {SIGINT, SIGTERM, SIGALRM, SIGUSR1, SIGHUP};
    const window_limits limits = {.window = 1, .retries = 0, .timeout_ms = 60000};
    client_server server;
    request_window *window;
    sigset_t before, after;
    (void)state;

    host_thread = pthread_self();
    pthread_sigmask(SIG_SETMASK, NULL, &before);
    assert_int_equal(client_server_parse("http://nobody.example:1", NULL, &server, NULL), TN_OK);
    assert_int_equal(request_window_create(&server, &limits, &window, NULL), TN_OK);
    client_reply reply = reply_of(window);
    assert_int_equal(reply.kind, REPLY_UNREACHABLE);
    request_window_destroy(window);
    if (!atomic_load(&resolver_ran))
        skip(); /* a libcurl that resolves without threads, or not with libc */
    pthread_sigmask(SIG_SETMASK, NULL, &after);
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
        assert_true(sigismember(&resolver_mask, signals[i]));
        assert_int_equal(sigismember(&after, signals[i]), sigismember(&before, signals[i]));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_a_resolver_takes_no_signals)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

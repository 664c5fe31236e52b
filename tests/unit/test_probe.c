/* test_probe.c: what is asked of a server on another node, whose name has more than one address. */
#include "cmocka_test.h"

#include "target/probe.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* In libc's place: 127.0.0.2 first, where nobody listens, then 127.0.0.1. */
static struct sockaddr_in addresses[2];
static struct addrinfo list[2];

int getaddrinfo(const char *restrict host, const char *restrict port, const struct addrinfo *restrict hints,
                struct addrinfo **restrict ret_list)
{
    (void)host, (void)hints;
    for (int i = 0; i < 2; i++) {
        addresses[i] = (struct sockaddr_in){.sin_family = AF_INET,
                                            .sin_port = htons((uint16_t)atoi(port)),
                                            .sin_addr.s_addr = htonl(i ? 0x7f000001 : 0x7f000002)};
        list[i] = (struct addrinfo){.ai_family = AF_INET,
                                    .ai_socktype = SOCK_STREAM,
                                    .ai_addr = (struct sockaddr *)&addresses[i],
                                    .ai_addrlen = sizeof addresses[i],
                                    .ai_next = i ? NULL : &list[1]};
    }
    *ret_list = list;
    return 0;
}

void freeaddrinfo(struct addrinfo *addresses_of_host)
{
    assert_ptr_equal(addresses_of_host, list);
}

/* Answers one request. */
static void *answer(void *listener)
{
    static const char reply[] = "HTTP/1.1 503 Service Unavailable\r\n\r\n";
    char request[512];
    int fd = accept(*(int *)listener, NULL, NULL);

    if (fd >= 0 && read(fd, request, sizeof request) > 0 && write(fd, reply, sizeof reply - 1) < 0)
        perror("write");
    close(fd);
    return NULL;
}

static void test_second_address_is_tried(void **state)
{
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof here;
    char address[64];
    pthread_t thread;
    int code = 0, fd = socket(AF_INET, SOCK_STREAM, 0);
    tn_error err = TN_ERROR_INIT;
    (void)state;

    assert_int_equal(bind(fd, (struct sockaddr *)&here, sizeof here), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&here, &bytes), 0);
    snprintf(address, sizeof address, "http://node7:%d", ntohs(here.sin_port));
    assert_int_equal(pthread_create(&thread, NULL, answer, &fd), 0);
    tn_status status = probe_ready(address, &code, &err);
    if (status != TN_OK)
        shutdown(fd, SHUT_RDWR); /* ends accept */
    pthread_join(thread, NULL);
    assert_int_equal(status, TN_OK);
    assert_int_equal(code, 503);
    close(fd);
    assert_int_equal(probe_ready(address, &code, &err), TN_E_IO);
    assert_non_null(strstr(err.msg, "node7 does not answer"));
}

static void test_what_is_no_address(void **state)
{
    static const char *const texts[] = {"",
                                        "node7:1",
                                        "ftp://node7:1",
                                        "http://node7",
                                        "http://:80",
                                        "http://[]:80",
                                        "http://[::1:80",
                                        "http://node7:123456",
                                        "http://node7:8x"};
    tn_error err = TN_ERROR_INIT;
    int code;
    (void)state;

    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        assert_int_equal(probe_ready(texts[i], &code, &err), TN_E_ARGUMENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_second_address_is_tried),
        cmocka_unit_test(test_what_is_no_address),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

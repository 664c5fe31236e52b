/* probe.c: see probe.h. One connection, one request, the first line of the answer. */
#include "target/probe.h"

#include "base/clock.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PROBE_MS = 2000, HOST_BYTES = 256, LINE_BYTES = 64 };

/* Waits for events; false: the time is over. */
static bool await(int fd, short events, uint64_t end)
{
    struct pollfd polled = {.fd = fd, .events = events};
    uint64_t now = clock_ms();
    int count = -1;

    while (now < end && (count = poll(&polled, 1, (int)(end - now))) < 0 && errno == EINTR)
        now = clock_ms();
    return count > 0;
}

static tn_status fail(const char *host, int code, tn_error *err)
{
    return tn_fail(err, TN_E_IO, "%.250s does not answer: %s", host, strerror(code));
}

/* Splits "http://host:port", "http://[v6]:port"; *ret_tls: it was https. */
static bool split(const char *address, char host[HOST_BYTES], char port[8], bool *ret_tls)
{
    *ret_tls = strncmp(address, "https://", 8) == 0;
    if (!*ret_tls && strncmp(address, "http://", 7) != 0)
        return false;
    const char *from = address + (*ret_tls ? 8 : 7), *colon = strrchr(from, ':');
    bool v6 = *from == '[';
    size_t bytes = colon ? (size_t)(colon - from) : 0;
    if (v6 && (bytes < 3 || from[bytes - 1] != ']'))
        return false;
    from += v6;
    bytes -= v6 ? 2 : 0;
    if (bytes == 0 || bytes >= HOST_BYTES || strlen(colon + 1) > 5 || !colon[1] ||
        colon[1 + strspn(colon + 1, "0123456789")])
        return false;
    memcpy(host, from, bytes);
    host[bytes] = '\0';
    strcpy(port, colon + 1);
    return true;
}

/* 0, or errno's number. */
static int connect_one(const struct addrinfo *to, uint64_t end, int *ret_fd)
{
    int code = 0, fd = socket(to->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    socklen_t bytes = sizeof code;

    if (fd < 0)
        return errno;
    if (connect(fd, to->ai_addr, to->ai_addrlen) != 0 && errno != EINPROGRESS)
        code = errno;
    else if (!await(fd, POLLOUT, end))
        code = ETIMEDOUT;
    else if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &bytes) != 0)
        code = errno;
    if (code)
        close(fd);
    else
        *ret_fd = fd;
    return code;
}

/* A host has addresses of two kinds, often, and a server listens on one of them. */
static tn_status connect_to(const char *host, const char *port, uint64_t end, int *ret_fd, tn_error *err)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *list = NULL;
    int code = getaddrinfo(host, port, &hints, &list);

    if (code)
        return tn_fail(err, TN_E_IO, "%.250s is not known here: %s", host, gai_strerror(code));
    code = ETIMEDOUT;
    for (const struct addrinfo *at = list; at && code && clock_ms() < end; at = at->ai_next)
        code = connect_one(at, end, ret_fd);
    freeaddrinfo(list);
    return code ? fail(host, code, err) : TN_OK;
}

/* The code of "HTTP/1.1 200 OK". */
static tn_status ask(int fd, const char *host, uint64_t end, int *ret_code, tn_error *err)
{
    char text[HOST_BYTES + 64];
    size_t used = 0;
    int bytes = snprintf(text, sizeof text, "GET /ready HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", host);

    if (send(fd, text, (size_t)bytes, MSG_NOSIGNAL) != bytes)
        return fail(host, errno, err);
    while (used < LINE_BYTES && !memchr(text, '\n', used)) {
        ssize_t count = await(fd, POLLIN, end) ? recv(fd, text + used, LINE_BYTES - used, 0) : 0;
        if (count <= 0)
            return fail(host, count < 0 ? errno : ETIMEDOUT, err);
        used += (size_t)count;
    }
    text[used] = '\0';
    if (strncmp(text, "HTTP/1.", 7) != 0 || sscanf(text + 7, "%*1[01] %3d", ret_code) != 1)
        return tn_fail(err, TN_E_IO, "%.250s does not answer by HTTP", host);
    return TN_OK;
}

tn_status probe_ready(const char *address, int *ret_code, tn_error *err)
{
    char host[HOST_BYTES], port[8];
    const uint64_t end = clock_ms() + PROBE_MS;
    bool tls = false;
    int fd = -1;

    if (!split(address, host, port, &tls))
        return tn_fail(err, TN_E_ARGUMENT, "\"%.80s\" is no http://HOST:PORT", address);
    tn_status status = connect_to(host, port, end, &fd, err);
    if (status != TN_OK)
        return status;
    *ret_code = 0;
    if (!tls)
        status = ask(fd, host, end, ret_code, err);
    close(fd);
    return status;
}

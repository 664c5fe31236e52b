/* listener.c: sockets are bound here rather than by libmicrohttpd, which cannot say why a bind failed. */
#include "listener.h"

#include "base/unix_socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BACKLOG = 1024, UNIX_MODE = 0660 /* the file's group may speak, too */ };

typedef union socket_address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
} socket_address;

static bool parse_port(const char *text, uint16_t *ret_port)
{
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > 5 || text[digits] != '\0')
        return false;
    long port = strtol(text, NULL, 10);
    if (port > 65535)
        return false;
    *ret_port = (uint16_t)port;
    return true;
}

/* Splits "host:port" and "[v6]:port"; host is copied without brackets. */
static bool split_address(const char *spec, char host[64], uint16_t *ret_port)
{
    const char *colon = strrchr(spec, ':');
    if (!colon || !parse_port(colon + 1, ret_port))
        return false;
    size_t bytes = (size_t)(colon - spec);
    if (spec[0] == '[') {
        if (bytes < 3 || spec[bytes - 1] != ']')
            return false;
        spec++;
        bytes -= 2;
    }
    if (bytes == 0 || bytes >= 64)
        return false;
    memcpy(host, spec, bytes);
    host[bytes] = '\0';
    return true;
}

static tn_status parse_ip(const char *spec, socket_address *ret_address, socklen_t *ret_bytes, bool *ret_loopback,
                          tn_error *err)
{
    char host[64];
    uint16_t port;

    if (!split_address(spec, host, &port))
        return tn_fail(err, TN_E_ARGUMENT, "http_frontend: listen: '%.80s' is not HOST:PORT, [IPV6]:PORT or unix:/path",
                       spec);
    *ret_address = (socket_address){0};
    if (spec[0] == '[' && inet_pton(AF_INET6, host, &ret_address->v6.sin6_addr) == 1) {
        ret_address->v6.sin6_family = AF_INET6;
        ret_address->v6.sin6_port = htons(port);
        *ret_bytes = sizeof ret_address->v6;
        *ret_loopback = IN6_IS_ADDR_LOOPBACK(&ret_address->v6.sin6_addr);
        return TN_OK;
    }
    const char *literal = strcmp(host, "localhost") == 0 ? "127.0.0.1" : strcmp(host, "*") == 0 ? "0.0.0.0" : host;
    if (spec[0] == '[' || inet_pton(AF_INET, literal, &ret_address->v4.sin_addr) != 1)
        return tn_fail(err, TN_E_ARGUMENT,
                       "http_frontend: listen: '%.80s': '%s' is not an address; use a literal one such as 127.0.0.1, "
                       "or [::1] for IPv6",
                       spec, host);
    ret_address->v4.sin_family = AF_INET;
    ret_address->v4.sin_port = htons(port);
    *ret_bytes = sizeof ret_address->v4;
    *ret_loopback = (ntohl(ret_address->v4.sin_addr.s_addr) >> 24) == 127;
    return TN_OK;
}

static const char *bind_advice(int code)
{
    switch (code) {
    case EADDRINUSE:
        return ": another program listens there; stop it or choose another port";
    case EACCES:
        return ": ports below 1024 and protected folders need more rights; choose another";
    case EADDRNOTAVAIL:
        return ": this machine has no such address";
    default:
        return "";
    }
}

static tn_status open_socket(const char *spec, const socket_address *address, socklen_t bytes, int *ret_fd,
                             tn_error *err)
{
    int on = 1;
    int fd = socket(address->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return tn_fail(err, TN_E_IO, "http_frontend: listen: %.120s: %s", spec, strerror(errno));
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (address->any.sa_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    if (bind(fd, &address->any, bytes) != 0 || listen(fd, BACKLOG) != 0) {
        int code = errno;
        close(fd);
        return tn_fail(err, TN_E_IO, "http_frontend: cannot listen on %.120s: %s%s", spec, strerror(code),
                       bind_advice(code));
    }
    *ret_fd = fd;
    return TN_OK;
}

/* The address as bound, so that a port of 0 shows the one the system chose. */
static void describe(http_listener *listener)
{
    socket_address address;
    socklen_t bytes = sizeof address;
    char text[INET6_ADDRSTRLEN];

    if (getsockname(listener->fd, &address.any, &bytes) != 0)
        return;
    if (address.any.sa_family == AF_INET) {
        inet_ntop(AF_INET, &address.v4.sin_addr, text, sizeof text);
        snprintf(listener->address, sizeof listener->address, "%s:%u", text, ntohs(address.v4.sin_port));
    } else if (address.any.sa_family == AF_INET6) {
        inet_ntop(AF_INET6, &address.v6.sin6_addr, text, sizeof text);
        snprintf(listener->address, sizeof listener->address, "[%s]:%u", text, ntohs(address.v6.sin6_port));
    }
}

static tn_status open_ip(const char *spec, http_listener *listener, tn_error *err)
{
    socket_address address;
    socklen_t bytes;
    tn_status status = parse_ip(spec, &address, &bytes, &listener->loopback, err);
    if (status == TN_OK)
        status = open_socket(spec, &address, bytes, &listener->fd, err);
    if (status == TN_OK)
        describe(listener);
    return status;
}

static tn_status open_unix(const char *path, http_listener *listener, tn_error *err)
{
    tn_error reason = TN_ERROR_INIT;
    tn_status status = unix_socket_listen(path, UNIX_MODE, &listener->fd, &reason);
    if (status != TN_OK)
        return tn_fail(err, status, "http_frontend: listen: %s", reason.msg);
    listener->loopback = true;
    snprintf(listener->unix_path, sizeof listener->unix_path, "%s", path);
    return TN_OK;
}

tn_status listener_open(const char *spec, http_listener *ret_listener, tn_error *err)
{
    static const char scheme[] = "unix:";
    http_listener listener = {.fd = -1};

    snprintf(listener.address, sizeof listener.address, "%s", spec);
    tn_status status = strncmp(spec, scheme, sizeof scheme - 1) == 0
                           ? open_unix(spec + sizeof scheme - 1, &listener, err)
                           : open_ip(spec, &listener, err);
    if (status == TN_OK)
        *ret_listener = listener;
    return status;
}

void listener_close(http_listener *listener)
{
    if (listener->fd >= 0)
        close(listener->fd);
    if (listener->unix_path[0])
        unlink(listener->unix_path);
    listener->fd = -1;
    listener->unix_path[0] = '\0';
}

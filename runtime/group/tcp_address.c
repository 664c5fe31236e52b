/* tcp_address.c: see tcp_address.h. */
#include "group/tcp_address.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <unistd.h>

enum { LISTEN_BACKLOG = 128 };

/* Splits at the last colon; brackets go away. */
static tn_status split(const char *address, char host[NI_MAXHOST], char port[6], tn_error *err)
{
    const char *colon = strrchr(address, ':');
    size_t n_host = colon ? (size_t)(colon - address) : 0, n_port = colon ? strlen(colon + 1) : 0;
    bool bracketed = n_host > 2 && *address == '[' && address[n_host - 1] == ']';
    size_t skip = bracketed ? 1 : 0;
    bool good = n_host > 2 * skip && n_host < NI_MAXHOST && n_port >= 1 && n_port <= 5 &&
                strspn(colon + 1, "0123456789") == n_port && (bracketed || !memchr(address, ':', n_host));
    long number = good ? strtol(colon + 1, NULL, 10) : 0;
    if (number < 1 || number > 65535)
        return tn_fail(err, TN_E_ARGUMENT, "%.200s is no address: expected HOST:PORT, or [ADDRESS]:PORT for IPv6",
                       address);
    memcpy(host, address + skip, n_host - 2 * skip);
    host[n_host - 2 * skip] = 0;
    memcpy(port, colon + 1, n_port + 1);
    return TN_OK;
}

tn_status tcp_address_resolve(const char *address, struct addrinfo **ret_list, tn_error *err)
{
    char host[NI_MAXHOST], port[6];
    const struct addrinfo wanted = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    tn_status status = split(address, host, port, err);
    if (status != TN_OK)
        return status;
    int code = getaddrinfo(host, port, &wanted, ret_list);
    if (code == 0)
        return TN_OK;
    return tn_fail(err, TN_E_NOT_FOUND, "the host name %.200s of the group's store does not resolve: %s", host,
                   gai_strerror(code));
}

bool tcp_address_is_loopback(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET) {
        struct sockaddr_in v4;
        memcpy(&v4, address, sizeof v4);
        return ntohl(v4.sin_addr.s_addr) >> 24 == 127;
    }
    if (address->sa_family == AF_INET6) {
        struct sockaddr_in6 v6;
        memcpy(&v6, address, sizeof v6);
        return IN6_IS_ADDR_LOOPBACK(&v6.sin6_addr);
    }
    return false;
}

void tcp_address_text(const struct sockaddr *address, socklen_t n, char out[NI_MAXHOST])
{
    if (getnameinfo(address, n, out, NI_MAXHOST, NULL, 0, NI_NUMERICHOST))
        snprintf(out, NI_MAXHOST, "an unknown address");
}

int tcp_address_listen(const struct sockaddr *address, socklen_t n)
{
    const int on = 1;
    int fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 && bind(fd, address, n) == 0 &&
        listen(fd, LISTEN_BACKLOG) == 0)
        return fd;
    int reason = errno;
    if (fd >= 0)
        close(fd);
    errno = reason;
    return -1;
}

void tcp_address_watch(int fd)
{
    const int on = 1, idle_s = TCP_ADDRESS_SILENCE_MS / 3000, silence_ms = TCP_ADDRESS_SILENCE_MS;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof idle_s);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &idle_s, sizeof idle_s);
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &silence_ms, sizeof silence_ms);
}

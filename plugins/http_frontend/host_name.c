/* host_name.c: see host_name.h. Names with a dot are those that the public DNS can give an address. */
#include "host_name.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

enum { NAME_BYTES_MAX = 253 /* of a name in DNS */ };

static bool ends_with(const char *name, const char *ending)
{
    size_t n = strlen(name), m = strlen(ending);
    return n > m && strcasecmp(name + n - m, ending) == 0;
}

bool host_name_is_local(const char *host)
{
    char name[NAME_BYTES_MAX + 1];
    struct in_addr address;
    size_t bytes = host ? strcspn(host, ":") : 0;

    if (bytes == 0 || host[0] == '[')
        return true;
    bytes -= bytes > 1 && host[bytes - 1] == '.';
    if (bytes > NAME_BYTES_MAX)
        return false;
    memcpy(name, host, bytes);
    name[bytes] = '\0';
    return !strchr(name, '.') || ends_with(name, ".localhost") || inet_pton(AF_INET, name, &address) == 1;
}

bool host_is_loopback(int fd)
{
    struct sockaddr_storage own;
    socklen_t bytes = sizeof own;

    if (getsockname(fd, (struct sockaddr *)&own, &bytes) != 0)
        return false;
    if (own.ss_family == AF_INET)
        return ntohl(((const struct sockaddr_in *)&own)->sin_addr.s_addr) >> 24 == 127;
    return own.ss_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)&own)->sin6_addr);
}

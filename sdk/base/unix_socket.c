/* unix_socket.c: see unix_socket.h; unix(7). */
#include "base/unix_socket.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { BACKLOG = 1024 };
_Static_assert(UNIX_SOCKET_PATH_MAX == sizeof(((struct sockaddr_un *)0)->sun_path) - 1, "the longest path of a socket");

static tn_status make_address(const char *path, struct sockaddr_un *ret_address, tn_error *err)
{
    if (path[0] != '/' || strlen(path) > UNIX_SOCKET_PATH_MAX)
        return tn_fail(err, TN_E_ARGUMENT, "'%.120s': a Unix socket needs an absolute path of at most %d bytes", path,
                       UNIX_SOCKET_PATH_MAX);
    *ret_address = (struct sockaddr_un){.sun_family = AF_UNIX};
    strcpy(ret_address->sun_path, path);
    return TN_OK;
}

static int make_socket(void)
{
    return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

/* A socket file nobody answers on. */
static bool is_stale(const struct sockaddr_un *address)
{
    struct stat info;
    if (lstat(address->sun_path, &info) != 0 || !S_ISSOCK(info.st_mode))
        return false;
    int fd = make_socket();
    bool refused =
        fd >= 0 && connect(fd, (const struct sockaddr *)address, sizeof *address) != 0 && errno == ECONNREFUSED;
    if (fd >= 0)
        close(fd);
    return refused;
}

/* bind makes the file with the socket's own mode, less the umask, which chmod then undoes: it only ever widens. */
static bool bind_and_listen(int fd, const struct sockaddr_un *address, uint32_t mode)
{
    return fchmod(fd, (mode_t)mode) == 0 && bind(fd, (const struct sockaddr *)address, sizeof *address) == 0 &&
           chmod(address->sun_path, (mode_t)mode) == 0 && listen(fd, BACKLOG) == 0;
}

tn_status unix_socket_listen(const char *path, uint32_t mode, int *ret_fd, tn_error *err)
{
    struct sockaddr_un address;
    tn_status status = make_address(path, &address, err);
    if (status != TN_OK)
        return status;
    if (is_stale(&address))
        unlink(path);
    int fd = make_socket();
    if (fd < 0 || !bind_and_listen(fd, &address, mode)) {
        int code = errno;
        if (fd >= 0)
            close(fd);
        return tn_fail(err, TN_E_IO, "cannot listen on unix:%.120s: %s%s", path, strerror(code),
                       code == EADDRINUSE ? ": another program listens there, or the file is no socket" : "");
    }
    *ret_fd = fd;
    return TN_OK;
}

tn_status unix_socket_connect(const char *path, int *ret_fd, tn_error *err)
{
    struct sockaddr_un address;
    tn_status status = make_address(path, &address, err);
    if (status != TN_OK)
        return status;
    int fd = make_socket();
    if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof address) != 0) {
        int code = errno;
        if (fd >= 0)
            close(fd);
        return tn_fail(err, TN_E_IO, "cannot connect to unix:%.120s: %s", path, strerror(code));
    }
    *ret_fd = fd;
    return TN_OK;
}

bool unix_socket_peer_is_trusted(int fd)
{
    struct ucred peer;
    socklen_t bytes = sizeof peer;
    int domain;
    socklen_t domain_bytes = sizeof domain;
    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &domain_bytes) != 0 || domain != AF_UNIX ||
        getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &bytes) != 0)
        return false;
    return peer.uid == geteuid() || peer.uid == 0;
}

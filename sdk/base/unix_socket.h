/* sdk/base/unix_socket.h: stream sockets with a name in the file system. */
#ifndef BASE_UNIX_SOCKET_H
#define BASE_UNIX_SOCKET_H

#include "tenon/error.h"

#include <stdbool.h>

enum { UNIX_SOCKET_PATH_MAX = 107 };

/* Listens at an absolute path. The file has `mode` from the moment it is there, so that nobody slips in before. A
 * socket that nobody answers on is left over from a crash and is replaced; TN_E_IO: somebody does, or the system says
 * no. *ret_fd is not blocking. [any] */
tn_status unix_socket_listen(const char *path, uint32_t mode, int *ret_fd, tn_error *err);
/* *ret_fd is not blocking. TN_E_IO says why nobody answers. [any] */
tn_status unix_socket_connect(const char *path, int *ret_fd, tn_error *err);
/* Whether fd is such a connection, opened at the other end by a process of this user's or of root's. [any] */
bool unix_socket_peer_is_trusted(int fd);

#endif

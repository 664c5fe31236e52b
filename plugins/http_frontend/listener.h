/* listener.h: one address to accept connections on: IPv4, IPv6 or a Unix socket. */
#ifndef HTTP_LISTENER_H
#define HTTP_LISTENER_H

#include "tenon/error.h"

#include <stdbool.h>

typedef struct http_listener {
    int fd;              /* listening, close-on-exec; -1 when closed */
    bool loopback;       /* reachable from this machine only */
    char address[160];   /* as bound, a port of 0 resolved: "127.0.0.1:8000", "[::1]:8000", "unix:/run/tenon.sock" */
    char unix_path[112]; /* removed on close; "" for IP */
} http_listener;

/* spec: HOST:PORT, [IPV6]:PORT or unix:/path, whose file has mode 0660; HOST is a literal address, "localhost" or "*"
 * (all IPv4). Names are not resolved: that would be an outbound packet. Errors name spec, the reason and the fix. [ctl]
 */
tn_status listener_open(const char *spec, http_listener *ret_listener, tn_error *err);
void listener_close(http_listener *listener); /* accepts a closed one */

#endif

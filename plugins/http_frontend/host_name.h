/* host_name.h: the name by which a request calls this machine. */
#ifndef HTTP_HOST_NAME_H
#define HTTP_HOST_NAME_H

#include <stdbool.h>

/* Whether a web page of somebody else's can have no such name: an address, a name without a dot, NAME.localhost, or
 * none at all. A browser lets a page talk to whatever the page's own name leads to, and whoever owns a name can let it
 * lead here (DNS rebinding). host: the header, with or without a port; NULL: none. [any] */
bool host_name_is_local(const char *host);
/* Whether fd's own end is a loopback address: the other end is on this machine, as a browser may be. [any] */
bool host_is_loopback(int fd);

#endif

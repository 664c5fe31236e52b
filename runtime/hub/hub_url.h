/* runtime/hub/hub_url.h: which addresses may be opened: https, and http to this machine alone if the endpoint says so.
 */
#ifndef HUB_HUB_URL_H
#define HUB_HUB_URL_H

#include "hub/curl_library.h"

#include <stdbool.h>

enum { HUB_URL_BYTES_MAX = 8192 };

/* An endpoint: https://HOST, or http://127.0.0.1:PORT, [::1] or localhost. */
typedef struct hub_endpoint {
    char url[1024];   /* without a slash at its end */
    char origin[512]; /* scheme://host:port */
    bool loopback;    /* http is allowed, to this machine */
} hub_endpoint;

tn_status hub_endpoint_parse(const curl_library *curl, const char *text, hub_endpoint *ret_endpoint, tn_error *err);
/* Whether a URL may be opened; *ret_home: it is the endpoint's own origin, which the token is for. */
tn_status hub_url_check(const curl_library *curl, const hub_endpoint *endpoint, const char *url, bool *ret_home,
                        tn_error *err);
/* Appends text to a URL, encoded but for the slashes if slashes. False: it does not fit. */
bool hub_url_append(char url[HUB_URL_BYTES_MAX], const char *text, bool slashes);

#endif

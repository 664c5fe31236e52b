/* request_head.h: whether everybody who reads a request's head understands the same.
 *
 * What stands between a client and us (a proxy) must not take for a body what we take for the next request, nor another
 * host or path than we do (request smuggling, RFC 9112, 11.2). libmicrohttpd is lenient there.
 */
#ifndef HTTP_REQUEST_HEAD_H
#define HTTP_REQUEST_HEAD_H

#include "api_error.h"

#include <microhttpd.h>

/* 400 or 501, which close the connection, as nobody knows where the next request begins. [libmicrohttpd threads] */
tn_status request_head_check(struct MHD_Connection *connection, api_error *error);
/* For MHD_OPTION_UNESCAPE_CALLBACK: "%41" to "A" in place, returns the bytes that are left. What is no escape stays,
 * and so does "%00", which would end the text before its end. */
size_t request_head_unescape(void *cls, struct MHD_Connection *connection, char *text);

#endif

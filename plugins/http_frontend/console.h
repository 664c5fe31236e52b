/* console.h: the console page below /admin/: files that hold no secret and need no token. What the page shows it asks
 * for below /admin/v1, with the token that its user gives it. */
#ifndef HTTP_CONSOLE_H
#define HTTP_CONSOLE_H

#include "front.h"
#include "route.h"

/* GET or HEAD of url, "/admin" or below: a file, 304 where the client has it, 308 from "/admin" to "/admin/"; 404 where
 * there is no such file, or nothing to administrate. */
enum MHD_Result console_answer(const tn_front *front, struct MHD_Connection *connection, const http_route *route,
                               const char *url);

#endif

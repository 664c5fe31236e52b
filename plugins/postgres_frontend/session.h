/* session.h: what a backend keeps for tenon: the settings, and one window for scalar functions. */
#ifndef POSTGRES_SESSION_H
#define POSTGRES_SESSION_H

#include "client.h"

/* tenon.server and tenon.api_key, for superusers. */
void session_define_settings(void);
/* A message as palloc'd text that is UTF-8: it may quote what is not, or be cut. */
const char *session_told(const char *message);
/* Where the settings say. Raises for a database that is not UTF-8. */
client_server session_server(void);
/* The window for one row at a time, of the settings' server; it lives as long as the backend. Raises. */
request_window *session_window(void);
/* client_call through that window; an error or a cancel (which leave by longjmp) close the request's connection. */
tn_status session_call(client_request request, const window_limits *limits, bool wants_text, client_answer *ret_answer,
                       tn_error *err);
/* A client_waiter: the backend's latch and fd; interrupts leave by longjmp. */
bool session_wait(void *context, int fd, uint32_t ms);

#endif

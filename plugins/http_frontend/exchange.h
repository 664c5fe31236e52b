/* exchange.h: one HTTP request and its answer: libmicrohttpd's callbacks, and what they share. */
#ifndef HTTP_EXCHANGE_H
#define HTTP_EXCHANGE_H

#include "front.h"

/* Callbacks for MHD_start_daemon; cls is the tn_front. [libmicrohttpd threads] */
enum MHD_Result exchange_on_request(void *cls, struct MHD_Connection *connection, const char *url, const char *method,
                                    const char *version, const char *upload, size_t *upload_bytes, void **state);
void exchange_on_completed(void *cls, struct MHD_Connection *connection, void **state,
                           enum MHD_RequestTerminationCode why);
void exchange_on_connection(void *cls, struct MHD_Connection *connection, void **context,
                            enum MHD_ConnectionNotificationCode what);

#endif

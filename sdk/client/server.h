/* sdk/client/server.h: where a Tenon server is, and what to show at its door. */
#ifndef CLIENT_SERVER_H
#define CLIENT_SERVER_H

#include "tenon/error.h"

#define CLIENT_SERVER_DEFAULT "unix:/run/tenond.sock"

typedef struct client_server {
    char url[512];         /* without a slash at its end; "http://localhost" for a socket */
    char socket_path[108]; /* "": over TCP */
    char api_key[512];     /* "": none */
} client_server;

/* address: "unix:/path", "http://HOST:PORT" or "https://HOST:PORT". api_key: NULL is none.
 * Errors: TN_E_ARGUMENT, whose message holds the address but never the key. */
tn_status client_server_parse(const char *address, const char *api_key, client_server *ret_server, tn_error *err);

#endif

/* runtime/cli/daemon_client.h: the admin API of a daemon, over its unix socket or TCP. */
#ifndef CLI_DAEMON_CLIENT_H
#define CLI_DAEMON_CLIENT_H

#include "cli/daemon_address.h"

#include <jansson.h>

/* Which daemon, as flags of a command. */
typedef struct daemon_flags {
    const char *server, *token;
} daemon_flags;
#define DAEMON_FLAGS(f)                                                                                            \
    {"server", "ADDRESS", FLAG_STRING, &(f).server, NULL, "the daemon: unix:/path or http://HOST:PORT"},           \
    {                                                                                                              \
        "token", "TOKEN", FLAG_STRING, &(f).token, NULL, "with scope admin; better in TENON_TOKEN: ps shows flags" \
    }
typedef struct daemon_client daemon_client;

/* Finds the address, loads libcurl; opens no connection yet. */
tn_status daemon_client_open(const daemon_flags *flags, const args *args, daemon_client **ret_client, tn_error *err);
void daemon_client_close(daemon_client *client); /* NULL is fine */

typedef struct daemon_answer {
    long code;    /* of HTTP */
    json_t *json; /* owned; NULL: no content */
} daemon_answer;

/* path: below /admin/v1, its parts encoded (daemon_path). body: borrowed, NULL: none. seconds: that the answer may
 * take. An answer of any code is TN_OK; else nobody answers, and the message names the address and how to start one. */
tn_status daemon_ask(daemon_client *client, const char *method, const char *path, const json_t *body, uint32_t seconds,
                     daemon_answer *ret_answer, tn_error *err);
/* Prints the body of a 200 as it comes, for as long as it comes. Other codes: as daemon_ask. */
tn_status daemon_print(daemon_client *client, const char *path, daemon_answer *ret_answer, tn_error *err);

/* "PREFIX/NAME SUFFIX" with what is special in NAME encoded. False: it is too long. */
enum { DAEMON_PATH_BYTES = 1024 };
bool daemon_path(char path[DAEMON_PATH_BYTES], const char *prefix, const char *name, const char *suffix);
/* A refusal's message, printed; returns EXIT_FAILURE. Of a model that does not fit, changes that help, too, and then
 * EXIT_FITS_CHANGED, or EXIT_MISFIT where there are none. */
int daemon_report(const daemon_answer *answer);
/* Those changes, of what `tenon plan --json` says; returns EXIT_FITS_CHANGED or EXIT_MISFIT. */
int report_misfit(const json_t *plan);

#endif

/* runtime/cli/daemon_address.h: which daemon a command asks. */
#ifndef CLI_DAEMON_ADDRESS_H
#define CLI_DAEMON_ADDRESS_H

#include "cli/command.h"

enum { DAEMON_ADDRESS_BYTES = 256 };
typedef struct daemon_address {
    char text[DAEMON_ADDRESS_BYTES]; /* "unix:/path", "http://HOST:PORT"; as given, not checked */
    char tried[512];                 /* for messages: where else it was looked for; "": nowhere */
} daemon_address;

/* The end of such a command's help. */
#define DAEMON_ADDRESS_HELP                                                                                            \
    "The daemon is the one of --server, else the one that listens as [http_frontend] listen of --config says, else\n"  \
    "the one of the variable TENON_SERVER, else the first of these sockets that is there: tenond.sock in the folder\n" \
    "XDG_RUNTIME_DIR, /run/tenond.sock, /run/tenon/tenond.sock; else the one at http://127.0.0.1:8000."

/* given: of --server, NULL: none. Opens no connection. Errors: those of the settings; TN_E_ARGUMENT: it is too long. */
tn_status daemon_address_find(const char *given, const args *args, daemon_address *ret_address, tn_error *err);

#endif

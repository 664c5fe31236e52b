/* runtime/hub/transfer.h: several downloads at once, each resumed where it was cut off.
 *
 * A transfer that makes no progress is tried again, later each time, and given up after `retries` times; progress is a
 * byte further than it has ever been. What a hub says with 401, 403 or 404 is final. Redirects are followed by hand,
 * since each address is checked and the token goes to the endpoint alone. One thread, nothing is left running.
 */
#ifndef HUB_TRANSFER_H
#define HUB_TRANSFER_H

#include "hub/hub_url.h"
#include "registry/store.h"

#define TRANSFER_UNKNOWN UINT64_MAX

typedef struct transfer {
    const char *name; /* for messages, and the file's; borrowed */
    const char *url;  /* where it begins, each time anew; to that of a file its name is appended. Borrowed */
    /* Into a file: its bytes are expected, those below `have` are there. */
    const char *directory; /* which it lies in; borrowed. NULL: into memory */
    uint64_t bytes, have;
    /* Into memory, of unknown size up to text_max. */
    char *text; /* owned by the caller */
    uint64_t text_max;

    struct transfer_try *running; /* of transfers_run */
    int fd;                       /* of the file, while it is tried; else -1 */
    uint64_t most;                /* the most that there ever was of it */
    uint32_t failures;            /* in a row without a byte of progress */
    double due;                   /* seconds: not to be tried before */
    bool done;
} transfer;

typedef struct transfer_rules {
    const curl_library *curl;
    const hub_endpoint *endpoint;
    const char *token;   /* NULL: none */
    const char *ca_file; /* NULL: the system's authorities */
    uint32_t parallel, retries;
    meter *meter; /* NULL: nobody looks */
} transfer_rules;

/* Runs all of them to the end. On failure all are stopped, and what was received is in their files. */
tn_status transfers_run(const transfer_rules *rules, transfer *transfers, uint32_t count, tn_error *err);

#endif

/* runtime/hub/transfer_try.h: one attempt at a transfer: a libcurl handle, what it has been answered, and where that
 * goes. */
#ifndef HUB_TRANSFER_TRY_H
#define HUB_TRANSFER_TRY_H

#include "hub/transfer.h"

typedef struct transfer_try {
    const transfer_rules *rules;
    transfer *transfer;
    CURL *easy;
    char url[HUB_URL_BYTES_MAX]; /* of this step of the way */
    uint32_t redirects;
    uint64_t range_start;
    bool begun;       /* the body's first byte was seen */
    bool encoded;     /* it is compressed: sizes, ranges and hashes are of what it is not */
    tn_error fault;   /* why we stopped it ourselves; empty: we did not */
    tn_status status; /* of fault */
    char reason[CURL_ERROR_SIZE];
} transfer_try;

/* Begins at transfer->url; the handle is for curl_multi. */
tn_status transfer_try_create(const transfer_rules *rules, transfer *transfer, transfer_try **ret_try, tn_error *err);
void transfer_try_destroy(transfer_try *attempt); /* NULL is fine */

/* What became of it. AGAIN: fault says why, after_ms (0: unknown) when the hub wants us back. STEP: it goes on with
 * another address, and the handle is ready for it. */
typedef enum try_end { TRY_DONE, TRY_STEP, TRY_AGAIN, TRY_REFUSED } try_end;
try_end transfer_try_judge(transfer_try *attempt, CURLcode code, double *ret_after_seconds);

#endif

/* runtime/group/store.h: keys and values that all members of a group see: in a shared folder, or at rank 0 over TCP.
 *
 * Opening is joining: the store knows who is there, refuses a rank that is taken and another world size, and what an
 * earlier group of the same name left is never seen. A key is put once. Calls may come from any number of threads, up
 * to STORE_CALLS_MAX at once in one process.
 */
#ifndef GROUP_STORE_H
#define GROUP_STORE_H

#include "base/clock.h"
#include "tenon/rendezvous.h"

#include <string.h>

enum {
    STORE_WORLD_MAX = 1024,
    STORE_CALLS_MAX = 64,
    STORE_REASON_MAX = 400,
    STORE_HOST_MAX = 255,
    STORE_LEAVE_MS = 5000
};

/* Who joins which group. Strings are borrowed while the store is open. */
typedef struct store_member {
    const char *group;
    const char *host; /* of this process, for messages */
    uint32_t rank, world;
} store_member;

typedef struct store store;
typedef struct store_api {
    tn_status (*put)(store *store, const char *key, const void *value, uint64_t n_value, tn_error *err);
    /* As tn_rendezvous_table.get. */
    tn_status (*get)(store *store, const char *key, void *value, uint64_t *n_value, uint32_t timeout_ms, tn_error *err);
    /* reason: a sentence that names the rank. Cut to STORE_REASON_MAX. */
    void (*abort)(store *store, const char *reason);
    /* Leaves. No call may be in progress. Rank 0 stays until the others have left too, at most STORE_LEAVE_MS. */
    void (*close)(store *store);
} store_api;
struct store {
    const store_api *api;
};

/* folder: absolute, one that every member reaches. TN_E_NOT_FOUND: rank 0 did not let us in within timeout_ms, or the
 * others did not come; the message says who is missing. [ctl] */
tn_status file_store_open(const char *folder, const store_member *member, uint32_t timeout_ms, store **ret_store,
                          tn_error *err);

/* address: "host:port" or "[v6]:port"; rank 0 listens there and nowhere else. secret: what all members know.
 * many_hosts: a loopback address is refused, since it reaches no other machine. [ctl] */
typedef struct tcp_store_args {
    const char *address;
    const uint8_t *secret;
    size_t n_secret;
    uint32_t many_hosts, timeout_ms;
} tcp_store_args;
tn_status tcp_store_open(const tcp_store_args *args, const store_member *member, store **ret_store, tn_error *err);

/* Whether a key holds 1 to TN_RENDEZVOUS_KEY_MAX bytes, all of them allowed. [any] */
static inline tn_status store_check_key(const char *key, size_t n, tn_error *err)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-:/";
    size_t good = 0;
    while (good < n && key[good] && strchr(allowed, key[good]))
        good++;
    if (n == 0 || n > TN_RENDEZVOUS_KEY_MAX || good != n)
        return tn_fail(err, TN_E_ARGUMENT, "a key has 1 to %d letters, digits and \"._-:/\", not \"%.*s\"",
                       TN_RENDEZVOUS_KEY_MAX, (int)(n < 60 ? n : 60), key);
    return TN_OK;
}

#endif

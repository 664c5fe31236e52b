/* runtime/service/ledger.h: who has reserved how much of which device. Numbers only: nothing is measured or allocated.
 *
 * A device is named by a domain and an ordinal. Pools that name the same real devices have the same domain, a backend's
 * name, so that one device is not given away twice; a pool that is a share of the host's memory is its own domain.
 */
#ifndef SERVICE_LEDGER_H
#define SERVICE_LEDGER_H

#include "service/services.h"

enum { LEDGER_DEVICES_MAX = 64, LEDGER_DOMAIN_BYTES = 80, INSTANCE_ID_BYTES = 40 };

/* Devices as a plan sees them. */
typedef struct ledger_pool {
    char domain[LEDGER_DOMAIN_BYTES];
    uint32_t ordinals[LEDGER_DEVICES_MAX], device_count;
    uint64_t device_bytes; /* of each, what services may have together */
} ledger_pool;

typedef struct ledger_claim {
    char domain[LEDGER_DOMAIN_BYTES];
    char service[SERVICE_NAME_BYTES_MAX + 1];
    char instance[INSTANCE_ID_BYTES]; /* empty: kept for the service's next one */
    uint32_t ordinals[LEDGER_DEVICES_MAX], device_count;
    uint64_t bytes; /* of each device */
} ledger_claim;

typedef struct ledger {
    ledger_claim *claims;
    uint32_t count, capacity;
} ledger;

/* Devices with the most room. TN_E_MEMORY: the pool has too few with `bytes` free, and *ret_had is what the last of
 * them has (the sentence is the caller's). TN_E_ARGUMENT: it has not so many devices. *ret_claim is borrowed until the
 * ledger changes. */
tn_status ledger_take(ledger *ledger, const ledger_pool *pool, const char *service, const char *instance,
                      uint32_t device_count, uint64_t bytes, const ledger_claim **ret_claim, uint64_t *ret_had,
                      tn_error *err);
/* A claim as it stood before, of an instance that was found running: taken whatever is free. */
tn_status ledger_restore(ledger *ledger, const ledger_claim *claim, tn_error *err);
/* The service's claim under that name; NULL: none. */
const ledger_claim *ledger_find(const ledger *ledger, const char *service, const char *instance);
/* Whose it is from now on. */
void ledger_rename(ledger *ledger, const char *service, const char *instance, const char *to);
/* Gives back the service's claim under that name (instance NULL: all of them). None is fine. */
void ledger_release(ledger *ledger, const char *service, const char *instance);
/* What is reserved of a device. */
uint64_t ledger_reserved(const ledger *ledger, const char *domain, uint32_t ordinal);
void ledger_finish(ledger *ledger);

#endif

/* ledger.c: see ledger.h. There are tens of claims: plain scans. */
#include "service/ledger.h"

#include <stdlib.h>
#include <string.h>

static bool covers_device(const ledger_claim *claim, const char *domain, uint32_t ordinal)
{
    if (strcmp(claim->domain, domain) != 0)
        return false;
    for (uint32_t i = 0; i < claim->device_count; i++)
        if (claim->ordinals[i] == ordinal)
            return true;
    return false;
}

uint64_t ledger_reserved(const ledger *ledger, const char *domain, uint32_t ordinal)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < ledger->count; i++)
        if (covers_device(&ledger->claims[i], domain, ordinal))
            bytes += ledger->claims[i].bytes;
    return bytes;
}

static uint64_t free_bytes(const ledger *ledger, const ledger_pool *pool, uint32_t ordinal)
{
    uint64_t reserved = ledger_reserved(ledger, pool->domain, ordinal);
    return reserved < pool->device_bytes ? pool->device_bytes - reserved : 0;
}

/* Ordinals of the pool, those with the most room first. */
static void rank_devices(const ledger *ledger, const ledger_pool *pool, uint32_t *ordinals)
{
    for (uint32_t i = 0; i < pool->device_count; i++) {
        uint64_t room = free_bytes(ledger, pool, pool->ordinals[i]);
        uint32_t at = i;
        for (; at > 0 && free_bytes(ledger, pool, ordinals[at - 1]) < room; at--)
            ordinals[at] = ordinals[at - 1];
        ordinals[at] = pool->ordinals[i];
    }
}

static tn_status append(ledger *ledger, const ledger_claim *claim, tn_error *err)
{
    if (ledger->count == ledger->capacity) {
        uint32_t capacity = ledger->capacity ? 2 * ledger->capacity : 8;
        ledger_claim *claims = realloc(ledger->claims, capacity * sizeof *claims);
        if (!claims)
            return tn_fail(err, TN_E_MEMORY, "reservations");
        ledger->claims = claims;
        ledger->capacity = capacity;
    }
    ledger->claims[ledger->count++] = *claim;
    return TN_OK;
}

tn_status ledger_take(ledger *ledger, const ledger_pool *pool, const char *service, const char *instance,
                      uint32_t device_count, uint64_t bytes, const ledger_claim **ret_claim, uint64_t *ret_had,
                      tn_error *err)
{
    uint32_t ordinals[LEDGER_DEVICES_MAX];
    ledger_claim claim = {.device_count = device_count, .bytes = bytes};

    TN_ASSERT(pool->device_count <= LEDGER_DEVICES_MAX && !ledger_find(ledger, service, instance));
    if (device_count == 0 || device_count > pool->device_count)
        return tn_fail(err, TN_E_ARGUMENT, "gpus: an instance takes %u devices, but the pool has %u", device_count,
                       pool->device_count);
    rank_devices(ledger, pool, ordinals);
    *ret_had = free_bytes(ledger, pool, ordinals[device_count - 1]);
    if (*ret_had < bytes)
        return TN_E_MEMORY;
    memcpy(claim.ordinals, ordinals, device_count * sizeof *ordinals);
    snprintf(claim.domain, sizeof claim.domain, "%s", pool->domain);
    snprintf(claim.service, sizeof claim.service, "%s", service);
    snprintf(claim.instance, sizeof claim.instance, "%s", instance);
    tn_status status = append(ledger, &claim, err);
    if (status == TN_OK)
        *ret_claim = &ledger->claims[ledger->count - 1];
    return status;
}

tn_status ledger_restore(ledger *ledger, const ledger_claim *claim, tn_error *err)
{
    return append(ledger, claim, err);
}

const ledger_claim *ledger_find(const ledger *ledger, const char *service, const char *instance)
{
    for (uint32_t i = 0; i < ledger->count; i++)
        if (strcmp(ledger->claims[i].service, service) == 0 && strcmp(ledger->claims[i].instance, instance) == 0)
            return &ledger->claims[i];
    return NULL;
}

void ledger_rename(ledger *ledger, const char *service, const char *instance, const char *to)
{
    ledger_claim *claim = (ledger_claim *)ledger_find(ledger, service, instance);
    if (claim)
        snprintf(claim->instance, sizeof claim->instance, "%s", to);
}

void ledger_release(ledger *ledger, const char *service, const char *instance)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < ledger->count; i++) {
        const ledger_claim *claim = &ledger->claims[i];
        bool goes = strcmp(claim->service, service) == 0 && (!instance || strcmp(claim->instance, instance) == 0);
        if (!goes)
            ledger->claims[kept++] = *claim;
    }
    ledger->count = kept;
}

void ledger_finish(ledger *ledger)
{
    free(ledger->claims);
    *ledger = (struct ledger){0};
}

/* admission.c: whether a service may be: its model is there, its pool takes it, and there is memory. */
#include "service/planner.h"
#include "service/state.h"
#include "service/wish_model.h"

#include "plan/plan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- models ---- */

static void holder_of(const services *s, const wish *wish, char text[PATH_MAX])
{
    snprintf(text, PATH_MAX, "service %s of %s", wish->name, s->store);
}

static tn_status change_lease(const services *s, const wish *wish, bool take, tn_error *err)
{
    char holder[PATH_MAX];
    holder_of(s, wish, holder);
    return wish_lease(s->settings, wish, holder, take, err);
}

tn_status admission_lease(const services *s, const wish *wish, tn_error *err)
{
    return change_lease(s, wish, true, err);
}

/* A registry that is gone keeps nothing. */
void admission_release(const services *s, const wish *wish)
{
    change_lease(s, wish, false, NULL);
}

/* Whether a holder is of this store, "service NAME of STORE", where a name has no blanks and a path may. */
static bool is_ours(const services *s, const char *holder)
{
    static const char service[] = "service ", of[] = " of ";
    if (strncmp(holder, service, strlen(service)) != 0)
        return false;
    const char *end = holder + strlen(service);
    end += strcspn(end, " ");
    return strncmp(end, of, strlen(of)) == 0 && strcmp(end + strlen(of), s->store) == 0;
}

static bool holder_is_gone(void *ctx, const char *holder, const digest *digest)
{
    const services *s = ctx;
    if (!is_ours(s, holder))
        return false;
    for (uint32_t i = 0; i < s->count; i++) {
        for (const wish *wish = &s->all[i]->wish; wish; wish = wish->before) {
            char known[PATH_MAX];
            holder_of(s, wish, known);
            if (strcmp(known, holder) == 0 && digest_equal(&wish->digest, digest))
                return false;
        }
    }
    return true;
}

tn_status admission_release_gone(services *s, tn_error *err)
{
    return wish_release_gone(s->settings, holder_is_gone, s, err);
}

/* ---- pools ---- */

static uint64_t reserved_share(const services *s, const char *pool)
{
    char section[POOL_NAME_BYTES + 8];
    snprintf(section, sizeof section, "pool %s", pool);
    return (uint64_t)settings_integer(s->settings, section, "reserve_mib") << 20;
}

tn_status admission_pool(const services *s, const wish *wish, pool *ret_pool, ledger_pool *ret_devices, tn_error *err)
{
    ledger_pool devices = {.device_count = 0};
    uint32_t listed = 0;
    tn_status status = planner_pool(s->settings, wish->pool, ret_pool, devices.ordinals, &listed, err);
    if (status != TN_OK)
        return status;
    devices.device_count = listed ? listed : wish->plan.pool_devices;
    if (devices.device_count > LEDGER_DEVICES_MAX)
        devices.device_count = LEDGER_DEVICES_MAX;
    uint64_t kept = reserved_share(s, wish->pool);
    devices.device_bytes = wish->plan.total_bytes > kept ? wish->plan.total_bytes - kept : 0;
    const char *backend = ret_pool->backend ? ret_pool->backend : settings_string(s->settings, "backend", "plugin");
    if (ret_pool->described && strcmp(ret_pool->device.mem_domain, "host") == 0)
        snprintf(devices.domain, sizeof devices.domain, "pool %s", wish->pool);
    else
        snprintf(devices.domain, sizeof devices.domain, "%.70s", backend);
    *ret_devices = devices;
    return TN_OK;
}

tn_status admission_count(services *s, const wish *wish, tn_error *err)
{
    char section[POOL_NAME_BYTES + 8];
    uint32_t count = 0;
    snprintf(section, sizeof section, "pool %s", wish->pool);
    int64_t most = settings_integer(s->settings, section, "max_services");
    for (uint32_t i = 0; i < s->count; i++)
        count += strcmp(s->all[i]->wish.pool, wish->pool) == 0 && strcmp(s->all[i]->wish.name, wish->name) != 0;
    if ((int64_t)count >= most)
        return tn_fail(err, TN_E_MEMORY, "pool %s has %u services, which is its max_services; delete one of them",
                       wish->pool, count);
    if (s->count == SERVICES_MAX)
        return tn_fail(err, TN_E_MEMORY, "there are %d services already", SERVICES_MAX);
    return TN_OK;
}

/* ---- memory ---- */

/* Who has what of these devices: for the plan, and the largest for the sentence. */
static json_t *list_claims(const services *s, const ledger_pool *devices, const ledger_claim **ret_largest)
{
    json_t *array = json_array();
    *ret_largest = NULL;
    for (uint32_t i = 0; i < s->ledger.count; i++) {
        const ledger_claim *claim = &s->ledger.claims[i];
        if (strcmp(claim->domain, devices->domain) != 0)
            continue;
        json_array_append_new(array, json_pack("{s:s, s:s, s:I}", "service", claim->service, "instance",
                                               claim->instance, "bytes", (json_int_t)claim->bytes));
        if (!*ret_largest || claim->bytes > (*ret_largest)->bytes)
            *ret_largest = claim;
    }
    return array;
}

static tn_status refuse(const services *s, const wish *wish, const ledger_pool *devices, uint64_t had, json_t *plan,
                        tn_error *err)
{
    char needed[16], left[16], other[16];
    const ledger_claim *largest;
    json_t *claims = list_claims(s, devices, &largest);
    plan_format_bytes(wish->plan.device_bytes, needed);
    plan_format_bytes(had, left);
    if (largest)
        tn_fail(
            err, TN_E_MEMORY,
            "%s needs %s of each of %u devices of pool %s, which has %s left: %s has reserved %s; suspend or delete "
            "it, or set max_model_len, max_num_seqs or kv_cache_memory_bytes lower",
            wish->name, needed, wish->plan.world, wish->pool, left, largest->service,
            plan_format_bytes(largest->bytes, other));
    else
        tn_fail(err, TN_E_MEMORY, "%s needs %s of each of %u devices of pool %s, which has %s without its reserve_mib",
                wish->name, needed, wish->plan.world, wish->pool, left);
    if (plan) {
        json_object_set_new(plan, "fits", json_false());
        json_object_set_new(plan, "needed_bytes", json_integer((json_int_t)wish->plan.device_bytes));
        json_object_set_new(plan, "had_bytes", json_integer((json_int_t)had));
        json_object_set(plan, "reserved", claims);
    }
    json_decref(claims);
    return TN_E_MEMORY;
}

tn_status admission_reserve(services *s, const wish *wish, const char *instance, const ledger_claim **ret_claim,
                            uint64_t *ret_had, json_t *plan, tn_error *err)
{
    pool pool;
    ledger_pool devices;
    tn_status status = admission_pool(s, wish, &pool, &devices, err);
    if (status != TN_OK)
        return status;
    *ret_had = 0;
    status = ledger_take(&s->ledger, &devices, wish->name, instance, wish->plan.world, wish->plan.device_bytes,
                         ret_claim, ret_had, err);
    return status == TN_E_MEMORY ? refuse(s, wish, &devices, *ret_had, plan, err) : status;
}

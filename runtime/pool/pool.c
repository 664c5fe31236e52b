/* pool.c: see pool.h. Settings have been checked one by one; here they are checked against each other. */
#include "pool/pool.h"

#include "base/edit_distance.h"

#include <string.h>

enum { POOLS_MAX = 256, KIND_BYTES = 5 /* "pool " */ };

static const struct predefined {
    const char *name, *card;
    uint32_t count;
    device_link link;
} predefined[] = {
    {"GPU_NV_S", "A10G", 1, DEVICE_LINK_PCIE},
    {"GPU_NV_M", "A10G", 4, DEVICE_LINK_PCIE},
    {"GPU_NV_L", "A100-40GB", 8, DEVICE_LINK_NVLINK},
};
enum { PREDEFINED = sizeof predefined / sizeof *predefined };

static const struct predefined *find_predefined(const char *name)
{
    for (uint32_t i = 0; i < PREDEFINED; i++)
        if (strcmp(predefined[i].name, name) == 0)
            return &predefined[i];
    return NULL;
}

/* ---- what a pool is made of ---- */

static void describe(pool *pool, const char *name, const char *features, uint64_t memory)
{
    pool->described = true;
    pool->device = (tn_devinfo){.struct_size = sizeof pool->device,
                                .score = 1,
                                .flags = TN_DEVICE_DESCRIBED,
                                .mem_total = memory,
                                .mem_free = memory};
    snprintf(pool->device.name, sizeof pool->device.name, "%.60s", name);
    snprintf(pool->device.mem_domain, sizeof pool->device.mem_domain, "device");
    snprintf(pool->device.features, sizeof pool->device.features, "%s", features);
}

static void take_card(pool *pool, const device_card *card)
{
    describe(pool, card->name, card->compute, card->memory);
    pool->backend = "cuda_tp";
    pool->memory_bandwidth = card->memory_bandwidth;
    pool->bf16_flops = card->bf16_flops;
    pool->link = card->link;
    pool->link_bandwidth = card->link_bandwidth;
}

pool pool_here(void)
{
    return (pool){.nodes = 1, .hours_per_month = 730, .currency = "USD"};
}

static pool start(const char *name)
{
    const struct predefined *known = find_predefined(name);
    pool pool = pool_here();
    snprintf(pool.name, sizeof pool.name, "%s", name);
    if (known) {
        take_card(&pool, device_card_find(known->card));
        pool.count = known->count;
        pool.link = known->link;
    }
    return pool;
}

static tn_status fail_device(const settings *settings, const char *section, const char *device, tn_error *err)
{
    char reason[400];
    const char *names[64];
    uint32_t count = 0;
    for (const device_card *card; count < 64 && (card = device_card_at(count)); count++)
        names[count] = card->name;
    const char *nearest = nearest_name(device, names, count);
    int used = snprintf(reason, sizeof reason, "there is no card \"%.60s\"; ", device);
    if (nearest)
        used += snprintf(reason + used, sizeof reason - (size_t)used, "did you mean \"%s\"? ", nearest);
    snprintf(reason + used, sizeof reason - (size_t)used,
             "`tenon pool devices` lists them; set memory to describe another");
    return settings_fail(settings, section, "device", TN_E_ARGUMENT, reason, err);
}

static tn_status read_device(const settings *settings, const char *section, pool *pool, tn_error *err)
{
    const char *device = settings_string(settings, section, "device");
    const char *memory = settings_string(settings, section, "memory");
    const device_card *card = device ? device_card_find(device) : NULL;

    if (device && !card && !memory)
        return fail_device(settings, section, device, err);
    if (memory && !device && !pool->described)
        return settings_fail(settings, section, "memory", TN_E_ARGUMENT, "it describes a device: name it in device",
                             err);
    if (card)
        take_card(pool, card);
    else if (device)
        describe(pool, device, "", 0);
    if (device && !card) {
        pool->backend = "cuda_tp";
        pool->memory_bandwidth = pool->bf16_flops = pool->link_bandwidth = 0;
        pool->link = DEVICE_LINK_UNKNOWN;
    }
    if (memory)
        pool->device.mem_total = pool->device.mem_free = (uint64_t)settings_integer(settings, section, "memory");
    if (pool->described && settings_bool(settings, section, "host_memory"))
        snprintf(pool->device.mem_domain, sizeof pool->device.mem_domain, "host");
    return TN_OK;
}

static void read_link(const settings *settings, const char *section, pool *pool)
{
    const char *link = settings_string(settings, section, "link");
    device_link wanted = !link ? pool->link : strcmp(link, "nvlink") == 0 ? DEVICE_LINK_NVLINK : DEVICE_LINK_PCIE;
    if (wanted != pool->link)
        pool->link_bandwidth = device_link_bandwidth(wanted);
    pool->link = wanted;
}

static double number_or(const settings *settings, const char *section, const char *key, double otherwise)
{
    return settings_string(settings, section, key) ? settings_number(settings, section, key) : otherwise;
}

static void read_costs(const settings *settings, const char *section, pool *pool)
{
    static const char *const others[] = {"power_per_month", "depreciation_per_month", "operations_per_month"};
    pool->rate_per_hour = number_or(settings, section, "rate_per_hour", 0);
    pool->hours_per_month = settings_number(settings, section, "hours_per_month");
    pool->currency = settings_string(settings, section, "currency");
    for (int i = 0; i < 3; i++)
        pool->other_per_month += settings_number(settings, section, others[i]);
    pool->priced = settings_string(settings, section, "rate_per_hour") || pool->other_per_month > 0;
}

/* Devices that gpus lists; 0: it is unset. */
static uint32_t listed_devices(const settings *settings, const char *section)
{
    const char *gpus = settings_string(settings, section, "gpus");
    uint32_t count = 0;
    for (; gpus && *gpus; gpus += strcspn(gpus, ","), gpus += strspn(gpus, ", \t"))
        count++;
    return count;
}

static tn_status read_section(const settings *settings, const char *section, pool *pool, tn_error *err)
{
    tn_status status = read_device(settings, section, pool, err);
    if (status != TN_OK)
        return status;
    read_link(settings, section, pool);
    if (settings_string(settings, section, "backend"))
        pool->backend = settings_string(settings, section, "backend");
    if (settings_string(settings, section, "count"))
        pool->count = (uint32_t)settings_integer(settings, section, "count");
    else if (listed_devices(settings, section))
        pool->count = listed_devices(settings, section);
    else if (pool->described && pool->count == 0)
        pool->count = 1;
    if (settings_string(settings, section, "nodes"))
        pool->nodes = (uint32_t)settings_integer(settings, section, "nodes");
    if (settings_string(settings, section, "memory_bandwidth"))
        pool->memory_bandwidth = (double)settings_integer(settings, section, "memory_bandwidth");
    pool->bf16_flops = 1e12 * number_or(settings, section, "bf16_teraflops", pool->bf16_flops / 1e12);
    read_costs(settings, section, pool);
    return TN_OK;
}

/* ---- names ---- */

static const char *section_of(const settings *settings, const char *name)
{
    const char *section;
    for (uint32_t i = 0; (section = settings_named_section(settings, "pool", i)); i++)
        if (strcmp(section + KIND_BYTES, name) == 0)
            return section;
    return NULL;
}

/* Predefined names, then those of the settings that are none of them; NULL past the last. */
static const char *name_at(const settings *settings, uint32_t index)
{
    const char *section;
    if (index < PREDEFINED)
        return predefined[index].name;
    index -= PREDEFINED;
    for (uint32_t i = 0; (section = settings_named_section(settings, "pool", i)); i++)
        if (!find_predefined(section + KIND_BYTES) && index-- == 0)
            return section + KIND_BYTES;
    return NULL;
}

tn_status pool_at(const settings *settings, uint32_t index, pool *ret_pool, tn_error *err)
{
    const char *name = name_at(settings, index);
    if (!name)
        return TN_E_NOT_FOUND;
    const char *section = section_of(settings, name);
    pool pool = start(name);
    tn_status status = section ? read_section(settings, section, &pool, err) : TN_OK;
    if (status == TN_OK)
        *ret_pool = pool;
    return status;
}

tn_status pool_find(const settings *settings, const char *name, pool *ret_pool, tn_error *err)
{
    const char *names[POOLS_MAX];
    char list[256] = "";
    uint32_t count = 0;
    for (const char *known; count < POOLS_MAX && (known = name_at(settings, count)); count++) {
        if (strcmp(known, name) == 0)
            return pool_at(settings, count, ret_pool, err);
        names[count] = known;
        size_t used = strlen(list);
        snprintf(list + used, sizeof list - used, "%s%s", count ? ", " : "", known);
    }
    const char *nearest = nearest_name(name, names, count);
    if (nearest)
        return tn_fail(err, TN_E_NOT_FOUND, "there is no pool \"%.60s\"; did you mean \"%s\"?", name, nearest);
    return tn_fail(err, TN_E_NOT_FOUND, "there is no pool \"%.60s\"; there are %s; a section [pool NAME] makes one",
                   name, list);
}

double pool_month_cost(const pool *pool)
{
    return pool->rate_per_hour * pool->hours_per_month + pool->other_per_month;
}
